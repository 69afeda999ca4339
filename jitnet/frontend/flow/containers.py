"""What is a container, who it is, and how it is taken apart.

    a = [x, 1]          told apart from other lists of the same items; its form is a list of two
    a = [x * 2, 0]      another one of that form: they are joined, and carried, item by item
    t = (x, 1)          a value: the same as any other tuple of the same items
    p = Point(x, 1)     told apart, unless its class is frozen; its form is Point, x, y

Lists, deques, dicts, sets and objects that are their attributes can be changed, so that it matters
who they are. Tuples, frozen dataclasses and what else `pytree` knows only hold others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jitnet.frontend.flow.variants import Variants
from jitnet.frontend.places import attributes, is_plain_object, set_attributes
from jitnet.frontend.pytree import NodeKind, node_kind


def is_container(x: Any) -> bool:
    """Whether an object can be changed: a list, a dict, an object with attributes."""
    return isinstance(x, (list, dict, set, deque)) or type(x) is Variants or is_plain_object(x)


def is_value(x: Any) -> bool:
    """Whether an object is the same as another one that holds the same."""
    if not is_container(x):
        return True
    frozen = getattr(type(x), "__dataclass_params__", None)
    return frozen is not None and bool(frozen.frozen)


def has_identity(x: Any) -> bool:
    """Whether an object is told apart from others that hold the same, or is a function or text."""
    return is_container(x) or callable(x) or type(x) in (str, bytes)


@dataclass(frozen=True)
class Form:
    """What a container is, apart from its items. Containers of one form differ in these only.

    Attributes:
        cls: its class.
        count: how many items there are.
        meta: what else there is to it: keys, names of attributes.
    """

    cls: type
    count: int
    meta: Any
    kind: NodeKind = field(compare=False, repr=False)

    def made_of(self, items: Sequence[Any]) -> Any:
        """A new container of this form."""
        return self.kind.unflatten(self.meta, items)


def taken_apart(x: Any) -> tuple[Form, tuple[Any, ...]] | None:
    """Form and items of a container, of variants as one of their number and objects; None for
    other things."""
    kind = _kind_of(x)
    if kind is None or x is None:
        return None
    children, meta = kind.flatten(x)
    items = tuple(children)  # which a list's are not: they are the list
    return Form(type(x), len(items), meta, kind), items


def _kind_of(x: Any) -> NodeKind | None:
    """How containers, and objects that are their attributes, are taken apart."""
    if type(x) is deque:
        return _DEQUES
    return _objects(type(x)) if is_plain_object(x) else node_kind(type(x))


def _of_object(x: Any) -> tuple[list[Any], tuple[str, ...]]:
    found = attributes(x)
    return list(found.values()), tuple(found)


def _objects(cls: type) -> NodeKind:
    def unflatten(names: Any, children: Iterable[Any]) -> Any:
        made: Any = object.__new__(cls)
        set_attributes(made, dict(zip(names, children)))
        return made

    return NodeKind(_of_object, unflatten, lambda names, count: names)


_DEQUES = NodeKind(
    lambda x: (list(x), x.maxlen),
    lambda maxlen, children: deque(children, maxlen),
    lambda meta, count: map(str, range(count)),
)
