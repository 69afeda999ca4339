"""Helpers that are called again and again are traced once for each kind of arguments.

    def cell(h, x, w): ...             %h1 = call %h0, %x0, %w {name='cell'} @cell(%h, %x, %w) {...}
    for x in layers:                   %h2 = call %h1, %x1, %w {name='cell'} @cell(%h, %x, %w) {...}
        h = cell(h, x, w)

Recursion, and loops over lists of layers or objects, call a helper hundreds of times with arguments
of the same types. From the ninth call on what was traced for one call serves for all of that kind;
`passes.inline` puts it in place, and in large programs `passes.outline` has it compiled once.

That is for helpers whose only effect is what they return, in memory of its own: the code says so as
far as globals go (`_is_pure`), and the trace says the rest. A kind of call for which it says
otherwise is traced each time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from jitnet import ops
from jitnet.frontend.arrays import Choice, layout_like, stores_behind
from jitnet.frontend.context import NeedStatic, Trace, bring_in, resume, running_trace
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow.kinds import is_lost
from jitnet.frontend.flow.variants import Variants
from jitnet.frontend.flow.world import survey, take_back
from jitnet.frontend.places import containers_in
from jitnet.frontend.pytree import LEAF, TreeDef, flatten, unflatten
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Flavour, Tracer, wrap
from jitnet.frontend.watch import Rest
from jitnet.ir import Function, Literal, Loc, Value
from jitnet.ops.control import CALL
from jitnet.source import is_users

ENOUGH = 8
"""Calls of a helper that are traced one by one."""

_PLAIN = (bool, int, str, bytes, type(None), type(Ellipsis), np.dtype, type)


@dataclass
class Helper:
    """What is known of a function that was called.

    Attributes:
        is_pure: None before it was looked at.
        kinds: what was traced for each kind of arguments; None where each call must be.
    """

    calls: int = 0
    is_pure: bool | None = None
    kinds: dict[Hashable, _Traced | None] = field(default_factory=dict)


class _Result(NamedTuple):
    """A traced part of what is returned: the result at a position, and what it is to Python."""

    position: int
    flavour: Flavour
    layout: str


class _Traced(NamedTuple):
    """One call, traced by itself.

    Attributes:
        function: takes the traced arguments, then what memory from outside holds.
        outside: that memory, with what it held.
        tree: the structure of what is returned, and `leaves` its parts.
    """

    function: Function
    outside: tuple[tuple[Store, Value], ...]
    tree: TreeDef
    leaves: tuple[Any, ...]


def call(function: FunctionType, target: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """`target(*args, **kwargs)`, which is what the user's function runs as."""
    helper: Helper = running_trace().function.helpers.setdefault(function.__code__, Helper())
    helper.calls += 1
    if helper.calls <= ENOUGH or not _is_pure_helper(helper, function):
        return target(*args, **kwargs)
    with Rest() as rest:
        found = _result(helper, function, target, args, kwargs, rest)
    return target(*args, **kwargs) if found is None else found[0]


def _result(
    helper: Helper,
    function: FunctionType,
    target: Callable[..., Any],
    args: Any,
    kwargs: Any,
    rest: Rest,
) -> tuple[Any] | None:
    """What the call returns, as calls of its kind do; None where it is to be traced."""
    given = _given(args, kwargs)
    if given is None:
        return None
    note_place()
    if given.kind not in helper.kinds:
        helper.kinds[given.kind] = None  # while it is traced it may call itself
        helper.kinds[given.kind] = _traced(function, target, given, rest)
    traced = helper.kinds[given.kind]
    if traced is None or any(store.value is not value for store, value in traced.outside):
        return None
    note_place()
    return (_bound(traced, given),)


def _bound(traced: _Traced, given: _Given) -> Any:
    """What a call returns: the results of a `call` equation, in the containers of the first."""
    here = running_trace()
    outside = [bring_in(store.value, store.owner, here) for store, _ in traced.outside]
    results = ops.call(traced.function, [*(x.value for x in given.traced), *outside])
    leaves = []
    for leaf in traced.leaves:
        if isinstance(leaf, _Result):
            made = wrap(results[leaf.position], leaf.flavour)
            assert isinstance(made.place, Store)
            made.place.layout = leaf.layout
            leaf = made
        leaves.append(leaf)
    return unflatten(traced.tree, leaves)


# -- arguments -------------------------------------------------------------------------------------


class _Given(NamedTuple):
    """The arguments of a call.

    Attributes:
        kind: equal for calls that are traced alike.
        leaves: all parts, and `traced` those that become params, each once.
    """

    kind: Hashable
    tree: TreeDef
    leaves: tuple[Any, ...]
    traced: tuple[Tracer, ...]


def _given(args: Any, kwargs: Any) -> _Given | None:
    """The arguments, or None where calls like this one are to be traced each time."""
    leaves, tree = flatten((args, kwargs))
    if any(token is not LEAF and token[0] is Variants for token in tree.tokens):
        return None
    kinds: list[Hashable] = []
    traced: dict[int, Tracer] = {}
    memory: set[Store] = set()
    for x in leaves:
        if type(x) is not Tracer:
            kind = _kind_of_known(x)
        elif id(x) in traced:
            kind = list(traced).index(id(x))
        else:
            kind = _kind_of_traced(x, memory)
            if kind is not None and not isinstance(x.value, Literal):
                traced[id(x)] = x
        if kind is None:
            return None
        kinds.append(kind)
    return _Given((tree, tuple(kinds)), tree, tuple(leaves), tuple(traced.values()))


def _kind_of_known(x: Any) -> Hashable:
    if type(x) in _PLAIN or isinstance(x, type):
        return type(x), x
    if type(x) in (float, complex):
        return type(x), repr(x)
    return (type(x), x.tobytes()) if isinstance(x, np.generic) else None


def _kind_of_traced(x: Tracer, memory: set[Store]) -> Hashable:
    """What tracing depends on; None for an array whose memory another argument has too."""
    if is_lost(x) or isinstance(x.place, Choice):
        return None
    value = x.value
    if isinstance(value, Literal):
        return x.flavour, value
    if not all(isinstance(d, int) for d in value.dims):
        return None
    if x.flavour != "array":
        return x.flavour, value.dtype, None, None
    (store,) = stores_behind(x.place)
    if store in memory or store.is_bound():
        return None
    memory.add(store)
    return x.flavour, value.dtype, value.dims, layout_like([x.place])


# -- tracing ---------------------------------------------------------------------------------------


def _traced(
    function: FunctionType, target: Callable[..., Any], given: _Given, rest: Rest
) -> _Traced | None:
    """The call traced by itself; None where it does more than to return something new."""
    parent = running_trace()
    region = Trace(function.__name__, parent, is_region=True)
    region.builder.loc = parent.builder.loc
    world = survey((target,))
    values = {id(x): x.value for x in given.leaves if type(x) is Tracer}
    found = None
    try:
        with resume(region):
            stand_ins = {id(x): _stand_in(x, values[id(x)], region) for x in given.traced}
            leaves = [_inside(x, values, stand_ins) for x in given.leaves]
            args, kwargs = unflatten(given.tree, leaves)
            with rest.watching():
                out = target(*args, **kwargs)
            arguments = (args, kwargs)
            untouched = _are_untouched(arguments, leaves, given.tree, stand_ins.values())
            if untouched and not _shares_containers(out, arguments):
                found = _finished(region, out, stand_ins.values())
    except (Exception, NeedStatic):
        found = None  # what is wrong is said when the call is traced in place
    state = take_back(world, region)
    region.active = False
    return None if state.changed or state.stores or region.lost else found


def _stand_in(x: Tracer, value: Value, region: Trace) -> tuple[Tracer, Store]:
    made = wrap(region.builder.param(value.type, value.name), x.flavour)
    assert isinstance(made.place, Store)
    if x.flavour == "array":
        made.place.layout = layout_like([x.place])
    return made, made.place


def _inside(x: Any, values: dict[int, Value], stand_ins: dict[int, tuple[Tracer, Store]]) -> Any:
    """A part of the arguments as the call is to see it; numbers that are known stay known."""
    if id(x) in stand_ins:
        return stand_ins[id(x)][0]
    return wrap(values[id(x)], x.flavour) if type(x) is Tracer else x


def _are_untouched(arguments: Any, leaves: Sequence[Any], tree: TreeDef, stand_ins: Any) -> bool:
    """Whether the call has left its arguments as they were."""
    now, tree_now = flatten(arguments)
    same = tree_now == tree and all(a is b for a, b in zip(now, leaves, strict=True))
    params = running_trace().builder.params
    return same and all(x.place is store and store.value in params for x, store in stand_ins)


def _shares_containers(out: Any, arguments: Any) -> bool:
    """Whether something that is returned is a container of the arguments, or may be one."""
    given = {id(x) for x in containers_in(arguments)}
    return any(id(x) in given or type(x) is Variants for x in containers_in(out))


def _finished(region: Trace, out: Any, stand_ins: Any) -> _Traced | None:
    """The Function of a region and what it returns, if all of it is new."""
    outside = _outside(region)
    leaves, tree = flatten(out)
    given = {store for _, store in stand_ins}
    values: list[Value] = []
    parts: list[Any] = []
    for x in leaves:
        if type(x) is not Tracer:
            if _kind_of_known(x) is None:
                return None
            parts.append(x)
            continue
        if is_lost(x) or isinstance(x.place, Choice):
            return None
        value = x.value
        if not all(isinstance(d, int) for d in value.dims):
            return None
        layout = "C"
        if x.flavour == "array":
            (store,) = stores_behind(x.place)
            if store in given or store.home is not region or store.is_bound():
                return None
            given.add(store)
            layout = layout_like([x.place])
        parts.append(_Result(len(values), x.flavour, layout))
        values.append(value)
    if outside is None:
        return None
    assert region.parent is not None
    site = region.parent.builder.loc
    f = _seen_from(region.builder.build(*values), site)
    return _Traced(f, outside, tree, tuple(parts))


def _outside(region: Trace) -> tuple[tuple[Store, Value], ...] | None:
    """The memory behind what a region has captured, in the order of its params; None where some of
    it is not from outside of the whole function."""
    if not region.captures:
        return ()
    chain: list[Trace] = []
    trace: Trace | None = region.parent
    while trace is not None and trace is not region.function:
        chain.insert(0, trace)
        trace = trace.parent
    sources: dict[int, tuple[Store, Value]] = {}
    for store in region.function.stores:
        value: Value | None = store.value
        for inner in chain:
            known = inner.captures.get(id(value))
            value = None if known is None else known.value
        if value is not None:
            sources[id(value)] = store, store.value
    found = [sources.get(id(c.source)) for c in region.captures.values()]
    return tuple(x for x in found if x is not None) if None not in found else None


def _seen_from(f: Function, site: Loc) -> Function:
    """`f` with locations that end where it is called: each call has its own. Those of Functions
    that it calls end there already."""
    eqns = []
    for eqn in f.eqns:
        regions = eqn.regions
        if eqn.op is not CALL:
            regions = tuple(_seen_from(region, site) for region in regions)
        eqns.append(replace(eqn, regions=regions, loc=_below(eqn.loc, site)))
    return Function(f.name, f.params, tuple(eqns), f.results, f.level)


def _below(loc: Loc, site: Loc) -> Loc:
    """The part of a location that is inside of the call at `site`."""
    frames = loc.frames
    ends = (j for j in range(len(frames)) if frames[j:] == site.frames[: len(frames) - j])
    return loc._replace(frames=frames[: next(ends, len(frames))])


# -- what a helper may do besides ------------------------------------------------------------------

_WRITES = frozenset(("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR", "IMPORT_NAME"))
_GENERATOR = 0x20
_HARMLESS = (
    *(bool, int, float, complex, str, bytes, type(None), np.generic, np.ndarray, np.ufunc),
    *(np.dtype, Tracer),
)


def _is_pure_helper(helper: Helper, function: FunctionType) -> bool:
    if helper.is_pure is None:
        helper.is_pure = not function.__closure__ and _is_pure(function, set())
    return helper.is_pure


def _is_pure(function: FunctionType, seen: set[CodeType]) -> bool:
    """Whether the code of a function, and of those of the user's that it names, changes no globals,
    no attributes, and can reach no container or object of the user's that it could change."""
    code = function.__code__
    if code in seen:
        return True
    seen.add(code)
    if any(map(_has_effects, _codes(code))):
        return False
    names = {name for part in _codes(code) for name in part.co_names}
    found = (function.__globals__[name] for name in names if name in function.__globals__)
    return all(_is_harmless(x, seen) for x in (*found, *(function.__defaults__ or ())))


def _has_effects(code: CodeType) -> bool:
    yields = code.co_flags & _GENERATOR and code.co_name != "<genexpr>"
    return bool(yields) or not _WRITES.isdisjoint(_operations(code))


def _is_harmless(x: Any, seen: set[CodeType]) -> bool:
    if type(x) is Tracer or isinstance(x, _HARMLESS):
        return True
    if isinstance(x, FunctionType):
        own = not is_users(x.__code__.co_filename)
        return own or (not x.__closure__ and _is_pure(x, seen))
    if isinstance(x, ModuleType):
        return not is_users(getattr(x, "__file__", None) or "<frozen>")
    if isinstance(x, tuple):
        return all(_is_harmless(part, seen) for part in x)
    if isinstance(x, type):
        methods = [m for m in vars(x).values() if isinstance(m, FunctionType)]
        return all(_is_harmless(m, seen) for m in methods)
    return type(x).__module__ == "numpy" or (callable(x) and not hasattr(x, "__dict__"))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and those of the functions written inside of it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _operations(code: CodeType) -> Iterator[str]:
    import dis  # costs a millisecond, and only programs with many calls need it

    return (instruction.opname for instruction in dis.get_instructions(code))
