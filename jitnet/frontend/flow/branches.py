"""`if` on a traced condition: both arms are traced, and what they change is joined.

    if x > 0:                       %y, %x1 = if %0, %x {
        y = 1.0                       arms: (f64, f64[3])
        x[0] = 0.0                  }
    else:
        y = x[1]

An arm that jumps out (returns, breaks, continues) takes the rest of the block into the other arm;
where only the program knows whether an arm jumps, the rest runs under an `if` of its own. An arm
that raises becomes a check, and the program goes on with the other one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jitnet import errors, ir, ops
from jitnet.frontend.arrays import Choice, Place, leaves_of
from jitnet.frontend.context import (
    NeedStatic,
    Trace,
    bring_in,
    give_name,
    integer_arguments_of,
    resume,
    running_trace,
)
from jitnet.frontend.flow import regions, snapshots
from jitnet.frontend.flow.conditions import note_fact
from jitnet.frontend.flow.growing import Grows, put_on_tape, regrown
from jitnet.frontend.flow.holders import is_held_elsewhere, known_elsewhere
from jitnet.frontend.flow.joined_lists import on_tapes
from jitnet.frontend.flow.joins import Around, Entangled, Joiner, Pair, bind_to_each_other
from jitnet.frontend.flow.kinds import Conflict, brought_to, kind_in, stores_of
from jitnet.frontend.flow.liveness import names_from_outside
from jitnet.frontend.flow.placing import (
    MOST_LEAVES,
    chosen,
    divided,
    is_known_in,
    is_same_leaf,
    leaf_of,
    number_of,
    united,
)
from jitnet.frontend.flow.raising import check_not, has_values, of_program
from jitnet.frontend.flow.signals import ABSENT, FALL, RETURN, Raised, Signal, normal, without
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.flow.world import (
    RETURNED,
    UNBOUND,
    Content,
    Left,
    Location,
    State,
    Variable,
    World,
    as_left,
    put_again,
    same_content,
    surveyed,
    take_back,
)
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer
from jitnet.frontend.watch import Rest
from jitnet.ir import Effect, Value, as_value, effect_of
from jitnet.ir import types as T

Thunk = Callable[[], Any]

_NEED_ONE_ARM = (errors.ConcretizationError, errors.MutationError, errors.ReturnError)

_MOST_NESTED = 8
"""Places of an array of which it is told by conditions, one inside of the other."""


def if_(test: Any, then: Thunk | None, orelse: Thunk | None, rest: Thunk | None = None) -> Any:
    """`if test: then else: orelse`, and what follows it where a jump is among the arms."""
    condition = truth(test)
    if isinstance(condition, bool):
        chosen = then if condition else orelse
        return follow(normal(chosen() if chosen is not None else None), rest)
    return branch(condition, then, orelse, rest)


def follow(signal: Signal, rest: Thunk | None) -> Signal:
    """The signal of a block that goes on with `rest` where it falls through."""
    if rest is None or FALL not in signal.kinds:
        return signal
    if signal.falls:
        return normal(rest())
    jumped = without(signal, FALL)
    falls = truth(signal.kind == FALL)
    assert not isinstance(falls, bool)
    return branch(falls, rest, lambda: jumped, None)


def branch(
    condition: Value, then: Thunk | None, orelse: Thunk | None, rest: Thunk | None = None
) -> Signal:
    """Trace both arms and join them; lists that grow in one of them are on tapes from there on.

    Raises:
        NeedStatic: where the arms cannot be joined, or one calls itself without end, and int
            arguments decide which of them it is.
    """
    try:
        while True:
            try:
                with surveyed((then, orelse, rest)) as world, snapshots.forgotten_if_it_fails():
                    return _branch(world, condition, then, orelse, rest)
            except Grows as grows:
                put_on_tape(grows)
    except (RecursionError, *_NEED_ONE_ARM):
        deciding = integer_arguments_of(running_trace(), condition)
        if deciding is None:
            raise
        raise NeedStatic(deciding) from None


def _branch(
    world: World, condition: Value, then: Thunk | None, orelse: Thunk | None, rest: Thunk | None
) -> Signal:
    outcomes: list[tuple[State, Signal]] = []
    for name, thunk, other in (("then", then, orelse), ("orelse", orelse, then)):
        arm = _arm(world, name, thunk, condition)
        if isinstance(arm, Raised):
            _let_raise(condition if thunk is then else ops.logical_not(condition), arm)
            note_fact(running_trace(), condition, holds=thunk is not then)
            return follow(normal(other() if other is not None else None), rest)
        outcomes.append(arm)
    falling = [i for i, (_, signal) in enumerate(outcomes) if signal.falls]
    jumping = [i for i, (_, signal) in enumerate(outcomes) if FALL not in signal.kinds]
    if rest is not None and len(falling) == len(jumping) == 1:
        (i,) = falling
        continued = _go_on(world, outcomes[i][0], rest)
        if isinstance(continued, Raised):
            _let_raise(condition if i == 0 else ops.logical_not(condition), continued)
            other = (then, orelse)[1 - i]
            return normal(other() if other is not None else None)
        outcomes[i] = continued
        rest = None
    one, other_outcome = outcomes
    with Rest():
        outer = frozenset(names_from_outside(then or orelse or rest))
        signal = _join(world, condition, one, other_outcome, outer)
    return follow(signal, rest)


def _arm(
    world: World, name: str, thunk: Thunk | None, condition: Value
) -> tuple[State, Signal] | Raised:
    parent = running_trace()
    region = Trace(name, parent, is_region=True)
    region.builder.loc = parent.builder.loc
    note_fact(region, condition, name == "then")
    return _traced(world, region, thunk)


def _go_on(world: World, state: State, rest: Thunk) -> tuple[State, Signal] | Raised:
    put_again(state)
    return _traced(world, state.region, rest)


def _traced(world: World, region: Trace, thunk: Thunk | None) -> tuple[State, Signal] | Raised:
    try:
        with resume(region):
            signal = normal(thunk() if thunk is not None else None)
            snapshots.check()
    except BaseException as error:
        take_back(world, region)
        found = of_program(error)
        if found is None:
            raise
        return Raised(found, region)
    return take_back(world, region), signal


def _let_raise(condition: Value, arm: Raised) -> None:
    """The program raises where the condition holds, after what the arm does before that."""
    region = arm.region
    has_effects = any(effect_of(eqn) >= Effect.MAY_RAISE for eqn in region.builder.eqns)
    if not (has_effects or has_values(arm.error)):
        region.active = False
        check_not(condition, arm.error)
        return
    with resume(region):
        check_not(ir.literal(True, T.bool_), arm.error)
    nothing = Trace("orelse", region.parent, is_region=True)
    operands = regions.unite(region, nothing)
    ops.if_(condition, region.builder.build(), nothing.builder.build(), operands)
    region.active = nothing.active = False


# -- joining ---------------------------------------------------------------------------------------

Makers = list[tuple[Location, Callable[[], Any]]]


def _prepared(
    world: World,
    one: tuple[State, Signal],
    other: tuple[State, Signal],
    outer: frozenset[str],
    entangled: Sequence[Any],
) -> tuple[Joiner, Makers, Callable[[], Signal]]:
    """How all that the arms have changed is joined, and how they end."""
    (a, signal_a), (b, signal_b) = one, other
    location: list[Location] = []

    def watched(x: Any, y: Any) -> frozenset[Store]:
        where = location[-1]
        memory = dict.fromkeys((*stores_of(x), *stores_of(y)))
        return frozenset(store for store in memory if known_elsewhere(store, where))

    kinds = (lambda x: kind_in(a.region, x), lambda x: kind_in(b.region, x))
    around = Around(
        kinds, watched, lambda x: is_held_elsewhere(x, location[-1]), on_tapes, Left(world, (a, b))
    )
    joiner = Joiner(around, entangled)
    makers: Makers = []
    for key in {**a.changed, **b.changed}:
        where = (a.changed.get(key) or b.changed[key])[0]
        location.append(where)
        sides = [s.changed[key][1] if key in s.changed else world.before(key) for s in (a, b)]
        if isinstance(where, Variable) and where.name not in outer:
            sides = [
                ABSENT if signal.kinds == {RETURN} else side  # nobody reads it after a return
                for side, signal in zip(sides, (signal_a, signal_b))
            ]
        makers.append((where, join_location(joiner, where, world.before(key), *sides)))
    location.append(RETURNED)
    return joiner, makers, _join_signals(joiner, signal_a, signal_b)


def _join(
    world: World,
    condition: Value,
    one: tuple[State, Signal],
    other: tuple[State, Signal],
    outer: frozenset[str],
) -> Signal:
    """Bind the `if`, and let the world be what both arms may have left.

    Args:
        outer: variables of functions further out, which live on where this one returns.
    """
    entangled: list[Any] = []
    while True:
        try:
            joiner, makers, make_signal = _prepared(world, one, other, outer, entangled)
            break
        except Entangled as found:
            entangled += found.containers
    a, b = one[0], other[0]
    written = _written(a, b)
    shared = _shared(joiner.pairs)
    for pair in joiner.pairs:
        if pair.watched and None not in pair.kind.dims:
            _divide(pair, pair.watched | shared)
    results, tapes = _bind(condition, a, b, joiner, written)
    for tape, result in zip(joiner.tapes, tapes):
        tape.result = result
    numbers = iter(results[len(joiner.pairs) + len(written) :])
    for pair, result in zip(joiner.pairs, results):
        pair.result = result
        if pair.leaves:
            _put(pair, result, condition, numbers)
    for (store, _, _), result in zip(written, results[len(joiner.pairs) :]):
        give_name(running_trace(), result)
        store.write(result)
    for store, doubt in {**b.lost, **a.lost}.items():
        store.lose(doubt)
    for where, make in makers:
        where.set(make())
    signal = make_signal()
    bind_to_each_other(joiner.pairs)
    for pair in joiner.pairs:
        deep = isinstance(pair.place, Choice) and len(leaves_of(pair.place)) > 2
        if isinstance(pair.place, Choice) and deep and pair.result is not None:
            # of two arrays, an element is chosen when it is read: none is copied as a whole
            pair.place.remember(running_trace(), pair.result)
    return signal


def _shared(pairs: Sequence[Pair]) -> frozenset[Store]:
    """The memory that more than one of the joined arrays may be in."""
    counts = Counter(s for p in pairs for s in {*stores_of(p.a), *stores_of(p.b)})
    return frozenset(store for store, count in counts.items() if count > 1)


def _divide(pair: Pair, watched: frozenset[Store]) -> None:
    """Note the leaves of an array that others know, if they are few, and what is in memory of its
    own."""
    sides = [divided(_place_of(x), watched.__contains__) for x in (pair.a, pair.b)]
    pair.leaves = united(*(side.leaves for side in sides))
    if len(pair.leaves) > MOST_LEAVES:
        pair.leaves = ()
        return
    pair.own = sides[0].own, sides[1].own
    pair.is_apart = any(side.is_apart for side in sides)
    if not pair.is_apart and not is_same_leaf(pair.a.place, pair.b.place):
        here = running_trace()
        few = len(leaves_of(pair.a.place)) + len(leaves_of(pair.b.place)) <= _MOST_NESTED
        pair.nests = few and all(is_known_in(here, x.place) for x in (pair.a, pair.b))


def _numbers(pair: Pair, side: int, around: Trace) -> list[Value]:
    """What an arm has to say of where a joined array is."""
    if not _is_told(pair):
        return []
    return [number_of(_place_of((pair.a, pair.b)[side]), pair.leaves, around)]


def _is_told(pair: Pair) -> bool:
    """Whether the arms say where a joined array is; else the condition does."""
    is_choice = any(isinstance(_place_of(x), Choice) for x in (pair.a, pair.b))
    return bool(pair.leaves) and is_choice and not pair.nests


def _place_of(x: Any) -> Place | None:
    return x.place if type(x) is Tracer else None


def _put(pair: Pair, result: Value, condition: Value, numbers: Iterator[Value]) -> None:
    """Let a joined array be where it is on each path."""
    trace = running_trace()
    if pair.is_apart:
        pair.memory = Store(result, trace)
    if _is_told(pair):
        pair.place = chosen(next(numbers), pair.leaves, pair.memory)
        return
    if pair.nests:
        pair.place = Choice(condition, trace, pair.a.place, pair.b.place)
        return
    one, other = (
        leaf_of(_place_of(x), pair.leaves, trace) or pair.memory for x in (pair.a, pair.b)
    )
    assert one is not None
    assert other is not None
    pair.place = one if one is other else Choice(condition, trace, one, other)


def join_location(
    joiner: Joiner, where: Location, before: Any, a: Any, b: Any
) -> Callable[[], Any]:
    """How to make what a location holds after both paths; UNBOUND where they cannot be joined."""
    if isinstance(where, Content):
        return _join_content(joiner, where, before, a, b)
    if {id(a), id(b)} <= {id(UNBOUND), id(ABSENT)}:
        return lambda: UNBOUND
    try:
        if a is ABSENT or b is ABSENT:
            return _join_with_returned(joiner, before, a, b)
        if a is UNBOUND or b is UNBOUND:
            raise Conflict("assigned to on one path only")
        return joiner.join(a, b)
    except Conflict as conflict:
        note_conflict(where.name, str(conflict))
        return lambda: UNBOUND


def _join_with_returned(joiner: Joiner, before: Any, a: Any, b: Any) -> Callable[[], Any]:
    """What a variable is on the only path that goes on."""
    other = b if a is ABSENT else a
    if other is UNBOUND or other is before or _was_there(other):
        return lambda: other
    return joiner.join_with_nothing(other, first=b is ABSENT)


def _was_there(x: Any) -> bool:
    """Whether this is an array that the running trace can tell the place of."""
    return type(x) is Tracer and x.flavour == "array" and is_known_in(running_trace(), x.place)


def note_conflict(name: str, text: str, leaves: frozenset[int] | None = None) -> None:
    """Remember why a variable is unbound, and which int arguments decide that, if they do."""
    running_trace().function.conflicts[name] = (text, leaves)


def _join_content(joiner: Joiner, where: Content, before: Any, a: Any, b: Any) -> Callable[[], Any]:
    for side, after in enumerate((a, b)):
        found = regrown(before, after)
        if found is not None and not same_content(a, b):
            kind_of_part = joiner.around.kinds[side]
            raise Grows(where.container, found[0], kind_of_part, not found[1], before)
    alike = type(a) is type(b) and len(a) == len(b) and not isinstance(a, set)
    if not alike or (isinstance(a, dict) and list(a) != list(b)):
        raise errors.MutationError(
            f"{where} that has other items, or more of them, on one path than on the other",
            why="which items it has would only be known when the program runs",
            remedy="use an array and a mask, or the same keys on both paths",
        )
    try:
        if isinstance(a, list):
            parts = [joiner.join(x, y) for x, y in zip(a, b)]
            return lambda: [make() for make in parts]
        makers = {k: joiner.join(a[k], b[k]) for k in a}
        return lambda: {k: make() for k, make in makers.items()}
    except Conflict as conflict:
        raise errors.MutationError(
            f"an item of {where} that is {conflict}",
            remedy="make it of one type and shape on both paths",
        ) from None


def _join_signals(joiner: Joiner, a: Signal, b: Signal) -> Callable[[], Signal]:
    kinds = a.kinds | b.kinds
    try:
        make_kind = joiner.join(a.kind, b.kind)
        make_value = _join_values(joiner, a, b)
    except Conflict as conflict:
        returns = RETURN in kinds
        raise errors.ReturnError(
            f"the function returns {conflict}" if returns else str(conflict),
            why="which of them it is would only be known when the program runs",
            remedy=f"{'return ' * returns}values of one type and shape on all paths",
        ) from None
    return lambda: Signal(kinds, make_kind(), make_value())


def _join_values(joiner: Joiner, a: Signal, b: Signal) -> Callable[[], Any]:
    if a.value is ABSENT or b.value is ABSENT:
        first = b.value is ABSENT
        return joiner.join_with_nothing((a if first else b).value, first)
    join = joiner.join_returned if RETURN in a.kinds & b.kinds else joiner.join
    return join(a.value, b.value)


def _written(a: State, b: State) -> list[tuple[Store, Value, Value]]:
    """Memory that either arm wrote to, and what each left there, in its own terms."""
    found = []
    for store in {**a.stores, **b.stores}:
        if not a.region.is_inside(store.home):
            continue
        values = []
        for state in (a, b):
            value = state.stores.get(store)
            if value is None:
                with resume(state.region):
                    value = bring_in(store.value, store.owner, state.region)
            values.append(value)
        found.append((store, values[0], values[1]))
    return found


def _bind(
    condition: Value,
    then: State,
    orelse: State,
    joiner: Joiner,
    written: Sequence[tuple[Store, Value, Value]],
) -> tuple[list[Value], list[Value]]:
    """The results: of pairs, of memory and numbers, and of tapes."""
    around, pairs = running_trace(), joiner.pairs
    results: list[list[Value]] = []
    extents: list[list[Value]] = []
    for side, state in enumerate((then, orelse)):
        with as_left(state):
            own = [_as_result(pair, side) for pair in pairs]
            extents.append(
                [
                    as_value(value.dims[axis])
                    for pair, value in zip(pairs, own)
                    for axis, dim in enumerate(pair.kind.dims)
                    if dim is None
                ]
            )
            own += [(one, other)[side] for _, one, other in written]
            own += [n for pair in pairs for n in _numbers(pair, side, around)]
            own += [tape.sides[side]() for tape in joiner.tapes]
        results.append(own)
    ragged = list(dict.fromkeys(zip(*extents)))
    operands = regions.unite(then.region, orelse.region)
    one, other = (
        state.region.builder.build(*(pair[side] for pair in ragged), *results[side])
        for side, state in enumerate((then, orelse))
    )
    found = ops.if_(condition, one, other, operands)
    then.region.active = orelse.region.active = False
    first = len(found) - len(joiner.tapes)
    return list(found[len(ragged) : first]), list(found[first:])


def _as_result(pair: Pair, side: int) -> Value:
    x = (pair.a, pair.b)[side]
    if x is ABSENT:
        return regions.nothing(pair.kind)
    return brought_to(x, pair.kind)
