"""The public functions. All return callables that compile when they are called.

    step = jit(value_and_grad(loss))     # the same as value_and_grad(loss): transforms compile
    value, gradient = step(params, x, y)

A transformed function is the plain function that traces its argument, transforms the Function and
inlines the result, under the same `Jitted` that `jit` uses; so transforms nest in any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, overload

from jitnet import errors, ir
from jitnet.frontend.jitted import Jitted, Lowered
from jitnet.frontend.pytree import register_pytree_node

__all__ = [
    "Jitted",
    "Lowered",
    "grad",
    "hessian",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "register_pytree_node",
    "stop_gradient",
    "trace",
    "value_and_grad",
    "vjp",
]

Function = Callable[..., Any]
Argnums = int | Sequence[int]


def _derivatives() -> Any:
    """Imported late: with all that traces, half of the time that `import jitnet` would take."""
    from jitnet.frontend import derivatives

    return derivatives


def _linear() -> Any:
    from jitnet.frontend import linear

    return linear


def _jvp(fn: Function, primals: Any, tangents: Any) -> Any:
    return _derivatives().jvp(fn, primals, tangents)


def _vjp(fn: Function, primals: Any, has_aux: bool) -> Any:
    return _linear().vjp(fn, primals, has_aux)


_JVP = Jitted(_jvp)  # the function is a static argument of theirs
_VJP = Jitted(_vjp)


@overload
def jit(
    fn: Function,
    *,
    device: str | None = ...,
    threads: int | None = ...,
    static: Sequence[int | str] = ...,
    verify: bool = ...,
    fast_math: bool = ...,
) -> Jitted: ...
@overload
def jit(
    fn: None = ...,
    *,
    device: str | None = ...,
    threads: int | None = ...,
    static: Sequence[int | str] = ...,
    verify: bool = ...,
    fast_math: bool = ...,
) -> Callable[[Function], Jitted]: ...
def jit(
    fn: Function | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    static: Sequence[int | str] = (),
    verify: bool = False,
    fast_math: bool = False,
) -> Jitted | Callable[[Function], Jitted]:
    """Compile a NumPy function for each kind of arguments it is called with.

    Args:
        fn: the function; without it `jit(...)` is a decorator with options.
        device: None or "cpu".
        threads: None or 1.
        static: parameters, by name or position, whose values are compiled in; they must be
            hashable. Bools, strings and None are static anyway, and ints where it is needed.
        verify: every call also runs `fn` as it is, with NumPy, on copies of the arguments, and
            raises VerificationError where the compiled program differs by more than rounding,
            naming the first line of `fn` that does. What `fn` does besides computing happens twice.

    Raises:
        NotAvailableError: for options that this version does not have.
        TypeError: when fn is not callable.
    """
    _refuse_options(device, threads, fast_math)
    chosen = (static,) if isinstance(static, (int, str)) else tuple(static)
    if fn is None:
        return lambda f: jit(f, static=chosen, verify=verify)
    if not callable(fn):
        raise TypeError(f"jit takes a function, not {type(fn).__name__}")
    return Jitted(fn, chosen, verify)


def _refuse_options(device: str | None, threads: int | None, fast_math: bool) -> None:
    if device not in (None, "cpu", "cuda", "cpusim"):
        raise ValueError(f"device must be None, 'cpu', 'cuda' or 'cpusim', not {device!r}")
    asked = {
        f"device={device!r}": device in ("cuda", "cpusim"),
        f"threads={threads!r}": threads not in (None, 1),
        "fast_math=True": fast_math,
    }
    for option, wanted in asked.items():
        if wanted:
            raise errors.NotAvailableError(
                f"jit({option}) is not available in this version", remedy="leave the option out"
            )


def _transformed(fn: Function, inside: Function, name: str) -> Jitted:
    """`inside` under jit, looking like fn."""
    functools.update_wrapper(inside, fn, assigned=("__module__", "__doc__"), updated=())
    inside.__name__ = inside.__qualname__ = f"{name}_{getattr(fn, '__name__', 'function')}"
    return Jitted(inside)


def grad(fn: Function, argnums: Argnums = 0, has_aux: bool = False) -> Jitted:
    """The gradient of a scalar-valued function.

    Args:
        fn: returns a float scalar, or `(scalar, aux)` with `has_aux`.
        argnums: the positional arguments to differentiate in: one, or several for a tuple.

    Returns:
        A function of fn's arguments that gives the gradient, shaped like the argument (for trees: a
        tree of the same structure), or `(gradient, aux)`.

    Raises (when called):
        DifferentiationError: where fn does not return a float scalar, or an argument holds
            integers or no floats.
    """
    both = value_and_grad(fn, argnums, has_aux).__wrapped__

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, gradients = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return _transformed(fn, gradient, "grad")


def value_and_grad(fn: Function, argnums: Argnums = 0, has_aux: bool = False) -> Jitted:
    """As `grad`; gives `(value, gradient)`, or `((value, aux), gradient)` with `has_aux`."""

    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        return _derivatives().value_and_grad(fn, args, kwargs, argnums, has_aux)

    return _transformed(fn, value_and_gradient, "value_and_grad")


def jvp(fn: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """fn's result at `primals`, and its derivative in the direction `tangents`.

    Args:
        primals: fn's positional arguments; float arrays, numbers, or trees of these.
        tangents: one for each primal, of its structure, shapes and dtypes.

    Returns:
        `(result, tangent of the result)`, trees of one structure.
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"jvp takes a tuple of {name}, not {type(given).__name__}")
    result: tuple[Any, Any] = _JVP(fn, tuple(primals), tuple(tangents))
    return result


def vjp(fn: Function, *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """fn's result at `primals`, and its pullback.

    Returns:
        `(result, pullback)`, or `(result, pullback, aux)` with `has_aux`; `pullback(cotangent)`
        takes a tree like the result and gives a tuple with one tree for each primal.
    """
    result: tuple[Any, ...] = _VJP(fn, primals, has_aux)
    return result


def jacfwd(fn: Function, argnums: Argnums = 0) -> Jitted:
    """The Jacobian, a column at a time: `result.shape + argument.shape` for each pair of leaves."""

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        return _linear().jacfwd(fn, args, kwargs, argnums)

    return _transformed(fn, jacobian, "jacfwd")


def jacrev(fn: Function, argnums: Argnums = 0) -> Jitted:
    """The Jacobian, a row at a time: `result.shape + argument.shape` for each pair of leaves."""

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        return _linear().jacrev(fn, args, kwargs, argnums)

    return _transformed(fn, jacobian, "jacrev")


def hessian(fn: Function, argnums: Argnums = 0) -> Jitted:
    """Second derivatives: the forward Jacobian of the reverse one."""
    return jacfwd(jacrev(fn, argnums), argnums)


def stop_gradient(x: Any) -> Any:
    """`x`, seen as a constant by every derivative. x may be a tree."""
    return _derivatives().stop_gradient(x)


def trace(fn: Function) -> Callable[..., ir.Function]:
    """`trace(fn)(*args)` is fn's IR for such arguments, before any pass."""
    own = fn.__wrapped__ if isinstance(fn, Jitted) else fn

    def traced(*args: Any, **kwargs: Any) -> ir.Function:
        return Jitted(own).trace(args, kwargs)[0].function

    return traced
