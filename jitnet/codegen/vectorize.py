"""Vector loops as explicit vectors of W lanes, and a scalar loop for the rest.

    for %i = 0 to %n {kind="vector"}          loop %i = 0, W, 2W, ... while W iterations are left:
      %a = load %x, %r, %i                      %p = getelementptr %x, %r * stride   (hoisted)
      %b = mul %a, 2.0                          %a = load <8 x float>, %p + %i
      store %out, %b, %i                        %b = fmul <8 x float> %a, splat 2.0
                                                store <8 x float> %b, %out + %i
                                              for the rest: the same on one lane

A value of the body is *uniform* (the same in all iterations: computed once, before the loop),
*affine* (an i64 that is base + stride * i: it stays a pair, never a vector) or a *vector*. A load
whose address is affine with stride 1 is a vector load, with stride 0 a splat, otherwise W loads.
A carry is folded in several vector accumulators, by a fixed tree at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from jitnet.codegen.loops import emit_loop
from jitnet.codegen.rows import emit_row, emit_scalar_eqn, is_scalar_op
from jitnet.codegen.state import State, address, bind, bind_view
from jitnet.codegen.text import Index, constant, llvm_type
from jitnet.ir import ArrayType, DType, Eqn, Function, Literal, Op, Value, registry
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion, ScalarOp

IDEMPOTENT = ("maximum", "minimum", "fmax", "fmin", "bitwise_and", "bitwise_or")
NEUTRAL = {"add": (-0.0, 0), "mul": (1.0, 1), "bitwise_xor": (0.0, 0)}
CHEAP = 24
"""Rounds of at most this cost are written several times over, to hide latencies."""
FEWEST = 4
"""Loops of fewer elements than a vector has lanes are one of less lanes, from this many on."""

ScalarLoop = Callable[[Index, Index, Sequence[str]], list[str]]
"""`(low, high, carries) -> final carries`: the same loop on one lane."""


@dataclass(frozen=True)
class Affine:
    """The i64 `base + stride * i` in iteration i; both are known before the loop."""

    base: Index
    stride: Index


@dataclass(frozen=True)
class Plan:
    """How a body is written.

    Attributes:
        affine, vector: the values that are not uniform.
        lanes: of each vector.
        copies: vectors in one round.
    """

    affine: frozenset[Value]
    vector: frozenset[Value]
    lanes: int
    copies: int


def emit_vector_loop(k: State, eqn: Eqn, scalar_loop: ScalarLoop) -> list[str] | None:
    """The final carries, or None (and nothing written) where the body does not fit this form."""
    plan = plan_vectors(k, eqn)
    if plan is None:
        return None
    w = k.w
    low, high = k.index(eqn.operands[0]), k.index(eqn.operands[1])
    count = w.minus(high, low)
    if not isinstance(count, int):
        count = w.let(f"call i64 @llvm.smax.i64(i64 {count}, i64 0)")
    initial = [k.text(c) for c in eqn.operands[2:]]
    if isinstance(count, int) and count < plan.lanes:
        if count < FEWEST or any(c.dtype.is_float for c in eqn.operands[2:]):
            return scalar_loop(low, high, initial)  # few floats are added in order
        plan = replace(plan, lanes=1 << (count.bit_length() - 1), copies=1)
    folds = [
        _Fold(registry("kernel")[name], c.dtype, text)
        for name, c, text in zip(eqn.attrs["combine"], eqn.operands[2:], initial)
    ]
    vectors = [fold.start(k, plan.lanes) for fold in folds]
    start = low
    for copies in sorted({plan.copies, 1}, reverse=True):
        step = copies * plan.lanes
        stop = w.plus(low, _round_down(k, count, step))
        vectors = _emit_rounds(k, eqn.regions[0], plan, copies, (start, stop), folds, vectors)
        start = stop
    carries = [fold.finish(k, v, plan.lanes) for fold, v in zip(folds, vectors)]
    return scalar_loop(start, high, carries)


def _round_down(k: State, count: Index, step: int) -> Index:
    if isinstance(count, int):
        return count // step * step
    return k.w.let(f"and i64 {count}, {-step}")


# -- what the values of a body are -----------------------------------------------------------------


def plan_vectors(k: State, eqn: Eqn) -> Plan | None:
    """The plan for a vector loop, or None where its body has statements that are not for lanes."""
    (body,) = eqn.regions
    carries, combine = eqn.operands[2:], eqn.attrs["combine"]
    if len(combine) != len(carries) or any(not isinstance(c.type, ArrayType) for c in carries):
        return None
    if any(name not in IDEMPOTENT and name not in NEUTRAL for name in combine):
        return None
    affine, vector = {body.params[0]}, set(body.params[1:])
    roots = dict(k.roots)
    written = {roots.get(e.operands[0]) for e in body.eqns if e.op is S.STORE}
    sizes = [c.dtype.itemsize for c in carries]
    cost = computed = looked_up = 0
    for e in body.eqns:
        varying = [v for v in e.operands if v in affine or v in vector]
        if e.op is S.STORE:
            if not any(v in affine or v in vector for v in e.operands[2:]):
                return None
            sizes.append(e.operands[0].dtype.itemsize)
            cost += 1
        elif e.op is S.VIEW:
            if varying:
                return None
            if (root := roots.get(e.operands[0])) is not None:
                roots[e.result] = root
        elif e.op is S.LOAD:
            root = roots.get(e.operands[0])
            unchanged = not written or (root is not None and not written & {root, None})
            if varying or not unchanged:
                vector.add(e.result)
            looked_up += any(v in vector for v in e.operands)
        elif not is_scalar_op(e):
            return None
        elif varying:
            (affine if _is_affine(e, affine, vector) else vector).add(e.result)
            computed += not isinstance(e.op, Conversion)
        for result in e.results:
            if result in vector:
                sizes.append(result.dtype.itemsize)
                cost += getattr(e.op, "cost", 1)
    if looked_up and not computed:
        return None  # nothing but one element after the other
    lanes = max(k.target.vector_bytes // max(sizes, default=8), 2)
    if carries:
        copies = 4 if cost <= CHEAP // 2 else 2 if cost <= CHEAP else 1
    else:
        copies = 2 if CHEAP // 4 <= cost <= CHEAP else 1
    return Plan(frozenset(affine), frozenset(vector), lanes, copies)


def _is_affine(eqn: Eqn, affine: set[Value], vector: set[Value]) -> bool:
    if eqn.result.dtype is not T.i64 or any(v in vector for v in eqn.operands):
        return False
    if eqn.op is s.add or eqn.op is s.sub:
        return True
    return eqn.op is s.mul and sum(v in affine for v in eqn.operands) == 1


# -- carries ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fold:
    """How a carry is folded.

    Attributes:
        op: the scalar op.
        dtype: of the carry.
        initial: its value before the loop.
    """

    op: Op
    dtype: DType
    initial: str

    def combine(self, k: State, a: str, b: str, lanes: int) -> str:
        assert isinstance(self.op, ScalarOp)
        return emit_row(k.module, k.w, self.op, (self.dtype, self.dtype), (a, b), lanes)

    def start(self, k: State, lanes: int) -> str:
        """A vector that changes nothing when it is folded in."""
        if self.op.name in IDEMPOTENT:
            return k.w.splat(self.dtype, self.initial, lanes)
        real, whole = NEUTRAL[self.op.name]
        return constant(Literal(real if self.dtype.is_float else whole, self.dtype), lanes)

    def finish(self, k: State, vector: str, lanes: int) -> str:
        """The initial value and all lanes, halves first."""
        while lanes > 1:
            half = lanes // 2
            low, high = (_part(k, self.dtype, vector, lanes, start) for start in (0, half))
            vector, lanes = self.combine(k, low, high, half), half
        return self.combine(k, self.initial, vector, 1)


def _part(k: State, dtype: DType, vector: str, lanes: int, start: int) -> str:
    """Half of the lanes, from `start` on."""
    if lanes == 2:
        return k.w.lane(dtype, vector, start, lanes)
    type, half = llvm_type(dtype, lanes), lanes // 2
    mask = ", ".join(f"i32 {start + i}" for i in range(half))
    return k.w.let(f"shufflevector {type} {vector}, {type} poison, <{half} x i32> <{mask}>")


# -- rounds ----------------------------------------------------------------------------------------


@dataclass
class _Round:
    """The body being written for one vector of iterations, those from `index + first` on.

    Attributes:
        hoisted: lines that go before the loop.
        known: pure expressions among them.
        moved: pure expressions in this round.
        affine: the affine values.
        vectors: the vectors of this copy.
        halves: interleaved elements that were loaded at once, until something is stored.
        stored: the second store of two that were one.
    """

    k: State
    plan: Plan
    index: str
    hoisted: list[str]
    affine: dict[Value, Affine]
    known: dict[str, str] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    first: int = 0
    vectors: dict[Value, str] = field(default_factory=dict)
    halves: dict[tuple[Value, ...], str] = field(default_factory=dict)
    stored: Eqn | None = None

    def before(self) -> AbstractContextManager[None]:
        """Write before the loop."""
        return self.k.w.into(self.hoisted, self.known)

    def here(self) -> AbstractContextManager[None]:
        """Write addresses in the round, each once."""
        return self.k.w.into(self.k.w.lines, self.moved)


def _emit_rounds(
    k: State,
    body: Function,
    plan: Plan,
    copies: int,
    span: tuple[Index, Index],
    folds: Sequence[_Fold],
    vectors: Sequence[str],
) -> list[str]:
    """The loop over whole rounds of `copies` vectors; each carry comes in and goes out as one
    vector."""
    carries = []
    for fold, vector in zip(folds, vectors):
        type = llvm_type(fold.dtype, plan.lanes)
        carries += [(type, vector)] + [(type, fold.start(k, plan.lanes))] * (copies - 1)
    hoisted: list[str] = []

    def emit_body(index: str, names: list[str]) -> list[str]:
        r = _Round(k, plan, index, hoisted, {body.params[0]: Affine(0, 1)})
        _hoist(r, body)
        finals = []
        for copy in range(copies):
            r.first = copy * plan.lanes
            r.vectors = dict(zip(body.params[1:], names[copy::copies]))
            r.halves.clear()
            for eqn, following in zip(body.eqns, (*body.eqns[1:], None)):
                _emit_eqn(r, eqn, following)
            finals.append([_vector(r, v) for v in body.results])
        return [values[c] for c in range(len(folds)) for values in finals]

    name = body.params[0].name
    ends = emit_loop(k.w, *span, copies * plan.lanes, carries, emit_body, name, hoisted)
    return [
        _tree(k, fold, ends[n * copies : (n + 1) * copies], plan.lanes)
        for n, fold in enumerate(folds)
    ]


def _tree(k: State, fold: _Fold, vectors: list[str], lanes: int) -> str:
    while len(vectors) > 1:
        half = len(vectors) // 2
        vectors = [fold.combine(k, a, b, lanes) for a, b in zip(vectors[:half], vectors[half:])]
    return vectors[0]


def _hoist(r: _Round, body: Function) -> None:
    """Write the uniform equations before the loop, and find the affine forms."""
    k = r.k
    with r.before():
        for eqn in body.eqns:
            if any(v in r.plan.vector for v in eqn.results) or eqn.op is S.STORE:
                continue
            if eqn.result in r.plan.affine:
                r.affine[eqn.result] = _affine(r, eqn)
            elif eqn.op is S.LOAD:
                buffer, *indices = eqn.operands
                place = address(k, buffer, [k.index(i) for i in indices])
                bind(k, eqn.result, k.w.load(buffer.dtype, place, hint=eqn.result.name))
            elif eqn.op is S.VIEW:
                bind_view(k, eqn)
            else:
                operands = [k.text(v) for v in eqn.operands]
                bind(k, eqn.result, emit_scalar_eqn(k.module, k.w, eqn, operands, 1))


def _affine(r: _Round, eqn: Eqn) -> Affine:
    w = r.k.w
    a, b = (_as_affine(r, v) for v in eqn.operands)
    if eqn.op is s.add:
        return Affine(w.plus(a.base, b.base), w.plus(a.stride, b.stride))
    if eqn.op is s.sub:
        return Affine(w.minus(a.base, b.base), w.minus(a.stride, b.stride))
    scale, of = (b, a) if eqn.operands[0] in r.plan.affine else (a, b)
    return Affine(w.times(of.base, scale.base), w.times(of.stride, scale.base))


def _as_affine(r: _Round, value: Value) -> Affine:
    return r.affine.get(value) or Affine(r.k.index(value), 0)


def _vector(r: _Round, value: Value) -> str:
    """The value in all lanes."""
    w, lanes = r.k.w, r.plan.lanes
    if isinstance(value, Literal):
        return constant(value, lanes)
    if value in r.vectors:
        return r.vectors[value]
    if value in r.affine:
        r.vectors[value] = _steps(r, r.affine[value])
        return r.vectors[value]
    with r.before():
        return w.splat(value.dtype, r.k.text(value), lanes)


def _steps(r: _Round, a: Affine) -> str:
    """An affine value as a vector."""
    w, lanes = r.k.w, r.plan.lanes
    type = llvm_type(T.i64, lanes)
    with r.before():
        scale = 1 if isinstance(a.stride, str) else a.stride
        steps = "<" + ", ".join(f"i64 {i * scale}" for i in range(lanes)) + ">"
        if isinstance(a.stride, str):
            steps = w.let(f"mul {type} {steps}, {w.splat(T.i64, a.stride, lanes)}")
    first = w.plus(a.base, w.times(a.stride, w.plus(r.index, r.first)))
    return w.let(f"add {type} {w.splat(T.i64, str(first), lanes)}, {steps}")


def _emit_eqn(r: _Round, eqn: Eqn, following: Eqn | None) -> None:
    """An equation that is not uniform or affine."""
    k, lanes = r.k, r.plan.lanes
    if eqn.op is S.STORE:
        r.halves.clear()
        if eqn is r.stored or (following is not None and _store_both(r, eqn, following)):
            return
        buffer, value, *indices = eqn.operands
        _store(r, buffer, _vector(r, value), indices)
    elif eqn.result not in r.plan.vector:
        return
    elif eqn.op is S.LOAD:
        buffer, *indices = eqn.operands
        r.vectors[eqn.result] = _load(r, buffer, indices, eqn.result.name)
    else:
        operands = [_vector(r, v) for v in eqn.operands]
        r.vectors[eqn.result] = emit_scalar_eqn(k.module, k.w, eqn, operands, lanes)


# -- memory ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where the lanes' elements are: `pointer + stride * (index + first)`, and `offsets` more in
    each lane where an index is a vector."""

    pointer: str
    stride: Index
    offsets: str | None


def _place(r: _Round, buffer: Value, indices: Sequence[Value]) -> _Place:
    k, w, lanes = r.k, r.k.w, r.plan.lanes
    total = Affine(0, 0)
    offsets: str | None = None
    for i, stride in zip(indices, k.strides[buffer]):
        if i not in r.plan.vector:
            with r.before():
                a = _as_affine(r, i)
                base = w.plus(total.base, w.times(a.base, stride))
                total = Affine(base, w.plus(total.stride, w.times(a.stride, stride)))
            continue
        type, term = llvm_type(T.i64, lanes), r.vectors[i]
        if stride != 1:
            with r.before():
                scale = w.splat(T.i64, str(stride), lanes)
            term = w.let(f"mul {type} {term}, {scale}")
        offsets = term if offsets is None else w.let(f"add {type} {offsets}, {term}")
    with r.before():
        pointer = w.element(buffer.dtype, k.names[buffer], total.base)
    return _Place(pointer, total.stride, offsets)


def _lane_addresses(r: _Round, dtype: DType, place: _Place) -> list[str]:
    w, lanes = r.k.w, r.plan.lanes
    start = _first_address(r, dtype, place)
    if place.offsets is not None:
        steps: list[Index] = [w.lane(T.i64, place.offsets, i, lanes) for i in range(lanes)]
        if place.stride != 0:
            steps = [w.plus(s, _multiple(r, place.stride, i)) for i, s in enumerate(steps)]
    else:
        steps = [_multiple(r, place.stride, i) for i in range(lanes)]
    return [w.element(dtype, start, step) for step in steps]


def _multiple(r: _Round, stride: Index, times: int) -> Index:
    with r.before():
        return r.k.w.times(stride, times)


def _first_address(r: _Round, dtype: DType, place: _Place, back: int = 0) -> str:
    """The address in lane 0, less `back` elements."""
    w = r.k.w
    with r.here():
        moved = w.element(dtype, place.pointer, w.times(place.stride, r.index))
    return w.element(dtype, moved, w.minus(_multiple(r, place.stride, r.first), back))


def _reverse(r: _Round, dtype: DType, vector: str) -> str:
    type, lanes = llvm_type(dtype, r.plan.lanes), r.plan.lanes
    mask = ", ".join(f"i32 {i}" for i in reversed(range(lanes)))
    return r.k.w.let(f"shufflevector {type} {vector}, {type} poison, <{lanes} x i32> <{mask}>")


def _load(r: _Round, buffer: Value, indices: Sequence[Value], hint: str) -> str:
    w, lanes, dtype = r.k.w, r.plan.lanes, buffer.dtype
    if _is_half(r.k, buffer, indices):
        both = _load_both(r, buffer, indices)
        if both is not None:
            return both
    place = _place(r, buffer, indices)
    if place.offsets is None and place.stride == 0:
        return w.splat(dtype, w.load(dtype, place.pointer), lanes)
    if place.offsets is None and place.stride == 1:
        return w.load(dtype, _first_address(r, dtype, place), lanes, hint)
    if place.offsets is None and place.stride == -1:
        start = _first_address(r, dtype, place, back=lanes - 1)
        return _reverse(r, dtype, w.load(dtype, start, lanes, hint))
    byte_or_same = T.u8 if dtype.is_bool else dtype
    addresses = _lane_addresses(r, dtype, place)
    vector = w.gather(byte_or_same, [w.load(byte_or_same, a) for a in addresses])
    if not dtype.is_bool:
        return vector
    return w.let(f"icmp ne {llvm_type(T.u8, lanes)} {vector}, zeroinitializer", hint)


def _store(r: _Round, buffer: Value, vector: str, indices: Sequence[Value]) -> None:
    w, lanes, dtype = r.k.w, r.plan.lanes, buffer.dtype
    place = _place(r, buffer, indices)
    if place.offsets is None and place.stride == 1:
        w.store(dtype, vector, _first_address(r, dtype, place), lanes)
    elif place.offsets is None and place.stride == -1:
        start = _first_address(r, dtype, place, back=lanes - 1)
        w.store(dtype, _reverse(r, dtype, vector), start, lanes)
    else:
        for i, pointer in enumerate(_lane_addresses(r, dtype, place)):
            w.store(dtype, w.lane(dtype, vector, i, lanes), pointer)


# -- interleaved elements --------------------------------------------------------------------------


def _is_half(k: State, buffer: Value, indices: Sequence[Value]) -> bool:
    """Whether these are the first or the second elements of pairs that lie side by side, as the
    halves of complex numbers do."""
    if not indices or buffer.dims[-1] != 2 or k.strides[buffer][-1] != 1 or buffer.dtype.is_bool:
        return False
    return isinstance(indices[-1], Literal)


def _first_of_pairs(r: _Round, buffer: Value, indices: Sequence[Value]) -> str | None:
    """The address of lane 0's pair, where the lanes' pairs follow each other."""
    place = _place(r, buffer, (*indices[:-1], Literal(0, T.i64)))
    if place.offsets is not None or place.stride != 2:
        return None
    return _first_address(r, buffer.dtype, place)


def _load_both(r: _Round, buffer: Value, indices: Sequence[Value]) -> str | None:
    """One half of the pairs; both are loaded at once, and kept for the other half."""
    w, lanes, dtype = r.k.w, r.plan.lanes, buffer.dtype
    key = (buffer, *indices[:-1])
    if key not in r.halves:
        address = _first_of_pairs(r, buffer, indices)
        if address is None:
            return None
        r.halves[key] = w.load(dtype, address, 2 * lanes)
    type, half = llvm_type(dtype, 2 * lanes), r.k.index(indices[-1])
    mask = ", ".join(f"i32 {2 * i + int(half)}" for i in range(lanes))
    pairs = f"{type} {r.halves[key]}, {type} poison"
    return w.let(f"shufflevector {pairs}, <{lanes} x i32> <{mask}>")


def _store_both(r: _Round, eqn: Eqn, following: Eqn) -> bool:
    """Two stores of the halves of the same pairs as one; False, and nothing written, where they
    are not."""
    buffer, value, *indices = eqn.operands
    if following.op is not S.STORE or not _is_half(r.k, buffer, indices):
        return False
    other, second, *at = following.operands
    sides = [r.k.index(i[-1]) for i in (indices, at) if isinstance(i[-1], Literal)]
    if other is not buffer or at[:-1] != indices[:-1] or sides != [0, 1]:
        return False
    address = _first_of_pairs(r, buffer, indices)
    if address is None:
        return False
    w, lanes, dtype = r.k.w, r.plan.lanes, buffer.dtype
    type = llvm_type(dtype, lanes)
    mask = ", ".join(f"i32 {i}, i32 {i + lanes}" for i in range(lanes))
    halves = f"{type} {_vector(r, value)}, {type} {_vector(r, second)}"
    pairs = w.let(f"shufflevector {halves}, <{2 * lanes} x i32> <{mask}>")
    w.store(dtype, pairs, address, 2 * lanes)
    r.stored = following
    return True
