"""How many bytes a kernel reads and writes: each element once for reading, once for writing.

    for 0, 64 { for 0, 1000 { load %x, %i, %j }; for 0, 1000 { load %x, %i, %j; store %y, ... } }
    ->  4 * (64000 + 64000) bytes, of float32: %x once, %y once

What loops touch is counted by their rounds, and never as more than the memory that it is in. Memory
that a block or a thread has for itself does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, prod

from jitnet.codegen.cuda.kernels import Kernel
from jitnet.codegen.cuda.memory import Root, Roots, walk
from jitnet.codegen.cuda.state import trips
from jitnet.ir import BufferType, Eqn
from jitnet.kernel import statements as S


def traffic(kernels: Sequence[Kernel], roots: Roots) -> int | None:
    """The bytes of a launch of these kernels; None where that is only known at run time."""
    total = 0
    for kernel in kernels:
        rounds = prod((_rounds(level) for level in kernel.levels), start=1.0)
        own = {e.result for e in walk((*kernel.head, *kernel.eqns)) if e.op is S.ALLOC}
        touched: dict[tuple[Root, bool], float] = {}
        for eqn, count in _accesses((*kernel.head, *kernel.eqns), rounds):
            root = roots[eqn.operands[0]]
            if root.value not in own:
                key = root, eqn.op is S.STORE
                touched[key] = touched.get(key, 0) + count
        for (root, _), count in touched.items():
            type = root.value.type
            assert isinstance(type, BufferType)
            size = inf if type.symbolic else float(prod(d for d in type.dims if isinstance(d, int)))
            if min(count, size) == inf:
                return None
            total += int(min(count, size)) * type.dtype.itemsize
    return total


def _accesses(eqns: Sequence[Eqn], rounds: float) -> Iterator[tuple[Eqn, float]]:
    """Loads and stores, each with how often it is made."""
    for eqn in eqns:
        if eqn.op is S.LOAD or eqn.op is S.STORE:
            yield eqn, rounds
        times = _rounds(eqn) if eqn.op is S.FOR else inf if eqn.op is S.WHILE else 1.0
        for region in eqn.regions:
            yield from _accesses(region.eqns, rounds * times if rounds else 0.0)


def _rounds(loop: Eqn) -> float:
    count = trips(loop)
    return inf if count is None else float(count)
