"""A function as it is written, with every call, condition, loop and subscript routed through hooks.

    rewritten(fn, hooks)      fn again: same globals, cells, defaults and positions, but
                              `if x > 0: ...` is `hooks.if_(x > 0, then, orelse)`

The rewritten code is made once for each code object. It stands in the user's file, line by line and
column by column, so that frames and tracebacks are the user's. The functions made for blocks carry
the name of the user's function and are told apart by `is_thunk`.
"""

from __future__ import annotations

import ast
import functools
import linecache
import warnings
from types import CellType, CodeType, FunctionType

from jitnet.frontend import sources
from jitnet.frontend.desugaring import desugared
from jitnet.frontend.rewritten_expressions import Expressions, UnrewritableError
from jitnet.frontend.rewritten_statements import function
from jitnet.frontend.scopes import Summaries
from jitnet.frontend.syntax import HOOKS, THUNK
from jitnet.frontend.watch import Rest

__all__ = ["HOOKS", "is_rewritten", "is_thunk", "rewritten"]

# The last constant of a code object says what it is: as quick to ask as an attribute.
_FUNCTION_MARK = "<rewritten by jitnet>"
_THUNK_MARK = "<thunk made by jitnet>"
_HAS_VARIABLE_ARGUMENTS = 0x04  # inspect.CO_VARARGS


def rewritten(fn: FunctionType, hooks: object) -> FunctionType | None:
    """`fn` with its control flow and its calls routed through `hooks`.

    None where the source is not found or is not what `fn` was compiled from, where `fn` looks at
    its local variables by name (`locals()`, `eval`), and where it has too many early returns.
    """
    if is_rewritten(fn.__code__):
        return fn
    linecache.lazycache(fn.__code__.co_filename, fn.__globals__)  # sources inside of archives
    code = _rewritten_code(fn.__code__, fn.__code__.co_filename)
    if code is None:
        return None
    cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or ()))
    cells[HOOKS] = CellType(hooks)
    closure = tuple(cells[name] for name in code.co_freevars)
    made = FunctionType(code, fn.__globals__, fn.__name__, fn.__defaults__, closure)
    made.__kwdefaults__ = fn.__kwdefaults__
    made.__qualname__, made.__module__, made.__doc__ = fn.__qualname__, fn.__module__, fn.__doc__
    made.__dict__.update(fn.__dict__)
    return made


def is_rewritten(code: CodeType) -> bool:
    """Whether code was made here: rewritten functions, functions inside of them, thunks."""
    return _mark(code) in (_FUNCTION_MARK, _THUNK_MARK)


def is_thunk(code: CodeType) -> bool:
    """Whether code is that of a block or of a part of an expression, made a function here."""
    return _mark(code) == _THUNK_MARK


def _mark(code: CodeType) -> object:
    constants = code.co_consts
    return constants[-1] if constants else None


@functools.lru_cache(maxsize=4096)
def _rewritten_code(code: CodeType, file: str) -> CodeType | None:
    """The rewritten code. The file is a part of the key: codes of two files may be equal."""
    with Rest(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the source: they came when it was compiled
        node = sources.find(code)
        if node is None:
            return None
        in_class = sources.class_of(code) is not None
        try:
            if isinstance(node, ast.Lambda):
                node.body = Expressions(Summaries(), None, in_class).expression(node.body)
            else:
                node = function(desugared(node), in_class)
            made = sources.compiled(node, code, HOOKS)
        except (UnrewritableError, RecursionError):  # hundreds of early returns nest too deep
            return None
    return _marked(made, code.co_name, code.co_qualname)


def _marked(code: CodeType, name: str, qualname: str, mark: str = _FUNCTION_MARK) -> CodeType:
    """Code and what is inside of it, with the names that Python gives them, and marked."""
    constants: list[object] = []
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            own_name = sources.is_class_body(code) and constant == code.co_qualname
            constants.append(qualname if own_name else constant)
        elif _is_made_for_a_thunk(constant):
            constants.append(_marked(constant, name, qualname, _THUNK_MARK))
        else:
            inner = constant.co_qualname
            if inner.startswith(code.co_qualname):
                inner = qualname + inner.removeprefix(code.co_qualname)
            constants.append(_marked(constant, constant.co_name, inner))
    return code.replace(co_name=name, co_qualname=qualname, co_consts=(*constants, mark))


def _is_made_for_a_thunk(code: CodeType) -> bool:
    """A block's function by its name, a generated lambda by the parameter that marks it."""
    if code.co_name.startswith(THUNK):
        return True
    rest = code.co_argcount + code.co_kwonlyargcount
    return bool(code.co_flags & _HAS_VARIABLE_ARGUMENTS) and code.co_varnames[rest] == THUNK
