"""Which scalar arguments the host has to know, and which it may leave on the device.

    func @f(%x: buf f64[%n], %n: i64, %rate: f64)     %n: extents, bounds, offsets, conditions
                                                      %rate: only kernels read it

What only kernels read is passed by its address: a captured graph of the launches stays right when
it is another number the next time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from jitnet.codegen.cuda.marks import HOSTS
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.ir import ArrayType, Eqn, Function, Value
from jitnet.kernel import statements as S


def slots_of(f: Function, scalars: Collection[int], resident: Collection[int]) -> frozenset[int]:
    """The params that are passed by their address.

    Args:
        scalars: positions of numbers that the caller gives.
        resident: positions of scalars that are on the device anyway.
    """
    needed = _needed(f)
    return frozenset(resident) | {i for i in scalars if f.params[i] not in needed}


def _needed(f: Function) -> set[Value]:
    """The values that the host asks for, and those that it computes them of."""
    makers: dict[Value, Eqn] = {}
    found = {d for v in (*f.params, *f.results) for d in v.type.symbolic}
    for eqn in f.walk():
        if is_scalar_op(eqn):
            if not any(v.dtype.is_float for v in eqn.operands):  # the host leaves these alone
                makers[eqn.result] = eqn
        else:
            found.update(_asked(eqn))
    todo = list(found)
    while todo:
        maker = makers.get(todo.pop())
        if maker is not None:
            new = [v for v in maker.operands if v not in found]
            found.update(new)
            todo += new
    return found


def _asked(eqn: Eqn) -> Iterator[Value]:
    """What the host may have to know to carry out a statement."""
    for r in eqn.results:
        yield from r.type.symbolic
    if eqn.op in HOSTS:
        yield from _scalars(eqn.operands)
    if eqn.regions or eqn.op is S.ALLOC or eqn.op is S.VIEW:
        yield from _integers(eqn.operands)
    for region in eqn.regions:
        yield from _integers(region.results)


def _scalars(values: Sequence[Value]) -> Iterator[Value]:
    return (v for v in values if isinstance(v.type, ArrayType))


def _integers(values: Sequence[Value]) -> Iterator[Value]:
    return (v for v in _scalars(values) if not v.dtype.is_float)
