"""Matrices that a nest of loops goes through by columns are turned: then columns are contiguous.

    %r = for %n, %a @body(%i, %a) {               %t = transpose %a {perm=(1, 0)}
      %s = for %n, %i, %a @body(%j, %i, %a) {     %u = for %n, %t @body(%i, %t) {
        %c = slice %a, 0, %j, 240, 1        ->      %v = for %n, %i, %t @body(%j, %i, %t) {
        ...                                           %c = slice %t, %j, 0, 1, 240
        %b = update %a, %d, 0, %j                     ...
                                                  %r = transpose %u {perm=(1, 0)}

A column of a matrix that lies in rows has its elements in as many lines of the cache as there are
rows, and vectors are put together from single numbers. Turning a matrix takes as long as going
through its columns once or twice, so it has to pay: loops in the loop go through columns, and
through no rows as often. All that is done with the matrix in the loops must be to read and write
columns, rows and single elements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from jitnet.ir import ArrayType, Builder, Eqn, Function, Value, as_dim, as_value
from jitnet.ops.control import FOR, IF, WHILE
from jitnet.ops.shape import reshape, transpose
from jitnet.ops.slicing import SLICE, UPDATE, slice

SMALL = 8
"""An extent up to which a column is in few lines of the cache anyway."""


def turn_columns(f: Function) -> Function:
    """`f` with matrices turned for the loops that go through them by columns."""
    if not any(eqn.regions for eqn in f.eqns):
        return f
    chosen = {id(eqn): found for eqn in f.eqns if (found := set(_worth_turning(eqn)))}
    inner = [() if id(e) in chosen else tuple(map(turn_columns, e.regions)) for e in f.eqns]
    if any(a is not b for e, rs in zip(f.eqns, inner) for a, b in zip(e.regions, rs)):
        eqns = tuple(replace(e, regions=rs) if rs else e for e, rs in zip(f.eqns, inner))
        chosen = {id(new): chosen.get(id(old), set()) for old, new in zip(f.eqns, eqns)}
        f = Function(f.name, f.params, eqns, f.results, f.level)
    elif not chosen:
        return f
    with Builder(f.name, f.level) as b:
        copy = _Copy(b)
        for eqn in f.eqns:
            with b.at(eqn.loc):
                copy.with_turned(eqn, chosen.get(id(eqn), set()))
        return Function(f.name, f.params, tuple(b.eqns), tuple(copy.now(f.results)), f.level)


# -- which matrices --------------------------------------------------------------------------------


@dataclass
class _Uses:
    """How deep in loops a matrix is read and written, by columns and by rows; 0 is nowhere."""

    columns: int = 0
    rows: int = 0

    def note(self, eqn: Eqn, sizes: Sequence[Value], depth: int) -> bool:
        """Take in a box; False where it is neither a column nor a row."""
        height, width = map(as_dim, sizes)
        if width == 1 and height != 1:
            self.columns = max(self.columns, depth)
        elif height == 1 and width != 1:
            self.rows = max(self.rows, depth)
        return 1 in (height, width)


def _worth_turning(loop: Eqn) -> Iterator[int]:
    """The positions of operands of a loop that are matrices to turn."""
    if loop.op not in (FOR, WHILE):
        return
    for k, v in enumerate(loop.operands[: _scanned(loop)]):
        if not isinstance(v.type, ArrayType) or v.rank != 2:
            continue
        if any(isinstance(d, int) and d <= SMALL for d in v.dims):
            continue
        uses = _Uses()
        once = sum(w is v for w in loop.operands) == 1
        if once and _follow(loop, {k}, uses, 0) is not None and uses.columns > max(uses.rows, 1):
            yield k


def _scanned(eqn: Eqn) -> int:
    """The position of the first operand that a loop scans."""
    scans = eqn.attrs["scans"] if eqn.op is FOR else 0
    return len(eqn.operands) - scans


def _follow(eqn: Eqn, positions: set[int], uses: _Uses, depth: int) -> set[int] | None:
    """Which results of an equation with regions are the matrices that its operands at these
    positions are, or what becomes of them; None where anything else is done with them."""
    inner = depth + (eqn.op is not IF)
    ends = [_states(region, eqn, positions, uses, inner) for region in eqn.regions]
    if any(end is None for end in ends):
        return None
    returned = [end for end in ends if end is not None]
    if eqn.op is IF:
        return returned[0] if returned[0] == returned[1] else None
    first = _scanned(eqn) - eqn.attrs["carries"]
    carried = {k - first for k in positions if k >= first}
    return carried if returned[-1] == carried else None


def _states(
    region: Function, eqn: Eqn, positions: set[int], uses: _Uses, depth: int
) -> set[int] | None:
    """Which results of a region are the matrices that it is given at these positions; None where
    anything else is done with them than to read and write columns, rows and elements."""
    given = len(eqn.operands) - len(region.params)
    states = {region.params[k - given] for k in positions if k >= given}
    for e in region.eqns:
        found = {k for k, v in enumerate(e.operands) if v in states}
        if not found:
            continue
        if e.op is SLICE and found == {0} and uses.note(e, e.operands[3:], depth):
            continue
        if e.op is UPDATE and found == {0}:
            if not uses.note(e, [as_value(d) for d in e.operands[1].dims], depth):
                return None
            states.add(e.result)
            continue
        if e.op not in (FOR, WHILE, IF) or (e.op is not IF and max(found) >= _scanned(e)):
            return None
        after = _follow(e, found, uses, depth)
        if after is None:
            return None
        states.update(e.results[k] for k in after)
    return {k for k, v in enumerate(region.results) if v in states}


# -- the same with turned matrices -----------------------------------------------------------------


@dataclass
class _Copy:
    """Equations again, in a builder.

    Attributes:
        env: what is in the place of a value.
        turned: the matrices in whose place there is the transpose.
    """

    b: Builder
    env: dict[Value, Value] = field(default_factory=dict)
    turned: set[Value] = field(default_factory=set)

    def now(self, values: Sequence[Value]) -> list[Value]:
        return [self.env.get(v, v) for v in values]

    def with_turned(self, eqn: Eqn, positions: set[int]) -> None:
        """A loop with operands turned for it, and what it makes of them turned back."""
        if not positions:
            self.eqn(eqn)
            return
        operands = self.now(eqn.operands)
        for k in positions:
            operands[k] = transpose(operands[k], (1, 0))
        results, after = self.bound(eqn, operands, positions)
        for k, (old, new) in enumerate(zip(eqn.results, results, strict=True)):
            self.env[old] = transpose(new, (1, 0)) if k in after else new

    def eqn(self, eqn: Eqn) -> None:
        positions = {k for k, v in enumerate(eqn.operands) if v in self.turned}
        operands = self.now(eqn.operands)
        if not positions:
            self.env.update(zip(eqn.results, self.b.rebind(eqn, operands)))
        elif eqn.op is SLICE:
            x, row, column, height, width = operands
            steps = eqn.attrs["steps"][::-1]
            box = slice(x, list(map(as_dim, (column, row))), [as_dim(width), as_dim(height)], steps)
            self.env[eqn.result] = reshape(box, [as_dim(height), as_dim(width)])
        elif eqn.op is UPDATE:
            x, value, row, column = operands
            value = reshape(value, value.dims[::-1])
            attrs = {"steps": tuple(eqn.attrs["steps"][::-1])}
            (self.env[eqn.result],) = self.b.rebind(eqn, (x, value, column, row), attrs=attrs)
            self.turned.add(eqn.result)
        else:
            results, after = self.bound(eqn, operands, positions)
            self.env.update(zip(eqn.results, results, strict=True))
            self.turned.update(eqn.results[k] for k in after)

    def bound(
        self, eqn: Eqn, operands: Sequence[Value], positions: set[int]
    ) -> tuple[tuple[Value, ...], set[int]]:
        """An equation with regions on operands that are turned at these positions; its results,
        and which of them are."""
        regions = [self.region(region, eqn, positions) for region in eqn.regions]
        after = _follow(eqn, positions, _Uses(), 0)
        assert after is not None
        return self.b.rebind(eqn, operands, regions), after

    def region(self, region: Function, eqn: Eqn, positions: set[int]) -> Function:
        given = len(eqn.operands) - len(region.params)
        with self.b.child(region.name) as b:
            copy = _Copy(b)
            for k, p in enumerate(region.params):
                if k + given not in positions:
                    b.params.append(p)
                    continue
                copy.env[p] = b.param(replace(p.array_type, dims=p.dims[::-1]), p.name)
                copy.turned.add(p)
            for e in region.eqns:
                with b.at(e.loc):
                    copy.eqn(e)
            return b.build(*copy.now(region.results))
