"""Items taken from lists and deques that are on tapes, replaced, and put elsewhere than at the end.

    node = stack.pop()        %n = tape_length %s; check %n > 0; tape_get %s, %n - 1
                              %t = tape_cut %s, 0, %n - 1
    queue.popleft()           %t = tape_cut %s, 1, %n
    heap[k] = item            %t = tape_set %s, %k, %item

Python's messages, and what each costs in Python, but for a deque's index, which is quick here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow import growing, inner_lists, signals
from jitnet.frontend.flow.branches import branch
from jitnet.frontend.flow.comparing import compared
from jitnet.frontend.flow.growing import Items
from jitnet.frontend.flow.inner_lists import Inner
from jitnet.frontend.flow.loops import for_
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Literal, Value, index


def put(x: Items, key: Any, item: Any) -> None:
    """`x[key] = item`.

    Raises:
        UnsupportedFunctionError: for slices.
    """
    if isinstance(key, slice):
        raise errors.UnsupportedFunctionError(
            "assigning to a slice of a list of which the program decides the length",
            remedy="assign item by item, in a loop",
        )
    note_place()
    growing.let_change(x)
    own, values, memory = growing.as_record(x, item)
    place = growing.place_of(x, key, f"{_index_name(x)} out of range")
    own.store.write(ops.tape_set(own.tape(), place, values))
    for store in memory:
        store.is_copied_to(own.store)


def put_back(changed: Inner) -> None:
    """Write an item that was read from a list, and changed, to where it was."""
    assert changed.place is not None
    growing.let_change(changed.outer)
    own, values, _ = growing.as_record(changed.outer, changed.thing)
    own.store.write(ops.tape_set(own.tape(), changed.place, values))
    inner_lists.note_put_back(changed)


def _cut(x: Items, start: Value | int, stop: Value | int) -> None:
    own = growing.let_change(x)
    own.store.write(ops.tape_cut(own.tape(), _value(start), _value(stop)))


def _value(x: Value | int) -> Value:
    return index(x) if isinstance(x, int) else x


def _counted(x: Items) -> Value:
    """How many items there are, of which at least one has to be."""
    own = growing.let_change(x)
    n = own.count()
    empty = "pop from an empty deque" if isinstance(x, deque) else "pop from empty list"
    ops.check(ops.gt(n, 0), [], "IndexError", empty)
    return n


def _pop(x: Items, key: Any = -1) -> Any:
    n = _counted(x)
    if type(key) is int and key == -1:
        item = growing.taken(x, ops.sub(n, 1))
        _cut(x, 0, ops.sub(n, 1))
        return item
    place = growing.place_of(x, key, "pop index out of range")
    item = growing.taken(x, place)
    _close_up(x, place, n)
    return item


def _popleft(x: Items) -> Any:
    n = _counted(x)
    item = growing.taken(x, index(0))
    _cut(x, 1, n)
    return item


def _close_up(x: Items, place: Value, n: Value) -> None:
    """Take the item at a position out."""
    if isinstance(place, Literal) and not place.item:
        _cut(x, 1, n)
        return
    own = growing.let_change(x)

    def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        to = ops.add(consts[0], i)
        fields = ops.tape_get(carries[0], ops.add(to, 1))
        return (ops.tape_set(carries[0], to, fields),), ()

    last = ops.sub(n, 1)
    (moved,) = ops.for_(ops.sub(last, place), body, [place], [own.tape()])
    own.store.write(ops.tape_cut(moved, index(0), last))


def delete(x: Items, key: Any) -> None:
    """`del x[key]`.

    Raises:
        UnsupportedFunctionError: for slices, but for those of all items from one on.
    """
    note_place()
    own = growing.let_change(x)
    n = own.count()
    if isinstance(key, slice):
        if key.step is not None or key.stop is not None:
            raise errors.UnsupportedFunctionError(
                "del of a slice of a list of which the program decides the length",
                remedy="pop the items in a loop, or build a list of those that stay",
            )
        kept = lift(0 if key.start is None else key.start).value
        kept = ops.select(ops.lt(kept, 0), ops.maximum(ops.add(kept, n), 0), ops.minimum(kept, n))
        _cut(x, 0, kept)
        return
    _close_up(x, growing.place_of(x, key, f"{_index_name(x)} out of range"), n)


def _index_name(x: Items) -> str:
    return "deque index" if isinstance(x, deque) else "list assignment index"


def _insert(x: Items, key: Any, item: Any) -> None:
    """In front of a position, which is brought into the list's bounds."""
    if type(key) is int and key == 0:
        _appendleft(x, item)
        return
    growing.let_change(x)
    growing.append(x, item)
    own, values, _ = growing.as_record(x, item)
    last = ops.sub(own.count(), 1)
    place = lift(key).value
    place = ops.select(ops.lt(place, 0), ops.add(place, last), place)
    place = ops.minimum(ops.maximum(place, 0), last)

    def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        to = ops.sub(consts[0], i)
        fields = ops.tape_get(carries[0], ops.sub(to, 1))
        return (ops.tape_set(carries[0], to, fields),), ()

    (moved,) = ops.for_(ops.sub(last, place), body, [last], [own.tape()])
    own.store.write(ops.tape_set(moved, place, values))


def _append(x: Items, item: Any) -> None:
    growing.append(x, item)


def _appendleft(x: Items, item: Any) -> None:
    growing.let_change(x)
    own, values, memory = growing.as_record(x, item)
    tape = ops.tape_prepend(own.tape(), values)
    if isinstance(x, deque) and x.maxlen is not None:
        tape = ops.tape_cut(tape, index(0), ops.minimum(ops.tape_length(tape), x.maxlen))
    own.store.write(tape)
    for store in memory:
        store.is_copied_to(own.store)


def _extend(x: Items, items: Iterable[Any]) -> None:
    if items is x:
        items = growing.copied(x)
    for_(items, lambda item: growing.append(x, item))


def _extendleft(x: Items, items: Iterable[Any]) -> None:
    for_(items, lambda item: _appendleft(x, item))


def _clear(x: Items) -> None:
    _cut(x, 0, 0)


def _copy(x: Items) -> Items:
    made = growing.copied(x)
    return deque(made, x.maxlen) if isinstance(x, deque) else made


def _reverse(x: Items) -> None:
    own = growing.let_change(x)
    n = own.count()

    def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        (tape,) = carries
        j = ops.sub(ops.sub(consts[0], 1), i)
        front, back = ops.tape_get(tape, i), ops.tape_get(tape, j)
        return (ops.tape_set(ops.tape_set(tape, i, back), j, front),), ()

    (turned,) = ops.for_(ops.right_shift(n, index(1)), body, [n], [own.tape()])
    own.store.write(turned)


def _rotate(x: Items, n: Any = 1) -> None:
    if type(n) is not int or abs(n) != 1:
        raise errors.UnsupportedFunctionError(
            "deque.rotate by more than one, of a deque of which the program decides the length",
            remedy="for _ in range(n): x.append(x.popleft())",
        )
    own = growing.let_change(x)

    def turn() -> None:
        if n > 0:
            _appendleft(x, _pop(x))
        else:
            growing.append(x, _popleft(x))

    branch(ops.gt(own.count(), 0), turn, None)


def contains(x: Items, wanted: Any) -> Any:
    """`wanted in x`."""
    found = False

    def look(item: Any) -> Any:
        def stop() -> signals.Signal:
            nonlocal found
            found = True
            return signals.known(signals.BREAK)

        same = truth(compared("==", item, wanted))
        if isinstance(same, bool):
            return stop() if same else None
        return branch(same, stop, None, lambda: None)

    for_(x, look)
    return found


def _index(x: Items, wanted: Any) -> Any:
    """The first position of an item."""
    found: Any = -1
    at: Any = 0

    def look(item: Any) -> Any:
        def stop() -> signals.Signal:
            nonlocal found
            found = at
            return signals.known(signals.BREAK)

        def go_on() -> None:
            nonlocal at
            at = at + 1

        same = truth(compared("==", item, wanted))
        if isinstance(same, bool):
            return stop() if same else go_on()
        return branch(same, stop, go_on, lambda: None)

    for_(x, look)
    value = lift(found).value
    name = "the value" if type(wanted) is Tracer else repr(wanted)
    ops.check(ops.ge(value, 0), [], "ValueError", f"{name} is not in list")
    return wrap(value, "python")


def _count(x: Items, wanted: Any) -> Any:
    total: Any = 0

    def look(item: Any) -> None:
        nonlocal total
        total = total + wrap(lift(compared("==", item, wanted)).value, "python")

    for_(x, look)
    return total


def _remove(x: Items, wanted: Any) -> None:
    place = _index(x, wanted)
    own = growing.let_change(x)
    _close_up(x, lift(place).value, own.count())


METHODS: dict[str, Callable[..., Any]] = {
    "append": _append,
    "appendleft": _appendleft,
    "clear": _clear,
    "copy": _copy,
    "count": _count,
    "extend": _extend,
    "extendleft": _extendleft,
    "index": _index,
    "insert": _insert,
    "pop": _pop,
    "popleft": _popleft,
    "remove": _remove,
    "reverse": _reverse,
    "rotate": _rotate,
}
"""The methods of lists and deques that are on tapes."""


def call_method(name: str, x: Items, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`x.name(*args, **kwargs)`.

    Raises:
        UnsupportedFunctionError: for other methods than those of `METHODS`.
    """
    method = METHODS.get(name)
    if method is None or kwargs or not hasattr(x, name):
        raise errors.UnsupportedFunctionError(
            f"{type(x).__name__}.{name} of a {type(x).__name__} that grows in a loop, or from "
            "which items are taken",
            remedy="np.array(x), and NumPy's function for it",
        )
    note_place()
    return method(x, *args)
