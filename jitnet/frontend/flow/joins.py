"""Where two paths meet: what a variable holds that is one thing on one and another on the other.

    if c: s = 1           s: int on one path, float on the other
    else: s = x * 0.5     joined: a Python float

Python objects that are the same on both paths stay as they are. Numbers and arrays become results
of the equation, of a kind that both can be brought to (`kinds`); containers are joined part by
part. What cannot be joined is unbound from there on, and reading it says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from jitnet.frontend.arrays import Place, View
from jitnet.frontend.context import Trace, resume, running_trace
from jitnet.frontend.flow import snapshots, variants
from jitnet.frontend.flow.containers import Form, has_identity, is_container, is_value, taken_apart
from jitnet.frontend.flow.kinds import Conflict, Kind, KindOf, common, described, is_same, stores_of
from jitnet.frontend.flow.placing import is_known_in
from jitnet.frontend.flow.signals import ABSENT
from jitnet.frontend.flow.snapshots import Snapshot
from jitnet.frontend.flow.variants import (
    MOST_VARIANTS,
    Variants,
    is_one,
    narrowed,
    number_among,
    objects_of,
    which_of,
)
from jitnet.frontend.flow.world import Left, is_known_around
from jitnet.frontend.grown import Grown
from jitnet.frontend.stores import Store, bonds_of
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Dim, Value


@dataclass
class Pair:
    """A value that is `a` on one path and `b` on the other, and what becomes of it.

    Attributes:
        result: the joined value, once there is an equation for it.
        watched: memory among theirs that others know.
        leaves: places of such memory that it is in on some path.
        place: where it is, if that is known; `memory` what was made for it.
        own: the memory whose content is there on each path; `is_apart` where there is such a path.
        nests: where it is on each path, is known around them.
        made: what stands for it.
    """

    a: Any
    b: Any
    kind: Kind
    watched: frozenset[Store] = frozenset()
    result: Value | None = None
    leaves: Sequence[Store | View] = ()
    place: Place | None = None
    memory: Store | None = None
    own: tuple[Sequence[Store], Sequence[Store]] = ((), ())
    is_apart: bool = False
    nests: bool = False
    made: Tracer | None = None

    def make(self) -> Tracer:
        """The same object for all who ask: two names of one array stay two names of one array."""
        if self.made is None:
            assert self.result is not None
            self.made = self._made(self.result)
        return self.made

    def _made(self, result: Value) -> Tracer:
        if self.kind.flavour != "array":
            return wrap(result, self.kind.flavour)
        if self.place is not None:
            return Tracer(self.place, "array")
        self.memory = Store(result, running_trace())
        self.own = stores_of(self.a), stores_of(self.b)
        return Tracer(self.memory, "array")


def bind_to_each_other(pairs: Sequence[Pair]) -> None:
    """Bind the joined arrays to what they may be: what was there on a path, and each other."""
    made = [(pair, pair.memory) for pair in pairs if pair.memory is not None]
    found = [bonds_of([*pair.own[0], *pair.own[1]]) for pair, _ in made]
    for (_, memory), bonds in zip(made, found):
        for bond in bonds:
            if bond.other.home.active:
                memory.bind(bond)
    for (one, memory), (other, second) in combinations(made, 2):
        if any(a.may_overlap(b) for x, y in zip(one.own, other.own) for a in x for b in y):
            memory.may_be_alone(second)


@dataclass
class Tapes:
    """A list that is on a tape from here on, and what becomes of it.

    Attributes:
        sides: what makes the tape of each path, in its region.
        made: what makes the object that stands for the items, of the joined tape.
        result: the joined tape, once there is an equation for it.
    """

    sides: tuple[Callable[[], Value], Callable[[], Value]]
    made: Callable[[Value], Any]
    result: Value | None = None

    def make(self) -> Any:
        assert self.result is not None
        return self.made(self.result)


class Entangled(Exception):  # noqa: N818
    """Containers that are not joined with one another: each is a variant by itself."""

    def __init__(self, containers: Sequence[Any]) -> None:
        super().__init__("containers that several variables know")
        self.containers = containers


Items = tuple[Any, ...]


@dataclass(frozen=True)
class Around:
    """What a joiner asks about the program around.

    Attributes:
        kinds: the kinds of values of the one and of the other path.
        watched: `(array, array) → the memory among theirs that others know`.
        is_held: whether others know a container.
        on_tapes: joins lists, of the items that either path has left, one of which is on a tape.
        left: what the paths have left in containers.
    """

    kinds: tuple[KindOf, KindOf]
    watched: Callable[[Any, Any], frozenset[Store]]
    is_held: Callable[[Any], bool]
    on_tapes: Callable[[tuple[Any, Any], Sequence[KindOf]], Tapes | None]
    left: Left


Maker = Callable[[], Any]


class Joiner:
    """Joins values, and collects those that an equation has to choose from.

    Containers that are new on their paths, and that nobody else knows, are joined item by item;
    others become variants. Each is dealt with in one way, under all of its names.

    Args:
        entangled: new containers that are variants, too.
    """

    def __init__(self, around: Around, entangled: Sequence[Any] = ()) -> None:
        self.pairs: list[Pair] = []
        self.tapes: list[Tapes] = []
        self.around = around
        self._left = around.left
        self._known: dict[tuple[int, int], Pair] = {}
        self._entangled = {id(x): x for x in entangled}
        self._uses: dict[int, tuple[Any, int]] = {}
        self._makers: dict[tuple[int, int], Maker] = {}

    def join(self, a: Any, b: Any) -> Maker:
        """How to make the joined value once all pairs have results.

        Raises:
            Conflict: where there is none.
            Entangled: where this joiner has begun in the wrong way.
        """
        if is_same(a, b):
            return lambda: a
        a, b = self._narrowed(a, 0), self._narrowed(b, 1)
        kind_a, kind_b = self.around.kinds[0](a), self.around.kinds[1](b)
        if kind_a is not None and kind_b is not None:
            return self._pair(a, b, kind_a, kind_b)
        lists = self._lists(a, b)
        if lists is not None:
            return lists
        form, *items = self._alike(a, b)
        if form is not None and is_value(a):
            return _whole(form, map(self.join, *items))
        if form is not None and self._is_new(a) and self._is_new(b):
            self._use(a, id(b))
            self._use(b, id(a))
            return self._once(a, id(b), form, map(self.join, *items))
        varies = a is None or b is None or Variants in (type(a), type(b))
        if varies or (has_identity(a) and has_identity(b)):
            return self._variants(a, b)
        raise Conflict(
            f"{described(a, kind_a)} on one path and {described(b, kind_b)} on the other"
        )

    def join_returned(self, a: Any, b: Any) -> Maker:
        """As `join`, of what is returned: what cannot be joined, and arrays of which the shape
        says which of them they are, may be one of two variants.

        Raises:
            Conflict: where the traced program would get to see these.
        """
        kind_a, kind_b = self.around.kinds[0](a), self.around.kinds[1](b)
        kind = None if kind_a is None or kind_b is None else common(kind_a, kind_b)
        if is_same(a, b) or (kind is not None and None not in kind.dims):
            return self.join(a, b)
        form, *items = self._alike(a, b)
        if form is not None and is_value(a):
            return _whole(form, map(self.join_returned, *items))
        if form is not None or not variants.are_possible():
            return self.join(a, b)
        return self._variants(a, b, merge=False)

    def join_with_nothing(self, x: Any, first: bool) -> Maker:
        """As `join`, where only the first (or only the second) path has a value at all.

        Raises:
            Conflict: for an array of which it is not known what it holds.
        """
        side = 0 if first else 1
        if type(x) is Grown:
            tapes = self.around.on_tapes(([x], None) if first else (None, [x]), self.around.kinds)
            assert tapes is not None
            self.tapes.append(tapes)
            return tapes.make
        found = None if self._left.was_there(x) else self._apart(x, side)
        if found is not None:
            form, items = found
            nothing = (self.join_with_nothing(y, first) for y in items)
            if is_value(x):
                return _whole(form, nothing)
            self._use(x, -1)
            return self._once(x, -1, form, nothing)
        if type(x) is Variants:
            which = self.join_with_nothing(which_of(x), first)
            makers = [self._variant(one, side) for one in objects_of(x)]
            return lambda: Variants(which(), [make() for make in makers])
        kind = self.around.kinds[side](x)
        if type(x) is not Tracer:
            return lambda: x
        if kind is None:
            raise Conflict(f"{described(x, kind)} on one path")
        if kind.flavour == "array" and is_known_in(running_trace(), x.place):
            return lambda: x
        key = (_identity(x), side - 2)
        pair = self._known.get(key)
        if pair is None:
            a, b = (x, ABSENT) if first else (ABSENT, x)
            region = self._left.states[side].region
            dims = tuple(None if _is_made_in(region, d) else d for d in kind.dims)
            watched = self.around.watched(a, b) if kind.flavour == "array" else frozenset()
            pair = self._known[key] = Pair(a, b, replace(kind, dims=dims), watched)
            self.pairs.append(pair)
        return pair.make

    def _narrowed(self, x: Any, side: int) -> Any:
        """Variants without those that a path knows it is not."""
        if type(x) is not Variants:
            return x
        with resume(self._left.states[side].region):
            return narrowed(x)

    # -- containers -------------------------------------------------------------------------------

    def _apart(self, x: Any, side: int) -> tuple[Form, Items] | None:
        """Form and items of a container as its path has left it."""
        if type(x) is Variants:
            return None
        with self._left.contents(x, side):
            return taken_apart(x)

    def _alike(self, a: Any, b: Any) -> tuple[Form | None, Items, Items]:
        """The form of two containers, and the items of both, if they can be joined item by item."""
        one, other = self._apart(a, 0), self._apart(b, 1)
        if one is None or other is None or one[0] != other[0]:
            return None, (), ()
        return one[0], one[1], other[1]

    def _lists(self, a: Any, b: Any) -> Maker | None:
        """New lists, or deques, of which the program knows the length of one: joined as a whole."""
        if type(a) is not type(b) or type(a) not in (list, deque):
            return None
        sides = []
        for side, x in enumerate((a, b)):
            with self._left.contents(x, side):
                sides.append(list(x))
        is_on_tape = any(items and type(items[0]) is Grown for items in sides)
        if not is_on_tape or not (self._is_new(a) and self._is_new(b)):
            return None
        self._use(a, id(b))
        self._use(b, id(a))
        found = self._makers.get((id(a), id(b)))
        if found is None:
            tapes = self.around.on_tapes((sides[0], sides[1]), self.around.kinds)
            assert tapes is not None
            self.tapes.append(tapes)
            found = _memoised(lambda: type(a)([tapes.make()]), None)
            self._makers[id(a), id(b)] = found
        return found

    def _once(self, x: Any, partner: int, form: Form, items: Iterable[Maker]) -> Maker:
        """The same object for all who ask for this container joined with its partner."""
        found = self._makers.get((id(x), partner))
        if found is None:
            made = _memoised(_whole(form, items), snapshots.of(x))
            found = self._makers[id(x), partner] = made
        return found

    def _is_new(self, x: Any) -> bool:
        """Whether a container is known by nobody but the one variable that is joined."""
        if type(x) is Variants or id(x) in self._entangled:
            return False
        return not (is_known_around(x) or self._left.was_there(x)) or not self.around.is_held(x)

    def _use(self, x: Any, partner: int) -> None:
        """Note what a container is joined with: under another name, too, it has to be that."""
        before = self._uses.setdefault(id(x), (x, partner))
        if before[1] != partner:
            raise Entangled((x,))

    def _variants(self, a: Any, b: Any, merge: bool = True) -> Maker:
        """One of what either path has.

        Args:
            merge: what is no object is joined: one number or array is among the variants.
        """
        objects: list[Any] = []
        makers: list[Maker] = []
        values: list[list[Any]] = [[], []]
        for side, x in enumerate((a, b)):
            for thing in objects_of(x):
                if merge and thing is not None and not has_identity(thing):
                    values[side].append(thing)
                elif not any(is_one(thing, other) for other in objects):
                    objects.append(thing)
                    makers.append(self._variant(thing, side))
        if len(objects) > MOST_VARIANTS:
            raise Conflict(f"one of more than {MOST_VARIANTS} objects")
        if any(values):
            makers.append(self._value(*values))
        if len(makers) == 1:
            return makers[0]
        numbers = []
        for state, x in zip(self._left.states, (a, b)):
            with resume(state.region):
                numbers.append(number_among(x, objects))
        which = self.join(*numbers)
        return lambda: Variants(which(), [make() for make in makers])

    def _value(self, one: Sequence[Any], other: Sequence[Any]) -> Maker:
        """The number, array or tuple among variants."""
        if len(one) > 1 or len(other) > 1:
            raise Conflict("one of several things of different kinds")
        if one and other:
            return self.join(one[0], other[0])
        return self.join_with_nothing((one or other)[0], first=bool(one))

    def _variant(self, x: Any, side: int) -> Maker:
        if is_container(x) and (self._left.was_there(x) or is_known_around(x)):
            self._use(x, id(x))
            return lambda: x
        return self.join_with_nothing(x, first=side == 0)

    def _pair(self, a: Any, b: Any, kind_a: Kind, kind_b: Kind) -> Maker:
        kind = common(kind_a, kind_b)
        if kind is None:
            raise Conflict(f"{kind_a} on one path and {kind_b} on the other")
        key = (_identity(a), _identity(b))
        pair = self._known.get(key)
        if pair is None:
            watched = self.around.watched(a, b) if kind.flavour == "array" else frozenset()
            pair = self._known[key] = Pair(a, b, kind, watched)
            self.pairs.append(pair)
        return pair.make


def _whole(form: Form, items: Iterable[Maker]) -> Maker:
    makers = list(items)
    return lambda: form.made_of([make() for make in makers])


def _memoised(maker: Maker, stood_for: Snapshot | None) -> Maker:
    made: list[Any] = []

    def make() -> Any:
        if not made:
            made.append(maker())
            if stood_for is not None:  # so does what is made of it
                snapshots.keep(made[0], stood_for.name)
        return made[0]

    return make


def _identity(x: Any) -> int:
    """The same for two names of one array."""
    return id(x.place if type(x) is Tracer and x.flavour == "array" else x)


def _is_made_in(region: Trace, dim: Dim | None) -> bool:
    """Whether an extent is known in a region only."""
    is_value = isinstance(dim, Value)
    return is_value and any(dim in eqn.results for eqn in region.builder.eqns)
