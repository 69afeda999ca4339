"""Gradients from the three transforms.

value_and_grad(f, [0])    f's results, then the gradient of result 0 in param 0
vjp(f, [0, 1])            what a pullback needs, and the pullback
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Builder, Function, literal
from jitnet.ops.shape import zeros_like
from jitnet.transforms.linearize import linearize
from jitnet.transforms.transpose import transpose


def value_and_grad(f: Function, wrt: Sequence[int], result: int = 0) -> Function:
    """f's results, then the gradients of one float scalar result in the params `wrt`."""
    known, linear, moving = linearize(f, [i in wrt for i in range(len(f.params))])
    with Builder(f.name) as b:
        params = b.params_like(f.params)
        values = b.inline(known, params)
        results, residuals = values[: len(f.results)], values[len(f.results) :]
        if not moving[result]:
            return b.build(*results, *(zeros_like(params[i].array_type) for i in wrt))
        back = transpose(*only(linear, moving, result, len(residuals)))
        one = literal(1, results[result].dtype)
        gradients = dict(zip(sorted(wrt), b.inline(back, [*residuals, one])))
    return b.build(*results, *(gradients[i] for i in wrt))


def only(
    linear: Function, moving: Sequence[bool], result: int, residuals: int
) -> tuple[Function, list[bool]]:
    """The linear Function with one result, and which of its params it is linear in."""
    place = sum(moving[:result])
    f = Function(linear.name, linear.params, linear.eqns, (linear.results[place],))
    return f, [i >= residuals for i in range(len(linear.params))]


def vjp(f: Function, wrt: Sequence[int]) -> tuple[Function, Function, tuple[bool, ...]]:
    """`(forward, backward, moving results)`: `forward` takes f's params and returns f's results,
    then residuals; `backward` takes the residuals, then a cotangent for each moving result, and
    returns the cotangents of the params `wrt`, in ascending order."""
    known, linear, moving = linearize(f, [i in wrt for i in range(len(f.params))])
    count = len(known.results) - len(f.results)
    back = transpose(linear, [i >= count for i in range(len(linear.params))])
    return known, back, moving
