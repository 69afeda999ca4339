"""How much memory a call takes at its peak, read off its kernel.

    %tape = tape_new                 for 1000 rounds of 8 bytes, which may have moved:  16,000
    for 0, 1000 {
      tape_push %tape, %x
      %a = alloc %k {heap=true}      at most so many bytes live at once:  8 * the largest %k
      free %a
    }

A walk in program order, with the integers that are known: loops are gone through for three of their
rounds, the first, the middle and the last, and what these leave behind is summed up by Simpson's
rule, which is exact where records grow with the index. Freed blocks wait in the bin of their size
until the call ends, so the peak is the sum of what each bin has held at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from jitnet.codegen.program import Program
from jitnet.codegen.signature import BufferOutput
from jitnet.codegen.workspace import plan_workspace, planned_bytes
from jitnet.ir import BufferType, Dim, Eqn, Facts, Function, Literal, Op, TapeType, Value, facts
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import ScalarOp
from jitnet.ops.tape import is_packed, ragged_axes

LARGEST = 2**40
"""An integer of which no more is known than that it is below this or above is not known."""

ADDRESSES = 16
"""Bytes beside each record: the table of a tape doubles, and its halves have been filled before."""

Key = tuple[str, object]
"""Of live memory: ("bin", its size class) or ("tape", the tape)."""


@dataclass(frozen=True)
class Peak:
    """Attributes:
    bytes: temporaries and results.
    is_known: whether all extents and trip counts that it depends on are known or bounded; where
        not, `bytes` is what is known, a lower bound.
    """

    bytes: int
    is_known: bool


def peak_of(program: Program) -> Peak:
    """What one call of a program takes: its planned workspace, what it allocates while it runs,
    tapes among it, and its results. Arguments do not count, nor do the few bytes on the stack."""
    kernel = program.kernel
    outputs = program.signature.outputs
    fixed = plan_workspace(kernel).size + sum(
        prod(o.dims) * o.dtype.itemsize for o in outputs if isinstance(o, BufferOutput)
    )
    if not _allocates(kernel, {}):
        return Peak(fixed, True)
    walk = _Walk(_bounds(kernel))
    walk.region(kernel)
    return Peak(fixed + int(sum(walk.high.values())), walk.is_known)


def _allocates(f: Function, known: dict[int, bool]) -> bool:
    """Whether a Function, or one that it invokes, allocates or frees as it runs."""
    if id(f) not in known:
        known[id(f)] = any(
            eqn.op in (S.TAPE_NEW, S.TAPE_PUSH, S.TAPE_REACH, S.TAPE_FREE, S.FREE)
            or (eqn.op is S.ALLOC and planned_bytes(eqn) is None)
            or (eqn.op is S.INVOKE and _allocates(eqn.attrs["callee"], known))
            for eqn in f.walk()
        )
    return known[id(f)]


def _bounds(kernel: Function) -> Mapping[Value, int]:
    """The most that an extent of run-time memory can be, where that is proved."""
    found: dict[Value, int] = {}

    def look(known: Facts, eqn: Eqn) -> None:
        if eqn.op is S.ALLOC or eqn.op is S.TAPE_PUSH:
            for v in (*eqn.operands, *eqn.results):
                for d in (v, *v.type.symbolic):
                    if d.type == S.INDEX and known.range(d).hi < LARGEST:
                        found[d] = known.range(d).hi

    for f in (*kernel.callees(), kernel):
        facts(f, look)
    return found


@dataclass
class _Walk:
    """Attributes:
    bounds: the most that some integers can be.
    numbers: integers that are known in the round that is looked at.
    homes: where the bytes of a buffer from the heap, or of a tape, are counted.
    sizes: of buffers from the heap.
    extents: the largest of each ragged axis of a tape's records, by field and axis.
    roots: the buffers that others are views of.
    stored: the largest integers that were written to a buffer; None where one is not known.
    live: bytes that are in use.
    high: the most that each bin, and tapes as a whole, have held.
    """

    bounds: Mapping[Value, int]
    numbers: dict[Value, float] = field(default_factory=dict)
    homes: dict[Value, Key] = field(default_factory=dict)
    sizes: dict[Value, float] = field(default_factory=dict)
    extents: dict[tuple[Key, int, int], float] = field(default_factory=dict)
    roots: dict[Value, Value] = field(default_factory=dict)
    stored: dict[Value, float | None] = field(default_factory=dict)
    live: dict[Key, float] = field(default_factory=dict)
    high: dict[Key, float] = field(default_factory=dict)
    is_known: bool = True
    allocating: dict[int, bool] = field(default_factory=dict)

    def region(self, f: Function) -> None:
        for eqn in f.eqns:
            if isinstance(eqn.op, ScalarOp):
                self._number(eqn)
            elif eqn.op in _STEPS:
                _STEPS[eqn.op](self, eqn)

    def number(self, d: Dim) -> float | None:
        """What an integer is in this round, or the most that it can be."""
        if isinstance(d, int):
            return d
        if isinstance(d, Literal):
            return int(d.item)
        return self.numbers.get(d, self.bounds.get(d))

    def _number(self, eqn: Eqn) -> None:
        if eqn.result.type != S.INDEX:
            return
        found = _ARITHMETIC.get(eqn.op.name)
        given = [self.number(v) for v in eqn.operands]
        if found is not None and None not in given:
            self.numbers[eqn.result] = found(*given)

    def bytes_of(self, v: Value) -> float:
        """The size of an array, or of a field of a record."""
        size: float = v.dtype.itemsize
        for d in v.type.dims if isinstance(v.type, BufferType) else ():
            extent = self.number(d)
            if extent is None:
                self.is_known = False
                return 0.0
            size *= max(extent, 0)
        return size

    def change(self, key: Key, by: float) -> None:
        self.live[key] = self.live.get(key, 0.0) + by
        self._note(key)

    def _note(self, key: Key) -> None:
        if key[0] == "tape":
            held = sum(n for k, n in self.live.items() if k[0] == "tape")
            key = ("tape", None)
        else:
            held = self.live[key]
        self.high[key] = max(self.high.get(key, 0.0), held)

    def same(self, v: Value, source: Value) -> None:
        """v is the memory, or the number, that `source` is."""
        self.roots[v] = self.roots.get(source, source)
        if source in self.homes:
            self.homes[v] = self.homes[source]
            if source in self.sizes:
                self.sizes[v] = self.sizes[source]
        elif v.type == S.INDEX and (known := self.number(source)) is not None:
            self.numbers[v] = known

    # -- memory -----------------------------------------------------------------------------------

    def alloc(self, eqn: Eqn) -> None:
        if planned_bytes(eqn) is not None:
            return
        size = self.bytes_of(eqn.result)
        self.homes[eqn.result] = key = ("bin", int(size + 127).bit_length())
        self.sizes[eqn.result] = size
        self.change(key, size)

    def store(self, eqn: Eqn) -> None:
        buffer, value = eqn.operands[:2]
        if value.type == S.INDEX:
            root = self.roots.get(buffer, buffer)
            before, number = self.stored.get(root, 0), self.number(value)
            known = before is not None and number is not None
            self.stored[root] = max(before or 0, number or 0) if known else None

    def load(self, eqn: Eqn) -> None:
        root = self.roots.get(eqn.operands[0], eqn.operands[0])
        number = self.stored.get(root)
        if eqn.result.type == S.INDEX and number is not None:
            self.numbers[eqn.result] = number

    def free(self, eqn: Eqn) -> None:
        (buffer,) = eqn.operands
        if buffer in self.homes:
            self.change(self.homes[buffer], -self.sizes[buffer])

    def tape_new(self, eqn: Eqn) -> None:
        self.homes[eqn.result] = ("tape", eqn.result)

    def tape_push(self, eqn: Eqn) -> None:
        tape, *values = eqn.operands
        assert isinstance(tape.type, TapeType)
        size = _with_room(tape.type, sum(-(-self.bytes_of(v) // 8) * 8 for v in values))
        if tape.type.changes:  # how many records it has at a time is data
            self.is_known = False
        ragged = ragged_axes(tape.type)
        for f, axis in ragged:
            place = self.homes[tape], f, axis
            extent = self.number(values[f].dims[axis])
            self.extents[place] = max(self.extents.get(place, 0), extent or 0)
        self.change(self.homes[tape], size + 8 * len(ragged))

    def tape_extent(self, eqn: Eqn) -> None:
        place = self.homes[eqn.operands[0]], eqn.attrs["field"], eqn.attrs["axis"]
        if place in self.extents:
            self.numbers[eqn.result] = self.extents[place]

    def tape_reach(self, eqn: Eqn) -> None:
        tape, length = eqn.operands
        assert isinstance(tape.type, TapeType)
        count = self.number(length)
        if count is None:
            self.is_known = False
            return
        fields = [prod(d or 0 for d in dims) * t.itemsize for t, dims in tape.type.fields]
        wanted = count * _with_room(tape.type, sum(-(-n // 8) * 8 for n in fields))
        key = self.homes[tape]
        self.change(key, max(0.0, wanted - self.live.get(key, 0.0)))

    def tape_free(self, eqn: Eqn) -> None:
        self.live.pop(self.homes[eqn.operands[0]], None)

    # -- control ----------------------------------------------------------------------------------

    def _enter(self, params: Sequence[Value], operands: Sequence[Value]) -> None:
        for p, v in zip(params, operands):
            self.same(p, v)

    def loop(self, eqn: Eqn) -> None:
        low, high = map(self.number, eqn.operands[:2])
        (body,) = eqn.regions
        rounds = None if low is None or high is None else max(high - low, 0)
        if rounds == 0:
            self._enter(eqn.results, eqn.operands[2:])
            return
        at: list[float | None]
        at = [None] if rounds is None or low is None else [low, low + (rounds - 1) / 2]
        at += [] if rounds is None or low is None or rounds == 1 else [low + rounds - 1]
        self._rounds(eqn, body, eqn.operands[2:], rounds, at)

    def while_loop(self, eqn: Eqn) -> None:
        self._rounds(eqn, eqn.regions[1], eqn.operands, None, [None])

    def _rounds(
        self,
        eqn: Eqn,
        body: Function,
        carries: Sequence[Value],
        rounds: float | None,
        at: Sequence[float | None],
    ) -> None:
        """Go through a loop for the rounds `at` these indices."""
        params = body.params[len(body.params) - len(carries) :]
        steady = [p for p, r in zip(params, body.results) if p is r or r.type != S.INDEX]
        self._enter(steady, [v for p, v in zip(params, carries) if p in steady])
        if not any(_allocates(region, self.allocating) for region in eqn.regions):
            self._enter(eqn.results, carries)
            return
        start = dict(self.live)
        left = []
        for i in at:
            if i is not None:
                self.numbers[body.params[0]] = i
            self.live = dict(start)
            self.region(body)
            left.append({k: n - start.get(k, 0.0) for k, n in self.live.items()})
            self._exchange(params, body.results, left[-1])
        grown = _mean(left)
        if rounds is None and any(n >= 1 for n in grown.values()):
            self.is_known = False
        self.live = {k: start.get(k, 0.0) + n * (rounds or 1) for k, n in grown.items()}
        self._exchange(body.results, params, self.live)
        for key in grown:
            self._note(key)
        self._enter(eqn.results, body.results)

    def _exchange(
        self, out: Sequence[Value], into: Sequence[Value], live: dict[Key, float]
    ) -> None:
        """Count the memory of carries that are handed from round to round as that of `out`."""
        for a, b in zip(out, into):
            if a in self.sizes and b in self.sizes:
                live[self.homes[a]] = live.get(self.homes[a], 0.0) + self.sizes[a]
                live[self.homes[b]] = live.get(self.homes[b], 0.0) - self.sizes[b]

    def branch(self, eqn: Eqn) -> None:
        start, ends = dict(self.live), []
        for region in eqn.regions:
            self.live = dict(start)
            self.region(region)
            ends.append(self.live)
        self.live = {k: max(e.get(k, 0.0) for e in ends) for k in {k for e in ends for k in e}}
        for region in eqn.regions:
            known = [(r, v) for r, v in zip(eqn.results, region.results) if v in self.homes]
            self._enter(*zip(*known) if known else ((), ()))

    def invoke(self, eqn: Eqn) -> None:
        callee = eqn.attrs["callee"]
        if _allocates(callee, self.allocating):
            self._enter(callee.params, eqn.operands)
            self.region(callee)
            self._enter(eqn.results, callee.results)


def _with_room(tape: TapeType, size: float) -> float:
    """What a record of so many bytes takes, and what was there before there were more of them."""
    return 2 * size if is_packed(tape) else size + ADDRESSES


def _mean(left: Sequence[Mapping[Key, float]]) -> dict[Key, float]:
    """What a round leaves, on average."""
    weights = {1: (1.0,), 2: (0.5, 0.5), 3: (1 / 6, 4 / 6, 1 / 6)}[len(left)]
    keys = {k for one in left for k in one}
    return {k: sum(w * one.get(k, 0.0) for w, one in zip(weights, left)) for k in keys}


_ARITHMETIC: Mapping[str, Callable[..., float]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "minimum": min,
    "maximum": max,
}
_STEPS: Mapping[Op, Callable[[_Walk, Eqn], None]] = {
    S.ALLOC: _Walk.alloc,
    S.STORE: _Walk.store,
    S.LOAD: _Walk.load,
    S.FREE: _Walk.free,
    S.TAPE_NEW: _Walk.tape_new,
    S.TAPE_PUSH: _Walk.tape_push,
    S.TAPE_EXTENT: _Walk.tape_extent,
    S.TAPE_REACH: _Walk.tape_reach,
    S.TAPE_FREE: _Walk.tape_free,
    S.VIEW: lambda walk, eqn: walk.same(eqn.result, eqn.operands[0]),
    S.FOR: _Walk.loop,
    S.WHILE: _Walk.while_loop,
    S.IF: _Walk.branch,
    S.INVOKE: _Walk.invoke,
}
