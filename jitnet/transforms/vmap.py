"""Many calls of a Function as one: each of its equations computes for all lanes at once.

    func @f(%x: f64[3], %c: f64[3]) -> (f64)       func @f(%x: f64[8, 3], %c: f64[3]) -> (f64[8])
      %y = mul %x, %c                                %0 = broadcast %c, 8, 3 {axes=(1,)}
      %s = reduce_sum %y {axes=(0,)}         →       %y = mul %x, %0
      return %s                                      %s = reduce_sum %y {axes=(1,)}
                                                     return %s

A batched value has its lanes in front. What does not depend on batched params is computed once. An
equation whose op declines, or that has something to do with arrays whose extents differ from lane
to lane (a mask's, a tape's), goes into a loop over the lanes, with all that comes between the first
and the last of such arrays: only what has the same extent in all lanes comes out.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from jitnet import errors
from jitnet.ir import (
    Builder,
    Dim,
    Effect,
    Eqn,
    Function,
    Literal,
    TapeType,
    Value,
    as_value,
    effect_of,
    substitute_type,
)
from jitnet.ir import types as T
from jitnet.ops.control import FOR
from jitnet.ops.lanes import LANE, differs, in_lanes, spread
from jitnet.ops.lists import tape_copy
from jitnet.ops.primitive import BatchTransform, Primitive
from jitnet.ops.tape import TAPE_NEW, tape_new, tape_type

Flags = tuple[bool, ...]
Batched = tuple[Function, Flags]


class _DiffersError(Exception):
    """A param or a result cannot have its lanes side by side."""

    def __init__(self, value: Value) -> None:
        super().__init__(value)
        self.value = value


class _OutOfStepError(Exception):
    """Lanes do not log on a tape, or read it, at the same time."""


class _LogsLanesError(Exception):
    """What differs from lane to lane is logged on a tape that was taken to be the same in all."""

    def __init__(self, tape: Value) -> None:
        super().__init__(tape)
        self.tape = tape


def vmap(f: Function, batched: Sequence[bool], extent: Dim) -> Batched:
    """`(f', batched results)`, where the params marked in `batched` have an axis in front.

    Args:
        extent: of that axis; where it is no int, f' takes the extent first, then f's params.

    Raises:
        BatchingError: where a result's extent differs from lane to lane.
    """
    tapes = {eqn.attrs["type"].changes for eqn in f.walk() if eqn.op is TAPE_NEW}
    if tapes == {False}:  # lists shrink and grow in each lane by itself
        with suppress(_OutOfStepError, _DiffersError):
            return _in_step(f, batched, extent)
    try:
        return _vmap(f, batched, (), _transform(extent, None))
    except _DiffersError as found:
        raise _no_common_extent(f, found.value) from None


def _in_step(f: Function, batched: Sequence[bool], extent: Dim) -> Batched:
    """With tapes that all lanes share: those on which something is logged that differs, found by
    trying, log the lanes side by side."""
    tapes = _tapes_of(f)
    shared: set[Value] = set()
    while True:
        try:
            return _vmap(f, batched, (), _transform(extent, _Tapes(tapes, shared)))
        except _LogsLanesError as found:
            shared = {*shared, tapes[found.tape]}


@dataclass(frozen=True)
class _Tapes:
    """The tapes of a Function, where lanes are in step.

    Attributes:
        origin: for each value that is a tape, one that stands for all that are the same tape.
        shared: those of these that log lanes side by side.
    """

    origin: Mapping[Value, Value]
    shared: Container[Value]

    def log_lanes(self, tape: Value) -> bool:
        return self.origin[tape] in self.shared


def _tapes_of(f: Function) -> dict[Value, Value]:
    """For each value that is a tape, one that stands for all that are the same tape, at other times
    or in other regions."""
    above: dict[Value, Value] = {}

    def origin(v: Value) -> Value:
        while above.setdefault(v, v) is not v:
            v = above[v]
        return v

    def join(vs: Sequence[Value], ws: Sequence[Value]) -> None:
        for v, w in zip(vs, ws):
            if isinstance(v.type, TapeType) and isinstance(w.type, TapeType):
                above[origin(v)] = origin(w)

    for eqn in f.walk():
        if not eqn.regions:
            join(eqn.results[:1], eqn.operands[:1] or eqn.results)
        for region in eqn.regions:
            entering = eqn.operands[max(len(eqn.operands) - len(region.params), 0) :]
            join(entering, region.params)
            join(eqn.results, region.results)
    return {v: origin(v) for v in above}


@dataclass(frozen=True)
class _Way:
    """How regions are batched.

    Attributes:
        extent: the number of lanes, outside.
        tapes: None where each lane has tapes of its own.
    """

    extent: Dim
    tapes: _Tapes | None
    batch: BatchTransform


def _transform(extent: Dim, tapes: _Tapes | None) -> _Way:
    done: dict[tuple[int, Flags, Flags], tuple[Function, Batched | None]] = {}

    def once(f: Function, batched: Sequence[bool], wanted: Sequence[bool]) -> Batched | None:
        """Loops ask for their regions until their carries are settled, and so do loops in them:
        each question is answered once."""
        key = (id(f), tuple(batched), tuple(wanted))
        if key not in done:
            try:
                done[key] = f, _vmap(f, batched, wanted, way)
            except _DiffersError:
                done[key] = f, None
        return done[key][1]

    way = _Way(extent, tapes, once)
    return way


def _no_common_extent(f: Function, v: Value) -> errors.BatchingError:
    made = {r: eqn for eqn in f.eqns for r in eqn.results}
    extents = [d for d in v.type.symbolic if d in made] or [v]
    return errors.BatchingError(
        f"vmap of {f.name}: a result whose extent differs from lane to lane",
        why="an array of all lanes has one extent for all of them",
        remedy="reduce it, or return an array that is large enough for all, and how much of it "
        "counts",
        frames=next((made[d].loc.frames for d in extents if d in made), ()),
    )


# -- one equation after the other ------------------------------------------------------------------


@dataclass
class _Work:
    """A Function that is being batched. Its values are called the old ones.

    Attributes:
        extent: the number of lanes, in the new Function.
        env: the new values of old ones.
        on: the old values that are batched.
        last: the last equation that reads an old value; the number of equations for results.
        fresh: old values that are empty tapes.
    """

    builder: Builder
    extent: Dim
    way: _Way
    last: dict[Value, int]
    fresh: set[Value]
    env: dict[Value, Value] = field(default_factory=dict)
    on: set[Value] = field(default_factory=set)

    def new(self, v: Value) -> Value:
        return self.env.get(v, v)

    def differs(self, v: Value) -> bool:
        """Whether a value cannot have its lanes side by side."""
        if isinstance(v.type, TapeType):
            return v in self.on and self.way.tapes is None
        return differs(v, self.on)

    def bind(self, old: Sequence[Value], new: Sequence[Value], batched: Sequence[bool]) -> None:
        for r, v, b in zip(old, new, batched, strict=True):
            self.env[r] = v
            if not isinstance(v, Literal):
                v.name = v.name or r.name
            if b:
                self.on.add(r)


def _vmap(
    f: Function,
    batched: Sequence[bool],
    wanted: Sequence[bool],
    way: _Way,
) -> Batched:
    with Builder(f.name) as b:
        lanes = way.extent if isinstance(way.extent, int) else b.param(T.scalar(T.i64), "lanes")
        fresh = {eqn.result for eqn in f.eqns if eqn.op is TAPE_NEW}
        work = _Work(b, lanes, way, _last_reads(f), fresh)
        _add_params(work, f, batched)
        i = 0
        while i < len(f.eqns):
            i = i + 1 if _over_all(work, f.eqns[i]) else _lane_by_lane(work, f.eqns, i)
        for r in f.results:
            if work.differs(r):
                raise _DiffersError(r)
        out = [r in work.on for r in f.results]
        results = [work.new(r) for r in f.results]
        for j, w in enumerate(wanted):
            if w and not out[j]:
                if isinstance(f.results[j].type, TapeType) or _is_extent(f.results[j], f):
                    raise _DiffersError(f.results[j])
                results[j], out[j] = spread(results[j], lanes), True
    return b.build(*results), tuple(out)


def _is_extent(r: Value, f: Function) -> bool:
    return any(d is r for v in f.results for d in v.type.symbolic)


def _last_reads(f: Function) -> dict[Value, int]:
    last = {v: i for i, eqn in enumerate(f.eqns) for v in eqn.operands}
    return last | dict.fromkeys(f.results, len(f.eqns))


def _add_params(work: _Work, f: Function, batched: Sequence[bool]) -> None:
    work.on.update(p for p, b in zip(f.params, batched, strict=True) if b)
    for p in f.params:
        if work.differs(p):
            raise _DiffersError(p)
        work.env[p] = work.builder.param(p.type, p.name)
    for p in f.params:
        type = substitute_type(p.type, work.env)
        work.env[p].type = in_lanes(type, work.extent) if p in work.on else type


def _over_all(work: _Work, eqn: Eqn) -> bool:
    """Bind an equation for all lanes at once, unless there is no such way."""
    operands = [work.new(v) for v in eqn.operands]
    batched = [v in work.on for v in eqn.operands]
    tapes = work.way.tapes
    if eqn.op is TAPE_NEW and tapes is not None and tapes.log_lanes(eqn.result):
        type = in_lanes(eqn.result.type, work.extent)
        work.bind(eqn.results, work.builder.bind(TAPE_NEW, (), {"type": type}), [True])
        return True
    if not any(batched):
        results = work.builder.rebind(eqn, operands)
        work.bind(eqn.results, results, [False] * len(results))
        return True
    if any(map(work.differs, (*eqn.operands, *eqn.results))):
        return False
    assert isinstance(eqn.op, Primitive)
    with work.builder.at(eqn.loc.tagged("vmap")):
        found = eqn.op.batch(eqn, operands, batched, work.extent, work.way.batch)
    if found is not None:
        work.bind(eqn.results, *found)
    elif tapes is not None and isinstance(operands[0].type, TapeType) and not batched[0]:
        raise _LogsLanesError(eqn.operands[0])
    return found is not None


# -- a loop over the lanes -------------------------------------------------------------------------


def _lane_by_lane(work: _Work, eqns: Sequence[Eqn], first: int) -> int:
    """Bind equations from `first` on in a loop over the lanes, and say which one is next."""
    end = _end(work, eqns, first)
    inside: list[Eqn] = []
    made: set[Value] = set()
    for eqn in eqns[first:end]:
        apart = made.isdisjoint(eqn.operands) and effect_of(eqn) < Effect.HOST
        if inside and apart and not _may_differ(eqn, work.on):
            if not _over_all(work, eqn):
                _loop(work, [eqn], list(eqn.results))
            continue
        inside.append(eqn)
        made.update(eqn.results)
    after = [r for eqn in inside for r in eqn.results if work.last.get(r, -1) >= end]
    _loop(work, inside, after)
    return end


def _may_differ(eqn: Eqn, batched: Container[Value]) -> bool:
    """Whether an equation has results that cannot have their lanes side by side, once they are
    batched themselves: extents among them, or tapes."""
    return any(
        isinstance(r.type, TapeType) or differs(r, batched) or differs(r, eqn.results)
        for r in eqn.results
    )


def _end(work: _Work, eqns: Sequence[Eqn], first: int) -> int:
    """Where the equations end that must be in one loop over the lanes: with the last one that reads
    what cannot come out of it."""
    own: set[Value] = set(eqns[first].results)  # batched, beside those that are anyway
    last, i = first, first
    while i <= last and i < len(eqns):
        eqn = eqns[i]
        if any(v in own or v in work.on for v in eqn.operands):
            own.update(eqn.results)
        for r in eqn.results:
            tape = isinstance(r.type, TapeType) and r in own
            if tape or differs(r, own) or differs(r, work.on):
                last = max(last, work.last.get(r, i))
        i += 1
    return min(last, len(eqns) - 1) + 1


def _loop(work: _Work, eqns: Sequence[Eqn], wanted: Sequence[Value]) -> None:
    """Bind equations in a loop over the lanes, which stacks the results that are wanted."""
    own = {r for eqn in eqns for r in eqn.results}
    touched = (v for eqn in eqns for v in eqn.operands)
    if work.way.tapes is not None and any(isinstance(v.type, TapeType) for v in touched):
        raise _OutOfStepError
    for r in wanted:
        if isinstance(r.type, TapeType) or differs(r, work.on) or differs(r, own):
            raise _DiffersError(r)
    read = _read(eqns, own)
    consts = [v for v in read if v not in work.on and v not in work.fresh]
    rows = [v for v in read if v in work.on]
    with work.builder.child(LANE) as b:
        b.param(T.scalar(T.i64), LANE)
        env = dict(zip(consts, b.params_like([work.new(v) for v in consts])))
        for v in rows:
            env[v] = b.param(substitute_type(v.type, env), v.name)
        for v in read:
            if v in work.fresh:
                env[v] = tape_new(tape_type(v))
            elif isinstance(v.type, TapeType) and v.type.changes:  # each lane changes its own
                env[v] = tape_copy(tape_new(v.type), env[v])
        for eqn in eqns:
            env.update(zip(eqn.results, b.rebind(eqn, [env.get(v, v) for v in eqn.operands])))
        body = b.build(*(env[r] for r in wanted))
    attrs = {"consts": len(consts), "carries": 0, "scans": len(rows), "reverse": False}
    operands = [as_value(work.extent), *map(work.new, consts), *map(work.new, rows)]
    loc = eqns[0].loc.tagged("vmap")
    stacked = work.builder.bind(FOR, operands, attrs, (body,), [r.name for r in wanted], loc)
    work.bind(wanted, stacked, [True] * len(stacked))


def _read(eqns: Sequence[Eqn], own: Container[Value]) -> list[Value]:
    """What equations read of what is around them, extents first."""
    read = dict.fromkeys(v for eqn in eqns for v in eqn.operands)
    found = [v for v in read if v not in own and not isinstance(v, Literal)]
    return list(dict.fromkeys([*(d for v in found for d in v.type.symbolic), *found]))
