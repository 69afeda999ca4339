"""Trees of arguments and results: containers taken apart into leaves, and put together again.

    leaves, tree = flatten({"w": a, "b": (c, None)})     # [a, c], TreeDef
    unflatten(tree, [1, 2])                              # {"w": 1, "b": (2, None)}
    leaf_paths(tree)                                     # ["w", "b.0"]

Nodes are tuple, list, dict, OrderedDict, NamedTuple, dataclass, None and registered classes; all
else is a leaf. A dict keeps its insertion order, and the order is part of the structure, because a
function that walks a dict sees it. `flatten_like` matches dicts by key, in whatever order.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors


class NodeKind(NamedTuple):
    """How a class of containers is taken apart.

    Attributes:
        flatten: `object -> (children, meta)`; meta is hashable and says the rest.
        unflatten: `(meta, children) -> object`.
        paths: `(meta, number of children) -> names of the children`.
    """

    flatten: Callable[[Any], tuple[Sequence[Any], Hashable]]
    unflatten: Callable[[Any, Sequence[Any]], Any]
    paths: Callable[[Any, int], Iterable[str]]


class _Leaf:
    def __repr__(self) -> str:
        return "*"


LEAF = _Leaf()


@dataclass(frozen=True)
class TreeDef:
    """The structure of a tree in prefix order: LEAF, or (class, meta, number of children)."""

    tokens: tuple[Any, ...]

    @property
    def leaf_count(self) -> int:
        return sum(token is LEAF for token in self.tokens)


def _numbered(meta: Any, count: int) -> Iterable[str]:
    return map(str, range(count))


def _flatten_dict(x: dict[Any, Any]) -> tuple[Sequence[Any], Hashable]:
    return list(x.values()), (tuple(x), tuple(map(type, x)))  # 1 == True == 1.0, as keys too


def _unflatten_dict(meta: Any, children: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(meta[0], children))


def _keys(meta: Any, count: int) -> Iterable[str]:
    return map(str, meta[0])


def _registered_paths(meta: Any, count: int) -> Iterable[str]:
    return (f"child{i}" for i in range(count))


_KINDS: dict[type, NodeKind | None] = {
    tuple: NodeKind(lambda x: (x, None), lambda meta, xs: tuple(xs), _numbered),
    list: NodeKind(lambda x: (x, None), lambda meta, xs: list(xs), _numbered),
    dict: NodeKind(_flatten_dict, _unflatten_dict, _keys),
    OrderedDict: NodeKind(_flatten_dict, lambda meta, xs: OrderedDict(zip(meta[0], xs)), _keys),
    type(None): NodeKind(lambda x: ((), None), lambda meta, xs: None, _numbered),
    np.ndarray: None,
    float: None,
    int: None,
    bool: None,
    str: None,
}


def register_pytree_node(
    cls: type,
    flatten: Callable[[Any], tuple[Sequence[Any], Hashable]],
    unflatten: Callable[[Any, Sequence[Any]], Any],
) -> None:
    """Make a class of containers known to every jitnet function.

    Args:
        cls: the class; its subclasses are not included.
        flatten: `object -> (children, meta)`; meta is hashable and holds all that is no child.
        unflatten: `(meta, children) -> object`.

    Raises:
        ValueError: when the class is known already.
    """
    if _KINDS.get(cls) is not None:
        raise ValueError(f"{cls.__qualname__} is a pytree node already")
    _KINDS[cls] = NodeKind(flatten, unflatten, _registered_paths)


def is_registered(cls: type) -> bool:
    """Whether a user has said how objects of this class are taken apart."""
    kind = node_kind(cls)
    return kind is not None and kind.paths is _registered_paths


def declare_node(cls: type, kind: NodeKind) -> None:
    """Objects of this class of jitnet's own are containers."""
    _KINDS[cls] = kind


def declare_leaf(cls: type) -> None:
    """Objects of this class are leaves, whatever else it is (a dataclass, say)."""
    _KINDS[cls] = None


def node_kind(cls: type) -> NodeKind | None:
    """How objects of exactly this class are taken apart; None for leaves."""
    try:
        return _KINDS[cls]
    except KeyError:
        pass
    kind: NodeKind | None = None
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        kind = _named_tuple(cls)
    elif dataclasses.is_dataclass(cls):
        kind = _dataclass(cls)
    _KINDS[cls] = kind
    return kind


def _named_tuple(cls: Any) -> NodeKind:
    fields: tuple[str, ...] = cls._fields
    return NodeKind(lambda x: (x, None), lambda meta, xs: cls._make(xs), lambda m, n: fields)


def _dataclass(cls: Any) -> NodeKind:
    names = tuple(f.name for f in dataclasses.fields(cls))

    def unflatten(meta: Any, children: Sequence[Any]) -> Any:
        x = object.__new__(cls)  # __post_init__ has run on the object this one stands for
        for name, child in zip(names, children):
            object.__setattr__(x, name, child)
        return x

    return NodeKind(lambda x: ([getattr(x, n) for n in names], None), unflatten, lambda m, n: names)


def flatten(tree: Any) -> tuple[list[Any], TreeDef]:
    """The leaves in order, and the structure."""
    leaves: list[Any] = []
    tokens: list[Any] = []
    flatten_into(tree, leaves, tokens)
    return leaves, TreeDef(tuple(tokens))


def flatten_into(x: Any, leaves: list[Any], tokens: list[Any]) -> None:
    """Append the leaves and tokens of a tree."""
    cls = type(x)
    kind = _KINDS[cls] if cls in _KINDS else node_kind(cls)
    if kind is None:
        leaves.append(x)
        tokens.append(LEAF)
        return
    children, meta = kind.flatten(x)
    tokens.append((cls, meta, len(children)))
    for child in children:
        flatten_into(child, leaves, tokens)


def unflatten(tree: TreeDef, leaves: Iterable[Any]) -> Any:
    """A tree of this structure with these leaves."""
    return _unflatten(iter(tree.tokens), iter(leaves))


def _unflatten(tokens: Iterator[Any], leaves: Iterator[Any]) -> Any:
    token = next(tokens)
    if token is LEAF:
        return next(leaves)
    cls, meta, count = token
    kind = node_kind(cls)
    assert kind is not None
    return kind.unflatten(meta, [_unflatten(tokens, leaves) for _ in range(count)])


def leaf_paths(tree: TreeDef, root: str = "") -> list[str]:
    """A dotted path for each leaf: `params.layers.0.w`."""
    paths: list[str] = []
    _paths(iter(tree.tokens), root, paths)
    return paths


def _paths(tokens: Iterator[Any], prefix: str, paths: list[str]) -> None:
    token = next(tokens)
    if token is LEAF:
        paths.append(prefix)
        return
    cls, meta, count = token
    kind = node_kind(cls)
    assert kind is not None
    for name in list(kind.paths(meta, count))[:count]:
        _paths(tokens, f"{prefix}.{name}" if prefix else name, paths)


def flatten_like(tree: TreeDef, other: Any, what: str) -> list[Any]:
    """The leaves of `other`, which must have this structure; dict keys may come in any order.

    Raises:
        ArgumentError: where the structures differ, naming the place; `what` names `other`.
    """
    leaves: list[Any] = []
    _flatten_like(iter(tree.tokens), other, leaves, what)
    return leaves


def _flatten_like(tokens: Iterator[Any], x: Any, leaves: list[Any], what: str) -> None:
    token = next(tokens)
    if token is LEAF:
        leaves.append(x)
        return
    cls, meta, count = token
    kind = node_kind(cls)
    assert kind is not None
    names = list(kind.paths(meta, count))
    if type(x) is not cls:
        raise errors.ArgumentError(
            f"{what} is {_word(type(x))} where the tree it must match has {_word(cls)}"
        )
    children, own = kind.flatten(x)
    if own != meta and issubclass(cls, dict) and set(x) == set(meta[0]):
        children, own = [x[key] for key in meta[0]], meta
    if own != meta or len(children) != count:
        raise errors.ArgumentError(
            f"{what} has {list(kind.paths(own, len(children)))} where the tree it must match has "
            f"{names}"
        )
    for name, child in zip(names, children):
        _flatten_like(tokens, child, leaves, f"{what}.{name}")


def _word(cls: type) -> str:
    return "None" if cls is type(None) else f"a {cls.__qualname__}"
