"""What code says of itself before it runs: the names it asks for, changes, or makes up.

    getattr(model, "w1")         asks for w1
    getattr(model, f"w{i}")      makes up names: any attribute counts
    try: m.scale                 it matters that m has no attribute scale, too
    except: 1.0

Guards are collected before a trace, from the user's code as it is compiled; a name that is asked
for by its text alone is found among the constants.
"""

from __future__ import annotations

import opcode
from collections import Counter, defaultdict, deque
from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from itertools import takewhile
from types import CodeType

COLLECTIONS = (set, deque, defaultdict, Counter, bytearray)
"""Containers that are no trees. A function may read those from outside, but not change them."""

_CHANGING = bytes(
    opcode.opmap[name]
    for name in ("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF")
    + ("DELETE_DEREF", "STORE_SUBSCR", "DELETE_SUBSCR")
)
_CHANGING_METHODS = frozenset(
    name
    for cls in (list, dict, *COLLECTIONS)
    for name in vars(cls)
    if not name.startswith("_") and name not in dir(tuple) and name not in dir(str)
) - {"copy", "get", "keys", "values", "items"}


def may_change(code: CodeType) -> bool:
    """Whether code writes to attributes, globals or items, or calls methods that change containers.

    A pass over its instructions, of which every other byte is an opcode."""
    written = not set(_CHANGING).isdisjoint(code.co_code[::2])
    return written or not _CHANGING_METHODS.isdisjoint(code.co_names) or "setattr" in code.co_names


_STORING = frozenset(
    opcode.opmap[name] for name in ("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL")
)


def stored(code: CodeType) -> Iterator[tuple[int, str]]:
    """The globals and attributes that code assigns to, and where."""
    if _STORING.isdisjoint(code.co_code[::2]):
        return
    for at, operation, argument in _instructions(code):
        if operation in _STORING:
            yield at, code.co_names[argument]


_LOAD_GLOBAL = opcode.opmap["LOAD_GLOBAL"]
_NAMING = frozenset(
    opcode.opmap[name]
    for name in ("LOAD_NAME", "STORE_NAME", "DELETE_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")
    + ("LOAD_FROM_DICT_OR_GLOBALS", "IMPORT_NAME", "IMPORT_FROM")
    if name in opcode.opmap
)


@lru_cache(maxsize=1024)
def variables(code: CodeType) -> tuple[str, ...]:
    """The names in code that stand for globals and builtins; others are those of attributes."""
    found = set()
    for _, operation, argument in _instructions(code):
        if operation == _LOAD_GLOBAL:
            found.add(code.co_names[argument >> 1])  # the last bit says that it is called
        elif operation in _NAMING:
            found.add(code.co_names[argument])
    return tuple(name for name in code.co_names if name in found)


def _instructions(code: CodeType) -> Iterator[tuple[int, int, int]]:
    """Where each instruction is, its operation, its argument."""
    number = 0
    for at, (operation, argument) in enumerate(zip(code.co_code[::2], code.co_code[1::2])):
        number = number << 8 | argument
        yield 2 * at, operation, number
        if operation != opcode.EXTENDED_ARG:
            number = 0


ASKING = frozenset(("getattr", "hasattr"))
_MISSING = frozenset(("AttributeError", "NameError", "Exception", "BaseException"))
ALL_OF_THEM = frozenset(("vars", "__dict__"))
_SIMPLE = frozenset(("LOAD_FAST", "LOAD_DEREF", "LOAD_CONST"))
_OBJECTS = frozenset(("LOAD_FAST", "LOAD_DEREF", "LOAD_GLOBAL", "LOAD_ATTR"))


def texts(code: CodeType) -> set[str]:
    """The strings in code that may be names."""
    return {c for c in code.co_consts if isinstance(c, str) and c.isidentifier()}


def handles_errors(code: CodeType) -> bool:
    """Whether code goes on where an attribute or a variable is missing: by the name of the error,
    or by handlers of what it does not name."""
    if not _MISSING.isdisjoint(code.co_names):
        return True
    operations = code.co_code[::2]
    at = operations.find(_HANDLER)
    while at >= 0:
        if operations[at + 1] != _WITH:
            return True
        at = operations.find(_HANDLER, at + 1)
    return False


def computes_globals(code: CodeType) -> bool:
    """Whether code may ask for globals by names that it makes, or for all: `globals()[f"w{i}"]`."""
    if "globals" not in code.co_names:
        return False
    import dis  # which few programs need

    found = [i for i in dis.get_instructions(code) if i.opname not in _BETWEEN]
    for k, instruction in enumerate(found):
        if instruction.argval != "globals" or not instruction.opname.startswith("LOAD_"):
            continue
        is_asked = found[k + 2].opname == "CONTAINS_OP" and found[k - 1].opname == "LOAD_CONST"
        if not is_asked and not _names_one([i.opname for i in found[k + 2 :]]):
            return True
    return False


def _names_one(operations: list[str]) -> bool:
    """Whether these, on `globals()`, ask for one variable by a name in the code."""
    first, second, *_ = operations
    if first != "LOAD_CONST":
        arguments = takewhile(lambda name: "CALL" not in name, operations[1:])
        return second == "LOAD_CONST" and _SIMPLE.issuperset(arguments)
    return second in ("BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR")


_BETWEEN = frozenset(("PUSH_NULL", "PRECALL", "CACHE", "RESUME", "COPY_FREE_VARS"))
_HANDLER, _WITH = opcode.opmap["PUSH_EXC_INFO"], opcode.opmap["WITH_EXCEPT_START"]


def computes_names(code: CodeType) -> bool:
    """Whether code may ask for attributes by names that it makes: `getattr(model, f"w{i}")`."""
    import dis  # which few programs need

    instructions = iter(dis.get_instructions(code))
    for found in instructions:
        if found.opname != "LOAD_GLOBAL" or found.argval not in ASKING:
            continue
        name = next((i for i in instructions if i.opname not in _OBJECTS), None)
        if name is None or name.opname != "LOAD_CONST":
            return True
        rest = takewhile(lambda i: "CALL" not in i.opname, instructions)
        if any(i.opname not in _SIMPLE for i in rest):  # the constant may be a part of the name
            return True
    return False


_ASSIGNING = ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF", "COPY_FREE_VARS", "MAKE_CELL")
_LOOKING_AROUND = ("vars", "__dict__", "getattr", "copy", "deepcopy", "globals")


def names_read(codes: Iterable[CodeType]) -> Container[str]:
    """Names of variables and attributes that code may ask for, rather than only assign to."""
    import dis  # which few programs need

    found: set[str] = set()
    for code in codes:
        found.update(text for text in code.co_consts if isinstance(text, str))
        for operation, name in ((i.opname, i.argval) for i in dis.get_instructions(code)):
            if name in _LOOKING_AROUND and (operation.startswith("LOAD_G") or name == "__dict__"):
                return _Everything()
            if isinstance(name, str) and operation not in _ASSIGNING:
                found.add(name)
    return found


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


def codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)
