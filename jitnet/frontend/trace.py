"""Runs a user's function on tracers and freezes what it did into an IR Function.

    traced = trace_function(lambda x, n: x * n, tree, leaves)
    # func @lambda(%x: f64[3], %n: i64) -> (f64[3]) { ... }

The function sees containers rebuilt around tracers. It may not change them: this version returns
results and leaves its arguments alone, so a container that changed is refused.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ir
from jitnet.frontend import functions, guards, indexing, ufuncs
from jitnet.frontend.closures import Substitution, changed
from jitnet.frontend.context import Trace, current_trace, run_traced
from jitnet.frontend.dispatch import install
from jitnet.frontend.pytree import TreeDef, flatten, leaf_paths, unflatten
from jitnet.frontend.signature import Abstract, LeafType, Static
from jitnet.frontend.tracer import Flavour, Tracer, check_array, check_unwritten, lift, lift_array
from jitnet.frontend.watch import Watch, drew_random_numbers, random_states
from jitnet.ir import ArrayType, Function, Value

install(ufuncs.apply, functions.call, indexing.getitem)


class Input(NamedTuple):
    """Where a param of the traced Function comes from: a leaf of the arguments, or a capture."""

    leaf: int | None
    capture: Any = None


class Output(NamedTuple):
    """How a leaf of the result is made.

    Attributes:
        result: the Function's result that holds it; None for a static leaf.
        flavour: how the result is handed out.
        source: the param whose value this result is, if one.
        copy: it is an array of its own all the same, not that object.
        value: a static leaf.
    """

    result: int | None
    flavour: Flavour = "array"
    source: int | None = None
    copy: bool = False
    value: Any = None


@dataclass(frozen=True)
class Traced:
    """A traced function.

    Attributes:
        function: its params are as `inputs` says; its results are the distinct dynamic leaves of
            the result tree, then extents that their shapes need.
        out_tree, outputs: the result tree and how its leaves are made.
        names: a name for each leaf of the arguments.
        guards: what the function read from outside.
    """

    function: Function
    inputs: tuple[Input, ...]
    out_tree: TreeDef
    outputs: tuple[Output, ...]
    names: tuple[str, ...]
    guards: guards.Guards


def trace_function(
    fn: Callable[..., Any],
    tree: TreeDef,
    leaves: Sequence[LeafType],
    *,
    restartable: bool = False,
) -> Traced:
    """Trace `fn(*args, **kwargs)`, where `(args, kwargs)` is `tree` with abstract leaves.

    Args:
        restartable: the caller handles NeedStatic, so ints among the arguments may be made static.

    Raises:
        NeedStatic: when `restartable` and such an int is needed as a value.
        JitnetError: for whatever cannot be traced. What the function itself raises passes through.
    """
    names = argument_names(fn, tree)
    trace = Trace(function_name(fn), current_trace())
    return run_traced(trace, lambda: _trace(fn, tree, leaves, names, trace, restartable))


def _trace(
    fn: Callable[..., Any],
    tree: TreeDef,
    leaves: Sequence[LeafType],
    names: tuple[str, ...],
    trace: Trace,
    restartable: bool,
) -> Traced:
    held = guards.collect(fn, [leaf.value for leaf in leaves if isinstance(leaf, Static)])
    outside = Substitution(lift_array)
    bring_in = outside.of if held.shapes else _as_it_is  # copies only where an array is reached
    arguments = [
        _argument(trace, i, leaf, names[i], restartable)
        if isinstance(leaf, Abstract)
        else bring_in(leaf.value)
        for i, leaf in enumerate(leaves)
    ]
    whole = unflatten(tree, arguments)
    before = flatten(whole)
    args, kwargs = whole
    traced_fn = bring_in(fn)
    states = random_states(held.generators)
    with Watch():
        out = traced_fn(*args, **kwargs)
    if random_states(held.generators) != states:
        raise drew_random_numbers(function_name(fn), _definition(fn))
    if not (outside.unchanged() and held.hold()):
        raise changed(function_name(fn))
    _check_unchanged(whole, before, fn)
    for capture in trace.captures.values():
        check_unwritten(capture)
    flavours = {p: leaves[i].flavour for p, i in trace.arguments.items()}  # type: ignore[union-attr]
    return _freeze(trace, out, names, held, flavours)


def _as_it_is(x: Any) -> Any:
    return x


def _freeze(
    trace: Trace,
    out: Any,
    names: tuple[str, ...],
    held: guards.Guards,
    flavours: dict[Value, Flavour],
) -> Traced:
    """The Function of a trace that has returned `out`; `flavours` are the arguments'."""
    leaves, tree = flatten(out)
    place: dict[int, int] = {}  # of a tracer by identity: the same object is the same result
    results: list[Value] = []
    for leaf in leaves:
        if type(leaf) is Tracer and id(leaf) not in place:
            place[id(leaf)] = len(results)
            results.append(lift(leaf).value)
    results += _missing_extents(trace, results)
    function, inputs = _build(trace, results)
    params = {p: i for i, p in enumerate(function.params)}
    outputs = tuple(
        _traced_output(leaf, place[id(leaf)], params, flavours)
        if type(leaf) is Tracer
        else _untraced_output(leaf)
        for leaf in leaves
    )
    return Traced(function, inputs, tree, outputs, names, held)


def _traced_output(
    leaf: Tracer, result: int, params: dict[Value, int], flavours: dict[Value, Flavour]
) -> Output:
    own = lift(leaf)
    other_class = own.flavour != flavours.get(own.value, "array")  # x[()] of a 0-d array
    return Output(result, own.flavour, params.get(own.value), copy=own.fresh or other_class)


def _build(trace: Trace, results: Sequence[Value]) -> tuple[Function, tuple[Input, ...]]:
    """The traced Function, with params for all arguments and for captures that it uses."""
    used = {v for eqn in trace.builder.eqns for v in eqn.operands} | set(results)
    used.update(d for p in trace.builder.params for d in p.dims if isinstance(d, Value))
    captured = {c.value: c.source for c in trace.captures.values()}
    params = [p for p in trace.builder.params if p in trace.arguments or p in used]
    trace.builder.params[:] = params
    inputs = tuple(Input(trace.arguments.get(p), captured.get(p)) for p in params)
    return trace.builder.build(*results), inputs


def _argument(trace: Trace, i: int, leaf: Abstract, name: str, restartable: bool) -> Tracer:
    dims = tuple(d if isinstance(d, int) else ir.as_dim(lift(d).value) for d in leaf.shape)
    value = trace.builder.param(ArrayType(leaf.dtype, dims), re.sub(r"\W", "_", name))
    trace.arguments[value] = i
    if restartable and leaf.flavour == "python" and leaf.dtype.is_integer:
        trace.static_candidates.add(i)
    trace.wrapped.add(value)
    return Tracer(value, trace, leaf.flavour)


def _check_unchanged(whole: Any, before: tuple[list[Any], TreeDef], fn: Callable[..., Any]) -> None:
    leaves, tree = flatten(whole)
    if tree == before[1] and all(a is b for a, b in zip(leaves, before[0])):
        return
    raise errors.MutationError(
        f"{function_name(fn)} changes a container among its arguments",
        why="this version traces functions that leave their arguments as they are",
        remedy="return a new container: {**params, 'w': w}, or dataclasses.replace(state, w=w)",
        frames=_definition(fn),
    )


def _untraced_output(leaf: Any) -> Output:
    if isinstance(leaf, np.ndarray):
        check_array(leaf, "a result")
    elif not isinstance(leaf, _STATIC_RESULTS) or _tells_of_tracer(leaf):
        raise errors.ArgumentError(
            f"a result of type {type(leaf).__module__}.{type(leaf).__qualname__}",
            why="it may hold traced values, which mean nothing once the function has returned",
            remedy="return arrays in tuples, lists, dicts, NamedTuples or dataclasses, or make the "
            "class known with jitnet.register_pytree_node",
        )
    return Output(None, value=leaf)


def _tells_of_tracer(leaf: Any) -> bool:
    """Whether a string was made from a traced value, as by f"{x}"."""
    return isinstance(leaf, str) and "<traced " in leaf


_STATIC_RESULTS = (bool, int, float, complex, str, bytes, np.generic, np.dtype, type, range, slice)


def _missing_extents(trace: Trace, results: Sequence[Value]) -> list[Value]:
    """Extents in the results' shapes that are neither params nor results themselves."""
    known = {*trace.builder.params, *results}
    missing: list[Value] = []
    for value in results:
        for dim in value.dims:
            if not isinstance(dim, int) and dim not in known:
                known.add(dim)
                missing.append(dim)
    return missing


# -- names -----------------------------------------------------------------------------------------


def function_name(fn: Callable[..., Any]) -> str:
    """A name for the IR: letters, digits and underscores."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__name__", type(fn).__name__)
    return re.sub(r"\W", "", name) or "function"


def argument_names(fn: Callable[..., Any], tree: TreeDef) -> tuple[str, ...]:
    """The leaves of `(args, kwargs)` by the names of fn's parameters: `x`, `params.w`."""
    parameters = _positional_names(fn)
    names = []
    for path in leaf_paths(tree):
        part, first, *rest = path.split(".")
        if part == "0":
            i = int(first)
            first = parameters[i] if i < len(parameters) else f"arg{i}"
        names.append(".".join([first, *rest]))
    return tuple(names)


def _positional_names(fn: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD]


def _definition(fn: Callable[..., Any]) -> tuple[ir.Frame, ...]:
    """Where a function is defined, as a place for messages."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    code = getattr(inspect.unwrap(fn), "__code__", None)
    if code is None:
        return ()
    return (ir.Frame(code.co_filename, code.co_firstlineno, code.co_qualname),)
