"""What equations bind and read: `Value`, `Literal`, and constant data, `Dense`.

    %y: f64[3] = mul %x, 2.0          # %x and %y are Values, 2.0 is a Literal

A `Value` is a name bound once, told apart by identity; its `name` is a hint, and the printer makes
names unique per Function. A `Literal` is a scalar constant that can stand wherever a Value can.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from threading import RLock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from jitnet.ir import types as T


class Value:
    """Something that an equation or a parameter list binds. Identity is equality."""

    __slots__ = ("name", "type")

    def __init__(self, type: T.Type, name: str = "") -> None:
        self.type = type
        self.name = name

    @property
    def array_type(self) -> T.ArrayType:
        assert isinstance(self.type, T.ArrayType), f"{self!r} is no array"
        return self.type

    @property
    def buffer_type(self) -> T.BufferType:
        assert isinstance(self.type, T.BufferType), f"{self!r} is no buffer"
        return self.type

    @property
    def dtype(self) -> T.DType:
        assert not isinstance(self.type, T.TapeType), "a tape has no dtype"
        return self.type.dtype

    @property
    def dims(self) -> tuple[T.Dim, ...]:
        assert not isinstance(self.type, T.TapeType), "a tape has no dims"
        return self.type.dims

    @property
    def rank(self) -> int:
        assert not isinstance(self.type, T.TapeType), "a tape has no rank"
        return len(self.type.dims)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array_type.shape

    def __repr__(self) -> str:
        return f"%{self.name or '_'}"


class Literal(Value):
    """A scalar constant. There is one object for all literals of one dtype with the same bits, so
    that identity is equality for them, too."""

    __slots__ = ("__weakref__", "bits", "data", "item")

    data: np.generic
    bits: bytes
    item: Any
    """The value as a Python number."""

    def __new__(cls, data: Any, dtype: T.DType) -> Literal:
        scalar: np.generic = dtype.numpy.type(data)
        key = (dtype.name, bits := scalar.tobytes())
        with _LOCK:
            found = _LITERALS.get(key)
            if found is None:
                _LITERALS[key] = found = object.__new__(cls)
                found.type = T.scalar(dtype)
                found.data, found.bits, found.item = scalar, bits, scalar.item()
        return found

    def __init__(self, data: Any, dtype: T.DType) -> None:
        pass  # `__new__` did it, once

    @property
    def name(self) -> str:
        """Nothing: the object stands in many places of many programs."""
        return ""

    @name.setter
    def name(self, name: str) -> None:
        pass  # whoever names what they have computed need not ask whether it is a literal

    def __repr__(self) -> str:
        return f"{self.item!r}:{self.dtype}"


_LITERALS: WeakValueDictionary[tuple[str, bytes], Literal] = WeakValueDictionary()
_LOCK = RLock()
"""Reentrant: what the garbage collector runs may make literals, too."""


def as_value(dim: T.Dim) -> Value:
    """A dim as an i64 operand."""
    return _extent(dim) if isinstance(dim, int) else dim


@lru_cache(maxsize=4096)
def _extent(dim: int) -> Literal:
    return Literal(dim, T.i64)


def as_dim(value: Value) -> T.Dim:
    """An i64 operand as a dim."""
    return value.item if isinstance(value, Literal) else value


Attrs = Mapping[str, Any]
"""Attribute values are hashable: None, bool, int, float, str, DType, Type, `Dense`, or tuples of
these."""


def attrs_key(attrs: Attrs) -> tuple[Any, ...]:
    """A hashable key, equal for the same attributes only: 1, 1.0 and True differ, and so do 0.0 and
    -0.0, while nan equals itself."""
    return tuple((name, _exact(attrs[name])) for name in sorted(attrs))


def _exact(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_exact, value))
    return (type(value), value.hex() if isinstance(value, float) else value)


class Dense:
    """Constant array data as an attribute: immutable, compared by bytes."""

    __slots__ = ("array",)

    def __init__(self, array: np.typing.ArrayLike) -> None:
        data = np.array(array, order="C")
        data.flags.writeable = False
        self.array = data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dense):
            return NotImplemented
        a, b = self.array, other.array
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()

    def __hash__(self) -> int:
        return hash((self.array.dtype.str, self.array.shape, self.array.tobytes()))


def substitute_dims(dims: tuple[T.Dim, ...], env: Mapping[Value, Value]) -> tuple[T.Dim, ...]:
    """The dims with every Value replaced by what `env` maps it to."""
    if all(isinstance(d, int) for d in dims):
        return dims
    return tuple(d if isinstance(d, int) else as_dim(env.get(d, d)) for d in dims)


def substitute_type(type: T.Type, env: Mapping[Value, Value]) -> T.Type:
    """The type with every Value in its dims (and strides) replaced by what `env` maps it to."""
    if not type.symbolic:
        return type
    if isinstance(type, T.ArrayType):
        return T.ArrayType(type.dtype, substitute_dims(type.dims, env))
    if isinstance(type, T.BufferType):
        strides = None if type.strides is None else substitute_dims(type.strides, env)
        return T.BufferType(type.dtype, substitute_dims(type.dims, env), strides)
    return type
