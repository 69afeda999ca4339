"""The one seam between the frontend and what runs programs.

    executable = compile(function, ["C", "F"])
    outputs = executable([x, y])

The frontend hands over a traced Function with a layout class per param; it gets back something that
maps flat arguments to new arrays (NumPy scalars for rank 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet.interp import evaluate
from jitnet.ir import Function
from jitnet.ops.primitive import Element, Primitive


@dataclass(frozen=True)
class Executable:
    """A compiled Function.

    Attributes:
        run: flat arguments (arrays of the params' dtypes, dims and layout classes; Python or NumPy
            numbers for rank 0) → the Function's results. Every result is a new array.
        stages: the text of each stage, in order.
        milliseconds: what each stage took to make.
        cost: rough work of one call: "flops", "bytes" read and written, "equations".
    """

    run: Callable[[Sequence[Any]], Sequence[Any]]
    stages: Mapping[str, str]
    milliseconds: Mapping[str, float]
    cost: Mapping[str, int]


def compile(function: Function, layouts: Sequence[str]) -> Executable:
    """An executable of a traced Function whose params have these layout classes."""
    dtypes = [p.dtype.numpy if p.rank == 0 else None for p in function.params]

    def run(args: Sequence[Any]) -> list[Any]:
        flat = [x if dtype is None else dtype.type(x) for x, dtype in zip(args, dtypes)]
        return [np.array(r) if isinstance(r, np.ndarray) else r for r in evaluate(function, flat)]

    return Executable(run, {"traced": str(function)}, {}, cost_of(function))


def cost_of(function: Function) -> dict[str, int]:
    """Rough work of one call. Loop bodies count once; extents that are not static count as one."""
    flops = 0
    equations = 0
    for eqn in function.walk():
        equations += 1
        rule = eqn.op.lower[0] if isinstance(eqn.op, Primitive) else None
        per_element = rule.cost if isinstance(rule, Element) and not rule.view else 1
        touched = (*eqn.results, *(o for o in eqn.operands if not isinstance(rule, Element)))
        flops += per_element * max((_extent(v) for v in touched), default=0)
    moved = (*function.params, *function.results)
    return {
        "flops": flops,
        "bytes": sum(_extent(v) * v.dtype.itemsize for v in moved),
        "equations": equations,
    }


def _extent(value: Any) -> int:
    product = 1
    for dim in getattr(value.type, "dims", ()):
        product *= dim if isinstance(dim, int) else 1
    return product
