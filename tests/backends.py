"""Everything that runs a Function, to be compared with the array interpreter.

    for run in BACKENDS.values():
        results = run(f, args)

Each takes a Function and C-contiguous arguments, and may write to these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet.codegen.program import lower
from jitnet.codegen.signature import AliasOutput, BufferOutput, ScalarOutput, Slot
from jitnet.ir import Function
from jitnet.kernel import interp
from jitnet.ops.create import poison
from jitnet.passes import optimize
from jitnet.passes.fuse import fuse
from jitnet.runtime.executable import compile

Backend = Callable[[Function, Sequence[Any]], Sequence[Any]]


def kernel_interpreter(f: Function, args: Sequence[Any], backward: bool = False) -> list[Any]:
    """The lowered program, interpreted: it refuses what touches memory that is not its own.
    `backward` runs the iterations that are said to be independent from last to first."""
    return interpreted(fuse(optimize(f)), args, backward)


def interpreted(f: Function, args: Sequence[Any], backward: bool) -> list[Any]:
    """A fused Function, lowered and interpreted."""
    program = lower(f, ["C"] * len(f.params))
    outputs = program.signature.outputs
    arrays = [poison(o.dtype, o.dims) for o in outputs if isinstance(o, BufferOutput)]
    results = interp.run(program.kernel, [*args, *arrays], backward=backward)
    fresh = iter(arrays)
    collected: list[Any] = []
    for o in outputs:
        if isinstance(o, BufferOutput):
            collected.append(next(fresh))
        elif isinstance(o, ScalarOutput):
            collected.append(results[o.slot])
        elif isinstance(o, AliasOutput):
            collected.append(args[o.input])
        else:
            dims = [int(results[d.index]) if isinstance(d, Slot) else d for d in o.dims]
            flat = np.ravel(results[o.slot])
            collected.append(flat[: np.prod(dims, dtype=int)].reshape(dims))
    return collected


def backward_kernel_interpreter(f: Function, args: Sequence[Any]) -> list[Any]:
    return kernel_interpreter(f, args, backward=True)


def native(f: Function, args: Sequence[Any]) -> Sequence[Any]:
    """Compiled for this machine."""
    return compile(f, ["C"] * len(f.params)).run(args)


BACKENDS: dict[str, Backend] = {
    "kernel interpreter": kernel_interpreter,
    "kernel interpreter, backward": backward_kernel_interpreter,
    "native": native,
}
