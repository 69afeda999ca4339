"""What numbers and arrays are, apart from their values, and what two of them can be brought to.

    1, 2.5                          int and float: a Python float holds both
    2.5, np.float32(1)              a float and a scalar of NumPy's: np.float32
    f64[3], f64[%n]                 an array f64[?]: its extent is carried, or a result

Branches join values of two kinds, loops carry what is of one kind before a step and of another one
after it. What has no kind (a list, a function, None) is joined and carried in other ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.arrays import stores_behind
from jitnet.frontend.context import Trace, resume
from jitnet.frontend.flow.variants import Variants
from jitnet.frontend.stores import Store
from jitnet.frontend.texts import Text
from jitnet.frontend.tracer import Flavour, Tracer, lift, supported_dtype
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
