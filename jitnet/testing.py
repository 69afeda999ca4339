"""Checks of derivatives, for tests of your own functions and rules.

    from jitnet.testing import check_grads
    check_grads(lambda w: np.tanh(x @ w).sum(), (w,), order=2)

Forward mode is compared with central differences of the plain function, which NumPy computes;
reverse mode with forward mode, for the two must be transposes of each other:
`<jvp v, u> == <v, vjp u>` for random v and u. Second derivatives are first ones of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors
from jitnet.api import jit, jvp, vjp
from jitnet.frontend.context import current_trace
from jitnet.frontend.pytree import flatten, leaf_paths, unflatten

__all__ = ["check_grads"]

Leaves = tuple[Any, ...]
Array = np.ndarray[Any, Any]

STEPS = {"d": 1e-5, "f": 1e-2, "e": 1 / 16, "E": 1 / 8}
"""Of central differences, by the kind of numbers: near the cube root of their precision.
float64, float32, float16 and bfloat16 are called by NumPy's letters."""

DIFFERENCES = {"d": 1e-6, "f": 2e-2, "e": 1e-1, "E": 4e-1}
"""The tolerance where central differences are compared."""

ROUNDING = {"d": 1e-9, "f": 1e-3, "e": 1e-2, "E": 1e-1}
"""The tolerance where both numbers are exact but for rounding."""

MOST_NAMED = 512
"""Elements that are tried one by one, to tell which one is wrong."""


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check that f's derivatives are what f does.

    Args:
        f: returns floats or complex numbers, or a tree of such; what else it returns is left out.
        args: its positional arguments, trees of arrays and numbers. All floats in them are varied,
            at random and all at once; integers, strings and the like stay as they are. They should
            be away from kinks. f may change them: it gets copies.
        order: how many times f is differentiated, in all combinations of the modes.
        modes: "fwd" for jvp, "rev" for vjp, which is compared with differences where it is alone.
        atol, rtol: tolerances, where the numbers are sums of as many terms as there are elements.
            By default 1e-6 against differences and 1e-9 between the modes in float64, 2e-2 and 1e-3
            where any number is a float32; larger ones for halves.
        eps: the step of the differences; by default 1e-5, and 1e-2 for float32.

    Raises:
        GradientCheckError: an AssertionError, which tells order, mode, leaf, index and both
            numbers.
        ValueError: for another mode, or an order below 1.
        ArgumentError: where there is no float among the arguments.
    """
    chosen = tuple(modes)
    if not chosen or any(mode not in ("fwd", "rev") for mode in chosen):
        raise ValueError(f"modes are 'fwd' and 'rev', not {modes!r}")
    if order < 1:
        raise ValueError(f"order must be at least 1, not {order}")
    leaves, tree = flatten(tuple(args))
    places = [i for i, leaf in enumerate(leaves) if _is_inexact(leaf)]
    if not places:
        raise errors.ArgumentError(
            "check_grads: there are no floats among the arguments",
            remedy="pass float arrays, x.astype(np.float64)",
        )
    paths = leaf_paths(tree)

    def plain(*floats: Any) -> Leaves:
        """f as a function of its float leaves, to its float leaves."""
        filled = list(map(_copy, leaves))
        for i, x in zip(places, floats):
            filled[i] = x
        results, _ = flatten(_run(f, unflatten(tree, filled)))
        return tuple(r for r in results if _is_inexact(r))

    point = tuple(leaves[i] for i in places)
    kind = max(map(_kind, (*point, *plain(*map(_copy, point)))), key="dfeE".index)
    check = _Check(tuple(_name(paths[i]) for i in places), kind, chosen, atol, rtol, eps)
    _check(plain, point, check, order, ())


def _run(f: Callable[..., Any], args: Sequence[Any]) -> Any:
    """f(*args): with NumPy, or inside of the trace that is running."""
    if current_trace() is None:
        return f(*args)
    from jitnet.frontend import tracing  # which is there already

    return tracing.call(f, *args)


def _name(path: str) -> str:
    """The path of a leaf among the arguments: `args[0].w`."""
    first, *rest = path.split(".")
    return ".".join([f"args[{first}]", *rest])


@dataclass(frozen=True)
class _Check:
    """What stays the same from order to order.

    Attributes:
        names: of the leaves that are varied.
        kind: of the numbers, that with the least precision, see STEPS.
    """

    names: tuple[str, ...]
    kind: str
    modes: tuple[str, ...]
    atol: float | None
    rtol: float | None
    eps: float | None

    def close(self, a: Any, b: Any, exact: bool, scale: Any) -> Any:
        """Whether numbers agree; `scale` is the size of the terms that they are made of."""
        default = (ROUNDING if exact else DIFFERENCES)[self.kind]
        atol = default if self.atol is None else self.atol
        rtol = default if self.rtol is None else self.rtol
        size = np.maximum(np.abs(b), scale)
        both_nan = np.isnan(a) & np.isnan(b)
        return both_nan | (np.abs(a - b) <= atol + rtol * size)


def _check(
    f: Callable[..., Leaves], point: Leaves, check: _Check, order: int, above: tuple[str, ...]
) -> None:
    """Check f at a point. `above` are the modes of the derivatives that f itself is made of."""
    rng = np.random.default_rng(len(above))
    v = tuple(_random(rng, x) for x in point)
    u = tuple(_random(rng, r) for r in f(*map(_copy, point)))

    def derivatives(point: Leaves, v: Leaves, u: Leaves) -> tuple[Leaves, Leaves]:
        moved = jvp(f, tuple(map(_copy, point)), v)[1] if "fwd" in check.modes else ()
        return moved, vjp(f, *map(_copy, point))[1](u) if "rev" in check.modes else ()

    tangents, cotangents = jit(derivatives)(point, v, u)
    here = _Here(f, point, v, u, check, above)
    if "fwd" in check.modes:
        _check_forward(here, tangents)
    if "rev" in check.modes:
        _check_reverse(here, tangents, cotangents)
    if order == 1:
        return
    if "fwd" in check.modes:
        _check(lambda *x: _floats(jvp(f, x, v)), point, check, order - 1, (*above, "fwd"))
    if "rev" in check.modes:
        _check(lambda *x: _floats(vjp(f, *x)[1](u)), point, check, order - 1, (*above, "rev"))


class _Here(NamedTuple):
    """What is checked: f at a point, along v, its results along u."""

    f: Callable[..., Leaves]
    point: Leaves
    v: Leaves
    u: Leaves
    check: _Check
    above: tuple[str, ...]

    def differences(self, along: Leaves) -> list[Array]:
        """Central differences of the results along a direction."""
        eps = STEPS[self.check.kind] if self.check.eps is None else self.check.eps
        high = self.f(*(_moved(x, eps, d) for x, d in zip(self.point, along)))
        low = self.f(*(_moved(x, -eps, d) for x, d in zip(self.point, along)))
        return [_difference(a, b) / (2 * eps) for a, b in zip(high, low, strict=True)]

    def tangents(self, along: Leaves) -> Sequence[Any]:
        """The results' tangents by forward mode, or what stands for them where that is not asked
        for."""
        if "fwd" not in self.check.modes:
            return self.differences(along)
        moved: Leaves = jvp(self.f, tuple(map(_copy, self.point)), along)[1]
        return moved


def _check_forward(here: _Here, tangents: Leaves) -> None:
    for k, (expected, t) in enumerate(zip(here.differences(here.v), tangents, strict=True)):
        found, leaf = np.asarray(t), f"result {k}"
        if found.shape != expected.shape:
            raise errors.GradientCheckError(
                f"order {len(here.above) + 1}, mode fwd: the tangent of {leaf} has shape "
                f"{found.shape}, and the result {expected.shape}"
            )
        good = here.check.close(found, expected, False, np.abs(expected).max(initial=0.0))
        if not np.all(good):
            worst = _worst(found, expected, good)
            _fail(here, "fwd", leaf, worst, found[worst], expected[worst], "differences")


def _check_reverse(here: _Here, tangents: Leaves, cotangents: Leaves) -> None:
    exact = "fwd" in here.check.modes
    moved = tangents if exact else here.differences(here.v)
    forward, backward = _pairing(moved, here.u), _pairing(here.v, cotangents)
    scale = _pairing(map(np.abs, moved), map(np.abs, here.u))
    scale += _pairing(map(np.abs, here.v), map(np.abs, cotangents))
    if here.check.close(backward, forward, exact, scale):
        return
    against = "forward mode" if exact else "differences"
    for k, (x, ct) in enumerate(zip(here.point, cotangents)):
        for index in np.ndindex(np.shape(x)) if np.size(x) <= MOST_NAMED else ():
            for unit in (1.0, 1j) if np.iscomplexobj(x) else (1.0,):
                alone = tuple(np.zeros_like(np.asarray(y)) for y in here.point)
                alone[k][index] = unit
                one = np.real(np.asarray(ct)[index] * unit)
                other = _pairing(here.tangents(tuple(map(_like, alone, here.point))), here.u)
                if not here.check.close(one, other, exact, 0.0):
                    _fail(here, "rev", here.check.names[k], index, one, other, against)
    _fail(here, "rev", "<v, vjp u>", (), backward, forward, against)


def _fail(
    here: _Here,
    mode: str,
    leaf: str,
    index: tuple[int, ...],
    found: Any,
    expected: Any,
    against: str,
) -> None:
    place = f"{leaf}{list(index)}" if index else leaf
    inner = f" of the {' of the '.join(reversed(here.above))} derivative" if here.above else ""
    raise errors.GradientCheckError(
        f"order {len(here.above) + 1}, mode {mode}{inner}: {place} is {found}; "
        f"by {against} it is {expected}"
    )


# -- numbers ---------------------------------------------------------------------------------------


def _is_inexact(leaf: Any) -> bool:
    """Whether a leaf is a float or complex number, or an array of such; traced or not."""
    return isinstance(leaf, (float, complex, np.ndarray, np.generic)) and (
        _char(leaf) in "efdgFDGE"
    )


def _floats(tree: Any) -> Leaves:
    return tuple(leaf for leaf in flatten(tree)[0] if _is_inexact(leaf))


def _char(x: Any) -> str:
    """NumPy's letter of the dtype; ml_dtypes gives bfloat16 "E"."""
    return np.dtype(getattr(x, "dtype", type(x))).char


def _kind(x: Any) -> str:
    return {"f": "f", "F": "f", "e": "e", "E": "E"}.get(_char(x), "d")


def _copy(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


def _like(value: Array, x: Any) -> Any:
    """An array of rank 0 as a number, where x is one."""
    return value if isinstance(x, np.ndarray) else type(x)(value[()])


def _random(rng: np.random.Generator, x: Any) -> Any:
    own = np.asarray(x)
    value = rng.standard_normal(own.shape)
    if own.dtype.kind == "c":
        value = value + 1j * rng.standard_normal(own.shape)
    return _like(np.asarray(value, own.dtype), x)


def _moved(x: Any, eps: float, direction: Any) -> Any:
    """`x + eps * direction`, of x's class and dtype."""
    return _like(np.asarray(x + np.asarray(direction) * eps, np.asarray(x).dtype), x)


def _wide(x: Any) -> type:
    return np.complex128 if np.iscomplexobj(x) else np.float64


def _difference(a: Any, b: Any) -> Array:
    """a - b, where inf - inf is 0: what stays infinite does not change."""
    a, b = np.asarray(a, _wide(a)), np.asarray(b, _wide(b))
    out = np.zeros(a.shape, a.dtype)
    np.subtract(a, b, out=out, where=~(a == b))
    return out


def _pairing(xs: Any, ys: Any) -> float:
    """The sum of products: of tangents and cotangents, which pair by their real parts."""
    return float(sum(np.sum(np.asarray(x, _wide(x)) * y).real for x, y in zip(xs, ys)))


def _worst(found: Array, expected: Array, good: Array) -> tuple[int, ...]:
    """The index of the greatest difference among those that are no good."""
    difference = np.where(good, -1.0, np.nan_to_num(np.abs(found - expected), nan=np.inf))
    return tuple(int(i) for i in np.unravel_index(np.argmax(difference), difference.shape))
