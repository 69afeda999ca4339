"""Lists on tapes where two paths meet: which of them it is, the program knows.

    if c:                                      %t = tape_new {type=list[f64]}
        out = [v for v in x if v > 0]          %u = if %c, %t { tape_copy %t, %v } { ... }
    else:
        out = [1.0, 2.0]

The variable holds a list of its own then, with the items of the one that its path has made. A tape
lives in one place, from in front of the `if` on, so these are copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from jitnet import ops
from jitnet.frontend.context import running_trace
from jitnet.frontend.flow import growing
from jitnet.frontend.flow.joins import Tapes
from jitnet.frontend.flow.kinds import Conflict, Kind, KindOf, common
from jitnet.frontend.grown import Grown
from jitnet.frontend.pytree import flatten
from jitnet.frontend.stores import Store, bonds_of
from jitnet.ir import Value

Items = Sequence[Any]


def on_tapes(sides: tuple[Items | None, Items | None], kinds_of: Sequence[KindOf]) -> Tapes | None:
    """How to join lists, of the items that each path has left; None for a path without one. None
    where no path has its list on a tape.

    Raises:
        Conflict: where their items are not alike.
    """
    owns = [_own(items) for items in sides]
    if owns[0] is None and owns[1] is None:
        return None
    tree: Any = None
    kinds: list[Kind] | None = None
    for own, items, kind_of in zip(owns, sides, kinds_of):
        records = [_record_of(own)] if own is not None else _records(items or (), kind_of)
        for record in records:
            tree = record[0] if kinds is None else tree
            kinds = _holding(kinds, record[1]) if record[0] == tree else None
            if kinds is None:
                raise Conflict("a list of some items on one path, and of others on the other")
    assert kinds is not None
    empty = Store(ops.tape_new(growing.tape_of_kinds(kinds, True)), running_trace())
    one, other = (partial(_tape, empty, items, tree, kinds) for items in sides)
    flavours = tuple(kind.flavour for kind in kinds)
    has_arrays = any(kind.dims for kind in kinds)
    stores = [own.store for own in owns if own is not None and has_arrays]
    return Tapes((one, other), partial(_made, tree, flavours, stores))


def _own(items: Items | None) -> Grown | None:
    return items[0] if items and type(items[0]) is Grown else None


def _record_of(own: Grown) -> tuple[Any, Sequence[Kind | None]]:
    return own.tree, growing.kinds_on(own)


def _records(items: Items, kind_of: KindOf) -> list[tuple[Any, Sequence[Kind | None]]]:
    parts = [flatten(item) for item in items]
    return [(tree, [kind_of(leaf) for leaf in leaves]) for leaves, tree in parts]


def _holding(kinds: list[Kind] | None, more: Sequence[Kind | None]) -> list[Kind] | None:
    """Kinds that hold one more item; None where there are none."""
    found = list(more) if kinds is None else [b and common(a, b) for a, b in zip(kinds, more)]
    known = [kind for kind in found if kind is not None]
    fixed = all(isinstance(d, int) for kind in known for d in kind.dims)
    return known if known and fixed and len(known) == len(more) else None


def _tape(empty: Store, items: Items | None, tree: Any, kinds: Sequence[Kind]) -> Value:
    """The tape with a path's items, in its region."""
    tape = empty.read(running_trace())
    if items is None:
        return tape
    own = _own(items)
    if own is None:
        made = list(items)
        growing.put_items(made, tuple(items), tree, kinds, changes=True)
        own = _own(made)
        assert own is not None
    return growing.filled(tape, own.tape())


def _made(tree: Any, flavours: tuple[Any, ...], stores: Sequence[Store], result: Value) -> Grown:
    made = Store(result, running_trace())
    for bond in bonds_of(stores):
        if bond.other.home.active:
            made.bind(bond)
    return Grown(made, tree, flavours)
