"""What a loop carries from one step to the next, found by tracing its body.

    s, k = 0.0, 0                      the variables s and k are other numbers after a step
    for i in range(n):                   than before: both are carried, s as a float, k as an int
        s += x[i]
        k += 1

A `Shape` says how what a location holds is made of things that stay and of `Slot`s, numbers and
arrays that are carried. It starts from what changed in one step and grows until a step that starts
from it changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AnySet
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from jitnet.frontend.arrays import Place
from jitnet.frontend.context import Trace, resume, running_trace
from jitnet.frontend.flow.containers import Form, has_identity, is_container, taken_apart
from jitnet.frontend.flow.kinds import Conflict, Kind, common, described, is_same, kind_in, kind_of
from jitnet.frontend.flow.placing import Leaves, is_known_in
from jitnet.frontend.flow.signals import ABSENT
from jitnet.frontend.flow.variants import MOST_VARIANTS, Variants, is_one, number_among, objects_of
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer
from jitnet.ir import Dim, Type, Value
from jitnet.ir import types as T


@dataclass(eq=False)
class Slot:
    """A number or an array that is carried.

    Attributes:
        kind: what it is in each step.
        first: what it is at the start, an object of the trace around; ABSENT where it is only
            known afterwards.
        last: what a step left.
        param: its value at the start of a step; `made` the object that stands for it.
        result: its value after the loop.
        memory: made for that value, of an array.
        leaves: places that others know, where the array may be; a `number` says in which one. Its
            value is that of its own memory then, and is not carried where it is always in a leaf.
        told: where it is after the loop, if its steps take it as a value and do not ask.
        counts: whether it is a number that the loop counts; see `flow.counters`.
    """

    kind: Kind
    first: Any
    last: Any = None
    param: Value | None = None
    made: Any = None
    result: Value | None = None
    memory: Store | None = None
    leaves: Leaves = field(default_factory=list)
    is_apart: bool = True
    number: Value | None = None
    told: Told | None = None
    counts: bool = False


@dataclass(eq=False)
class Told:
    """Where an array is after the loop, as a number says beside what it holds.

    Attributes:
        leaves: by number, places that others know; a greater number is memory of its own.
        mine: numbers of those where it may be; `is_apart` where it may be in memory of its own, or
            in `own`, which that stands for.
        before: by the place that stood for it in a step, whose array was there.
        param: the number at the start of a step; None where a step says it, whatever was before.
        result: the number after the loop.
    """

    leaves: Leaves
    mine: list[int]
    own: list[Store]
    is_apart: bool
    before: dict[Place, Slot]
    param: Value | None = None
    result: Value | None = None


@dataclass(frozen=True)
class Same:
    """Something that no step changes."""

    thing: Any


@dataclass(frozen=True)
class Node:
    """A container that is made anew."""

    form: Form
    children: tuple[Any, ...]


@dataclass(frozen=True)
class OneOf:
    """One of several things; a number says which.

    Attributes:
        objects: those that were there before the loop, and None.
        value: the shape of the last one, if steps make it: a number, an array, a new list.
    """

    number: Slot
    objects: tuple[Any, ...]
    value: Shape | None = None


Shape = Slot | Same | Node | OneOf

_NUMBER = Kind("python", T.i64)


@dataclass
class Finder:
    """Finds shapes from what a location held before and after a step.

    Attributes:
        region: the body's trace.
        was_there: whether a container was there before the step; its content is a location.
        remade: containers from before the step that only variables know that are carried: what is
            in them can be carried in their place.
    """

    region: Trace
    was_there: Callable[[Any], bool]
    remade: AnySet[int] = frozenset()

    def kind_after(self, x: Any) -> Kind | None:
        """The kind of a value of the body."""
        return kind_in(self.region, x)

    def shape(self, before: Any, after: Any, old: Shape | None = None) -> Shape:
        """The shape of a location; what `old` carries stays carried.

        Raises:
            Conflict: where before and after cannot be brought to one kind.
        """
        if is_same(before, after) and (old is None or isinstance(old, Same)):
            return Same(before)
        kinds = kind_of(before), self.kind_after(after)
        if kinds[0] is not None and kinds[1] is not None:
            return self._slot(before, after, kinds[0], kinds[1], old)
        things = (*objects_of(before), *objects_of(after))
        if isinstance(old, OneOf) or any(map(self._is_object, things)):
            return self._one_of(before, after, old)
        return self.shape_of_items(before, after, old)

    def shape_of_items(self, before: Any, after: Any, old: Shape | None = None) -> Shape:
        """The shape of a container that is made anew.

        Raises:
            Conflict: where it is not.
        """
        one, other = taken_apart(before), taken_apart(after)
        if one is None or other is None or type(before) is not type(after):
            raise Conflict(_apart(before, after, kind_of(before), self.kind_after(after)))
        (form, xs), (form_after, ys) = one, other
        if form != form_after:
            raise Conflict(f"a {type(before).__name__} of other items before and after a step")
        olds = old.children if isinstance(old, Node) else (None,) * len(xs)
        return Node(form, tuple(self.shape(x, y, o) for x, y, o in zip(xs, ys, olds)))

    def _is_object(self, x: Any) -> bool:
        """Whether something stays what it is: None, functions, what was there before the loop."""
        if is_container(x):
            return self.was_there(x) and id(x) not in self.remade
        return x is None or has_identity(x)

    def _one_of(self, before: Any, after: Any, old: Shape | None) -> OneOf:
        known = old.objects if isinstance(old, OneOf) else ()
        objects: list[Any] = []
        for x in (*known, *objects_of(before), *objects_of(after)):
            if self._is_object(x) and not any(is_one(x, other) for other in objects):
                objects.append(x)
        if any(_is_made_again(x, known) for x in objects[len(known) :]):
            raise Conflict("a function that each step makes anew")
        if len(objects) > MOST_VARIANTS:
            raise Conflict(f"one of more than {MOST_VARIANTS} objects")
        value = self._value(before, after, old.value if isinstance(old, OneOf) else old)
        with resume(self.region):
            last = number_among(after, objects)
        return OneOf(Slot(_NUMBER, number_among(before, objects), last), tuple(objects), value)

    def _value(self, before: Any, after: Any, old: Shape | None) -> Shape | None:
        """The shape of what is none of the objects."""
        one, other = (
            [x for x in objects_of(side) if not (x is ABSENT or self._is_object(x))]
            for side in (before, after)
        )
        if len(one) > 1 or len(other) > 1:
            raise Conflict(_apart(before, after, None, None))
        if one:
            return self.shape(one[0], other[0] if other else one[0], old)
        if not other:
            return old
        made = self.shape_of_new(other[0])
        if any(dim is None or not is_around(dim) for x in slots_of([made]) for dim in x.kind.dims):
            raise Conflict("an array whose shape a step of the loop decides")
        return made

    def shape_of_new(self, after: Any) -> Shape:
        """The shape of what is only there after a step."""
        kind = self.kind_after(after)
        if kind is not None and type(after) is Tracer:
            if kind.flavour == "array" and is_known_in(running_trace(), after.place):
                return Same(after)
            return Slot(kind, ABSENT, after)
        if type(after) is Variants:
            objects = tuple(x for x in objects_of(after) if self._is_object(x))
            value = self._value(ABSENT, after, None)
            with resume(self.region):
                number = Slot(_NUMBER, ABSENT, number_among(after, objects))
            return OneOf(number, objects, value)
        found = None if self.was_there(after) else taken_apart(after)
        if found is None:
            return Same(after)
        form, items = found
        return Node(form, tuple(map(self.shape_of_new, items)))

    def _slot(self, before: Any, after: Any, a: Kind, b: Kind, old: Shape | None) -> Slot:
        kind = common(a, b)
        if kind is not None and isinstance(old, Slot):
            kind = common(kind, old.kind)
        if kind is None:
            raise Conflict(_apart(before, after, a, b))
        return Slot(kind, before, after)

    def agrees(self, shape: Shape, after: Any) -> bool:
        """Whether what a step left has this shape; notes it as the slots' `last`."""
        if isinstance(shape, Same):
            return is_same(shape.thing, after)
        if isinstance(shape, Slot):
            shape.last = after
            kind = self.kind_after(after)
            return kind is not None and common(shape.kind, kind) == shape.kind
        if isinstance(shape, OneOf):
            return self._agrees(shape, after)
        found = taken_apart(after)
        if found is None or found[0] != shape.form:
            return False
        alike = [self.agrees(s, x) for s, x in zip(shape.children, found[1])]  # each notes it
        return all(alike)

    def _agrees(self, shape: OneOf, after: Any) -> bool:
        values = [
            x for x in objects_of(after) if not any(is_one(x, other) for other in shape.objects)
        ]
        if len(values) > 1 or any(map(self._is_object, values)):
            return False
        if shape.value is not None:
            for slot in slots_of([shape.value]):
                slot.last = ABSENT
        if values and (shape.value is None or not self.agrees(shape.value, values[0])):
            return False
        with resume(self.region):
            shape.number.last = number_among(after, shape.objects)
        return True


def _is_made_again(x: Any, known: Sequence[Any]) -> bool:
    """Whether a function is one of these, made another time."""
    codes = {other.__code__ for other in known if isinstance(other, FunctionType)}
    return isinstance(x, FunctionType) and x.__code__ in codes


def is_around(dim: Dim | None) -> bool:
    """Whether an extent is known in the running trace, or around it."""
    if dim is None or isinstance(dim, int):
        return dim is not None
    trace: Trace | None = running_trace()
    while trace is not None:
        eqns = trace.builder.eqns
        if dim in trace.builder.params or any(dim in e.results for e in eqns):
            return True
        trace = trace.parent
    return False


def _apart(before: Any, after: Any, a: Kind | None, b: Kind | None) -> str:
    return f"{described(before, a)} before a step of the loop and {described(after, b)} after it"


def contents(shape: Shape, fill: Callable[[Slot], Any], made: list[Any] | None = None) -> Any:
    """What a location holds, with `fill(slot)` in the places of slots; `made` gets the containers
    that are made for it."""
    if isinstance(shape, Slot):
        return fill(shape)
    if isinstance(shape, Same):
        return shape.thing
    if isinstance(shape, OneOf):
        value = () if shape.value is None else (contents(shape.value, fill, made),)
        return Variants(fill(shape.number), (*shape.objects, *value))
    children = [contents(c, fill, made) for c in shape.children]
    found = shape.form.made_of(children)
    if made is not None:
        made.append(found)
    return found


def originals(shape: Shape, before: Any) -> Iterator[Any]:
    """The containers of a location from before the loop in the place of which others are made."""
    found = taken_apart(before)
    if isinstance(shape, Node) and found is not None:
        yield before
        for child, item in zip(shape.children, found[1]):
            yield from originals(child, item)


def slots_of(shapes: Sequence[Shape]) -> list[Slot]:
    """The slots of shapes, in order."""
    found: list[Slot] = []
    for shape in shapes:
        if isinstance(shape, Slot):
            found.append(shape)
        elif isinstance(shape, Node):
            found += slots_of(shape.children)
        elif isinstance(shape, OneOf):
            found.append(shape.number)
            found += slots_of([shape.value] if shape.value is not None else ())
    return found


@dataclass(eq=False)
class Memory:
    """Memory of an array that is written to in the loop, in place.

    Attributes:
        type: of what it holds, with extents as the trace around has them.
    """

    store: Store
    type: Type
    param: Value | None = None
    last: Value | None = None
    result: Value | None = None
