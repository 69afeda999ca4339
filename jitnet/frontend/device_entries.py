"""Calls of functions on a device, of a kind that comes often, with as little Python as can be.

    entry = make_entry(...)        # f(x, s) for x: f64[128, 64] of CuPy's and a float s
    entry((x, 2.0), {})            # the result; MISSED, where it is another kind of call

An entry compares what tells its kind of calls from others, field by field, takes the addresses of
the arrays, and has the recorded program replayed. What cannot be said so goes the way of all calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jitnet.frontend.device_arrays import MISSED, address_of, span_of
from jitnet.frontend.guards import Guards
from jitnet.frontend.pytree import LEAF, NodeKind, TreeDef, node_kind, unflatten
from jitnet.frontend.signature import Abstract, LeafType, Static
from jitnet.frontend.specialisation import Specialisation
from jitnet.frontend.traced import Output
from jitnet.runtime.devices.program import DeviceProgram
from jitnet.runtime.devices.replay import Replay, replay_of

_EXACT = (int, bool, str, type(None))
"""Classes whose values are the same where they are equal."""

_INT64 = range(-(1 << 63), 1 << 63)


class _Array(NamedTuple):
    """An argument that is an array of the device.

    Attributes:
        leaf: its number.
        place: its number among the arrays that the program takes; None where it takes it not.
        low, high: the bytes that it spans, from its first element on.
        written: whether calls change it.
    """

    leaf: int
    place: int | None
    cls: type[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any
    gpu: int
    low: int
    high: int
    written: bool


class _Number(NamedTuple):
    """An argument that is a number of Python's; `taken`: the program takes it."""

    leaf: int
    cls: type[Any]
    taken: bool


@dataclass(frozen=True)
class _Node:
    """A container among the arguments.

    Attributes:
        children: those that are containers, None for leaves; empty where all are leaves.
    """

    cls: type[Any]
    kind: NodeKind
    meta: Any
    count: int
    children: Sequence[_Node | None]

    def gather(self, x: Any, leaves: list[Any]) -> bool:
        """Append the leaves of x. Returns whether it has this structure."""
        if type(x) is not self.cls:
            return False
        items, meta = self.kind.flatten(x)
        if len(items) != self.count or meta != self.meta:
            return False
        if not self.children:
            leaves.extend(items)
            return True
        for item, child in zip(items, self.children):
            if child is None:
                leaves.append(item)
            elif not child.gather(item, leaves):
                return False
        return True


@dataclass(frozen=True)
class Entry:
    """A kind of calls.

    Attributes:
        structure: of the arguments; None where these are `count` leaves, by position.
        exact: leaves that must be this value.
        hold: whether what was read from outside is as it was; None where nothing was.
        addresses: of the arrays that the program takes; those from outside are there.
        disjoint: whether what is written must share no memory.
        outputs: of the result's leaves, whether they are leaves of the arguments (0), outputs of
            the program (1) or `constants` (2), and which.
        turned: outputs of the program that are handed out in Fortran order.
        tree: of the result.
    """

    structure: _Node | None
    count: int
    arrays: Sequence[_Array]
    numbers: Sequence[_Number]
    exact: Sequence[tuple[int, type, Any]]
    hold: Callable[[], bool] | None
    addresses: Sequence[int]
    disjoint: bool
    replay: Replay
    outputs: Sequence[tuple[int, int]]
    constants: Sequence[Any]
    turned: Sequence[int]
    tree: TreeDef

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        leaves = self._leaves(args, kwargs)
        if leaves is None or (self.hold is not None and not self.hold()):
            return MISSED
        addresses = self._addresses(leaves)
        numbers = self._numbers(leaves)
        if addresses is None or numbers is None:
            return MISSED
        results = self.replay(addresses, numbers)
        if results is None:
            return MISSED
        for n in self.turned:
            results[n] = results[n].T
        pools = leaves, results, self.constants
        if self.tree.tokens == (LEAF,):
            ((pool, n),) = self.outputs
            return pools[pool][n]
        return unflatten(self.tree, [pools[pool][n] for pool, n in self.outputs])

    def _leaves(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Any] | None:
        """The call's leaves, where it has this structure, and the leaves that tell it apart."""
        leaves: Sequence[Any]
        if self.structure is None:
            if kwargs or len(args) != self.count:
                return None
            leaves = args
        else:
            leaves = found = list[Any]()
            if not self.structure.gather((args, kwargs), found):
                return None
        for leaf, cls, value in self.exact:
            if type(leaves[leaf]) is not cls or leaves[leaf] != value:
                return None
        return leaves

    def _addresses(self, leaves: Sequence[Any]) -> Sequence[int] | None:
        """Of the arrays, where they are of this kind."""
        addresses = list(self.addresses)
        spans = []
        for leaf, place, cls, shape, strides, dtype, gpu, low, high, written in self.arrays:
            x: Any = leaves[leaf]
            if type(x) is not cls or x.shape != shape or x.strides != strides or x.dtype != dtype:
                return None
            pointer = x.data
            if pointer.device_id != gpu:
                return None
            if place is None:
                continue
            addresses[place] = address = pointer.ptr
            if self.disjoint:
                spans.append((address + low, address + high, written))
        return None if spans and _overlap(spans) else addresses

    def _numbers(self, leaves: Sequence[Any]) -> Sequence[float] | None:
        taken = []
        for leaf, cls, is_taken in self.numbers:
            x: Any = leaves[leaf]
            if type(x) is not cls or (cls is int and x not in _INT64):
                return None
            if is_taken:
                taken.append(x)
        return taken


def _overlap(spans: Sequence[tuple[int, int, bool]]) -> bool:
    """Whether memory that is written is touched by another array, too."""
    return any(
        low < other_high and other_low < high
        for n, (low, high, written) in enumerate(spans)
        for other_low, other_high, other_written in spans[:n]
        if written or other_written
    )


# -- making one ------------------------------------------------------------------------------------


def make_entry(
    made: Specialisation,
    structure: tuple[Any, ...],
    types: Sequence[LeafType],
    leaves: Sequence[Any],
) -> Entry | None:
    """An entry for calls like this one; None where they need more, or are not replayed.

    Args:
        structure, types: of the arguments.
        leaves: the arguments, of a call that was like this one.
    """
    traced, program = made.traced, made.executable.run
    whole = any(given.whole is not None for given in traced.inputs)
    captures = any(given.leaf is None for given in traced.inputs)
    if not isinstance(program, DeviceProgram) or traced.effects or whole:
        return None
    if captures and traced.stores:
        return None  # which might share memory
    replay = replay_of(program, made.inputs(leaves))
    outputs = _outputs(made, replay) if replay is not None else None
    if replay is None or outputs is None:
        return None
    roles = program.doors.roles()
    exact = _exact(made, types, leaves, roles)
    arrays, addresses = _arrays(made, types, leaves, roles)
    numbers = _numbers(made, types, leaves, roles)
    if exact is None or arrays is None or numbers is None:
        return None
    flat = _is_flat(structure)
    return Entry(
        None if flat else _node(iter(structure)),
        len(leaves),
        arrays,
        numbers,
        exact,
        traced.guards.hold if _reads(traced.guards) else None,
        addresses,
        bool(traced.stores),
        replay,
        [place for place, _ in outputs],
        [value for _, value in outputs],
        _turned(made),
        traced.out_tree,
    )


def _is_flat(structure: tuple[Any, ...]) -> bool:
    """Whether all arguments are leaves, and given by position."""
    _, positional, *rest = structure
    count = positional[2]
    keywords = rest[count:]
    return all(token is LEAF for token in rest[:count]) and (
        len(keywords) == 1 and keywords[0] is not LEAF and keywords[0][2] == 0
    )


def _node(tokens: Iterator[Any]) -> _Node | None:
    """The tree that begins with the next token; None for a leaf."""
    token = next(tokens)
    if token is LEAF:
        return None
    cls, meta, count = token
    kind = node_kind(cls)
    assert kind is not None
    children = [_node(tokens) for _ in range(count)]
    return _Node(cls, kind, meta, count, children if any(children) else ())


def _reads(guards: Guards) -> bool:
    return bool(guards.names or guards.cells or guards.shapes or guards.containers)


def _outputs(made: Specialisation, replay: Replay) -> list[tuple[tuple[int, int], Any]] | None:
    """Where each leaf of the result is, and its value where that is a constant."""
    found: list[tuple[tuple[int, int], Any]] = []
    results: dict[int, int] = {}
    for n, output in enumerate(made.traced.outputs):
        if not isinstance(output, Output) or output.view is not None:
            return None
        if output.source is not None:
            given = made.traced.inputs[output.source]
            place = (2, n) if given.leaf is None else (0, given.leaf)
            found.append((place, given.capture))
        elif output.result is None:
            if type(output.value) not in (*_EXACT, float):
                return None
            found.append(((2, n), output.value))
        else:
            at = made.computed[output.result]
            if output.flavour == "python" or replay.outputs[at] is None:
                return None
            if results.setdefault(at, output.result) != output.result:
                return None  # one value, two objects
            found.append(((1, at), None))
    return found


def _turned(made: Specialisation) -> list[int]:
    outputs = [o for o in made.traced.outputs if isinstance(o, Output) and o.result is not None]
    turned = [o for o in outputs if o.by_columns and o.source is None]
    return sorted({made.computed[o.result] for o in turned if o.result is not None})


def _arrays(
    made: Specialisation, types: Sequence[LeafType], leaves: Sequence[Any], roles: Sequence[str]
) -> tuple[list[_Array] | None, list[int]]:
    """The leaves that are arrays, and the addresses of those from outside among all that the
    program takes."""
    taken = [g for g, role in zip(made.traced.inputs, roles, strict=True) if role == "there"]
    places = {given.leaf: place for place, given in enumerate(taken) if given.leaf is not None}
    addresses = [address_of(given.capture) if given.leaf is None else 0 for given in taken]
    arrays = []
    for leaf, (type_, x) in enumerate(zip(types, leaves, strict=True)):
        if not isinstance(type_, Abstract) or type_.flavour != "array":
            continue
        if type_.device is None:
            return None, addresses
        low, high = span_of(x)
        written = leaf in made.changed
        place = places.get(leaf)
        what = type(x), x.shape, x.strides, x.dtype, x.data.device_id
        arrays.append(_Array(leaf, place, *what, low, high, written))
    return arrays, addresses


def _numbers(
    made: Specialisation, types: Sequence[LeafType], leaves: Sequence[Any], roles: Sequence[str]
) -> list[_Number] | None:
    """The leaves that are numbers, those that the program takes in its order."""
    slots = [g for g, role in zip(made.traced.inputs, roles, strict=True) if role == "slot"]
    if any(given.leaf is None or given.axis is not None for given in slots):
        return None
    taken = [given.leaf for given in slots if given.leaf is not None]
    others = [
        leaf
        for leaf, type_ in enumerate(types)
        if isinstance(type_, Abstract) and type_.flavour != "array" and leaf not in taken
    ]
    if any(type(leaves[leaf]) not in (int, float) for leaf in (*taken, *others)):
        return None
    return [_Number(leaf, type(leaves[leaf]), leaf in taken) for leaf in (*taken, *others)]


def _exact(
    made: Specialisation, types: Sequence[LeafType], leaves: Sequence[Any], roles: Sequence[str]
) -> list[tuple[int, type, Any]] | None:
    """The leaves whose values tell calls apart: static ones, and numbers that the host works
    with."""
    fixed = {leaf for leaf, type_ in enumerate(types) if isinstance(type_, Static)}
    fixed |= {
        given.leaf
        for given, role in zip(made.traced.inputs, roles, strict=True)
        if role == "known" and given.leaf is not None and given.axis is None
    }
    if any(type(leaves[leaf]) not in _EXACT for leaf in fixed):
        return None
    return [(leaf, type(leaves[leaf]), leaves[leaf]) for leaf in sorted(fixed)]
