"""Where two paths meet: which type a value has that is one thing on one and another on the other.

    if c: s = 1           s: int on one path, float on the other
    else: s = x * 0.5     joined: a Python float

Python objects that are the same on both paths stay as they are. Numbers and arrays become results
of the equation, in a `Kind` that both can be brought to; containers are joined part by part. What
cannot be joined is unbound from there on, and reading it says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.arrays import Choice, Place, Store, stores_behind
from jitnet.frontend.context import Trace, resume, running_trace
from jitnet.frontend.flow.signals import ABSENT
from jitnet.frontend.pytree import TreeDef, flatten, unflatten
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
        if any(store.is_stale for store in stores_of(x)):
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
    if isinstance(x, np.generic) and x.dtype.kind in "biufc":
        return Kind("scalar", supported_dtype(x.dtype))
    if type(x) is np.ndarray and x.dtype.kind in "biufc":
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


@dataclass
class Pair:
    """A value that is `a` on one path and `b` on the other, and what becomes of it.

    Attributes:
        result: the joined value, once there is an equation for it.
        peers: memory that it may share, depending on the path taken.
        choice: which path is taken, where a and b are there on both of them.
    """

    a: Any
    b: Any
    kind: Kind
    peers: Sequence[Store] = ()
    result: Value | None = None
    choice: tuple[Value, Place, Place] | None = None

    def made(self) -> Tracer:
        assert self.result is not None
        if self.choice is not None:
            condition, one, other = self.choice
            return Tracer(Choice(condition, running_trace(), one, other), "array")
        joined = wrap(self.result, self.kind.flavour)
        if self.peers and isinstance(joined.place, Store):
            joined.place.share(self.peers)
        return joined


class Joiner:
    """Joins values, and collects those that an equation has to choose from.

    Args:
        kinds: the kinds of values of the one and of the other path.
        peers_of: `(array, array) → the memory that the joined array may share`.
    """

    def __init__(
        self, kinds: tuple[KindOf, KindOf], peers_of: Callable[[Any, Any], Sequence[Store]]
    ) -> None:
        self.pairs: list[Pair] = []
        self.kinds = kinds
        self._peers_of = peers_of
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
        (leaves_a, tree), (leaves_b, other) = flatten(a), flatten(b)
        if tree != other or (len(leaves_a) == 1 and leaves_a[0] is a):
            raise Conflict(
                f"{kind_a or errors.describe(a)} on one path and "
                f"{kind_b or errors.describe(b)} on the other"
            )
        return self._tree(tree, [self.join(x, y) for x, y in zip(leaves_a, leaves_b)])

    def join_with_nothing(self, x: Any, first: bool) -> Callable[[], Any]:
        """As `join`, where only the first (or only the second) path has a value at all."""
        leaves, tree = flatten(x)
        if len(leaves) != 1 or leaves[0] is not x:
            return self._tree(tree, [self.join_with_nothing(leaf, first) for leaf in leaves])
        kind = self.kinds[0 if first else 1](x)
        if kind is None or type(x) is not Tracer:
            return lambda: x
        own = type(x) is Tracer and isinstance(x.place, Store)
        peers = [] if own else stores_of(x)
        peers += [origin for store in stores_of(x) for origin in store.origins]
        a, b = (x, ABSENT) if first else (ABSENT, x)
        pair = Pair(a, b, kind, peers)
        self.pairs.append(pair)
        return _once(pair)

    def _tree(self, tree: TreeDef, makers: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
        return lambda: unflatten(tree, [make() for make in makers])

    def _pair(self, a: Any, b: Any, kind_a: Kind, kind_b: Kind) -> Callable[[], Any]:
        kind = common(kind_a, kind_b)
        if kind is None:
            raise Conflict(f"{kind_a} on one path and {kind_b} on the other")
        key = (id(a), id(b))
        pair = self._known.get(key)
        if pair is None:
            peers = self._peers_of(a, b) if kind.flavour == "array" else ()
            pair = self._known[key] = Pair(a, b, kind, peers)
            self.pairs.append(pair)
        return _once(pair)


def _once(pair: Pair) -> Callable[[], Any]:
    """The same object for all who ask: two names of one array stay two names of one array."""
    made: list[Tracer] = []

    def make() -> Tracer:
        if not made:
            made.append(pair.made())
        return made[0]

    return make


def stores_of(x: Any) -> list[Store]:
    """The memory of an array."""
    if type(x) is not Tracer or x.flavour != "array":
        return []
    return stores_behind(x.place)


def array_type(kind: Kind) -> ArrayType:
    """The type of a kind all of whose extents are known to be the same."""
    dims = tuple(d for d in kind.dims if d is not None)
    assert len(dims) == len(kind.dims)
    return ArrayType(kind.dtype, dims)
