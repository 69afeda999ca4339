"""The reference interpreter of kernel IR: slow, plain, and strict about memory.

    f = builder.build()                     # func @f(%x: buf f64[%n], %n: i64) -> () { for ... }
    run(f, [np.zeros(8), np.int64(8)])      # writes into the array

Loops of all kinds run in order, one iteration after the other; `backward=True` runs the independent
ones last to first, which finds iterations that are not independent. Scalar rows are computed by
their NumPy reference, or with `expand=True` by their expansions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from jitnet.errors import filled_in, raise_from_program
from jitnet.ir import ArrayType, BufferType, Builder, DType, Eqn, Function, Literal, Op, Value
from jitnet.ir import types as T
from jitnet.kernel import statements as S
from jitnet.kernel.externs import EXTERNS
from jitnet.kernel.memory import Buffer, Tape, allocate, of_array, poison, release
from jitnet.kernel.row import Conversion, ScalarOp


@dataclass
class _State:
    """Values by name, and how to run."""

    expand: bool
    backward: bool
    values: dict[Value, Any] = field(default_factory=dict)
    workspace: dict[Eqn, Buffer] = field(default_factory=dict)

    def read(self, value: Value) -> Any:
        return value.data if isinstance(value, Literal) else self.values[value]


def run(
    f: Function, args: Sequence[Any], *, expand: bool = False, backward: bool = False
) -> tuple[Any, ...]:
    """Interpret a kernel-level Function.

    Args:
        args: a NumPy scalar (or Python number) for a scalar param, an array of any strides for a
            buffer, which is read and written in place.
        expand: compute rows by their expansions where they have one.
        backward: run loops whose iterations are independent from last to first.

    Returns:
        NumPy scalars for scalar results, arrays for buffers.

    Raises:
        IndexError: a load, store or view out of bounds, or a use after free.
        JitnetError: what the program itself raises, see `errors.raise_from_program`.
    """
    state = _State(expand, backward)
    values = [_argument(p, a) for p, a in zip(f.params, args, strict=True)]
    _check_layouts(state, f.params, values)
    with np.errstate(all="ignore"):
        results = _run(state, f, values)
    return tuple(r.array if isinstance(r, Buffer) else r for r in results)


def evaluate(op: ScalarOp, *operands: Any, expand: bool = True) -> Any:
    """A row on NumPy scalars, or on arrays elementwise (not where the expansion loops)."""
    with np.errstate(all="ignore"):
        return _scalar(_State(expand, False), op, operands)


def _argument(param: Value, value: Any) -> Any:
    if isinstance(param.type, ArrayType):
        return param.dtype.numpy.type(value)
    if isinstance(param.type, BufferType) and isinstance(value, np.ndarray):
        assert value.dtype == param.dtype.numpy, f"{param!r} is {param.dtype}, not {value.dtype}"
        assert value.ndim == param.rank, f"{param!r} has rank {param.rank}, not {value.ndim}"
        return of_array(value)
    return value


def _check_layouts(state: _State, params: Sequence[Value], args: Sequence[Any]) -> None:
    """An array that is not laid out as its param says would be a caller's mistake."""
    state.values.update(zip(params, args))
    for param, arg in zip(params, args):
        if not isinstance(arg, Buffer):
            continue
        type, array = param.buffer_type, arg.array
        dims = [d if isinstance(d, int) else int(state.read(d)) for d in type.dims]
        assert list(array.shape) == dims, f"{param!r} is {dims}, not {list(array.shape)}"
        contiguous = type.strides is not None or array.flags.c_contiguous
        assert contiguous, f"{param!r} is not C-contiguous"


def _run(state: _State, f: Function, args: Sequence[Any]) -> list[Any]:
    state.values.update(zip(f.params, args))
    for eqn in f.eqns:
        operands = [state.read(v) for v in eqn.operands]
        state.values.update(zip(eqn.results, _results(state, eqn, operands)))
    return [state.read(v) for v in f.results]


def _results(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    if isinstance(eqn.op, ScalarOp):
        return (_scalar(state, eqn.op, operands),)
    if isinstance(eqn.op, Conversion):
        return (eqn.op.numpy(operands[0], eqn.attrs["dtype"].numpy),)
    return _STATEMENTS[eqn.op](state, eqn, operands)


# -- scalars ---------------------------------------------------------------------------------------


def _scalar(state: _State, op: ScalarOp, operands: Sequence[Any]) -> Any:
    dtypes = tuple(T.from_numpy(x.dtype) for x in operands)
    if state.expand and op.expand is not None and dtypes[-1].kind not in op.llvm:
        return _run(state, expansion(op, dtypes), operands)[0]
    return op.numpy(*operands)


@lru_cache(maxsize=512)
def expansion(op: ScalarOp, dtypes: tuple[DType, ...]) -> Function:
    """A row as a Function of other rows."""
    assert op.expand is not None, f"{op.name} has no expansion"
    with Builder(op.name, "kernel") as b:
        params = [b.param(T.scalar(dtype), f"x{i}") for i, dtype in enumerate(dtypes)]
        result = op.expand(*params)
    return b.build(result)


# -- memory ----------------------------------------------------------------------------------------


def _load(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    buffer, *index = operands
    return (buffer.read(_ints(index)),)


def _store(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    buffer, value, *index = operands
    buffer.write(_ints(index), value)
    return ()


def _alloc(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    """Memory of the workspace is the same each time round, and poison again."""
    heap = eqn.attrs.get("heap") or not all(isinstance(v, Literal) for v in eqn.operands)
    if heap:
        return (allocate(eqn.attrs["dtype"], _ints(operands)),)
    if eqn not in state.workspace:
        state.workspace[eqn] = allocate(eqn.attrs["dtype"], _ints(operands))
    poison(state.workspace[eqn])
    return (state.workspace[eqn],)


def _free(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    release(operands[0])
    return ()


def _view(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    buffer, offset, *rest = operands
    rank = len(rest) // 2
    return (buffer.view(int(offset), _ints(rest[:rank]), _ints(rest[rank:])),)


def _constant(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    return (of_array(eqn.attrs["data"].array),)


def _ints(values: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


# -- control ---------------------------------------------------------------------------------------


def _for(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    low, high, *carries = operands
    (body,) = eqn.regions
    indices = range(int(low), int(high))
    if state.backward and eqn.attrs["kind"] != "seq":
        indices = indices[::-1]
    for i in indices:
        carries = _run(state, body, [np.int64(i), *carries])
    return carries


def _while(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    cond, body = eqn.regions
    carries = list(operands)
    while _run(state, cond, carries)[0]:
        carries = _run(state, body, carries)
    return carries


def _if(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    then, orelse = eqn.regions
    return _run(state, then if operands[0] else orelse, ())


# -- calls and errors ------------------------------------------------------------------------------


def _call_extern(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    routine = EXTERNS[eqn.attrs["name"]]
    types = tuple("ptr" if isinstance(v, Buffer) else _name(v) for v in operands)
    assert types == routine.arguments, f"{routine.name} takes {routine.arguments}, not {types}"
    routine.numpy(*(v.pointer() if isinstance(v, Buffer) else v for v in operands))
    return ()


def _invoke(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    callee = eqn.attrs["callee"]
    inner = _State(state.expand, state.backward)
    _check_layouts(inner, callee.params, operands)
    return _run(inner, callee, operands)


def _name(scalar: Any) -> str:
    return T.from_numpy(scalar.dtype).name


def _raise(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    message = filled_in(eqn.attrs["message"], operands)
    raise_from_program(eqn.attrs["error"], message, eqn.loc.frames)


# -- tapes -----------------------------------------------------------------------------------------


def _tape_new(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    return (Tape(eqn.attrs["type"], []),)


def _tape_push(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    tape, *values = operands
    tape.push(values)
    return ()


def _tape_length(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    return (np.int64(len(operands[0].records)),)


def _tape_extent(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    tape, position = operands
    return (np.int64(tape.extent(int(position), eqn.attrs["field"], eqn.attrs["axis"])),)


def _tape_get(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    tape, position, *ragged = operands
    record: tuple[Any, ...] = tape.get(int(position))
    stored = [
        value.array.shape[axis]
        for value, (_, dims) in zip(record, tape.type.fields)
        for axis, dim in enumerate(dims)
        if dim is None
    ]
    assert stored == list(_ints(ragged)), f"extents {stored} of the record, not {ragged}"
    return record


def _tape_reach(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    tape, length = operands
    tape.reach(int(length))
    return ()


def _tape_slots(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    tape, position = operands
    slots: tuple[Any, ...] = tape.slots(int(position))
    return slots


def _tape_free(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    operands[0].records.clear()
    return ()


def _tape_set(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    tape, position, *values = operands
    tape.put(int(position), values)
    return ()


def _tape_cut(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    tape, start, stop = operands
    tape.cut(int(start), int(stop))
    return ()


def _tape_prepend(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    tape, *values = operands
    tape.prepend(values)
    return ()


def _tape_copy(state: _State, eqn: Eqn, operands: Sequence[Any]) -> Sequence[Any]:
    tape, source = operands
    tape.copy_from(source)
    return ()


_STATEMENTS: dict[Op, Callable[[_State, Eqn, Sequence[Any]], Sequence[Any]]] = {
    S.LOAD: _load,
    S.STORE: _store,
    S.ALLOC: _alloc,
    S.FREE: _free,
    S.VIEW: _view,
    S.CONSTANT: _constant,
    S.FOR: _for,
    S.WHILE: _while,
    S.IF: _if,
    S.CALL_EXTERN: _call_extern,
    S.INVOKE: _invoke,
    S.RAISE: _raise,
    S.TAPE_NEW: _tape_new,
    S.TAPE_PUSH: _tape_push,
    S.TAPE_LENGTH: _tape_length,
    S.TAPE_EXTENT: _tape_extent,
    S.TAPE_GET: _tape_get,
    S.TAPE_REACH: _tape_reach,
    S.TAPE_SLOTS: _tape_slots,
    S.TAPE_FREE: _tape_free,
    S.TAPE_SET: _tape_set,
    S.TAPE_CUT: _tape_cut,
    S.TAPE_PREPEND: _tape_prepend,
    S.TAPE_COPY: _tape_copy,
}
