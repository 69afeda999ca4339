"""What a large program repeats, as calls: so that each is differentiated once.

    %0 = dot %w, %h0              %2 = call %w, %h0, %b @cell(%w, %h, %b) {...}
    %1 = add %0, %b               %5 = call %w, %2, %b @cell(...)
    %2 = tanh %1            ->
    %3 = dot %w, %2               (one Function, which both equations have for a region)
    ...

The rules of `call` keep the equation: its jvp calls the jvp of the Function, and so on, and calls
that are alike still share one. In the end `outline` finds them shared, and has each compiled once.

What lies in loops and branches is put in place: which values of a step are saved is chosen in view
of the whole step. Small programs have all of it in place.
"""

from __future__ import annotations

from dataclasses import replace

from jitnet.ir import UNKNOWN, Builder, Eqn, Function
from jitnet.ops.control import CALL, INVOKE
from jitnet.passes.inline import without_calls
from jitnet.passes.outline import Names, is_large, search, throughout, with_invocations


def repeats_called(f: Function) -> Function:
    """`f` with the calls in it that derivatives are to keep, and without others."""
    if not is_large(f):
        return without_calls(f)
    names = Names()
    f = throughout(without_calls, with_invocations(f, names))
    return _Caller().function(search(f, names))


class _Caller:
    """Puts a `call`, or what is called, in the place of each `invoke`; once for each Function."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Function, Function]] = {}
        self._placed: dict[int, tuple[Function, Function]] = {}

    def function(self, f: Function) -> Function:
        """`f`, which is run once where it stands, with calls."""
        if id(f) not in self._kept:
            made = replace(f, eqns=tuple(map(self._eqn, f.eqns)), _hash=[]) if _invokes(f) else f
            self._kept[id(f)] = f, made
        return self._kept[id(f)][1]

    def _eqn(self, eqn: Eqn) -> Eqn:
        if eqn.op is INVOKE:
            callee = self.function(eqn.attrs["callee"])
            attrs = {"name": callee.name}
            return replace(eqn, op=CALL, attrs=attrs, regions=(callee,), loc=UNKNOWN)
        if not eqn.regions:
            return eqn
        return replace(eqn, regions=tuple(map(self._in_place, eqn.regions)))

    def _in_place(self, f: Function) -> Function:
        """`f` with the equations of what it invokes."""
        if not _invokes(f):
            return f
        if id(f) in self._placed:
            return self._placed[id(f)][1]
        with Builder(f.name) as b:
            env = dict(zip(f.params, b.params_like(f.params)))
            for eqn in f.eqns:
                operands = [env.get(v, v) for v in eqn.operands]
                if eqn.op is INVOKE:
                    made = b.inline(self._in_place(eqn.attrs["callee"]), operands)
                else:
                    regions = [self._in_place(r) for r in eqn.regions]
                    made = b.rebind(eqn, operands, regions or None)
                env.update(zip(eqn.results, made))
        made_here = b.build(*(env.get(r, r) for r in f.results))
        self._placed[id(f)] = f, made_here
        return made_here


def _invokes(f: Function) -> bool:
    return any(eqn.op is INVOKE for eqn in f.walk())
