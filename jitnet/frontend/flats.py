"""`x.flat`, `np.ndindex` and `np.ndenumerate`: the elements of an array in C order.

    x.flat[5]                      %0 = reshape %x, 12, then a slice of one element
    x.flat[2:4] = v                the same elements of x are written to
    for (i, j), v in np.ndenumerate(x)    one loop over the elements, which computes i and j

Reading x.flat gives copies, as in NumPy; writing to it writes to x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.arrays import is_one_piece
from jitnet.frontend.assigning import repeated, replace, setitem
from jitnet.frontend.dims import count, extents, number
from jitnet.frontend.dispatch import apply, call, note_place
from jitnet.frontend.indexing import getitem, position
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.frontend.watch import Rest
from jitnet.ir import Dim, Literal, Value, as_value


class Flat:
    """The elements of an array in C order: what `x.flat` of a traced array is.

    Attributes:
        base: the array.
    """

    __slots__ = ("base",)
    __array_priority__ = 1000.0

    def __init__(self, base: Tracer) -> None:
        self.base = base

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return np.flatiter

    def copy(self) -> Tracer:
        """The elements as a new array."""
        value = self.base.value
        return wrap(ops.reshape(value, (count(value.dims),)))

    def __getitem__(self, key: Any) -> Any:
        with Rest():
            note_place()
            return wrap_copy(getitem(self.copy(), _only(key)))

    def __setitem__(self, key: Any, value: Any) -> None:
        with Rest():
            note_place()
            _write(self.base, _only(key), value)

    def __len__(self) -> int:
        return len(self.copy())

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __next__(self) -> NoReturn:
        _refuse("next(x.flat)", "iter(x.flat), or x.flat[i]")

    @property
    def index(self) -> NoReturn:
        _refuse("x.flat.index", "enumerate(x.flat)")

    @property
    def coords(self) -> NoReturn:
        _refuse("x.flat.coords", "np.ndenumerate(x)")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return apply(ufunc, method, tuple(map(unflattened, inputs)), kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call(func, *map(unflattened, args), **kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self.copy().__array__()


def wrap_copy(x: Tracer) -> Tracer:
    """An array in memory of its own."""
    return wrap(x.value, x.flavour)


def unflattened(x: Any) -> Any:
    """x, or what an x.flat holds."""
    return x.copy() if type(x) is Flat else x


def _compare(ufunc: np.ufunc) -> Callable[[Flat, Any], Any]:
    def method(self: Flat, other: Any) -> Any:
        return apply(ufunc, "operator", (self.copy(), unflattened(other)), {})

    return method


for _name, _ufunc in {
    **{"__eq__": np.equal, "__ne__": np.not_equal, "__lt__": np.less},
    **{"__le__": np.less_equal, "__gt__": np.greater, "__ge__": np.greater_equal},
}.items():
    setattr(Flat, _name, _compare(_ufunc))


def _only(key: Any) -> Any:
    """NumPy allows one index."""
    if isinstance(key, tuple):
        if len(key) != 1:
            raise errors.IndexingError("unsupported iterator index")
        return key[0]
    return key


def _refuse(what: str, remedy: str) -> NoReturn:
    raise errors.UnsupportedFunctionError(
        what, why="an iterator's position is not part of a compiled program", remedy=remedy
    )


def flat(x: Any) -> Flat:
    """`x.flat`."""
    return Flat(as_array(x))


def _write(x: Tracer, key: Any, value: Any) -> None:
    """`x.flat[key] = value`: values are repeated where there are fewer."""
    dims = x.value.dims
    if _is_number(key) and not is_one_piece(x.place):
        at = as_value(position(key, count(dims), 0))
        item = at.item if isinstance(at, Literal) else wrap(at, "python")
        setitem(x, _unravelled(item, dims), unflattened(value))
        return
    line = wrap(ops.reshape(x.value, (count(dims),)))
    part = getitem(line, key)
    given = as_array(unflattened(value)).value
    if part.ndim == 0 and given.rank:
        if not all(d == 1 for d in given.dims):
            raise errors.ValueRefusedError("Error setting single item of array.")
        given = ops.reshape(given, ())
    new = repeated(given, count(part.value.dims)) if given.rank else given
    if new is None:
        return
    setitem(line, key, wrap(ops.reshape(new, part.value.dims) if given.rank else new))
    replace(x, ops.reshape(line.value, dims))


def _is_number(key: Any) -> bool:
    if type(key) is Tracer:
        return key.ndim == 0 and key.dtype.kind in "iu"
    return isinstance(key, (int, np.integer)) and not isinstance(key, bool)


# -- loops over indices ----------------------------------------------------------------------------


class Indices:
    """`np.ndindex(shape)`, or, with an array, `np.ndenumerate(x)`.

    Attributes:
        dims: the extents.
        base: the array whose elements come along.
    """

    __slots__ = ("base", "dims")

    def __init__(self, dims: Sequence[Dim], base: Tracer | None = None) -> None:
        self.dims = tuple(dims)
        self.base = base

    def count(self) -> Any:
        """How many there are: an int, or a traced one."""
        return number(count(self.dims))

    def item(self, k: Any) -> Any:
        """The k-th; k is an int, or a traced one, in bounds."""
        at = _unravelled(k, self.dims)
        return at if self.base is None else (at, Flat(self.base)[k])

    def __iter__(self) -> Iterator[Any]:
        n = self.count()
        return (self.item(k) for k in range(n.__index__()))


def _unravelled(k: Any, dims: Sequence[Dim]) -> tuple[Any, ...]:
    if type(k) is int and all(isinstance(d, int) for d in dims):
        return tuple(map(int, np.unravel_index(k, dims))) if dims else ()  # type: ignore[arg-type]
    left = as_array(k).value
    found: list[Value] = []
    for d in reversed(dims[1:]):
        found.insert(0, ops.rem(left, as_value(d)))
        left = ops.floordiv(left, as_value(d))
    return tuple(wrap(v, "python") for v in ([left, *found] if dims else []))


def ndindex(*shape: Any) -> Indices:
    """`np.ndindex`."""
    given = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    return Indices(extents(tuple(given)))


def ndenumerate(arr: Any) -> Indices:
    """`np.ndenumerate`."""
    x = as_array(arr)
    return Indices(x.value.dims, x)


def nditer(*args: Any, **kwargs: Any) -> NoReturn:
    """`np.nditer` is refused.

    Raises:
        UnsupportedFunctionError: always.
    """
    raise errors.UnsupportedFunctionError(
        "np.nditer of traced values",
        why="it hands out the memory of one array after another element",
        remedy="a loop over x.flat, np.ndenumerate(x) or np.ndindex(x.shape), or the operation on "
        "the whole array",
    )


TABLE: dict[Any, Callable[..., Any]] = {np.ndarray.flat: flat}

LOOPS: dict[Any, Callable[..., Any]] = {np.ndenumerate: ndenumerate, np.nditer: nditer}
"""Classes of iterators over arrays, by what they are for traced ones."""
