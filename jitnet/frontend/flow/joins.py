"""Where two paths meet: which type a value has that is one thing on one and another on the other.

    if c: s = 1           s: int on one path, float on the other
    else: s = x * 0.5     joined: a Python float

Python objects that are the same on both paths stay as they are. Numbers and arrays become results
of the equation, in a `Kind` that both can be brought to; containers are joined part by part. What
cannot be joined is unbound from there on, and reading it says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.arrays import Place, View, stores_behind
from jitnet.frontend.context import Trace, resume, running_trace
from jitnet.frontend.flow import variants
from jitnet.frontend.flow.placing import is_known_in
from jitnet.frontend.flow.signals import ABSENT
from jitnet.frontend.flow.variants import Variants
from jitnet.frontend.flow.world import Left, is_known_around
from jitnet.frontend.pytree import NodeKind, node_kind
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


class Joiner:
    """Joins values, and collects those that an equation has to choose from.

    Args:
        kinds: the kinds of values of the one and of the other path.
        watched: `(array, array) → the memory among theirs that others know`.
        left: what the paths have left in containers.
    """

    def __init__(
        self,
        kinds: tuple[KindOf, KindOf],
        watched: Callable[[Any, Any], frozenset[Store]],
        left: Left,
    ) -> None:
        self.pairs: list[Pair] = []
        self.kinds = kinds
        self._left = left
        self._watched = watched
        self._known: dict[tuple[int, int], Pair] = {}

    def join(self, a: Any, b: Any) -> Callable[[], Any]:
        """How to make the joined value once all pairs have results.

        Raises:
            Conflict: where there is none.
        """
        if is_same(a, b):
            return lambda: a
        kind_a, kind_b = self.kinds[0](a), self.kinds[1](b)
        if kind_a is not None and kind_b is not None:
            return self._pair(a, b, kind_a, kind_b)
        kind = node_kind(type(a))
        one, other = (self._parts(x, side) for side, x in enumerate((a, b)))
        if kind is None or one is None or other is None or one[1] != other[1]:
            raise Conflict(
                f"{described(a, kind_a)} on one path and {described(b, kind_b)} on the other"
            )
        if not isinstance(a, tuple) and (is_known_around(a) or is_known_around(b)):
            raise Conflict(
                f"one {type(a).__name__} on one path and another on the other, which other "
                "variables know, too"
            )
        return self._whole(kind, one[1], [self.join(x, y) for x, y in zip(one[0], other[0])])

    def join_returned(self, a: Any, b: Any) -> Callable[[], Any]:
        """As `join`, of what is returned: what cannot be joined, and arrays of which the shape
        says which of them they are, may be one of two variants.

        Raises:
            Conflict: where the traced program would get to see these.
        """
        kind_a, kind_b = self.kinds[0](a), self.kinds[1](b)
        kind = None if kind_a is None or kind_b is None else common(kind_a, kind_b)
        if is_same(a, b) or (kind is not None and None not in kind.dims):
            return self.join(a, b)
        node = node_kind(type(a))
        one, other = (self._parts(x, side) for side, x in enumerate((a, b)))
        if node is not None and one is not None and other is not None and one[1] == other[1]:
            items = [self.join_returned(x, y) for x, y in zip(one[0], other[0])]
            return self._whole(node, one[1], items)
        if not variants.are_possible():
            return self.join(a, b)
        which = self.join(0, 1)
        makers = self.join_with_nothing(a, first=True), self.join_with_nothing(b, first=False)
        return lambda: Variants(which(), *(make() for make in makers))

    def join_with_nothing(self, x: Any, first: bool) -> Callable[[], Any]:
        """As `join`, where only the first (or only the second) path has a value at all.

        Raises:
            Conflict: for an array of which it is not known what it holds.
        """
        parts = None if self._left.was_there(x) else self._parts(x, 0 if first else 1)
        node = node_kind(type(x))
        if node is not None and parts is not None:
            items = [self.join_with_nothing(item, first) for item in parts[0]]
            return self._whole(node, parts[1], items)
        kind = self.kinds[0 if first else 1](x)
        if type(x) is not Tracer:
            return lambda: x
        if kind is None:
            raise Conflict(f"{described(x, kind)} on one path")
        if kind.flavour == "array" and is_known_in(running_trace(), x.place):
            return lambda: x
        a, b = (x, ABSENT) if first else (ABSENT, x)
        region = self._left.states[0 if first else 1].region
        dims = tuple(None if _is_made_in(region, d) else d for d in kind.dims)
        pair = Pair(a, b, replace(kind, dims=dims))
        self.pairs.append(pair)
        return pair.make

    def _parts(self, x: Any, side: int) -> tuple[Sequence[Any], Any] | None:
        """The items of a container as its path has left them, and the rest of what it is."""
        kind = node_kind(type(x))
        if kind is None or x is None:
            return None
        with self._left.contents(x, side):
            children, meta = kind.flatten(x)
            children = tuple(children)  # a list's are the list
        return children, (type(x), len(children), meta)

    def _whole(
        self, kind: NodeKind, rest: Any, makers: Sequence[Callable[[], Any]]
    ) -> Callable[[], Any]:
        return lambda: kind.unflatten(rest[-1], [make() for make in makers])

    def _pair(self, a: Any, b: Any, kind_a: Kind, kind_b: Kind) -> Callable[[], Any]:
        kind = common(kind_a, kind_b)
        if kind is None:
            raise Conflict(f"{kind_a} on one path and {kind_b} on the other")
        key = (_identity(a), _identity(b))
        pair = self._known.get(key)
        if pair is None:
            watched = self._watched(a, b) if kind.flavour == "array" else frozenset()
            pair = self._known[key] = Pair(a, b, kind, watched)
            self.pairs.append(pair)
        return pair.make


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
