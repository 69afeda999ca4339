"""Complex numbers in loops and branches: how the ops with regions hand them in and out as reals.

    %w: c128[8], %s: c128 = for %n, %z, 1j {...} @body(%i, %z: c128[8], %s: c128)
 -> %w: f64[8, 2], %s_re: f64, %s_im: f64 = for %n, %z, 0.0, 1.0 {...}
        @body(%i, %z: f64[8, 2], %s_re: f64, %s_im: f64)

A number is two scalars. An array is one array with a last axis of extent 2, so that what a body
writes to is one piece of memory, and comes from where it lay. Of what a `for` scans and stacks, the
rows are what counts: numbers come as two arrays of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from jitnet.ir import ArrayType, Builder, DType, Eqn, TapeType, Value, current
from jitnet.ops.complexes import interleave, taken_apart
from jitnet.ops.control import CALL, FOR, FUSED, IF, INVOKE, WHILE
from jitnet.ops.lists import TAPE_COPY, TAPE_CUT, TAPE_PREPEND, TAPE_SET
from jitnet.ops.pairs import Split, is_complex
from jitnet.ops.primitive import Pair, Paired
from jitnet.ops.tape import TAPE_GET, TAPE_LENGTH, TAPE_NEW, TAPE_PUSH, tape_new


def in_memory(v: Paired, lead: int = 0) -> list[Value]:
    """A value as a region takes and returns it: of an array with `lead` axes that the region does
    not see, whose rows are numbers, both halves."""
    if not isinstance(v, Pair):
        return [v]
    if v.re.rank == lead:
        return [v.re, v.im]
    return [interleave(*v) if v.whole is None else v.whole]


def from_memory(values: Iterator[Value], like: Value, lead: int = 0) -> Paired:
    """The next of such values, where `like` stood in the equation on complex numbers."""
    if not is_complex(like):
        return next(values)
    return Pair(next(values), next(values)) if like.rank == lead else taken_apart(next(values))


def region_params(b: Builder, p: Value) -> list[Value]:
    """The params of a region in place of one."""
    if isinstance(p.type, TapeType):
        return [b.param(real_tape(p.type), p.name)]
    if not is_complex(p):
        return [b.param(p.type, p.name)]
    half = p.array_type.with_dtype(p.dtype.half)
    if not p.rank:
        return [b.param(half, f"{p.name}_re"), b.param(half, f"{p.name}_im")]
    return [b.param(ArrayType(half.dtype, (*half.dims, 2)), p.name)]


def real_tape(type: TapeType) -> TapeType:
    """The type of a tape of the same records, as regions take and return their fields."""
    fields: list[tuple[DType, tuple[int | None, ...]]] = []
    for dtype, dims in type.fields:
        if not dtype.is_complex:
            fields.append((dtype, dims))
        elif dims:
            fields.append((dtype.half, (*dims, 2)))
        else:
            fields += [(dtype.half, ()), (dtype.half, ())]
    return replace(type, fields=tuple(fields))


def _pairs_tape_new(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    return (tape_new(real_tape(eqn.attrs["type"])),)


def _pairs_tape(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """Of what writes and reads records."""
    flat = [part for v in operands for part in in_memory(v)]
    results = iter(current().rebind(eqn, flat))
    return [from_memory(results, r) for r in eqn.results]


def _pairs_region(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """Of `if`, `call` and `fused`."""
    flat = [part for v in operands for part in in_memory(v)]
    results = iter(current().rebind(eqn, flat, [split(r) for r in eqn.regions]))
    return [from_memory(results, r) for r in eqn.results]


def _pairs_invoke(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    flat = [part for v in operands for part in in_memory(v)]
    attrs = {"callee": split(eqn.attrs["callee"])}
    results = iter(current().rebind(eqn, flat, attrs=attrs))
    return [from_memory(results, r) for r in eqn.results]


def _pairs_loop(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """Of `for` and `while`, whose attributes count the operands of each role."""
    first = 1 if eqn.op is FOR else 0
    flat = [part for v in operands[:first] for part in in_memory(v)]
    attrs, start = dict(eqn.attrs), first
    for role in ("consts", "carries", "scans"):
        stop = start + attrs.get(role, 0)
        parts = [part for v in operands[start:stop] for part in in_memory(v, role == "scans")]
        if role in attrs:
            attrs[role] = len(parts)
        flat += parts
        start = stop
    regions = [split(r) for r in eqn.regions]
    results = iter(current().rebind(eqn, flat, regions, attrs))
    carries = eqn.attrs["carries"]
    return [from_memory(results, r, i >= carries) for i, r in enumerate(eqn.results)]


IF.pairs = CALL.pairs = FUSED.pairs = _pairs_region
INVOKE.pairs = _pairs_invoke
FOR.pairs = WHILE.pairs = _pairs_loop
TAPE_NEW.pairs = _pairs_tape_new
TAPE_PUSH.pairs = TAPE_LENGTH.pairs = TAPE_GET.pairs = _pairs_tape
TAPE_SET.pairs = TAPE_CUT.pairs = TAPE_PREPEND.pairs = TAPE_COPY.pairs = _pairs_tape
