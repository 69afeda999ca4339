"""Calls, indices and items with variants among them: done for each of the objects.

    f(best, 2)              f(a, 2) where best is a, f(b, 2) where it is b
    x[:best], x[best, 0]    x[:2] or x[:None]
    np.sort([best, 1.0])    np.sort([a, 1.0]) or np.sort([b, 1.0])

`variants.apart` does it for one of them that stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitnet.frontend.flow.variants import Variants, apart


def unfolded(do: Callable[..., Any], args: Sequence[Any]) -> Any:
    """`do(*args)`, with each of the objects in the place of the variants among the arguments."""
    k = next((k for k, x in enumerate(args) if type(x) is Variants), None)
    if k is None:
        return do(*args)
    return apart(args[k], lambda x: unfolded(do, (*args[:k], x, *args[k + 1 :])))


def is_in_key(key: Any) -> bool:
    """Whether variants are in an index: themselves, in a tuple or a slice."""
    if type(key) is tuple:
        return any(map(is_in_key, key))
    if type(key) is slice:
        return Variants in (type(key.start), type(key.stop), type(key.step))
    return type(key) is Variants


def with_key(do: Callable[[Any], Any], key: Any) -> Any:
    """`do(key)` of an index with variants in it."""
    if type(key) is Variants:
        return apart(key, do)
    if type(key) is slice:
        bounds = (key.start, key.stop, key.step)
        return unfolded(lambda *known: do(slice(*known)), bounds)
    at = next((k for k, part in enumerate(key) if is_in_key(part)), None)
    if at is None:
        return do(key)
    return with_key(lambda known: with_key(do, (*key[:at], known, *key[at + 1 :])), key[at])


def is_among_items(x: Any, depth: int = 4) -> bool:
    """Whether variants are among the items of lists and tuples, for NumPy to make an array of."""
    if not isinstance(x, (list, tuple)) or not depth:
        return False
    return any(type(item) is Variants or is_among_items(item, depth - 1) for item in x)


def with_items(do: Callable[[Any], Any], x: Any) -> Any:
    """`do(x)` of a tuple or list with variants in it."""
    found = (k for k, item in enumerate(x) if type(item) is Variants or is_among_items(item))
    k = next(found, None)
    if k is None:
        return do(x)

    def without(known: Any) -> Any:
        return with_items(do, _replaced(x, k, known))

    return apart(x[k], without) if type(x[k]) is Variants else with_items(without, x[k])


def _replaced(x: Any, k: int, item: Any) -> Any:
    return type(x)([*x[:k], item, *x[k + 1 :]])
