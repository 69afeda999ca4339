"""Why a call compiles again, and what the program for it does: the text of `Jitted.explain`.

    f(np.ones(3)); print(f.explain(np.ones(4)))

    f(x: f64[4]) is compiled again: x has shape (4,), and had (3,)
    static: none
    changes: none
    copies:
      f64[4] at model.py:12: y[0] = 1.0: %y is read later
    kernels: 2, about 4 operations on numbers
    native entry: not yet; calls that come often may get one

A specialisation is compared with those that were there before; the one that differs least is what
the difference is told from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from jitnet.errors import Place
from jitnet.frontend import signature
from jitnet.frontend.signature import Abstract, LeafType, Static
from jitnet.frontend.traced import Traced
from jitnet.ir import Loc


class Program(Protocol):
    """A compiled function for one kind of arguments: `jitted.Specialisation`."""

    @property
    def traced(self) -> Traced: ...
    @property
    def types(self) -> Sequence[LeafType]: ...
    @property
    def executable(self) -> Any: ...
    @property
    def entry(self) -> Sequence[Any]: ...


def difference(key: Any, program: Program, before: Mapping[Any, Program]) -> str:
    """What is new about a program, in words; '' where there was none before it.

    Args:
        key: of the call; its structure, what tells each leaf, and how memory is shared.
        before: the programs that were there before it, by their keys.
    """
    same = before.get(key)
    if same is not None:
        found = [*_replaced(same)]
        return "; ".join(found) or "something that it reads from outside has changed"
    others = list(before.items())[::-1]  # the latest first
    alike = [other for other in others if other[0][0] == key[0]]
    told: list[list[str]] = [[*_differences(key, program, *other)] for other in alike or others]
    fewest: list[str] = min(told, key=len, default=[])
    return "; ".join(fewest)


def _differences(key: Any, new: Program, other: Any, old: Program) -> Iterator[str]:
    if key[0] != other[0]:
        yield from [*_replaced(old)] or _structures(new, old)
        return
    for name, now, was in zip(new.traced.names, new.types, old.types, strict=True):
        if now != was:
            yield from _leaf(name, now, was)
    if key[1 + len(new.types) :] != other[1 + len(old.types) :]:
        yield "the arguments share memory in another way"


def _replaced(program: Program) -> Iterator[str]:
    """What a program reads from outside that is not as it was."""
    for name, was, now in program.traced.guards.changes():
        yield f"{name} is {_short(now)}, and was {_short(was)}"


def _structures(new: Program, old: Program) -> Iterator[str]:
    names, before = new.traced.names, old.traced.names
    more = [name for name in names if name not in before]
    less = [name for name in before if name not in names]
    if more:
        yield f"the arguments have {', '.join(more)} too"
    if less:
        yield f"the arguments have no {', '.join(less)}"
    if not more and not less:
        yield "the arguments are in other containers, in another order, or given by other names"


def _leaf(name: str, now: LeafType, was: LeafType) -> Iterator[str]:
    if isinstance(now, Static) and isinstance(was, Static):
        yield f"{name}, which is static, is {_short(now.value)}, and was {_short(was.value)}"
        return
    if isinstance(now, Static) or isinstance(was, Static) or _is_other_number(now, was):
        yield f"{name} is {_long(now)}, and was {_long(was)}"
        return
    if now.dtype != was.dtype:
        yield f"{name} has dtype {now.dtype.numpy}, and had {was.dtype.numpy}"
    if now.shape != was.shape:
        yield f"{name} has shape {now.shape}, and had {was.shape}"
    if now.layout != was.layout:
        yield f"{name} lies in memory as {_LAYOUTS[now.layout]}, and lay as {_LAYOUTS[was.layout]}"
    if now.device != was.device:
        yield f"{name} is an array of {_home(now)}, and was one of {_home(was)}"
    if now.read_only != was.read_only:
        yield f"{name} is {'read-only' if now.read_only else 'writeable'}, and was not"


_LAYOUTS = {"C": "C order", "F": "Fortran order", "strided": "a strided view"}


def _home(leaf: Abstract) -> str:
    return "NumPy" if leaf.device is None else f"the device {leaf.device}"


def _is_other_number(now: Abstract, was: Abstract) -> bool:
    same_dtype: bool = now.dtype == was.dtype
    return now.flavour != was.flavour or (now.flavour != "array" and not same_dtype)


def _long(leaf: LeafType) -> str:
    if isinstance(leaf, Static):
        return f"the static {_short(leaf.value)}"
    if leaf.flavour == "scalar":
        return f"a NumPy {leaf.dtype.numpy}"
    return f"a Python {leaf}" if leaf.flavour == "python" else f"an array {leaf}"


_LENGTH = 60  # of a value in a message


def _short(x: Any) -> str:
    text = repr(x).replace("\n", " ")
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH - 3]}..."


# -- the whole text --------------------------------------------------------------------------------


def explanation(
    key: Any,
    program: Program,
    before: Mapping[Any, Program],
    declared: frozenset[str],
    needed: Mapping[Any, Place],
) -> str:
    """The text for a call whose program is `program`.

    Args:
        declared: the parameters that `jit(static=...)` names.
        needed: by structure and leaf, the line that needed an int as a value.
    """
    traced = program.traced
    called = f"{traced.function.name}({signature.describe(traced.names, program.types)})"
    lines = [f"{called} {_decision(key, program, before)}"]
    lines += _section("static", _statics(key[0], program, declared, needed))
    lines += _section("changes", _changed(traced))
    lines += _section("copies", _copies(program))
    cost = program.executable.cost
    lines.append(f"kernels: {cost['kernels']}, about {cost['flops']} operations on numbers")
    device = program.executable.device
    how = f"native entry: {_entry(program)}" if device is None else f"device: {device.told()}"
    lines.append(how)
    return "\n".join(lines)


def _decision(key: Any, program: Program, before: Mapping[Any, Program]) -> str:
    if before.get(key) is program:
        return "is not compiled again: the program for such arguments is there"
    told = difference(key, program, before)
    return f"is compiled again: {told}" if told else "is compiled, for the first time"


def _section(title: str, items: list[str]) -> list[str]:
    return [f"{title}: none"] if not items else [f"{title}:", *(f"  {item}" for item in items)]


def _statics(
    structure: Any, program: Program, declared: frozenset[str], needed: Mapping[Any, Place]
) -> list[str]:
    found = []
    for i, (name, leaf) in enumerate(zip(program.traced.names, program.types)):
        if not isinstance(leaf, Static):
            continue
        place = needed.get((structure, i))
        if place is not None:
            why = f"its value is needed at {_at(place)}"
        elif name.split(".")[0] in declared:
            why = "jit(static=...) says so"
        elif type(leaf.value) is int:
            why = "it does not fit int64"
        else:
            why = f"a {type(leaf.value).__name__} is told apart by its value"
        found.append(f"{name} = {_short(leaf.value)}: {why}")
    return found


def _changed(traced: Traced) -> list[str]:
    found = []
    for source in traced.stores.values():
        given = traced.inputs[source]
        found.append(
            "an array from outside"
            if given.leaf is None
            else f"argument {traced.names[given.leaf]}"
        )
    for effect in traced.effects:
        where = "from outside" if effect.path[0] == 2 else "among the arguments"
        names = [f"{key}, {where}" for key in (*(effect.keys or ()), *effect.deleted)]
        found += names or [f"a list {where}"]
    return found


def _copies(program: Program) -> list[str]:
    return [f"{c.type} {_line(c.loc)}: {c.reason}" for c in program.executable.copies]


def _line(loc: Loc) -> str:
    if not loc.frames:
        return "at an unknown line"
    frame = loc.frames[0]
    return f"at {_at(frame)}: {frame.source.strip()}"


def _at(place: Place) -> str:
    return f"{place.file}:{place.line}"


def _entry(program: Program) -> str:
    if not program.entry:
        return "not yet; calls that come often may get one"
    return "yes" if program.entry[0] is not None else "no, Python makes calls of this kind"
