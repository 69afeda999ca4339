"""Where two paths meet: which type a value has that is one thing on one and another on the other.

    if c: s = 1           s: int on one path, float on the other
    else: s = x * 0.5     joined: a Python float

Python objects that are the same on both paths stay as they are. Numbers and arrays become results
of the equation, in a `Kind` that both can be brought to; containers are joined part by part. What
cannot be joined is unbound from there on, and reading it says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.arrays import Place, View, stores_behind
from jitnet.frontend.context import Trace, resume, running_trace
from jitnet.frontend.flow import snapshots, variants
from jitnet.frontend.flow.placing import is_known_in
from jitnet.frontend.flow.signals import ABSENT
from jitnet.frontend.flow.snapshots import Snapshot
from jitnet.frontend.flow.variants import (
    MOST_VARIANTS,
    Variants,
    has_identity,
    is_container,
    is_one,
    is_value,
    kind_of_container,
    narrowed,
    number_among,
    objects_of,
    which_of,
)
from jitnet.frontend.flow.world import Left, is_known_around
from jitnet.frontend.pytree import NodeKind
from jitnet.frontend.stores import Store, bonds_of
from jitnet.frontend.texts import Text
from jitnet.frontend.tracer import Flavour, Tracer, lift, supported_dtype, wrap
from jitnet.ir import ArrayType, Dim, DType, Value, as_dim
from jitnet.ir import types as T

_ORDER = "bifc"


@dataclass(frozen=True)
class Kind:
    """What a traced value is, apart from its value.

    Attributes:
        dims: None for an extent that is not the same on all paths.
    """

    flavour: Flavour
    dtype: DType
    dims: tuple[Dim | None, ...] = ()

    def __str__(self) -> str:
        if self.flavour == "python":
            return {"b": "bool", "i": "int", "f": "float", "c": "complex"}[self.dtype.kind]
        if self.flavour == "scalar":
            return f"np.{self.dtype.numpy.name}"
        shape = ", ".join(str(d) if isinstance(d, int) else "?" for d in self.dims)
        return f"array {self.dtype.numpy.name}[{shape}]"


def kind_of(x: Any) -> Kind | None:
    """The kind of a number or an array; None for other objects."""
    if type(x) is Tracer:
        if is_lost(x):
            return None
        return Kind(x.flavour, x.place.dtype, x.value.dims)
    if type(x) is bool:
        return Kind("python", T.bool_)
    if type(x) is int:
        return Kind("python", T.i64) if -(1 << 63) <= x < 1 << 63 else None
    if type(x) is float:
        return Kind("python", T.f64)
    if type(x) is complex:
        return Kind("python", T.c128)
    if isinstance(x, np.generic) and T.is_numeric(x.dtype):
        return Kind("scalar", supported_dtype(x.dtype))
    if type(x) is np.ndarray and T.is_numeric(x.dtype):
        return Kind("array", supported_dtype(x.dtype), x.shape)
    return None


def kind_in(region: Trace, x: Any) -> Kind | None:
    """The kind of a region's value, with extents of the trace around it in their terms."""
    with resume(region):
        kind = kind_of(x)
    if kind is None:
        return None
    return Kind(kind.flavour, kind.dtype, tuple(outer_dim(region, d) for d in kind.dims))


def outer_dim(region: Trace, dim: Dim | None) -> Dim | None:
    """An extent as the trace around the region has it; one of the region's own as it is."""
    if dim is None or isinstance(dim, int):
        return dim
    source = region.captured(dim)
    return as_dim(source) if isinstance(source, Value) else dim


def _is_made_in(region: Trace, dim: Dim | None) -> bool:
    """Whether an extent is known in a region only."""
    is_value = isinstance(dim, Value)
    return is_value and any(dim in eqn.results for eqn in region.builder.eqns)


def common(a: Kind, b: Kind) -> Kind | None:
    """The kind that values of both can be brought to; None where there is none."""
    if a == b:
        return a
    if a.flavour == b.flavour == "array":
        if a.dtype != b.dtype or len(a.dims) != len(b.dims):
            return None
        dims = tuple(_same_or_none(x, y) for x, y in zip(a.dims, b.dims))
        return Kind("array", a.dtype, dims)
    if "array" in (a.flavour, b.flavour):
        return None
    if a.flavour == b.flavour == "python":
        return max(a, b, key=lambda k: _ORDER.index(k.dtype.kind))
    if a.flavour == b.flavour:
        joined = np.result_type(a.dtype.numpy, b.dtype.numpy)
        return Kind("scalar", supported_dtype(joined))
    python, scalar = (a, b) if a.flavour == "python" else (b, a)
    weak = {"b": False, "i": 0, "f": 0.0, "c": 0j}[python.dtype.kind]
    try:
        return Kind("scalar", supported_dtype(np.result_type(weak, scalar.dtype.numpy)))
    except TypeError:
        return None


def _same_or_none(x: Dim | None, y: Dim | None) -> Dim | None:
    return x if x is y or (isinstance(x, int) and x == y) else None


def brought_to(x: Any, kind: Kind) -> Value:
    """The value of a number or an array in the running trace, with the kind's dtype."""
    return ops.convert(lift(x).value, kind.dtype)


def is_same(a: Any, b: Any) -> bool:
    """Whether two known objects need no joining."""
    if a is b:
        return True
    if type(a) is not type(b) or isinstance(a, (Tracer, np.ndarray, Text)):
        return False
    if type(a) is float:
        return repr(a) == repr(b)
    return isinstance(a, (bool, int, str, bytes, complex, np.generic)) and bool(a == b)


KindOf = Callable[[Any], Kind | None]


class Conflict(Exception):  # noqa: N818
    """Two values that cannot be joined; says why."""


def described(x: Any, kind: Kind | None) -> str:
    """What something is, for messages."""
    if is_lost(x):
        return "an array that may, or may not, have been written to,"
    if type(x) is Variants:
        return "one of several objects"
    if kind is None and isinstance(x, (tuple, list, dict)):  # its items are of one path only
        return f"a {type(x).__name__} of {len(x)}"
    return str(kind) if kind is not None else errors.describe(x)


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


class Entangled(Exception):  # noqa: N818
    """Containers that are not joined with one another: each is a variant by itself."""

    def __init__(self, containers: Sequence[Any]) -> None:
        super().__init__("containers that several variables know")
        self.containers = containers


@dataclass(frozen=True)
class Around:
    """What a joiner asks about the program around.

    Attributes:
        kinds: the kinds of values of the one and of the other path.
        watched: `(array, array) → the memory among theirs that others know`.
        is_held: whether others know a container.
        left: what the paths have left in containers.
    """

    kinds: tuple[KindOf, KindOf]
    watched: Callable[[Any, Any], frozenset[Store]]
    is_held: Callable[[Any], bool]
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
        one, other = (self._parts(x, side) for side, x in enumerate((a, b)))
        if one is not None and other is not None and one.is_like(other):
            if is_value(a):
                return self._whole(one, map(self.join, one.items, other.items))
            if self._is_new(a) and self._is_new(b):
                self._use(a, id(b))
                self._use(b, id(a))
                return self._once(id(a), id(b), one, map(self.join, one.items, other.items))
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
        one, other = (self._parts(x, side) for side, x in enumerate((a, b)))
        if one is not None and other is not None and one.is_like(other):
            if not is_value(a):
                return self.join(a, b)
            return self._whole(one, map(self.join_returned, one.items, other.items))
        if not variants.are_possible():
            return self.join(a, b)
        return self._variants(a, b, merge=False)

    def join_with_nothing(self, x: Any, first: bool) -> Maker:
        """As `join`, where only the first (or only the second) path has a value at all.

        Raises:
            Conflict: for an array of which it is not known what it holds.
        """
        side = 0 if first else 1
        parts = None if self._left.was_there(x) else self._parts(x, side)
        if parts is not None:
            nothing = (self.join_with_nothing(y, first) for y in parts.items)
            if is_value(x):
                return self._whole(parts, nothing)
            self._use(x, -1)
            return self._once(id(x), -1, parts, nothing)
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

    def _parts(self, x: Any, side: int) -> _Parts | None:
        """The items of a container as its path has left them, and the rest of what it is."""
        kind = kind_of_container(x)
        if kind is None or x is None or type(x) is Variants:
            return None
        with self._left.contents(x, side):
            children, meta = kind.flatten(x)
            return _Parts(x, tuple(children), meta, kind)  # a list's are the list

    def _whole(self, parts: _Parts, items: Iterable[Maker]) -> Maker:
        makers = list(items)
        return lambda: parts.kind.unflatten(parts.meta, [make() for make in makers])

    def _once(self, one: int, other: int, parts: _Parts, items: Iterable[Maker]) -> Maker:
        """The same object for all who ask."""
        found = self._makers.get((one, other))
        if found is None:
            make = self._whole(parts, items)
            found = self._makers[one, other] = _memoised(make, snapshots.of(parts.container))
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


class _Parts(NamedTuple):
    """A container taken apart."""

    container: Any
    items: tuple[Any, ...]
    meta: Any
    kind: NodeKind

    def is_like(self, other: _Parts) -> bool:
        """Whether they can be joined item by item."""
        is_one_class = type(self.container) is type(other.container)
        alike = is_one_class and len(self.items) == len(other.items)
        return alike and bool(self.meta == other.meta)


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


def stores_of(x: Any) -> list[Store]:
    """The memory of an array."""
    if type(x) is not Tracer or x.flavour != "array":
        return []
    return stores_behind(x.place)


def is_lost(x: Any) -> bool:
    """Whether it is not known what an array holds."""
    return any(store.doubt is not None for store in stores_of(x))


def may_overlap(x: Any, y: Any) -> bool:
    """Whether two arrays share memory, or may."""
    return any(a.may_overlap(b) for a in stores_of(x) for b in stores_of(y))


def array_type(kind: Kind) -> ArrayType:
    """The type of a kind all of whose extents are known to be the same."""
    dims = tuple(d for d in kind.dims if d is not None)
    assert len(dims) == len(kind.dims)
    return ArrayType(kind.dtype, dims)
