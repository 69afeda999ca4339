"""Arrays that are wound back: reverse mode reads again what a loop has overwritten since.

Where a loop changes a few elements of an array in each step, and its derivative needs much of what
the array was, its known half logs the elements as they were, and the linear half goes through the
array's states once more. In the linear half of a step,

    %old: f64[1] = ...                           // from the log
    %now: f64[99] = peek %a                      // the array as it is here
    %row: f64[8] = slice %now, 0, 8
    %dy: f64[8] = zmul %row, %dx
    %b: f64[99] = overwrite %a, %old, %i {steps=(1,)}

says where the array is read and where it changes, though not what it becomes. `transpose` visits
this from the end, where the array is known, and takes %b to %a by an `update` with %old: what comes
out is an ordinary loop that carries the array and undoes in it what the known half did. Around it,

    %a: f64[99] = rewound 99 {dtype=f64}         // as it was before the loop
    %b: f64[99] = for ...                        // its state after each step is a further carry
    rewind %b, %last                             // %last: what it is in the end

These ops are in linear halves only, and only for `transpose`: nothing evaluates or lowers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jitnet.ir import (
    ArrayType,
    Attrs,
    Builder,
    Effect,
    Eqn,
    Function,
    Type,
    Value,
    as_value,
    current,
)
from jitnet.ops.create import dims_of
from jitnet.ops.index import SCATTER, gather, scatter
from jitnet.ops.primitive import (
    Linear,
    Primitive,
    Structured,
    Tangents,
    TransposeTransform,
    nondifferentiable,
    not_linear,
)
from jitnet.ops.regions import no_samples
from jitnet.ops.shape import reshape
from jitnet.ops.slicing import UPDATE, slice, update

# -- the ops ---------------------------------------------------------------------------------------


def _base(operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]) -> tuple[Type, ...]:
    return (operands[0].type,)


def _of_dims(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    return (ArrayType(attrs["dtype"], dims_of("rewound", operands)),)


def _for_transpose_only(eqn: Eqn, *operands: Any) -> tuple[Any, ...]:
    raise AssertionError(f"{eqn.op.name}: the linear half is there to be transposed")


def _not_batched(*_: Any) -> None:
    """Lanes are put side by side before derivatives are taken apart, or after."""


def _known_operands(operands: Sequence[Value | Linear]) -> list[Value]:
    return [v for v in operands if isinstance(v, Value)]


def _undo_update(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    (after,) = cotangents
    assert after is not None, "the array is known at the end"
    old, *starts = _known_operands(operands)
    if not old.rank:
        old = reshape(old, (1,) * after.rank)
    before = update(after, old, starts, eqn.attrs["steps"])
    return [before, *[None] * (len(operands) - 1)]


def _undo_scatter(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """Where two indices are equal, so are the old elements."""
    (after,) = cotangents
    assert after is not None, "the array is known at the end"
    old, *indices = _known_operands(operands)
    kept = [d for axis, d in enumerate(after.dims) if axis not in eqn.attrs["axes"]]
    old = reshape(old, (*indices[0].dims, *kept))
    before = scatter(after, old, indices, eqn.attrs["axes"])
    return [before, *[None] * (len(operands) - 1)]


def _op(name: str, **rules: Any) -> Primitive:
    given: dict[str, Any] = {
        "infer": _base,
        "numpy": _for_transpose_only,
        "jvp": nondifferentiable,
        "transpose": not_linear,
        "batch": _not_batched,
        "lower": [Structured()],
        "samples": no_samples,
    }
    return Primitive(name, **{**given, **rules})


REWOUND = _op(
    "rewound",
    infer=_of_dims,
    transpose=lambda eqn, operands, *_: [None] * len(operands),
)
PEEK = _op("peek")
OVERWRITE = _op("overwrite", transpose=_undo_update)
OVERSCATTER = _op("overscatter", transpose=_undo_scatter)
REWIND = _op("rewind", infer=lambda operands, attrs, regions: (), effect=Effect.MAY_RAISE)
"""It has no results, and must not be dropped."""


def rewound(type: ArrayType) -> Value:
    """An array of this type before anything happens to it."""
    (a,) = current().bind(REWOUND, list(map(as_value, type.dims)), {"dtype": type.dtype})
    return a


def rewind(state: Value, last: Value) -> None:
    """Say what an array is in the end."""
    current().bind(REWIND, (state, last))


# -- what is written to an array -------------------------------------------------------------------


class Step(NamedTuple):
    """What the two halves do where elements are overwritten.

    Attributes:
        log: read the old elements; in front of the write.
        undone: the write, told of in the linear half.
    """

    log: Sequence[Eqn]
    undone: Eqn

    @property
    def old(self) -> Value:
        """What is logged."""
        return self.undone.operands[1]


def step(eqn: Eqn) -> Step:
    """For an `update` or a `scatter`. A single element is logged as a scalar."""
    base, value, *where = eqn.operands
    undone = OVERWRITE if eqn.op is UPDATE else OVERSCATTER
    attrs = eqn.attrs if eqn.op is UPDATE else {"axes": eqn.attrs["axes"]}
    with Builder("log") as b, b.at(eqn.loc):
        if eqn.op is UPDATE:
            old = slice(base, where, value.dims, attrs["steps"])
        else:
            old = gather(base, where, attrs["axes"])
        if all(d == 1 for d in old.dims):
            old = reshape(old, ())
    return Step(b.eqns, Eqn(undone, (base, old, *where), attrs, (), eqn.results, eqn.loc))


def is_write(eqn: Eqn) -> bool:
    return eqn.op is UPDATE or eqn.op is SCATTER


def entering(eqn: Eqn, result: Value) -> int | None:
    """The position of the operand that a control flow equation turns into one of its results, if it
    may be written to on the way: a carry's, or that of both arms of a branch."""
    place = next(i for i, r in enumerate(eqn.results) if r is result)
    if "carries" in eqn.attrs:
        if place >= eqn.attrs["carries"]:
            return None
        scans = eqn.attrs.get("scans", 0)
        return len(eqn.operands) - int(scans + eqn.attrs["carries"]) + place
    if len(eqn.regions) != 2:
        return None
    found = {_position(region, trail(region, region.results[place])) for region in eqn.regions}
    position = found.pop()
    return None if found or position is None else 1 + position


def _position(region: Function, states: Sequence[Value]) -> int | None:
    params = enumerate(region.params)
    found: int | None = next((i for i, p in params if states and p is states[0]), None)
    return found


def trail(f: Function, last: Value) -> list[Value]:
    """The states of an array that is `last` in the end, from a param on; empty where it is made in
    f, or read from elsewhere."""
    made = {r: eqn for eqn in f.eqns for r in eqn.results}
    states = [last]
    while states[-1] in made:
        eqn = made[states[-1]]
        if is_write(eqn):
            states.append(eqn.operands[0])
            continue
        position = entering(eqn, states[-1]) if eqn.regions else None
        if position is None:
            return []
        states.append(eqn.operands[position])
    return states[::-1] if states[-1] in f.params else []
