"""Lists that grow where traced values, or the steps of a loop, decide by how much.

    log = []                         %t = tape_new {type=tape[f64]}
    for i in range(n):               %u = for %n, %t { tape_push %t, %x ... }
        log.append(x[i] * 2)
    np.array(log)                    %k = tape_length %u, then for %k { tape_get %u, %i }

Such a list holds one object, a `Grown`, which knows the tape that its items are on. The list itself
stays the user's. An array on it counts as it was when it was appended: if its memory is written to
later, reading the list is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.arrays import Grown
from jitnet.frontend.context import running_trace
from jitnet.frontend.dims import count
from jitnet.frontend.flow.joins import Kind, KindOf, brought_to, common, kind_of, stores_of
from jitnet.frontend.flow.steps import Steps
from jitnet.frontend.flow.world import is_known_around
from jitnet.frontend.indexing import steps_within
from jitnet.frontend.pytree import declare_leaf, flatten, unflatten
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import TapeType, Value, as_dim, as_value
from jitnet.ops.tape import tape_type

declare_leaf(Grown)


class Grows(Exception):  # noqa: N818
    """A list has to be on a tape from here on.

    Attributes:
        items: some that are to be on it.
        kind_in: the kinds of their parts.
    """

    def __init__(self, container: list[Any], items: Sequence[Any], kind_of_part: KindOf) -> None:
        super().__init__(container)
        self.container = container
        self.items = items
        self.kind_of_part = kind_of_part


def grown(x: Any) -> Grown | None:
    """What stands for the items of a list that grows."""
    if type(x) is list and x and type(x[-1]) is Grown:
        found: Grown = x[-1]
        return found
    return None


def added(before: Any, after: Any) -> Sequence[Any] | None:
    """The items that a list has got at its end; None where it has changed otherwise."""
    if not (isinstance(before, list) and isinstance(after, list)):
        return None
    if after and type(after[-1]) is Grown:
        return after
    if len(after) <= len(before) or any(a is not b for a, b in zip(before, after)):
        return None
    return after[len(before) :]


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
    if type(container) is not list:
        raise errors.ConcretizationError(
            f"a {type(container).__name__} that grows in a loop, or under a condition",
            why="how many items it has is only known when the program runs",
            remedy="a list that is only appended to, or an array with the numbers of its first and "
            "last item beside it",
        )
    own = grown(container)
    if own is not None:
        parts = [grows.kind_of_part(leaf) for leaf in flatten(grows.items)[0]]
        container[:] = [_widened(own, _holding(own, parts))]
        return
    tree, kinds = _record(container, grows.items, grows.kind_of_part)
    items = list(container)
    container[:] = [_on_tape(ops.tape_new(_tape_of(kinds)), tree, kinds)]
    for item in items:
        append(container, item)


def _on_tape(tape: Value, tree: Any, kinds: Sequence[Kind]) -> Grown:
    return Grown(Store(tape, running_trace()), tree, tuple(k.flavour for k in kinds))


def _tape_of(kinds: Sequence[Kind]) -> TapeType:
    return TapeType(tuple((k.dtype, tuple(d for d in k.dims if isinstance(d, int))) for k in kinds))


def _kinds_on(own: Grown) -> list[Kind]:
    """The kinds of the parts of items."""
    fields = tape_type(own.store.value).fields
    return [Kind(f, dtype, dims) for f, (dtype, dims) in zip(own.flavours, fields)]


def _holding(own: Grown, parts: Sequence[Kind | None]) -> list[Kind]:
    """Kinds for the parts of items, and of one more item.

    Raises:
        ConcretizationError: where there are none.
    """
    kinds = _kinds_on(own)
    found = [common(a, b) for a, b in zip(kinds, parts) if b is not None]
    if None in found or not len(found) == len(kinds) == len(parts):
        raise _unlike()
    return [kind for kind in found if kind is not None]


def _widened(own: Grown, kinds: Sequence[Kind]) -> Grown:
    """The same items, of these kinds."""

    def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        fields = ops.tape_get(consts[0], i)
        values = [ops.convert(v, kind.dtype) for v, kind in zip(fields, kinds)]
        return (ops.tape_push(carries[0], values),), ()

    tape = own.store.read(running_trace())
    (copied,) = ops.for_(ops.tape_length(tape), body, [tape], [ops.tape_new(_tape_of(kinds))])
    made = _on_tape(copied, own.tree, kinds)
    made.store.may_be([own.store])
    return made


def _record(
    container: Sequence[Any], items: Sequence[Any], kind_of_part: KindOf
) -> tuple[Any, list[Kind]]:
    found: tuple[Any, list[Kind]] | None = None
    if items and type(items[-1]) is Grown:
        found = (items[-1].tree, _kinds_on(items[-1]))
        items = ()
    for x, of in [*((x, kind_of_part) for x in items), *((x, kind_of) for x in container)]:
        leaves, tree = flatten(x)
        parts = [of(leaf) for leaf in leaves]
        if found is None:
            found = (tree, [p for p in parts if p is not None])
        joined = [p and common(p, k) for p, k in zip(parts, found[1])]
        if tree != found[0] or None in parts or None in joined or len(parts) != len(found[1]):
            raise _unlike()
        found = (tree, [k for k in joined if k is not None])
    assert found is not None
    if any(not isinstance(d, int) for kind in found[1] for d in kind.dims):
        raise _unlike()
    return found


def _unlike() -> errors.ConcretizationError:
    return errors.ConcretizationError(
        "a list that grows in a loop, or under a condition, by items that are not all alike",
        why="how many items it has is only known when the program runs, so they are kept on a tape "
        "of numbers and arrays of one dtype and shape",
        remedy="make an array in front of the loop, and fill it: y = np.empty(n); y[i] = ...",
    )


def append(x: list[Any], item: Any) -> None:
    """`x.append(item)` of a list that is on a tape.

    Raises:
        Grows: where the tape has to be one of another dtype from its start on.
        ConcretizationError: for an item that is not like the others.
    """
    own = grown(x)
    assert own is not None
    leaves, tree = flatten(item)
    if tree != own.tree:
        raise _unlike()
    found = {id(leaf): kind_of(leaf) for leaf in leaves}
    kinds = _holding(own, [found[id(leaf)] for leaf in leaves])
    if kinds != _kinds_on(own):
        put_on_tape(Grows(x, [item], lambda leaf: found[id(leaf)]))
        append(x, item)
        return
    values = [brought_to(leaf, kind) for leaf, kind in zip(leaves, kinds)]
    own.store.write(ops.tape_push(own.store.read(running_trace()), values))
    for store in (s for leaf in leaves for s in stores_of(leaf)):
        store.is_copied_to(own.store)


def length(x: list[Any]) -> Tracer:
    """`len(x)`."""
    own = grown(x)
    assert own is not None
    return wrap(ops.tape_length(own.store.read(running_trace())), "python")


def item(x: list[Any], key: Any) -> Any:
    """`x[key]` for an int, known or traced, or a slice."""
    if isinstance(key, slice):
        return _sliced(x, key)
    n = length(x)
    i = lift(key).value
    size = n.value
    ok = ops.bitwise_and(ops.ge(i, ops.neg(size)), ops.lt(i, size))
    ops.check(ok, [], "IndexError", "list index out of range")
    return _at(x, ops.select(ops.lt(i, 0), ops.add(i, size), i))


def _sliced(x: list[Any], key: slice) -> list[Any]:
    """`x[key]`: a list of its own."""
    own = grown(x)
    assert own is not None
    tape = own.store.read(running_trace())
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
    made = Grown(Store(copied, running_trace()), own.tree, own.flavours)
    made.store.may_be([own.store])
    return [made]


def _rowless(body: Callable[..., Any]) -> Callable[..., Any]:
    return lambda i, consts, carries, xs: body(i, consts, carries)


def _at(x: list[Any], i: Value) -> Any:
    own = grown(x)
    assert own is not None
    fields = ops.tape_get(own.store.read(running_trace()), i)
    parts = [wrap(v, f) for v, f in zip(fields, own.flavours)]
    for store in (s for part in parts for s in stores_of(part)):
        store.is_part_of(own.store)
    return unflatten(own.tree, parts)


def steps(x: list[Any]) -> Steps:
    """What a loop over the list goes over."""
    return Steps(length(x), lambda k: _at(x, lift(k).value))


def stacked(own: Grown) -> list[Value]:
    """The items' parts, each as one array with an axis for the items in front."""
    tape = own.store.read(running_trace())
    n = ops.tape_length(tape)

    def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        return (), ops.tape_get(consts[0], i)

    return list(ops.for_(n, body, [tape]))


def owns(args: Sequence[Any]) -> list[tuple[Any, Grown | None]]:
    """Arguments, with what stands for their items where they have grown."""
    return [(x, grown(x)) for x in args]


def joined(own: Grown, flat: bool) -> Tracer:
    """`np.stack` of the list, or `np.concatenate`: the items one after the other."""
    x = as_one_array(own)
    value = x.value
    if not flat:
        return x
    if value.rank < 2:
        raise errors.ValueRefusedError("zero-dimensional arrays cannot be concatenated")
    return wrap(ops.reshape(value, (count(value.dims[:2]), *value.dims[2:])))


def as_one_array(own: Grown) -> Tracer:
    """`np.array` of the list."""
    parts = stacked(own)
    if len(parts) == 1:
        return wrap(parts[0])
    if any(v.dtype != parts[0].dtype or v.rank != 1 for v in parts):
        raise _unlike()
    n = parts[0].dims[0]
    columns = [ops.reshape(v, (n, 1)) for v in parts]
    return wrap(ops.concatenate(columns, 1))
