"""The public functions. All return callables that compile when they are called.

    step = jit(value_and_grad(loss))     # the same as value_and_grad(loss): transforms compile
    value, gradient = step(params, x, y)

A transformed function is the plain function that traces its argument, transforms the Function and
inlines the result, under the same `Jitted` that `jit` uses; so transforms nest in any order.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from jitnet import errors, ir
from jitnet.frontend.custom import CustomFunction
from jitnet.frontend.jitted import Jitted, Lowered
from jitnet.frontend.pytree import flatten, register_pytree_node
from jitnet.runtime.options import Options

__all__ = [
    "CustomFunction",
    "Jitted",
    "Lowered",
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "doctor",
    "grad",
    "hessian",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "register_pytree_node",
    "stop_gradient",
    "synchronize",
    "trace",
    "value_and_grad",
    "vjp",
    "vmap",
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


def _mapped() -> Any:
    from jitnet.frontend import mapped

    return mapped


def _jvp(fn: Function, primals: Any, tangents: Any, has_aux: bool) -> Any:
    return _derivatives().jvp(fn, primals, tangents, has_aux)


def _vjp(fn: Function, primals: Any, has_aux: bool, memory: int | None) -> Any:
    return _linear().vjp(fn, primals, has_aux, memory)


_JVP = Jitted(_jvp)  # the function is a static argument of theirs
_VJP = Jitted(_vjp, ("memory",))


@overload
def jit(
    fn: Function,
    *,
    device: str | None = ...,
    threads: int | None = ...,
    static: Sequence[int | str] = ...,
    verify: bool = ...,
    fast_math: bool = ...,
    async_errors: bool = ...,
    deterministic: bool = ...,
    loader: str = ...,
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
    async_errors: bool = ...,
    deterministic: bool = ...,
    loader: str = ...,
) -> Callable[[Function], Jitted]: ...
def jit(
    fn: Function | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    static: Sequence[int | str] = (),
    verify: bool = False,
    fast_math: bool = False,
    async_errors: bool = False,
    deterministic: bool = True,
    loader: str = "nvrtc",
) -> Jitted | Callable[[Function], Jitted]:
    """Compile a NumPy function for each kind of arguments it is called with.

    Args:
        fn: the function; without it `jit(...)` is a decorator with options.
        device: None: where the arrays are, CuPy's on their GPU, NumPy's on the CPU. "cpu"; "cuda"
            for an NVIDIA GPU, by way of CuPy: CuPy's arrays stay there, and are what is returned;
            NumPy's are uploaded, and come back as such. Of several GPUs it is the one that the
            arrays are on, or "cuda:1", say, for the second one; NumPy's arrays alone go to the one
            that was CuPy's current device in the first such call. "cpusim" for the same kernels run
            on this machine's CPU, to see and check what becomes of fn there: it needs g++, and is
            slow.
        threads: None or 1.
        static: parameters, by name or position, whose values are compiled in; they must be
            hashable. Bools, strings and None are static anyway, and ints where it is needed.
        verify: every call also runs `fn` as it is, with NumPy, on copies of the arguments, and
            raises VerificationError where the compiled program differs by more than rounding,
            naming the first line of `fn` that does. What `fn` does besides computing happens twice.
        fast_math: float arithmetic that `fn` writes may be reordered, contracted, and divide by
            way of reciprocals, and the sign of zero may be lost; on a GPU denormals become zero
            too, and float32's elementary functions are the hardware's approximations. NaN and inf
            are what they were. Results differ from NumPy's by more than rounding where terms cancel
            out.
        async_errors: on a GPU, calls with CuPy's arrays do not wait for what their checks report.
            What they find is raised by a later call of the function, or by `jitnet.synchronize()`;
            until then results may be garbage.
        deterministic: False lets a GPU take in the terms of scatters (`x[i] += v` in loops,
            `np.add.at`, `np.bincount`, gradients of `x[i]`) by atomic operations, as they come:
            faster where targets are large or indices are many; sums of floats may then differ by
            rounding from run to run, and float32's denormals become zero in them. Integers,
            minima and maxima, and `x[i] = v`, are what they were. Nothing changes on the CPU.
        loader: what compiles and loads the kernels of a GPU: "nvrtc", NVIDIA's compiler, anew in
            each process; or "rawmodule", CuPy's `RawModule`, which asks the same compiler, and
            keeps what it made in CuPy's cache on the disk (`CUPY_CACHE_DIR`, by default
            `~/.cupy/kernel_cache`), where other processes find it as long as the function's text,
            its line in its file and the kinds of arguments are the same. RawModule makes float32's
            denormals zero, whatever it is told: such arguments, results and what lies between are
            not NumPy's. Calls and graphs are the same. Nothing changes on the CPU.

    Raises:
        NotAvailableError: for options that this version does not have; and for a device that is
            not there, when the function is called.
        ValueError: for a device or loader of another name; for the loader "rawmodule" together
            with device="cpu" or "cpusim", where CuPy loads nothing.
        TypeError: when fn is not callable.
    """
    _refuse_options(device, threads)
    _refuse_loader(loader, device)
    options = Options(device, fast_math, async_errors, deterministic, loader)
    chosen = (static,) if isinstance(static, (int, str)) else tuple(static)

    def of(fn: Function) -> Jitted:
        if not callable(fn):
            raise TypeError(f"jit takes a function, not {type(fn).__name__}")
        return Jitted(fn, chosen, verify, options)

    return of if fn is None else of(fn)


def _refuse_options(device: str | None, threads: int | None) -> None:
    if device not in (None, "cpu", "cuda", "cpusim") and not _is_gpu(device):
        raise ValueError(
            f"device must be None, 'cpu', 'cuda', 'cuda:0' (or another number) or 'cpusim', not "
            f"{device!r}"
        )
    if threads not in (None, 1):
        raise errors.NotAvailableError(
            f"jit(threads={threads!r}) is not available in this version",
            remedy="leave the option out",
        )


def _refuse_loader(loader: str, device: str | None) -> None:
    if loader not in ("nvrtc", "rawmodule"):
        raise ValueError(f"loader must be 'nvrtc' or 'rawmodule', not {loader!r}")
    if loader == "rawmodule" and device in ("cpu", "cpusim"):
        compiler = {"cpu": "LLVM", "cpusim": "g++"}[device]
        raise ValueError(
            f"loader='rawmodule' is CuPy's, for kernels of a GPU: with device={device!r} there are "
            f"none, {compiler} compiles for this machine's CPU"
        )


def _is_gpu(device: object) -> bool:
    kind, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    return kind == "cuda" and number.isdecimal() and number == str(int(number))


def synchronize() -> None:
    """Wait for calls on a GPU with `async_errors` that are still running.

    Raises:
        whatever they report, the first one first.
    """
    module = sys.modules.get("jitnet.runtime.devices.program")
    if module is not None:  # or no function has run on a device
        module.synchronize()


def doctor() -> dict[str, dict[str, Any]]:
    """Print what is installed, what works, and what to install.

    Returns:
        The same, by the name of each part ("NumPy", "cpu", "cpusim", "CuPy", "driver", "cuda",
        ...): "found", its version or what is known of it; "works"; "remedy", where it does not.
    """
    from jitnet.runtime.devices import checkup  # which few want

    def attempt(device: str) -> Any:
        return jit(_twice, device=device)(np.arange(8.0))

    found = {}
    print("jitnet")
    for finding in checkup.findings(attempt):
        print(finding)
        found[finding.name] = dataclasses.asdict(finding)
    return found


def _twice(x: Any) -> Any:
    return x * 2 + 1


def _require_callable(fn: Any, name: str) -> None:
    if not callable(fn):
        raise TypeError(f"{name} takes a function, not {type(fn).__name__}")


def _transformed(fn: Function, inside: Function, name: str) -> Jitted:
    """`inside` under jit, looking like fn.

    Raises:
        TypeError: where fn cannot be called.
    """
    _require_callable(fn, name)
    functools.update_wrapper(inside, fn, assigned=("__module__", "__doc__"), updated=())
    inside.__name__ = inside.__qualname__ = f"{name}_{getattr(fn, '__name__', 'function')}"
    return Jitted(inside)


def grad(
    fn: Function,
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    memory: float | None = None,
) -> Jitted:
    """The gradient of a scalar-valued function.

    Args:
        fn: returns a float scalar, or `(scalar, aux)` with `has_aux`.
        argnums: the positional arguments to differentiate in: one, or several for a tuple.
        holomorphic: fn is a holomorphic function of complex numbers, and returns one; the result
            is its complex derivative.
        memory: bytes for what the backward pass needs of the forward pass. Where more would be
            saved, loops keep a few of their states, and steps are computed again: the same
            gradient, bit for bit, in more time. Nothing is printed or checked twice.

    Returns:
        A function of fn's arguments that gives the gradient, shaped like the argument (for trees: a
        tree of the same structure), or `(gradient, aux)`. In a complex argument x + iy it is
        df/dx - i df/dy, as in JAX.

    Raises (when called):
        DifferentiationError: where fn does not return a float scalar, or an argument holds
            integers or no floats.
        MemoryBudgetError: a MemoryError, where `memory` is too little; it says how much is enough.
    """
    budget = _budget(memory, "grad")

    def gradient(*args: Any, **kwargs: Any) -> Any:
        find = _derivatives().value_and_grad
        both = find(fn, args, kwargs, argnums, has_aux, holomorphic, budget)
        value, gradients = both
        return (gradients, value[1]) if has_aux else gradients

    return _transformed(fn, gradient, "grad")


def value_and_grad(
    fn: Function,
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    memory: float | None = None,
) -> Jitted:
    """As `grad`; gives `(value, gradient)`, or `((value, aux), gradient)` with `has_aux`."""
    budget = _budget(memory, "value_and_grad")

    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        find = _derivatives().value_and_grad
        return find(fn, args, kwargs, argnums, has_aux, holomorphic, budget)

    return _transformed(fn, value_and_gradient, "value_and_grad")


def _budget(memory: float | None, name: str) -> int | None:
    """A number of bytes, such as 8e6.

    Raises:
        TypeError, ValueError: where it is none.
    """
    if memory is None:
        return None
    if isinstance(memory, bool) or not isinstance(memory, (int, float)):
        raise TypeError(f"{name}: memory is a number of bytes, not {memory!r}")
    if not 0 < memory < float("inf"):
        raise ValueError(f"{name}: memory is a positive number of bytes, not {memory!r}")
    return int(memory)


def jvp(
    fn: Function, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """fn's result at `primals`, and its derivative in the direction `tangents`.

    Args:
        primals: fn's positional arguments; float arrays, numbers, or trees of these.
        tangents: one for each primal, of its structure, shapes and dtypes.

    Returns:
        `(result, tangent of the result)`, trees of one structure; with `has_aux`, where fn returns
        a pair of a result and something else, that comes third.
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"jvp takes a tuple of {name}, not {type(given).__name__}")
    result: tuple[Any, ...] = _JVP(fn, tuple(primals), tuple(tangents), has_aux)
    return result


def vjp(
    fn: Function, *primals: Any, has_aux: bool = False, memory: float | None = None
) -> tuple[Any, ...]:
    """fn's result at `primals`, and its pullback.

    Args:
        memory: bytes that the pullback may keep of what fn computes, as for `grad`.

    Returns:
        `(result, pullback)`, or `(result, pullback, aux)` with `has_aux`; `pullback(cotangent)`
        takes a tree like the result and gives a tuple with one tree for each primal.
    """
    budget = _budget(memory, "vjp")
    result: tuple[Any, ...] = _VJP(fn, primals, has_aux, budget)
    return result


def jacfwd(
    fn: Function, argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Jitted:
    """The Jacobian, a column at a time: `result.shape + argument.shape` for each pair of leaves.
    In complex arguments it is that of a `holomorphic` function. With `has_aux`, fn returns
    `(result, aux)`, and this `(jacobian, aux)`."""

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        return _linear().jacfwd(fn, args, kwargs, argnums, has_aux, holomorphic)

    return _transformed(fn, jacobian, "jacfwd")


def jacrev(
    fn: Function,
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    memory: float | None = None,
) -> Jitted:
    """The Jacobian, a row at a time: `result.shape + argument.shape` for each pair of leaves. Of
    complex results it is that of a `holomorphic` function. With `has_aux`, fn returns
    `(result, aux)`, and this `(jacobian, aux)`. `memory`: bytes for what is saved of fn, as for
    `grad`; steps that are computed again are so for each row, or block of rows."""
    budget = _budget(memory, "jacrev")

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        return _linear().jacrev(fn, args, kwargs, argnums, has_aux, holomorphic, budget)

    return _transformed(fn, jacobian, "jacrev")


def hessian(
    fn: Function,
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    memory: float | None = None,
) -> Jitted:
    """Second derivatives: the forward Jacobian of the reverse one, and aux where there is any. With
    `memory`, bytes for what the gradient saves (and as many for their derivatives), columns share
    nothing: each computes the gradient anew, one after the other."""
    budget = _budget(memory, "hessian")
    rows = jacrev(fn, argnums, has_aux, holomorphic, memory)
    if budget is None:
        return jacfwd(rows, argnums, has_aux, holomorphic)

    def columns(*args: Any, **kwargs: Any) -> Any:
        return _linear().jacfwd(rows, args, kwargs, argnums, has_aux, holomorphic, saves=False)

    return _transformed(rows, columns, "jacfwd")


def vmap(fn: Function, in_axes: Any = 0, out_axes: Any = 0) -> Jitted:
    """`fn`, of many arguments at once: `vmap(f)(xs)` is `np.stack([f(x) for x in xs])`.

    Args:
        fn: a function of one lane. What it gets of a vector is a NumPy scalar.
        in_axes: the axis of the arguments that counts the lanes: an int, or None where an argument
            is the same in all lanes; or a tuple with one entry for each positional argument, which
            may be a tree of ints and None that is built like the argument, as far down as it goes.
            Keyword arguments are mapped over their first axes.
        out_axes: the axis of the results that counts the lanes: an int, or a tree of ints and None
            that is built like the result. None is for results that are the same in all lanes.

    Returns:
        A function of arguments with one more axis each. Mapped arguments that fn changes are
        changed, lane by lane. What does not depend on mapped arguments is done once, prints too.

    Raises:
        TypeError: where in_axes or out_axes has something else in it than ints and None.

    Raises (when called):
        BatchingError: a ValueError, where axes do not exist or differ in extent, nothing is mapped,
            or a result's extent differs from lane to lane.
        MutationError: where fn writes to an argument that is not mapped.
    """
    if not callable(fn):
        raise TypeError(f"vmap takes a function, not {type(fn).__name__}")
    chosen = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    if not (chosen is None or type(chosen) in (int, tuple)):
        raise TypeError(
            "vmap: in_axes must be an int, None, or a tuple of entries for the positional "
            f"arguments, not {in_axes!r}"
        )
    for what, axes in (("in_axes", chosen), ("out_axes", out_axes)):
        for axis in flatten(axes)[0]:
            if type(axis) is not int:
                raise TypeError(f"vmap: {what} holds ints and None, not {axis!r}")

    def mapped(*args: Any, **kwargs: Any) -> Any:
        return _mapped().vmap(fn, args, kwargs, chosen, out_axes)

    return _transformed(fn, mapped, "vmap")


def custom_jvp(fn: Function, nondiff_argnums: Argnums = ()) -> CustomFunction:
    """`fn` with a derivative of its own, told by `@f.defjvp`; see there.

        @custom_jvp
        def log1pexp(x):
            return np.log(1 + np.exp(x))

        @log1pexp.defjvp
        def rule(primals, tangents):
            (x,), (dx,) = primals, tangents
            return log1pexp(x), (1 - 1 / (1 + np.exp(x))) * dx

    Args:
        nondiff_argnums: positional arguments that have no derivative; rules get them first.

    Returns:
        A function that computes what fn does. Forward mode, reverse mode and all that is made of
        them use the rule in place of fn, which may do whatever a compiled function may but change
        its arguments. Its result is an array of its own. A rule for reverse mode may be added,
        with `defvjp`.

    Raises (when differentiated):
        DifferentiationError: where there is no rule, in an array that fn reads and does not take as
            an argument, and for rules that are not linear.
        ArgumentError, ShapeError, DTypeError: for rules whose results are not like fn's.
    """
    _require_callable(fn, "custom_jvp")
    return CustomFunction(fn, _tuple(nondiff_argnums), _apply_custom)


def custom_vjp(fn: Function, nondiff_argnums: Argnums = ()) -> CustomFunction:
    """`fn` with a derivative of its own for reverse mode, told by `f.defvjp(forward, backward)`.

        @custom_vjp
        def clipped(x):
            return x

        clipped.defvjp(lambda x: (x, None), lambda residuals, ct: (np.clip(ct, -1, 1),))

    Arguments, results and errors are those of `custom_jvp`. Forward mode uses `defjvp`'s rule if
    that is given too, else `backward` transposed, where that is linear.
    """
    _require_callable(fn, "custom_vjp")
    return CustomFunction(fn, _tuple(nondiff_argnums), _apply_custom)


def _tuple(argnums: Argnums) -> tuple[int, ...]:
    return (argnums,) if isinstance(argnums, int) else tuple(argnums)


def _apply_custom(*args: Any) -> Any:
    from jitnet.frontend import custom_tracing

    return custom_tracing.apply(*args)


def checkpoint(fn: Function) -> Function:
    """`fn`, of which reverse mode saves the arguments only: what else it needs is computed again.

    It costs one more run of fn in the backward pass, and saves the memory of what fn computes on
    the way. Anything that fn reads counts as an argument. It nests, and works in loops.
    """

    _require_callable(fn, "checkpoint")

    @functools.wraps(fn)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        return _derivatives().checkpoint(fn, args, kwargs)

    return checkpointed


def stop_gradient(x: Any) -> Any:
    """`x`, seen as a constant by every derivative. x may be a tree."""
    return _derivatives().stop_gradient(x)


def trace(fn: Function) -> Callable[..., ir.Function]:
    """`trace(fn)(*args)` is fn's IR for such arguments, before any pass."""
    own = fn.__wrapped__ if isinstance(fn, Jitted) else fn

    def traced(*args: Any, **kwargs: Any) -> ir.Function:
        return Jitted(own).trace(args, kwargs)[0].function

    return traced
