"""What the host does in the place of loops: the statement `launch`.

    launch 4096, %x, %out0 {kernel='softmax_0', extents=1, ...}
    %total: f64 = launch %x {kernel='softmax_1', extents=0, ...}

A host program is kernel IR whose loops are launches; what is left in it (extents, allocations,
loops over launches, library calls) the runtime carries out. Scalars that a kernel computes stay on
the device until the host asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from jitnet.codegen.state import ErrorSite
from jitnet.ir import Attrs, Effect, Eqn, Function, Type, Value
from jitnet.kernel.statements import Statement

POINTER, BY_VALUE, SLOT = "pointer", "value", "slot"
"""How an argument is passed: a buffer's address; a number; the address of a number."""


def _results(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    return tuple(attrs["results"])


LAUNCH = Statement("launch", Effect.MAY_RAISE, _results)
"""Operands: the bounds of the loops that are spread over the grid, then the arguments. Attributes:

    kernel: the function's name.
    extents: of how many loops the bounds are given.
    per_block: how many of their elements a block takes at a time; 0: the host does not know the
        extents, and any number of blocks will do.
    threads: of a block.
    passing: for each argument, how.
    scratch: bytes of each private buffer that a block needs in device memory.
    moved: bytes that it reads and writes, where they are known.
    results: types of the scalars that it computes.
"""


@dataclass(frozen=True)
class CudaProgram:
    """Attributes:
    text: the translation unit.
    host: the kernel Function with launches; those that it invokes are such too.
    sites: what each status but 0 stands for.
    slots: positions of the host's params that are scalars on the device.
    guarded: whether kernels look at the status first.
    atomics: whether kernels take in terms by atomic operations.
    launches: the launches that stand in the text of `host`.
    """

    text: str
    host: Function
    sites: tuple[ErrorSite, ...]
    slots: frozenset[int] = frozenset()
    guarded: bool = False
    atomics: bool = False

    @cached_property
    def status_bytes(self) -> int:
        """The status word, and the values that an error has."""
        return 8 * (1 + max((len(site.dtypes) for site in self.sites), default=0))

    @property
    def launches(self) -> tuple[Eqn, ...]:
        functions = (self.host, *self.host.callees())
        return tuple(e for f in functions for e in f.walk() if e.op is LAUNCH)
