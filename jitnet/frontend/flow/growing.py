"""Lists that grow where traced values, or the steps of a loop, decide by how much.

    log = []                         %t = tape_new {type=tape[f64]}
    for i in range(n):               %u = for %n, %t { tape_push %t, %x ... }
        log.append(x[i] * 2)
    np.array(log)                    %k = tape_length %u, then for %k { tape_get %u, %i }

Such a list holds one object, a `Grown`, which knows the tape that its items are on. The list itself
stays the user's. An array on it counts as it was when it was appended: if its memory is written to
later, reading the list is refused. Where items are taken from a list, or replaced, its tape is one
that changes (`ops.lists`), from the same place in the program on; `flow.items` does that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.context import Interruption, running_trace
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow import inner_lists
from jitnet.frontend.flow.kinds import Kind, KindOf, brought_to, common, kind_of, stores_of
from jitnet.frontend.flow.steps import Steps
from jitnet.frontend.flow.world import is_known_around
from jitnet.frontend.grown import Grown
from jitnet.frontend.grown import grown as grown
from jitnet.frontend.indexing import steps_within
from jitnet.frontend.pytree import LEAF, declare_leaf, flatten, unflatten
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Literal, TapeType, Value, as_dim, as_value, index
from jitnet.ir import types as T
from jitnet.ops.tape import tape_type

declare_leaf(Grown)

Items = list[Any] | deque[Any]

MANY = 16
"""More items than this, if known in front of a loop, are put on a tape in a loop of their own."""


class Outgrown(Interruption):
    """The step of a loop over a list changes the list: it is asked for its length in each step."""


class Grows(Interruption):
    """A list has to be on a tape from here on.

    Attributes:
        items: some that are to be on it.
        kind_of_part: the kinds of their parts.
        changes: it is to be one that changes.
        before: what the list held in front of the part of the program that makes it grow.
    """

    def __init__(
        self,
        container: Items,
        items: Sequence[Any],
        kind_of_part: KindOf,
        changes: bool = False,
        before: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(container)
        self.container = container
        self.items = items
        self.kind_of_part = kind_of_part
        self.changes = changes
        self.before = before


def added(before: Any, after: Any) -> Sequence[Any] | None:
    """The items that a list has got at its end; None where it has changed otherwise."""
    if not (isinstance(before, list) and isinstance(after, list)):
        return None
    if after and type(after[-1]) is Grown:
        return after
    if len(after) <= len(before) or any(a is not b for a, b in zip(before, after)):
        return None
    return after[len(before) :]


def regrown(before: Any, after: Any) -> tuple[Sequence[Any], bool] | None:
    """Items of a list that has got others, or fewer, and whether it has but got more at its end.
    None for what is no list, and for as many items as before."""
    items = added(before, after)
    if items is not None:
        return items, True
    if isinstance(before, list) and isinstance(after, list) and len(before) != len(after):
        return [*before, *after], False
    return None


def can_be_on_tape(items: Sequence[Any], kind_of_part: KindOf) -> bool:
    """Whether items consist of numbers and arrays."""
    parts = [[kind_of_part(leaf) for leaf in flatten(item)[0]] for item in items]
    return all(kinds and None not in kinds for kinds in parts)


def put_on_tape(grows: Grows) -> None:
    """Let a list hold its items on a tape.

    Raises:
        Grows: where a part of the program around this one knows the list. It would have to be on a
            tape there too: what is traced inside is traced again once, not once for each part.
        ConcretizationError: where they are not all of one kind, or no numbers and arrays.
    """
    container = grows.container
    if is_known_around(container):
        raise grows
    if type(container) not in (list, deque):
        raise errors.ConcretizationError(
            f"a {type(container).__name__} that grows in a loop, or under a condition",
            why="how many items it has is only known when the program runs",
            remedy="a list or a deque, or an array with the numbers of its first and last item "
            "beside it",
        )
    own = grown(container)
    if own is not None and own.store.home is not running_trace():
        raise inner_lists.is_kept(container)
    if own is not None:
        parts: list[Kind | None] = []
        for item in grows.items:
            is_on_tape = type(item) is Grown
            leaves = kinds_on(item) if is_on_tape else flatten(item)[0]
            parts = [*leaves] if is_on_tape else list(map(grows.kind_of_part, leaves))
        kinds = _holding(own, parts) if parts else kinds_on(own)
        changes = grows.changes or own.changes
        if own.store.value is own.start:  # nothing has been done with it
            put_items(container, own.known, own.tree, kinds, changes)
        else:
            _hold(container, widened(own, kinds, changes))
        return
    tree, kinds = _record(container, grows.items, grows.kind_of_part)
    changes = grows.changes or (isinstance(container, deque) and container.maxlen is not None)
    if grows.before is not None and len(grows.before) < len(container):
        changes = True  # items were taken from it before
    put_items(container, tuple(container), tree, kinds, changes)


def put_items(
    container: Items, items: Sequence[Any], tree: Any, kinds: Sequence[Kind], changes: bool
) -> None:
    """Let a list hold items that the trace knows, on a new tape."""
    own = _on_tape(ops.tape_new(tape_of_kinds(kinds, changes)), tree, kinds)
    _hold(container, own)
    _append_all(container, items, kinds)
    _hold(container, replace(own, known=tuple(items), start=own.store.value))


def _append_all(container: Items, items: Sequence[Any], kinds: Sequence[Kind]) -> None:
    found = columns(items, kinds) if len(items) > MANY else None
    if found is not None:
        for item in items:
            inner_lists.keep(item)
        _fill(container, found)
        return
    for item in items:
        append(container, item)


def columns(items: Sequence[Any], kinds: Sequence[Kind]) -> list[Value] | None:
    """The parts of items, each as a vector; None where some are arrays, or of other kinds."""
    rows = [flatten(item)[0] for item in items]
    if any(kind.dims for kind in kinds):
        return None
    found = []
    for kind, parts in zip(kinds, zip(*rows, strict=True)):
        if any(type(part) is Tracer for part in parts):
            values = [ops.reshape(brought_to(part, kind), (1,)) for part in parts]
            found.append(ops.concatenate(values))
        else:
            found.append(ops.const(np.array(parts, kind.dtype.numpy)))
    return found


def _fill(container: Items, found: Sequence[Value]) -> None:
    """Append rows of these columns."""
    own = grown(container)
    assert own is not None
    n = found[0].dims[0]

    def body(i: Value, consts: Any, carries: Any, rows: Any) -> Any:
        return (ops.tape_push(carries[0], rows),), ()

    (filled,) = ops.for_(as_value(n), body, [], [own.tape()], found)
    limit = container.maxlen if isinstance(container, deque) else None
    if limit is not None:
        count = ops.tape_length(filled)
        filled = ops.tape_cut(filled, ops.maximum(ops.sub(count, limit), 0), count)
    own.store.write(filled)


def _hold(container: Items, own: Grown) -> None:
    container.clear()
    container.append(own)


def let_change(x: Items) -> Grown:
    """What stands for the items of a list, on a tape that changes.

    Raises:
        Grows: where it has to be on one from an earlier place on.
    """
    own = grown(x)
    if own is None or not own.changes:
        put_on_tape(Grows(x, (), kind_of, changes=True))
        own = grown(x)
        assert own is not None
    return own


def _on_tape(tape: Value, tree: Any, kinds: Sequence[Kind]) -> Grown:
    return Grown(Store(tape, running_trace()), tree, tuple(k.flavour for k in kinds))


def tape_of_kinds(kinds: Sequence[Kind], changes: bool) -> TapeType:
    boxes = ((k.dtype, tuple(d for d in k.dims if isinstance(d, int))) for k in kinds)
    return TapeType(tuple(boxes), changes)


def kinds_on(own: Grown) -> list[Kind]:
    """The kinds of the parts of items."""
    fields = tape_type(own.store.value).fields
    return [Kind(f, dtype, dims) for f, (dtype, dims) in zip(own.flavours, fields)]


def _holding(own: Grown, parts: Sequence[Kind | None]) -> list[Kind]:
    """Kinds for the parts of items, and of one more item.

    Raises:
        ConcretizationError: where there are none.
    """
    kinds = kinds_on(own)
    found = [common(a, b) for a, b in zip(kinds, parts) if b is not None]
    if None in found or not len(found) == len(kinds) == len(parts):
        raise unlike()
    if any(not isinstance(d, int) for kind in found if kind for d in kind.dims):
        raise unlike()
    return [kind for kind in found if kind is not None]


def widened(own: Grown, kinds: Sequence[Kind], changes: bool) -> Grown:
    """The same items, of these kinds."""

    def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        fields = ops.tape_get(consts[0], i)
        values = [ops.convert(v, kind.dtype) for v, kind in zip(fields, kinds)]
        return (ops.tape_push(carries[0], values),), ()

    tape, empty = own.tape(), ops.tape_new(tape_of_kinds(kinds, changes))
    (copied,) = ops.for_(ops.tape_length(tape), body, [tape], [empty])
    made = _on_tape(copied, own.tree, kinds)
    _share_memory(made, own)
    return made


def _record(
    container: Sequence[Any], items: Sequence[Any], kind_of_part: KindOf
) -> tuple[Any, list[Kind]]:
    found: tuple[Any, list[Kind]] | None = None
    if items and type(items[-1]) is Grown:
        found = (items[-1].tree, kinds_on(items[-1]))
        items = ()
    for x, of in [*((x, kind_of_part) for x in items), *((x, kind_of) for x in container)]:
        leaves, tree = flatten(x)
        parts = [of(leaf) for leaf in leaves]
        if found is None:
            found = (tree, [p for p in parts if p is not None])
        joined = [p and common(p, k) for p, k in zip(parts, found[1])]
        if tree != found[0] or None in parts or None in joined or len(parts) != len(found[1]):
            raise unlike()
        found = (tree, [k for k in joined if k is not None])
    assert found is not None
    if not found[1] or any(not isinstance(d, int) for kind in found[1] for d in kind.dims):
        raise unlike()
    return found


def unlike() -> errors.ConcretizationError:
    """The refusal of items that are not of one kind."""
    return errors.ConcretizationError(
        "a list that grows or shrinks in a loop, or under a condition, by items that are not all "
        "alike",
        why="how many items it has is only known when the program runs, so they are kept on a tape "
        "of numbers and arrays of one dtype and shape",
        remedy="make an array in front of the loop, and fill it: y = np.empty(n); y[i] = ...",
    )


def append(x: Items, item: Any) -> None:
    """`x.append(item)` of a list that is on a tape.

    Raises:
        Grows: where the tape has to be one of another dtype from its start on.
        ConcretizationError: for an item that is not like the others.
    """
    own, values, memory = as_record(x, item)
    tape = ops.tape_push(own.tape(), values)
    if isinstance(x, deque) and x.maxlen is not None:
        count = ops.tape_length(tape)
        tape = ops.tape_cut(tape, ops.maximum(ops.sub(count, x.maxlen), 0), count)
    own.store.write(tape)
    for store in memory:
        store.is_copied_to(own.store)


def as_record(x: Items, item: Any) -> tuple[Grown, list[Value], list[Store]]:
    """What stands for the items of a list, and one more item as it goes there: its parts' values,
    and the memory that these were in.

    Raises:
        Grows, ConcretizationError: as `append`.
    """
    own = grown(x)
    assert own is not None
    leaves, tree = flatten(item)
    if tree != own.tree:
        raise unlike()
    found = {id(leaf): kind_of(leaf) for leaf in leaves}
    kinds = _holding(own, [found[id(leaf)] for leaf in leaves])
    if kinds != kinds_on(own):
        same = unflatten(tree, leaves)  # what is in a list may be another one outside
        put_on_tape(Grows(x, [same], lambda leaf: found[id(leaf)]))
        return as_record(x, item)
    inner_lists.keep(item)
    values = [brought_to(leaf, kind) for leaf, kind in zip(leaves, kinds)]
    return own, values, [store for leaf in leaves for store in stores_of(leaf)]


def length(x: Items) -> Tracer:
    """`len(x)`."""
    own = grown(x)
    assert own is not None
    return wrap(own.count(), "python")


def item(x: Items, key: Any) -> Any:
    """`x[key]` for an int, known or traced, or a slice."""
    note_place()
    if isinstance(key, slice):
        return _sliced(x, key)
    return at(x, place_of(x, key, f"{type(x).__name__} index out of range"))


def place_of(x: Items, key: Any, message: str) -> Value:
    """The position that an index means, from either end.

    Raises:
        DTypeError: for what is no int.
    """
    i = lift(key).value
    if i.rank or i.dtype.kind not in "biu":
        kind = errors.describe(key)
        raise errors.DTypeError(f"list indices must be integers or slices, not {kind}")
    i, size = ops.convert(i, T.i64), length(x).value
    if isinstance(i, Literal):
        back = int(i.item) < 0
        ok = ops.ge(size, -int(i.item)) if back else ops.gt(size, i)
        ops.check(ok, [], "IndexError", message)
        return ops.add(size, i) if back else i
    ok = ops.bitwise_and(ops.ge(i, ops.neg(size)), ops.lt(i, size))
    ops.check(ok, [], "IndexError", message)
    return ops.select(ops.lt(i, 0), ops.add(i, size), i)


def holds(own: Grown, other: Grown) -> bool:
    """Whether a list can hold the items of another one."""
    kinds, others = kinds_on(own), kinds_on(other)
    alike = own.tree == other.tree and len(kinds) == len(others)
    return alike and all(common(a, b) == a for a, b in zip(kinds, others))


def assign(x: Items, items: Items) -> None:
    """Let a list, on a tape that changes, hold the items of another list."""
    own, other = grown(x), grown(items)
    assert own is not None
    if other is not None:
        own.store.write(filled(own.tape(), other.tape()))
        _share_memory(own, other)
        return
    own.store.write(ops.tape_cut(own.tape(), index(0), index(0)))
    for item in items:
        append(x, item)


def filled(tape: Value, source: Value) -> Value:
    """A tape that changes, with the records of another one, whatever it held. Arrays on a log lie
    where they are, on a list they are copied."""
    type, other = tape_type(tape), tape_type(source)
    if type == other or (type.fields == other.fields and not any(d for _, d in type.fields)):
        return ops.tape_copy(tape, source)

    def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        fields = ops.tape_get(consts[0], i)
        values = [ops.convert(v, dtype) for v, (dtype, _) in zip(fields, type.fields)]
        return (ops.tape_push(carries[0], values),), ()

    empty = ops.tape_cut(tape, index(0), index(0))
    (found,) = ops.for_(ops.tape_length(source), body, [source], [empty])
    return found


def _share_memory(own: Grown, other: Grown) -> None:
    """Note that items of both may be the same arrays."""
    if any(kind.dims for kind in kinds_on(own)):
        own.store.may_be([other.store])


def copied(x: Items) -> list[Any]:
    """`list(x)`."""
    return _sliced(x, slice(None))


def _sliced(x: Items, key: slice) -> list[Any]:
    """`x[key]`: a list of its own."""
    own = grown(x)
    assert own is not None
    tape = own.tape()
    step = 1 if key.step is None else int(key.step)
    bounds = [None if b is None else as_dim(lift(b).value) for b in (key.start, key.stop)]
    first, count = steps_within(bounds[0], bounds[1], step, ops.tape_length(tape))

    def body(i: Value, consts: Any, carries: Any) -> Any:
        place = ops.add(consts[1], ops.mul(i, step))
        fields = ops.tape_get(consts[0], place)
        return (ops.tape_push(carries[0], fields),)

    (copied,) = ops.for_(
        as_value(count), _rowless(body), [tape, as_value(first)], [ops.tape_new(tape_type(tape))]
    )
    made = replace(own, store=Store(copied, running_trace()))
    _share_memory(made, own)
    return [made]


def _rowless(body: Callable[..., Any]) -> Callable[..., Any]:
    return lambda i, consts, carries, xs: body(i, consts, carries)


def at(x: Items, i: Value) -> Any:
    """The item at a position that is in bounds."""
    own = grown(x)
    assert own is not None
    if all(token is LEAF or issubclass(token[0], tuple) for token in own.tree.tokens):
        return taken(x, i)
    item = inner_lists.read_before(x, i)
    if item is None:
        item = taken(x, i)
        inner_lists.note_read(item, x, i)
    return item


def taken(x: Items, i: Value) -> Any:
    """The same of an item that leaves the list."""
    own = grown(x)
    assert own is not None
    fields = ops.tape_get(own.tape(), i)
    parts = [wrap(v, f) for v, f in zip(fields, own.flavours)]
    for store in (s for part in parts for s in stores_of(part)):
        store.is_part_of(own.store)
    return unflatten(own.tree, parts)


def steps(x: Items) -> Steps:
    """What a loop over the list goes over."""
    return Steps(length(x), lambda k: at(x, lift(k).value), source=x)


@contextmanager
def unchanged(steps: Steps | None) -> Iterator[None]:
    """Watch a step of a loop.

    Raises:
        Outgrown: where it changes the list that the loop goes over.
    """
    source = None if steps is None else steps.source
    before = _tape_of(source)
    yield
    if _tape_of(source) is not before:
        raise Outgrown


def _tape_of(x: Items | None) -> Value | None:
    own = grown(x)
    return None if own is None else own.store.value
