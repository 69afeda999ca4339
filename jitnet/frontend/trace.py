"""Runs a user's function on tracers and freezes what it did into an IR Function.

    traced = trace_function(lambda x, n: x * n, tree, leaves)
    # func @lambda(%x: f64[3], %n: i64) -> (f64[3]) { ... }

The function sees containers rebuilt around tracers, and copies of what it reads from outside. What
it changes in them is carried out for the caller after the program has run.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Container, Mapping, Sequence, Set
from typing import Any

import numpy as np

from jitnet import errors, ir, ops
from jitnet.frontend import (
    aliasing,
    assigning,
    effects,
    functions,
    gathering,
    guards,
    indexing,
    outputs,
    ufuncs,
)
from jitnet.frontend.arrays import Choice, Place, View, stores_behind, view_of
from jitnet.frontend.bytecode import names_read
from jitnet.frontend.closures import Substitution
from jitnet.frontend.context import Trace, current_trace, run_traced
from jitnet.frontend.dispatch import install
from jitnet.frontend.flow import calling, raising, snapshots, variants
from jitnet.frontend.flow.hooks import HOOKS
from jitnet.frontend.flow.stacking import stacked
from jitnet.frontend.grown import Grown
from jitnet.frontend.places import NeedPlaces, Variables, changed, said
from jitnet.frontend.pytree import TreeDef, flatten, unflatten
from jitnet.frontend.signature import Abstract, LeafType, Static
from jitnet.frontend.stores import Store
from jitnet.frontend.texts import Text, known_now
from jitnet.frontend.traced import (
    Chosen,
    Input,
    Output,
    Slot,
    Spread,
    Traced,
    ViewStep,
    argument_names,
    function_name,
)
from jitnet.frontend.tracer import Tracer, check_array, check_unwritten, lift, lift_array
from jitnet.frontend.varying import ANY_EXTENT
from jitnet.frontend.watch import Watch, drew_random_numbers, random_states
from jitnet.ir import ArrayType, Effect, Function, Literal, Value, effect_of

calling.install(HOOKS)
install(ufuncs.apply, functions.call, indexing.getitem, assigning.setitem, outputs.store)


def trace_function(
    fn: Callable[..., Any],
    tree: TreeDef,
    leaves: Sequence[LeafType],
    *,
    restartable: bool = False,
    aliases: aliasing.Pattern = (),
    symbolic: Set[int] = frozenset(),
    places: Sequence[Any] = (),
) -> Traced:
    """Trace `fn(*args, **kwargs)`, where `(args, kwargs)` is `tree` with abstract leaves.

    Args:
        restartable: the caller handles NeedStatic, so ints among the arguments may be made static.
        aliases: arguments that share memory.
        symbolic: ints among the arguments that must not be made static.
        places: what the function changes outside; where there is any, it is the third item of the
            tree, as a tuple.

    Raises:
        NeedStatic: when `restartable` and such an int is needed as a value.
        NeedPlaces: when `restartable` and the function changes something else outside.
        JitnetError: for whatever cannot be traced. What the function itself raises passes through.
    """
    names = argument_names(fn, tree)

    def traced(exact: bool) -> Traced:
        trace = Trace(function_name(fn), current_trace())
        trace.symbolic_ints = frozenset(symbolic)
        trace.exact = exact
        return run_traced(
            trace, lambda: _trace(fn, tree, leaves, names, trace, restartable, aliases, places)
        )

    try:
        return traced(exact=False)
    except _OF_MEMORY as error:
        try:
            return traced(exact=True)
        except errors.JitnetError:
            raise error from None


_OF_MEMORY = (errors.MutationError, errors.UnboundVariableError, errors.ReturnError)
"""What is raised where it matters which memory an array is in."""


def _trace(
    fn: Callable[..., Any],
    tree: TreeDef,
    leaves: Sequence[LeafType],
    names: tuple[str, ...],
    trace: Trace,
    restartable: bool,
    aliases: aliasing.Pattern,
    places: Sequence[Any],
) -> Traced:
    statics = [leaf.value for leaf in leaves if isinstance(leaf, Static)]
    held = gathering.collect(fn, statics, places)
    _check_unread(places, held)
    copies_all = restartable and (held.may_change or bool(places))
    outside = Substitution(lift_array, places, copies_all, held.attributes, held.keys, held.stored)
    bring_in = outside.of if held.shapes or copies_all else _as_it_is
    if copies_all:
        trace.bring_in = outside.of
        trace.globals = outside.globals
    parts = _parts(trace, aliases, names)
    arguments = [
        parts[i]
        if i in parts
        else _argument(trace, i, leaf, names[i], restartable)
        if isinstance(leaf, Abstract)
        else bring_in(leaf.value)
        for i, leaf in enumerate(leaves)
    ]
    args, kwargs, *given = unflatten(tree, arguments)
    inner = tuple(map(outside.put, places, *given))
    containers = effects.Containers((args, kwargs, inner))
    trace.containers = containers.identities | {*map(id, arguments)}
    traced_fn = bring_in(fn)
    states = random_states(held.generators)
    with Watch():
        out = _called(trace, traced_fn, args, kwargs)
        snapshots.check()
        if trace.parent is not None:
            variants.refuse_in(out)
    if random_states(held.generators) != states:
        raise drew_random_numbers(function_name(fn), _definition(fn))
    if trace.written or trace.lost:
        raise _writes_to_outer_array(trace, fn)
    more = outside.changes()
    if restartable:
        more += held.ways_to(_written_from_outside(trace))
    if more and restartable:
        raise NeedPlaces(_with_unread(more, names_read(held.codes)))
    fresh = held.has_set()
    if more or fresh or not held.hold():
        what: list[Any] = [*more]
        what += [f"the attribute {name} of an object from outside" for name in fresh]
        named = [name for name, _, _ in held.changes()]
        what += [name if name.startswith("a ") else f"the {name}" for name in named]
        frames = held.assignments(said(what))
        held.restore()
        raise changed(function_name(fn), what, frames, trace.parent is not None)
    changes = containers.changes()
    if changes and trace.parent is not None:
        raise _changes_container(fn)
    for array, then, _ in trace.outside.values():
        check_unwritten(array, then)
    return _freeze(trace, out, names, held, trace.parent is None, containers, changes, outside)


def _called(trace: Trace, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What the function returns. Where it raises, after what may raise or print when the program
    runs, the program does so: the first error in program order wins."""
    try:
        return calling.call(fn, *args, **kwargs)
    except Exception as error:
        if trace.parent is None and _is_too_deep(error):
            raise _too_deep(fn, error) from None
        found = raising.of_program(error)
        if found is None and isinstance(error, NameError):
            raise calling.unbound(error) from None
        comes_later = trace.parent is None and any(
            effect_of(eqn) >= Effect.MAY_RAISE for eqn in trace.builder.eqns
        )
        if found is None or not (comes_later or raising.has_values(found)):
            if found is None or found is error:
                raise
            raise found from None
        raising.check_not(ir.literal(True, ir.types.bool_), found)  # the program raises, each time
        return None


def _is_too_deep(error: BaseException) -> bool:
    """Whether Python refuses another call, rather than the user's program."""
    return isinstance(error, RecursionError) and str(error).startswith("maximum recursion depth")


def _too_deep(fn: Callable[..., Any], error: BaseException) -> errors.DepthError:
    return errors.DepthError(
        f"calls nest deeper than Python allows while {function_name(fn)} is traced",
        why="where data other than int arguments decides whether a function calls itself again, "
        "both paths are traced, and the path that calls has no end",
        remedy="write a loop, with an array of what is still to do where there are several calls",
        frames=errors.raised_at(error),
    )


def _written_from_outside(trace: Trace) -> list[Any]:
    """The arrays from outside that the function has written to."""
    captured = {c.value: c.source for c in trace.captures.values()}
    return [captured[p] for s, p in trace.stores.items() if s.value is not p and p in captured]


def _with_unread(places: Sequence[Any], names: Container[str]) -> list[Any]:
    """Places, with the variables among them that the code only assigns to marked as such."""
    return [
        Variables(p.original, p.names, [n for n in p.names if n not in names])
        if isinstance(p, Variables)
        else p
        for p in places
    ]


def _check_unread(places: Sequence[Any], held: guards.Guards) -> None:
    """Ask for variables that were only assigned to by other code than that of this trace."""
    if any(isinstance(p, Variables) and p.unread for p in places):
        names = names_read(held.codes)
        read = [
            Variables(p.original, found)
            for p in places
            if isinstance(p, Variables) and (found := [n for n in p.unread if n in names])
        ]
        if read:
            raise NeedPlaces(read)


def _writes_to_outer_array(trace: Trace, fn: Callable[..., Any]) -> errors.MutationError:
    for store, (value, owner) in trace.written.items():
        store.value, store.owner = value, owner
    for store in trace.lost:
        store.doubt = None
    return errors.MutationError(
        f"{function_name(fn)} writes to an array of the function around it",
        why="a function that grad or vmap transforms may be run more than once, or not at all",
        remedy="return the new array, and assign it outside",
        frames=_definition(fn),
    )


def _as_it_is(x: Any) -> Any:
    return x


def _freeze(
    trace: Trace,
    out: Any,
    names: tuple[str, ...],
    held: guards.Guards,
    views: bool,
    containers: effects.Containers,
    changes: Sequence[effects.Change],
    outside: Substitution,
) -> Traced:
    """The Function of a trace that has returned `out`."""

    def original(x: Any) -> Any:
        found = outside.original(x)
        return found if found is not x or held.is_guarded(x) else None

    leaves, tree = containers.leaves(out, original) if views else flatten(out)
    changed = [[containers.leaves(item, original) for item in change.items] for change in changes]
    others = [leaf for items in changed for found, _ in items for leaf in found]
    whole = {leaf.place for leaf in (*leaves, *others) if type(leaf) is Tracer}
    frozen = _Results(trace, views, whole, original)
    drafts = [effects.known_path(leaf) or frozen.draft(leaf) for leaf in leaves]
    drafts_of_others = [effects.known_path(leaf) or frozen.draft(leaf) for leaf in others]
    stored = frozen.stored()
    frozen.add_extents()
    function, inputs = _build(trace, frozen.values)
    params = {p: i for i, p in enumerate(function.params)}
    outputs = tuple(_placed(draft, params) for draft in drafts)
    remaining = iter(_placed(draft, params) for draft in drafts_of_others)
    effects_ = tuple(
        effects.Effect(
            change.path,
            change.keys,
            tuple(tree for _, tree in items),
            tuple(next(remaining) for found, _ in items for _ in found),
            change.deleted,
            change.grows,
        )
        for change, items in zip(changes, changed)
    )
    stores = {result: params[param] for result, param in stored.items()}
    return Traced(function, inputs, tree, outputs, stores, effects_, names, held)


def _placed(draft: Any, params: Mapping[Value, int]) -> Any:
    """An output whose source is the number of a param."""
    if isinstance(draft, Chosen):
        return draft._replace(one=_placed(draft.one, params), other=_placed(draft.other, params))
    if isinstance(draft, Output) and isinstance(draft.source, Value):
        return draft._replace(source=params[draft.source])
    return draft


class _Results:
    """The results of a Function that is about to be built.

    Attributes:
        values: its results.
        original: what something stands for that came from outside; None for anything else.
        views: whether views are handed out as such; `whole` the stores that are results
            themselves.
        params: the arrays' stores that came in, with their params.
    """

    def __init__(
        self, trace: Trace, views: bool, whole: Set[Any], original: Callable[[Any], Any]
    ) -> None:
        self.original = original
        self.trace = trace
        self.views = views
        self.whole = whole
        self.values: list[Value] = []
        self.params = dict(trace.stores)
        self._places: dict[Any, int] = {}  # of stores: the same memory is the same result

    def draft(self, leaf: Any) -> Output | Chosen | Spread:
        """How a leaf of the result is made; `source` is a param still."""
        if type(leaf) is Grown and self.views:
            with self.trace.builder:
                parts = stacked(leaf)
            return Spread(tuple(self._add(v, v) for v in parts), leaf.flavours, leaf.tree)
        if type(leaf) is effects.Outside:
            return Output(None, value=leaf.original)
        if type(leaf) is not Tracer:
            return _untraced_output(leaf, self.original(leaf))
        if isinstance(leaf.place, Choice) and self._is_told(leaf.place):
            return self._chosen(leaf.place)
        return self._of_place(leaf.place, leaf)

    def _of_place(self, place: Place, leaf: Tracer) -> Output:
        if isinstance(place, Store):
            result, turned = self._whole(place)
            source = self.params.get(place)
            return Output(result, leaf.flavour, source, by_columns=turned)
        if isinstance(place, Choice):
            return Output(self._add(place, leaf.value))
        steps = self._steps(place) if self.views else None
        base = place.store
        if steps is None or not (base in self.params or base in self.whole):
            return Output(self._add(place, leaf.value))
        result, turned = self._whole(base)
        return Output(result, source=self.params.get(base), view=steps, by_columns=turned)

    def _whole(self, store: Store) -> tuple[int, bool]:
        """The result that holds all of an array, and whether that is turned around."""
        value = store.read(self.trace)
        is_matrix = sum(d != 1 for d in value.dims) > 1
        turned = is_matrix and store.layout == "F" and self.views and store not in self.params
        if turned and store not in self._places:
            with self.trace.builder as b:
                made = next((e for e in reversed(b.eqns) if value in e.results), None)
                b.loc = b.loc if made is None else made.loc
                value = ops.transpose(value, range(value.rank - 1, -1, -1))
        return self._add(store, value), turned

    def _is_told(self, choice: Choice) -> bool:
        """Whether the results say which place is meant, and it may be one that is known outside."""
        known = any(s in self.params or s in self.whole for s in stores_behind(choice))
        return self.views and known and self._is_of_this_trace(choice)

    def _is_of_this_trace(self, place: Place) -> bool:
        if not isinstance(place, Choice):
            return True
        sides = (place.one, place.other)
        return place.owner is self.trace and all(map(self._is_of_this_trace, sides))

    def _chosen(self, place: Place) -> Output | Chosen:
        if not isinstance(place, Choice):
            return self._of_place(place, Tracer(place, "array"))
        which = self._add(place.condition, place.condition)
        return Chosen(which, self._chosen(place.one), self._chosen(place.other))

    def _add(self, key: Any, value: Value) -> int:
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]

    def _steps(self, view: View) -> tuple[ViewStep, ...] | None:
        """A view's steps; None for one that is handed out as an array of its own."""
        steps = []
        for step in view.steps:
            kind = _KINDS.get(step.eqn.op.name)
            if kind is None:
                return None
            attrs = step.eqn.attrs[kind] if kind else ()
            numbers = tuple(map(self._number, step.operands(self.trace)))
            steps.append(ViewStep(step.eqn.op.name, numbers, attrs))
        return tuple(steps)

    def _number(self, value: Value) -> int | Slot:
        if isinstance(value, Literal):
            return int(value.item)
        return Slot(self._add(value, value))

    def stored(self) -> dict[int, Value]:
        """Results that go to the memory of params, because the function wrote to it."""
        found = {}
        for store, param in self.params.items():
            if store.value is not param:
                found[self._add(store, store.read(self.trace))] = param
        return found

    def add_extents(self) -> None:
        """Extents in the results' shapes that are neither params nor results themselves."""
        known = {*self.trace.builder.params, *self.values}
        for value in tuple(self.values):
            for dim in value.dims:
                if not isinstance(dim, int) and dim not in known:
                    known.add(dim)
                    self.values.append(dim)


_KINDS = {"slice": "steps", "reshape": "", "transpose": "perm", "broadcast": "axes"}


def _build(trace: Trace, results: Sequence[Value]) -> tuple[Function, tuple[Input, ...]]:
    """The traced Function, with params for all arguments and for captures that it uses."""
    used = {v for eqn in trace.builder.eqns for v in eqn.operands} | set(results)
    used.update(d for p in trace.builder.params for d in p.dims if isinstance(d, Value))
    used.update(p for s, p in trace.stores.items())
    captured = {c.value: c.source for c in trace.captures.values()}
    params = [p for p in trace.builder.params if p in trace.arguments or p in used]
    trace.builder.params[:] = params
    inputs = []
    for p in params:
        leaf, axis = trace.extents.get(p, (trace.arguments.get(p), None))
        inputs.append(Input(leaf, captured.get(p), trace.wholes.get(p), axis))
    return trace.builder.build(*results), tuple(inputs)


def _parts(trace: Trace, aliases: aliasing.Pattern, names: Sequence[str]) -> dict[int, Tracer]:
    """Arguments that share memory, as views of inputs; the same view is the same object."""
    stores: dict[int, Store] = {}
    made: dict[Any, Tracer] = {}
    found = {}
    for part in aliases:
        if part.group not in stores:
            type = ArrayType(ir.types.from_numpy(part.dtype), part.shape)
            value = trace.builder.param(type, re.sub(r"\W", "_", names[part.group]))
            trace.arguments[value] = part.group
            trace.wholes[value] = part.shape
            stores[part.group] = Store(value, trace)
            trace.stores[stores[part.group]] = value
        key = (part.group, part.starts, part.sizes, part.steps, part.kept)
        if key not in made:
            made[key] = _part_of(trace, stores[part.group], part)
        found[part.leaf] = made[key]
    return found


def _part_of(trace: Trace, store: Store, part: aliasing.Part) -> Tracer:
    base = store.value
    mark = len(trace.builder.eqns)
    box = ops.slice(base, part.starts, part.sizes, part.steps)
    dims = [part.sizes[a] for a in sorted(part.kept)]
    flat = box if len(dims) == base.rank else ops.reshape(box, dims)
    order = [sorted(part.kept).index(a) for a in part.kept]
    value = flat if order == sorted(order) else ops.transpose(flat, order)
    view = view_of(store, base, value, trace.builder.eqns[mark:])
    assert view is not None
    return Tracer(view, "array")


def _argument(trace: Trace, i: int, leaf: Abstract, name: str, restartable: bool) -> Tracer:
    dims = tuple(_dim(trace, i, axis, d, name) for axis, d in enumerate(leaf.shape))
    value = trace.builder.param(ArrayType(leaf.dtype, dims), re.sub(r"\W", "_", name))
    trace.arguments[value] = i
    is_int = leaf.flavour == "python" and leaf.dtype.is_integer
    if restartable and is_int and i not in trace.symbolic_ints:
        trace.static_candidates.add(i)
    store = Store(value, trace, leaf.layout, leaf.read_only)
    trace.stores[store] = value
    return Tracer(store, leaf.flavour)


def _dim(trace: Trace, i: int, axis: int, extent: Any, name: str) -> ir.Dim:
    """An extent of an argument: known, one of an outer trace, or a param of its own."""
    if type(extent) is Tracer:
        return ir.as_dim(lift(extent).value)
    if extent is not ANY_EXTENT:
        return int(extent)
    param = trace.builder.param(ArrayType(ir.types.i64), re.sub(r"\W", "_", f"{name}_{axis}"))
    trace.extents[param] = (i, axis)
    return param


def _changes_container(fn: Callable[..., Any]) -> errors.MutationError:
    return errors.MutationError(
        f"{function_name(fn)} changes a container among its arguments",
        why="a function that grad or vmap transforms may be run more than once, or not at all",
        remedy="return a new container: {**params, 'w': w}, or dataclasses.replace(state, w=w)",
        frames=_definition(fn),
    )


def _untraced_output(leaf: Any, original: Any) -> Output:
    if original is not None:
        return Output(None, value=original)
    if isinstance(leaf, np.ndarray):
        check_array(leaf, "a result")
    elif type(leaf) is Text:
        known_now(leaf)
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


def _definition(fn: Callable[..., Any]) -> tuple[ir.Frame, ...]:
    """Where a function is defined, as a place for messages."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    code = getattr(inspect.unwrap(fn), "__code__", None)
    if code is None:
        return ()
    return (ir.Frame(code.co_filename, code.co_firstlineno, code.co_qualname),)
