"""Which numbers loops count, and which ones data decides: the former are known step by step.

    for i in range(n):          i and 2 * i are counted: where the loop is traced step by step,
        k += 1                  they are known, and so is k
        if x[i] > 0: j += 1     j is not, in whichever way the loop is traced

What a loop carries is counted if the step before has left a known number there, or one that is
computed from such numbers: each attempt at rolling a loop tells that of the next one.
"""

from __future__ import annotations

from collections.abc import Iterable

from jitnet.frontend.context import Trace, resume
from jitnet.frontend.flow.carrying import Slot
from jitnet.frontend.tracer import Tracer
from jitnet.ir import Eqn, Literal, TapeType, Value

_Producers = dict[Trace, dict[Value, Eqn]]


def is_counted(trace: Trace, value: Value, known: _Producers | None = None) -> bool:
    """Whether a number is computed from loops' counters, and from what they carry, alone.

    Args:
        known: gets the equations of traces by what they make, for more than one question.
    """
    known = {} if known is None else known
    if trace not in known:
        known[trace] = {r: eqn for eqn in trace.builder.eqns for r in eqn.results}
    producers = known[trace]
    pending, seen = [value], {value}
    while pending:
        v = pending.pop()
        if isinstance(v, Literal):
            continue
        if v in producers:
            eqn = producers[v]
            if eqn.regions or any(isinstance(o.type, TapeType) or o.rank for o in eqn.operands):
                return False
            fresh = [o for o in eqn.operands if o not in seen]
            seen.update(fresh)
            pending += fresh
            continue
        outer = trace.captured(v)
        if isinstance(outer, Value) and trace.parent is not None:
            if not is_counted(trace.parent, outer, known):
                return False
        elif v in trace.decided or not trace.is_region:
            return False
    return True


def note_counters(slots: Iterable[Slot], region: Trace) -> None:
    """Note which of the numbers that are carried are counted, by what a step has left in them."""
    if not region.function.unrollable:
        return
    known: _Producers = {}
    for slot in slots:
        if slot.kind.flavour != "array":
            with resume(region):
                last = slot.last.value if type(slot.last) is Tracer else None
            slot.counts = last is None or is_counted(region, last, known)


def mark_decided(slots: Iterable[Slot], region: Trace) -> None:
    """Tell the next trace of a step which params stand for numbers that are not."""
    region.decided.update(s.param for s in slots if s.param is not None and not s.counts)
