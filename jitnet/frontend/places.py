"""Variables and containers from outside that calls change: read before each, changed after it.

    class Model:                      the first trace finds that `steps` and `log` are changed. The
        def step(self, x):            second one gets Variables(model, ("steps",)) and
            self.steps += 1           Appended(model.log) beside the arguments:
            self.log.append(x.sum())  the attribute is an input, and its next value a result

`Variables` are containers as lists and dicts are (`pytree`), whose items are attributes of an
object, globals of a module or the content of a closure's cell. `Content` is that of a list or dict;
a list that is only appended to stands as `Appended`, so that its length is not a part of what a
program is compiled for. Attributes are those of objects that are their attributes and nothing else:
of classes of the user's, with a `__dict__` or `__slots__`, that do not redefine how attributes are
looked up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AnySet
from types import CellType, MemberDescriptorType, SimpleNamespace
from typing import Any, NoReturn

from jitnet import errors
from jitnet.frontend.context import Interruption
from jitnet.frontend.pytree import NodeKind, declare_node, node_kind
from jitnet.source import is_users

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "not defined"})()
"""What a variable holds that is not there."""


class Identity:
    """An object, told apart from all others, whatever it says of being equal to them."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return type(other) is Identity and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)

    def __repr__(self) -> str:
        return repr(self.thing)


# -- attributes ------------------------------------------------------------------------------------

_MACHINERY = frozenset(("__new__", "__getattribute__", "__setattr__", "__delattr__"))
_PLAIN: dict[type, bool] = {}


def is_plain_object(x: Any) -> bool:
    """Whether an object is its attributes and nothing else, and of a class of the user's."""
    cls = type(x)
    found = _PLAIN.get(cls)
    if found is None:
        found = _PLAIN[cls] = _is_plain_class(cls)
    return found


def _is_plain_class(cls: type) -> bool:
    bases = cls.__mro__[:-1]
    if cls is SimpleNamespace:
        return True
    if not slots_of(cls) and cls.__dictoffset__ == 0:
        return False
    if any(not _MACHINERY.isdisjoint(vars(base)) for base in bases):
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is None or is_users(file)


_SLOTS: dict[type, Mapping[str, MemberDescriptorType]] = {}


def slots_of(cls: type) -> Mapping[str, MemberDescriptorType]:
    """The attributes that `__slots__` of the class and its bases make room for."""
    found = _SLOTS.get(cls)
    if found is None:
        found = _SLOTS[cls] = {
            name: member
            for base in reversed(cls.__mro__)
            if "__slots__" in vars(base)
            for name, member in vars(base).items()
            if isinstance(member, MemberDescriptorType)
        }
    return found


class Slots:
    """The slots of an object, as a namespace."""

    def __init__(self, x: Any) -> None:
        self.owner = x

    def get(self, name: str, default: Any = None) -> Any:
        member = slots_of(type(self.owner)).get(name)
        try:
            return default if member is None else member.__get__(self.owner)
        except AttributeError:
            return default


def attributes(x: Any) -> dict[str, Any]:
    """An object's own attributes."""
    found = {name: Slots(x).get(name, ABSENT) for name in slots_of(type(x))}
    found = {name: value for name, value in found.items() if value is not ABSENT}
    return {**found, **getattr(x, "__dict__", {})}


def set_attributes(x: Any, values: Mapping[str, Any]) -> None:
    """Give an object these attributes, and no others."""
    for name in attributes(x):
        if name not in values:
            write(x, name, ABSENT)
    for name, value in values.items():
        write(x, name, value)


# -- variables -------------------------------------------------------------------------------------


def read(home: Any, name: str) -> Any:
    """A variable's content.

    Args:
        home: the object whose attribute it is, the namespace of a module, or a cell.
    """
    if type(home) is dict:
        return home.get(name, ABSENT)
    if type(home) is CellType:
        try:
            return home.cell_contents
        except ValueError:
            return ABSENT
    if name in slots_of(type(home)):
        return Slots(home).get(name, ABSENT)
    return getattr(home, "__dict__", {}).get(name, ABSENT)


def write(home: Any, name: str, value: Any) -> None:
    """Change a variable; ABSENT deletes it."""
    if type(home) is CellType:
        if value is not ABSENT:
            home.cell_contents = value
        elif read(home, name) is not ABSENT:
            del home.cell_contents
        return
    slot = None if type(home) is dict else slots_of(type(home)).get(name)
    if slot is not None:
        if value is not ABSENT:
            slot.__set__(home, value)
        elif Slots(home).get(name, ABSENT) is not ABSENT:
            slot.__delete__(home)
        return
    namespace = home if type(home) is dict else home.__dict__
    if value is ABSENT:
        namespace.pop(name, None)
    else:
        namespace[name] = value


class Variables:
    """Variables of one home.

    Attributes:
        original: their home; `home` is the copy of it that a trace sees.
        unread: those that are only assigned to, so that nobody cares what they hold before.
        others: the containers, by identity, that are places themselves.
    """

    __slots__ = ("given", "home", "names", "original", "others", "unread")

    def __init__(
        self,
        original: Any,
        names: Iterable[str],
        unread: Iterable[str] = (),
        others: AnySet[int] = frozenset(),
    ) -> None:
        self.original = original
        self.names = tuple(names)
        self.unread = frozenset(unread)
        self.others = others
        self.home = original
        self.given: dict[str, Any] | None = None

    def items(self) -> dict[str, Any]:
        """The variables that are there."""
        if self.given is not None:
            return self.given
        found = {name: read(self.home, name) for name in self.names}
        return {name: value for name, value in found.items() if value is not ABSENT}

    def move_to(self, home: Any) -> None:
        """Put the variables into a copy of their home."""
        values = self.items()
        self.home, self.given = home, None
        for name in self.names:
            write(home, name, values.get(name, ABSENT))


def _flatten(x: Variables) -> tuple[Sequence[Any], Any]:
    found = {name: value for name, value in x.items().items() if name not in x.unread}
    items = _opaque(found.values(), x.others) if x.others else list(found.values())
    return items, (Identity(x.original), x.names, tuple(found), x.unread)


def _unflatten(meta: Any, children: Sequence[Any]) -> Variables:
    home, names, present, unread = meta
    made = Variables(home.thing, names, unread)
    made.given = dict(zip(present, children))
    return made


def _paths(meta: Any, count: int) -> Iterator[str]:
    home, _, present, _ = meta
    owner = home.thing
    prefix = "" if type(owner) in (dict, CellType) else f"{type(owner).__name__}."
    return (f"{prefix}{name}" for name in present)


# -- containers ------------------------------------------------------------------------------------


class Content:
    """A list or a dict from outside, in which what is a place itself is not looked into.

    Attributes:
        others: the containers, by identity, that are places.
        is_place: this is one; else it is some container on the way.
    """

    __slots__ = ("is_place", "original", "others")

    def __init__(
        self, original: Any, others: AnySet[int] = frozenset(), is_place: bool = True
    ) -> None:
        self.original = original
        self.others = others
        self.is_place = is_place


class Elsewhere:
    """A container inside of another one, that is a place itself."""

    __slots__ = ("original",)

    def __init__(self, original: Any) -> None:
        self.original = original


def _opaque(items: Iterable[Any], others: AnySet[int]) -> list[Any]:
    found: list[Any] = []
    for x in items:
        if id(x) in others:
            found.append(Elsewhere(x))
        elif x is not None and node_kind(type(x)) is not None:
            found.append(Content(x, others, is_place=False))
        else:
            found.append(x)
    return found


def _flatten_content(x: Content) -> tuple[Sequence[Any], Any]:
    kind = node_kind(type(x.original))
    assert kind is not None
    children, meta = kind.flatten(x.original)
    items = _opaque(children, x.others) if x.others else children
    return items, (type(x.original), meta, Identity(x.original) if x.is_place else None)


def _unflatten_content(meta: Any, children: Sequence[Any]) -> Any:
    kind = node_kind(meta[0])
    assert kind is not None
    return kind.unflatten(meta[1], children)


def _paths_of_content(meta: Any, count: int) -> Iterable[str]:
    kind = node_kind(meta[0])
    assert kind is not None
    return kind.paths(meta[1], count)


# -- lists -----------------------------------------------------------------------------------------


class Appended(list[Any]):
    """A list that has been appended to, of which nobody has asked what is in it.

    Attributes:
        original: the caller's list.
        new: what is appended.
    """

    __slots__ = ("new", "original")
    __hash__ = None

    def __init__(self, original: list[Any]) -> None:
        super().__init__()
        self.original = original
        self.new: list[Any] = []

    def _append(self, item: Any) -> None:
        self.new.append(item)

    def _extend(self, items: Iterable[Any]) -> Appended:
        self.new.extend(items)
        return self


def _asked(self: Appended, *args: Any, **kwargs: Any) -> NoReturn:
    raise NeedPlaces([Content(self.original)])


for _name in dir(list):
    _is_own = vars(list).get(_name) is not None
    if _is_own and _name not in ("__new__", "__init__", "__hash__", "__getattribute__", "__doc__"):
        setattr(Appended, _name, _asked)
for _name in ("__radd__", "__bool__", "__copy__", "__deepcopy__"):
    setattr(Appended, _name, _asked)
setattr(Appended, "append", Appended._append)  # noqa: B010
setattr(Appended, "extend", Appended._extend)  # noqa: B010
setattr(Appended, "__iadd__", Appended._extend)  # noqa: B010
del _name, _is_own

declare_node(Variables, NodeKind(_flatten, _unflatten, _paths))
declare_node(Content, NodeKind(_flatten_content, _unflatten_content, _paths_of_content))
for _cls in (Appended, Elsewhere):
    declare_node(
        _cls,
        NodeKind(
            lambda x: ((), (type(x), Identity(x.original))),
            lambda meta, _: meta[0](meta[1].thing),
            lambda meta, _: (),
        ),
    )
del _cls

Item = Variables | Content | Appended
"""One of a function's places."""


class NeedPlaces(Interruption):
    """The function changes these: jit starts its trace again with them beside the arguments."""

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__("variables and containers from outside are changed")
        self.items = items


def merged(places: Sequence[Item], more: Sequence[Item]) -> tuple[Item, ...]:
    """Places with more of them: variables of one home are together; a list whose content is asked
    for is no `Appended` any more."""
    found = {id(item.original): item for item in places}
    for item in more:
        key = id(item.original)
        old = found.get(key)
        if isinstance(item, Variables) and isinstance(old, Variables):
            names = dict.fromkeys((*old.names, *item.names))
            asked_for = {*old.names} - old.unread | {*item.names} - item.unread
            item = Variables(item.original, names, names.keys() - asked_for)
        if not (isinstance(item, Appended) and isinstance(old, Content)):
            found[key] = item
    others = frozenset(key for key, item in found.items() if not isinstance(item, Variables))
    for item in found.values():
        if not isinstance(item, Appended):
            item.others = others - {id(item.original)}
    return tuple(found.values())


def is_same(places: Sequence[Item], others: Sequence[Item]) -> bool:
    """Whether these are the same places."""
    return [*map(_told_apart, places)] == [*map(_told_apart, others)]


def _told_apart(item: Item) -> Any:
    names = (item.names, item.unread) if isinstance(item, Variables) else ()
    return type(item), id(item.original), names


def all_read(places: Sequence[Item]) -> list[Item]:
    """The variables that are only assigned to, as such that are read."""
    return [
        Variables(item.original, item.unread)
        for item in places
        if isinstance(item, Variables) and item.unread
    ]


def changed(
    name: str,
    what: Iterable[Item | str] = (),
    frames: Sequence[errors.Place] = (),
    transformed: bool = False,
) -> errors.MutationError:
    """The error for a function that changes what it reads from outside, where it must not.

    Args:
        what: places, or what is said of other things; `frames` where they are assigned to.
        transformed: it is grad, vmap or their like that forbids it.
    """
    things = ", ".join(dict.fromkeys(said(what))) or (
        "a global, a closure variable, an attribute or a container that it reads"
    )
    if transformed:
        return errors.MutationError(
            f"{name} changes {things}",
            why="a function that grad or vmap transforms may be run more than once, or not at all",
            remedy="return the new value as a result, beside the others (has_aux=True in grad), "
            "and assign it in the caller",
            frames=frames or None,
        )
    return errors.MutationError(
        f"{name} changes {things}",
        why="it would change while the function is traced, and not when it is run",
        remedy="return the new value as a result, and assign it in the caller; attributes of "
        "objects may be changed, those of classes may not",
        frames=frames or None,
    )


def said(what: Iterable[Item | str]) -> list[str]:
    """What messages call these."""
    return [name for x in what for name in ([x] if isinstance(x, str) else _names_of(x))]


def _names_of(item: Item) -> list[str]:
    if not isinstance(item, Variables):
        return [f"a {type(item.original).__name__} from outside"]
    kind = type(item.original)
    if kind is dict or kind is CellType:
        return [f"the {'global' if kind is dict else 'variable'} {n}" for n in item.names]
    return [f"the attribute {n} of a {kind.__name__}" for n in item.names]


def containers_in(x: Any) -> Iterator[Any]:
    """The lists, dicts and objects of dataclasses in a tree, as often as it has them; those of
    places, but not the places themselves."""
    kind = node_kind(type(x))
    if kind is None or x is None:
        return
    if isinstance(x, Content) and not x.is_place:
        yield x.original
    elif not isinstance(x, (tuple, Variables, Content, Appended, Elsewhere)):
        yield x
    for child in kind.flatten(x)[0]:
        yield from containers_in(child)
