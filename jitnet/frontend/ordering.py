"""Python's sorted and list.sort on traced items.

    sorted(items, key=cost)     %order = argsort of the keys {kind='stable'}
                                item i: for each number in the items, its column at %order[i]

Which item stands where is known only when the function runs. Items are rows of an array, which are
views of it; or numbers, or tuples of numbers, all alike, which nobody can tell from their copies;
or lists and objects: then each place has one of them all. Sorting is stable, as Python's is. Where
a key is NaN, Python's order would depend on how it sorts; there the compiled function raises.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.creating import is_traced
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flats import unflattened
from jitnet.frontend.flow.containers import has_identity
from jitnet.frontend.flow.holders import is_held_elsewhere
from jitnet.frontend.flow.variants import MOST_VARIANTS, picked
from jitnet.frontend.flow.world import Content
from jitnet.frontend.pytree import flatten, unflatten
from jitnet.frontend.sorting import lexicographic
from jitnet.frontend.tracer import Flavour, Tracer, lift, wrap
from jitnet.ir import Literal, Value
from jitnet.ir import types as T

_REMEDY = "np.sort(x), or x[np.argsort(keys)]; np.sort(x[x > 0]) for those of a condition"


def ordered(iterable: Any, /, *, key: Any = None, reverse: Any = False) -> list[Any]:
    """`sorted(iterable, key=key, reverse=reverse)`.

    Raises:
        UnsupportedFunctionError: for items of which the number is not known, or which are neither
            objects, nor numbers or tuples of numbers of one kind; for keys that are none of these.
        ValueError: when the compiled function finds a key that is NaN.
    """
    return _ordered(iterable, key, reverse, are_alone=False)


def _ordered(iterable: Any, key: Any, reverse: Any, are_alone: bool) -> list[Any]:
    """The same; items that nobody else knows are made anew, of what is in them."""
    iterable = unflattened(iterable)
    items = _items(iterable)
    keys = items if key is None else [key(item) for item in items]
    if not is_traced(keys):
        places = builtins.sorted(range(len(items)), key=keys.__getitem__, reverse=reverse)
        return [items[i] for i in places]
    note_place()
    columns = _columns([_as_tuple(k) for k in keys], "the keys of sorted()")
    by = [v for v, _ in columns]
    _refuse_nans(by)
    item_at = _chooser(iterable, items, columns if key is None else None, are_alone)
    order = _order(by, bool(reverse))
    return [item_at(_element(order, Literal(i, T.i64))) for i in range(len(items))]


def sort(items: list[Any], /, *, key: Any = None, reverse: Any = False) -> None:
    """`items.sort(key=key, reverse=reverse)`."""
    own = Content(items, "")
    are_alone = all(isinstance(x, (list, dict)) and not is_held_elsewhere(x, own) for x in items)
    items[:] = _ordered(items, key, reverse, are_alone)


def _items(iterable: Any) -> list[Any]:
    if type(iterable) is Tracer and not all(isinstance(d, int) for d in iterable.value.dims):
        raise errors.UnsupportedFunctionError("sorted() of an array of any length", remedy=_REMEDY)
    return list(iterable)


def _refuse_nans(columns: Sequence[Value]) -> None:
    for column in columns:
        if column.dtype.is_float:
            is_nan = ops.reduce_any(ops.isnan(column), (0,))
            message = (
                "sorted() of NaN, which Python would put anywhere\n  remedy: np.sort puts it last"
            )
            ops.check(ops.logical_not(is_nan), [], "ValueError", message)


def _order(columns: Sequence[Value], backwards: bool) -> Value:
    """The positions of the rows, sorted by the first column, then by the next one. Backwards, equal
    ones stay as they were, too: in order of the reversed rows, reversed."""
    if not backwards:
        return lexicographic(columns[::-1], 0)
    order = lexicographic([_reversed(v) for v in columns[::-1]], 0)
    last = ops.full(Literal(int(columns[0].shape[0]) - 1, T.i64), order.dims)
    return ops.sub(last, _reversed(order))


def _reversed(column: Value) -> Value:
    (n,) = column.shape
    return ops.slice(column, (n - 1,), (n,), (-1,))


def _columns(items: Sequence[Any], what: str) -> list[tuple[Value, Flavour]]:
    """The numbers in the items, in a vector for each place in an item, and what they are."""
    trees = [flatten(item) for item in items]
    structure = trees[0][1]
    if any(tree != structure for _, tree in trees):
        raise errors.UnsupportedFunctionError(
            f"{what} of items that are not alike: numbers, or tuples of as many numbers",
            why="which of them stands where is known only when the compiled function runs",
            remedy=_REMEDY,
        )
    columns = []
    for leaves in zip(*[leaves for leaves, _ in trees]):
        numbers = [lift(x) for x in leaves]
        kinds = {(x.value.dtype, x.value.rank, x.flavour) for x in numbers}
        dtype, rank, flavour = kinds.pop()
        if kinds or rank or dtype.is_complex:
            raise errors.UnsupportedFunctionError(
                f"{what} of {errors.describe(leaves[0])} and {errors.describe(leaves[-1])}",
                why="which of them stands where is known only when the compiled function runs",
                remedy="make them real numbers of one dtype; " + _REMEDY,
            )
        rows = [ops.reshape(x.value, (1,)) for x in numbers]
        columns.append((ops.concatenate(rows), flavour))
    return columns


def _as_tuple(key: Any) -> Any:
    """A key, with tuples in the places of lists, which are compared as these are."""
    return tuple(map(_as_tuple, key)) if type(key) in (list, tuple) else key


def _chooser(
    iterable: Any,
    items: Sequence[Any],
    known: Sequence[tuple[Value, Flavour]] | None,
    are_alone: bool,
) -> Callable[[Value], Any]:
    """What gives the item at a place; of items that are their own keys, the columns are known."""
    if type(iterable) is Tracer and iterable.ndim > 1:
        return lambda place: iterable[wrap(place, "scalar")]
    are_objects = not are_alone and all(map(has_identity, items))
    if are_objects and len(items) <= MOST_VARIANTS:
        return lambda place: picked(wrap(place, "python"), items)
    columns = known or _columns(items, "sorted()")
    _, structure = flatten(items[0])
    return lambda place: unflatten(structure, [wrap(_element(v, place), f) for v, f in columns])


def _element(column: Value, place: Value) -> Value:
    return ops.reshape(ops.slice(column, (place,), (1,)), ())
