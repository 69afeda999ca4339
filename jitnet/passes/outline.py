"""Outlining: runs of equations that a large program repeats become a Function of their own.

    %0 = dot %w, %h0              %2 = invoke %w, %h0, %b {callee=@cell_1}
    %1 = add %0, %b               %5 = invoke %w, %2, %b {callee=@cell_1}
    %2 = tanh %1            ->
    %3 = dot %w, %2               func @cell_1(%w, %h, %b) -> (f64[8]) {
    %4 = add %3, %b                 ...
    %5 = tanh %4                  }

Recursion, lists of layers and short loops are traced step by step, so a program can say the same
hundreds of times. It would be compiled as often. Here each run is found once: equal tokens (op,
attributes, types) show where runs may be equal, and the way values flow through them decides. What
is repeated most goes first; the shorter program is searched again.

A run stays where it was, in one piece, so nothing is reordered. Equations that may raise are only
merged with those of the same line of the user's. Small programs are left alone: all of them fuses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np

from jitnet.ir import (
    Builder,
    Effect,
    Eqn,
    Function,
    Literal,
    Loc,
    TapeType,
    Value,
    attrs_key,
    effect_of,
)
from jitnet.ops.control import CALL, INVOKE
from jitnet.passes.dependences import with_dims
from jitnet.passes.inline import inline_calls
from jitnet.passes.trim import trim

LARGE = 2000
"""Equations from which on a program is searched: about a second to compile."""

SHORTEST = 8
LEAST_SAVED = 64  # equations fewer to compile that are worth a call
_CANDIDATES = 4  # kinds of runs of each length that are looked at

_Tokens = np.ndarray[Any, np.dtype[np.int64]]


def outline(f: Function) -> Function:
    """`f` with repeated runs of equations as invoked Functions, where it is large."""
    if not is_large(f):
        return f
    names = Names()
    f = trim(throughout(inline_calls, with_invocations(f, names)))
    return search(f, names)


def is_large(f: Function) -> bool:
    """Whether a program is searched."""
    return _size(f, {}) >= LARGE


def with_invocations(f: Function, names: Names) -> Function:
    """`f` with an `invoke` for each `call` of what is called more than once."""
    return _SharedCalls(f, names).function(f)


def search(f: Function, names: Names) -> Function:
    """`f`, with runs that it repeats as Functions that it invokes."""
    return _Outliner(f, names).program()


def throughout(
    step: Callable[[Function], Function], f: Function, done: dict[int, Function] | None = None
) -> Function:
    """`step` on f and on each Function that it invokes, once for all that invoke it. `done` is what
    became of them, by identity."""
    known: dict[int, Function] = {} if done is None else done

    def change(eqn: Eqn) -> Eqn:
        regions = tuple(_with_eqns(r, tuple(map(change, r.eqns))) for r in eqn.regions)
        if eqn.op is INVOKE:
            g = eqn.attrs["callee"]
            if id(g) not in known:
                changed = throughout(step, g, known)
                known[id(g)] = changed if _extents(changed) == _extents(g) else g
            return eqn if known[id(g)] is g else replace(eqn, attrs={"callee": known[id(g)]})
        return eqn if _same(regions, eqn.regions) else replace(eqn, regions=regions)

    return step(_with_eqns(f, tuple(map(change, f.eqns))))


def _extents(f: Function) -> list[list[int | None]]:
    """Which results and params the extents of the results are: what the equations that invoke f
    say of theirs."""
    named = [*f.results, *f.params]
    return [[named.index(d) if d in named else None for d in r.type.symbolic] for r in f.results]


def _with_eqns(f: Function, eqns: tuple[Eqn, ...]) -> Function:
    same = _same(eqns, f.eqns)
    return f if same else Function(f.name, f.params, eqns, f.results, f.level)


def _same(xs: Sequence[object], ys: Sequence[object]) -> bool:
    return len(xs) == len(ys) and all(a is b for a, b in zip(xs, ys))


def _size(f: Function, known: dict[int, int]) -> int:
    """How many equations there are when all calls are in place."""
    if id(f) not in known:
        regions = (r for eqn in f.eqns for r in eqn.regions)
        known[id(f)] = len(f.eqns) + sum(_size(r, known) for r in regions)
    return known[id(f)]


class Names:
    """Names for new Functions, each another one."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def new(self, of: str) -> str:
        of = of if of.isidentifier() else "part"
        self._used[of] += 1
        return f"{of}_{self._used[of]}"


# -- what is called -------------------------------------------------------------------------------


class _SharedCalls:
    """Makes calls of a Function that is called more than once an `invoke`."""

    def __init__(self, f: Function, names: Names) -> None:
        self.names = names
        self.sizes: dict[int, int] = {}
        self.done: dict[int, tuple[Function, Function]] = {}
        called = (eqn.regions[0] for g in _bodies(f) for eqn in g.eqns if eqn.op is CALL)
        self.times = Counter(map(id, called))

    def function(self, f: Function) -> Function:
        if id(f) not in self.done:
            new = _with_eqns(f, tuple(map(self.eqn, f.eqns)))
            if self.is_shared(f):
                new = Function(self.names.new(f.name), f.params, new.eqns, f.results, f.level)
            self.done[id(f)] = f, new
        return self.done[id(f)][1]

    def eqn(self, eqn: Eqn) -> Eqn:
        regions = tuple(map(self.function, eqn.regions))
        if eqn.op is CALL and self.is_shared(eqn.regions[0]):
            return replace(eqn, op=INVOKE, attrs={"callee": regions[0]}, regions=())
        return eqn if _same(regions, eqn.regions) else replace(eqn, regions=regions)

    def is_shared(self, f: Function) -> bool:
        tapes = any(isinstance(v.type, TapeType) for v in (*f.params, *f.results))
        return self.times[id(f)] > 1 and _size(f, self.sizes) >= SHORTEST and not tapes


def _bodies(f: Function) -> list[Function]:
    """`f`, and the Functions inside of it and those that it invokes: each once."""
    found: dict[int, Function] = {}
    pending = [f]
    while pending:
        g = pending.pop()
        if id(g) in found:
            continue
        found[id(g)] = g
        for eqn in g.eqns:
            pending += eqn.regions
            pending += [eqn.attrs["callee"]] if eqn.op is INVOKE else []
    return list(found.values())


# -- what is said again ----------------------------------------------------------------------------


class _Outliner:
    """A program being searched, all its Functions as one list.

    Attributes:
        eqns: of all bodies, one behind the other; None behind each.
        tokens: a number for each, equal for equations of a kind.
        kinds: the number of each kind.
    """

    def __init__(self, f: Function, names: Names) -> None:
        self.f = f
        self.names = names
        self.kinds: dict[Hashable, int] = {}
        self.bodies = _bodies(f)
        self.eqns: list[Eqn | None] = [e for g in self.bodies for e in (*g.eqns, None)]
        self.tokens = [self.token(eqn) for eqn in self.eqns]
        self.results = [r for g in self.bodies for r in g.results]

    def program(self) -> Function:
        while True:
            positions, length = _most_repeated(np.array(self.tokens, np.int64))
            if not _is_worth(len(positions), length):
                return self.whole()
            alike = self.alike(positions, length)
            if _is_worth(len(alike), length):
                self.replace(alike, length)
            else:
                for p in positions:
                    self.tokens[p] = self.new_token()

    def whole(self) -> Function:
        """The program, its Functions put together from the list."""
        parts: dict[int, list[Eqn]] = {}
        rest = iter(self.eqns)
        for g in self.bodies:
            parts[id(g)] = list(iter(lambda: next(rest), None))
        done: dict[int, tuple[Function, Function]] = {}

        def function(g: Function) -> Function:
            if id(g) not in done:
                eqns = tuple(map(eqn, parts.get(id(g), g.eqns)))
                done[id(g)] = g, _with_eqns(g, eqns)
            return done[id(g)][1]

        def eqn(old: Eqn) -> Eqn:
            if old.op is INVOKE:
                return replace(old, attrs={"callee": function(old.attrs["callee"])})
            regions = tuple(map(function, old.regions))
            return old if _same(regions, old.regions) else replace(old, regions=regions)

        return function(self.f)

    def new_token(self) -> int:
        return self.kinds.setdefault(object(), len(self.kinds))

    def token(self, eqn: Eqn | None) -> int:
        """The same for equations that differ at most in which values they read."""
        if eqn is None:
            return self.new_token()
        effect = effect_of(eqn)
        values = (*eqn.operands, *eqn.results)
        if effect > Effect.MAY_RAISE or any(isinstance(v.type, TapeType) for v in values):
            return self.new_token()
        kinds = tuple(map(_kind, values))
        lines = eqn.loc.frames[:1] if effect == Effect.MAY_RAISE else ()
        key = (eqn.op, attrs_key(eqn.attrs), kinds, eqn.regions, lines)
        return self.kinds.setdefault(key, len(self.kinds))

    def run(self, start: int, length: int) -> _Run:
        return _Run(tuple(e for e in self.eqns[start : start + length] if e is not None))

    def alike(self, positions: Sequence[int], length: int) -> list[int]:
        """Of runs with equal tokens, most that values flow through in one and the same way."""
        groups: dict[Hashable, list[int]] = {}
        for p in positions:
            groups.setdefault(self.run(p, length).flow(), []).append(p)
        return max(groups.values(), key=len)

    def replace(self, starts: Sequence[int], length: int) -> None:
        """Put an `invoke` in the place of each of these runs."""
        runs = [self.run(p, length) for p in starts]
        reads = _reads(self.eqns, self.results)
        live = sorted(set().union(*(run.live(reads) for run in runs)))
        frames = runs[0].eqns[0].loc.frames
        name = self.names.new(frames[0].function if frames else "")
        callee = runs[0].as_function(name, live, _common_locs(runs))
        eqns: list[Eqn | None] = []
        tokens: list[int] = []
        position = 0
        for p, run in zip(starts, runs):
            invoke = run.as_invoke(callee, live)
            eqns += [*self.eqns[position:p], invoke]
            tokens += [*self.tokens[position:p], self.token(invoke)]
            position = p + length
        self.eqns, self.tokens = eqns + self.eqns[position:], tokens + self.tokens[position:]


def _kind(value: Value) -> Hashable:
    """A value as far as tokens tell: literals, types but for which values the extents are."""
    if isinstance(value, Literal):
        return value
    return value.dtype, tuple(d if isinstance(d, int) else None for d in value.dims)


def _is_worth(times: int, length: int) -> bool:
    return times > 1 and length >= SHORTEST and (times - 1) * length >= LEAST_SAVED


# -- where runs of tokens are equal ----------------------------------------------------------------


def _most_repeated(tokens: _Tokens) -> tuple[list[int], int]:
    """Where the runs start that save most, none over another, and their length.

    Runs of 1, 2, 4, ... tokens are numbered by their content, each length from the one before;
    those of a power of two that are found most often are made as long as all of them agree.
    """
    best: tuple[list[int], int] = [], 0
    saved = 0
    numbers, length = tokens, 1
    while len(numbers):
        if length >= SHORTEST:
            for positions in _frequent(numbers, length):
                starts, longer = _extended(tokens, positions, length)
                if (len(starts) - 1) * longer > saved:
                    best, saved = (starts, longer), (len(starts) - 1) * longer
        ahead = numbers[length:]
        pairs = numbers[: len(ahead)] * (int(numbers.max()) + 1) + ahead
        numbers = np.unique(pairs, return_inverse=True)[1]
        length *= 2
    return best


def _frequent(numbers: _Tokens, length: int) -> Iterator[list[int]]:
    """Positions, far enough from each other, of the kinds of runs that there are most of."""
    counts = np.bincount(numbers)
    for kind in np.argsort(counts, kind="stable")[::-1][:_CANDIDATES]:
        positions: list[int] = []
        for p in np.flatnonzero(numbers == kind).tolist():
            if not positions or p >= positions[-1] + length:
                positions.append(p)
        if len(positions) > 1:
            yield positions


def _extended(tokens: _Tokens, positions: list[int], length: int) -> tuple[list[int], int]:
    """The runs, longer on both sides as far as their tokens are the same."""
    starts = np.array(positions)
    room = int(np.diff(starts).min()) - length
    end = starts + length
    while room > 0 and end[-1] < len(tokens) and (tokens[end] == tokens[end[0]]).all():
        end, room = end + 1, room - 1
    while room > 0 and starts[0] > 0 and (tokens[starts - 1] == tokens[starts[0] - 1]).all():
        starts, room = starts - 1, room - 1
    return starts.tolist(), int(end[0] - starts[0])


# -- one run ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """Consecutive equations."""

    eqns: tuple[Eqn, ...]

    def results(self) -> list[Value]:
        return [r for eqn in self.eqns for r in eqn.results]

    def inputs(self) -> list[Value]:
        """What the run reads of others, in the order in which it does; extents too."""
        own = set(self.results())
        read = (v for eqn in self.eqns for o in eqn.operands for v in (*o.type.symbolic, o))
        return list(dict.fromkeys(v for v in read if v not in own and not isinstance(v, Literal)))

    def flow(self) -> Hashable:
        """Which results and inputs each equation reads, and which extents inputs have."""
        number = {v: i for i, v in enumerate((*self.results(), *self.inputs()))}
        reads = tuple(tuple(number.get(v, -1) for v in eqn.operands) for eqn in self.eqns)
        extents = tuple(tuple(number[d] for d in v.type.symbolic) for v in self.inputs())
        return reads, extents

    def live(self, reads: Counter[Value]) -> set[int]:
        """Which results others read, by position; and which extents those have."""
        within = _reads(self.eqns, ())
        results = self.results()
        read = with_dims(r for r in results if reads[r] > within[r])
        return {i for i, r in enumerate(results) if r in read}

    def as_function(self, name: str, live: Sequence[int], locs: Sequence[Loc]) -> Function:
        inputs = self.inputs()
        with Builder(name) as b:
            env = dict(zip(inputs, b.params_like(inputs)))
            for eqn, loc in zip(self.eqns, locs):
                operands = [env.get(v, v) for v in eqn.operands]
                env.update(zip(eqn.results, b.rebind(replace(eqn, loc=loc), operands)))
        results = self.results()
        return b.build(*(env[results[i]] for i in live))

    def as_invoke(self, callee: Function, live: Sequence[int]) -> Eqn:
        results = self.results()
        outputs = tuple(results[i] for i in live)
        first = self.eqns[0]
        return Eqn(INVOKE, tuple(self.inputs()), {"callee": callee}, (), outputs, first.loc)


def _common_locs(runs: Sequence[_Run]) -> list[Loc]:
    """For each equation, the innermost of the user's lines that all runs agree on."""
    found = []
    for alike in zip(*(run.eqns for run in runs)):
        levels = zip(*(eqn.loc.frames for eqn in alike))
        same = takewhile(lambda frames: len(set(frames)) == 1, levels)
        found.append(Loc(tuple(frames[0] for frames in same), alike[0].loc.tags))
    return found


def _reads(eqns: Sequence[Eqn | None], results: Sequence[Value]) -> Counter[Value]:
    """How often each value is read."""
    found = Counter(results)
    for eqn in eqns:
        found.update(eqn.operands if eqn is not None else ())
    return found
