"""The derivatives that others ask for, made of the three transforms; of complex numbers too.

value_and_grad(f, [0])    f's results, then the gradient of result 0 in param 0
vjp(f, [0, 1])            what a pullback needs, and the pullback
jvp(f, [True])            f's results, then their tangents
linearize(f, [True])      what the linear half needs, and the linear half
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Builder, Function, literal
from jitnet.ops.shape import zeros_like
from jitnet.passes.inline import without_calls
from jitnet.passes.repeats import repeats_called
from jitnet.transforms.budget import linearize_within
from jitnet.transforms.custom import written_out
from jitnet.transforms.jvp import jvp as real_jvp
from jitnet.transforms.linearize import linearize as real_linearize
from jitnet.transforms.realforms import real_form
from jitnet.transforms.transpose import transpose


def value_and_grad(
    f: Function, wrt: Sequence[int], result: int = 0, memory: int | None = None
) -> Function:
    """f's results, then the gradients of one scalar result in the params `wrt`. Of a complex
    result, the gradient is that of its real part: f'(z), where f is holomorphic. `memory`: bytes
    for what is saved, see `budget`."""
    known, back, moving = vjp(f, wrt, [result], memory)
    with Builder(f.name) as b:
        params = b.params_like(f.params)
        values = b.inline(known, params)
        results, residuals = values[: len(f.results)], values[len(f.results) :]
        if not moving[result]:
            return b.build(*results, *(zeros_like(params[i].array_type) for i in wrt))
        one = literal(1, results[result].dtype)
        gradients = dict(zip(sorted(wrt), b.inline(back, [*residuals, one])))
    return b.build(*results, *(gradients[i] for i in wrt))


def vjp(
    f: Function, wrt: Sequence[int], of: Sequence[int] | None = None, memory: int | None = None
) -> tuple[Function, Function, tuple[bool, ...]]:
    """`(forward, backward, moving results)`: `forward` takes f's params and returns f's results,
    then residuals; `backward` takes the residuals, then a cotangent for each moving result (of
    those in `of`), and returns the cotangents of the params `wrt`, in ascending order."""
    form = real_form(repeats_called(f) if memory is None else without_calls(f))
    chosen = [i in wrt for i in range(len(f.params))]
    known, linear, moves = linearize_within(form.function, form.of_params(chosen), memory)
    count = len(known.results) - len(form.function.results)
    asked = form.asked(of)
    linear = _only(linear, [a for a, m in zip(asked, moves) if m])
    moves = tuple(a and m for a, m in zip(asked, moves))
    back = transpose(linear, [i >= count for i in range(len(linear.params))])
    moving = tuple(map(any, form.of_results(moves)))
    return form.known(known), form.pulled(back, count, sorted(wrt), moves), moving


def _only(linear: Function, wanted: Sequence[bool]) -> Function:
    """The linear Function with some of its results."""
    results = tuple(r for r, w in zip(linear.results, wanted, strict=True) if w)
    return Function(linear.name, linear.params, linear.eqns, results)


def jvp(f: Function, nonzero: Sequence[bool]) -> tuple[Function, tuple[bool, ...]]:
    """`(f', nonzero results)`: f' takes f's params, then a tangent for each one marked in
    `nonzero`; it returns f's results, then a tangent for each that can have one."""
    form = real_form(repeats_called(f))
    pushed, moves = real_jvp(form.function, form.of_params(nonzero))
    return form.pushed(written_out(pushed), nonzero, moves), tuple(map(any, form.of_results(moves)))


def linearize(f: Function, nonzero: Sequence[bool]) -> tuple[Function, Function, tuple[bool, ...]]:
    """`(known, linear, nonzero results)`: `known` takes f's params and returns f's results, then
    residuals; `linear` takes these, then a tangent for each param marked in `nonzero`, and returns
    a tangent for each nonzero result."""
    form = real_form(repeats_called(f))
    known, linear, moves = real_linearize(form.function, form.of_params(nonzero))
    count = len(known.results) - len(form.function.results)
    whole = form.linear(written_out(linear), count, nonzero, moves)
    return form.known(known), whole, tuple(map(any, form.of_results(moves)))
