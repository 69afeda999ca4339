"""Loops as LLVM IR: the skeletons that kernel statements and expanded rows are put in.

for i in range(low, high):             br i1 (low < high), label %pre, label %end
    carry = body(i, carry)      pre:   br label %loop
                                loop:  %i = phi [ low, %pre ], [ %next, %last ]
                                       ...
                                       br i1 (%next < high), label %loop, label %end
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from jitnet.codegen.text import Index, Writer

Carry = tuple[str, str]
"""The type and the initial value of what a loop carries."""

ALIGNMENT = 32
"""Bytes. A round of a few instructions that crosses such a boundary may take twice the time."""

_MARK = re.compile(", !llvm.loop (inner|outer|unrolled [48])\n")

RARELY = ", !prof !4"
"""At the end of a jump: its condition rarely holds."""

Body = Callable[[str, list[str]], Sequence[str]]


def emit_loop(
    w: Writer,
    low: Index,
    high: Index,
    step: int,
    carries: Sequence[Carry],
    body: Body,
    name: str = "i",
    hoisted: list[str] | None = None,
    rounds: int = 1,
) -> list[str]:
    """`for i in range(low, high, step)`, tested at the end of each round.

    Args:
        carries: (type, initial value) of each.
        body: `(index, carries) -> next carries`, writes one round.
        hoisted: lines that `body` writes to; they are put before the first round.
        rounds: as many as LLVM is to write out of an innermost loop: 1, 4 or 8.
    """
    initial = [text for _, text in carries]
    if isinstance(low, int) and isinstance(high, int) and low + step >= high:
        return _emit_once(w, low, initial, body, hoisted) if low < high else initial
    before, round_, end = w.block, w.fresh("loop"), w.fresh("end")
    known = isinstance(low, int) and isinstance(high, int)
    start = before if known else w.fresh("pre")
    if not known:
        w.branch(w.let(f"icmp slt i64 {low}, {high}"), start, end)
        w.label(start)
    mark = len(w.lines)
    w.jump(round_)
    w.label(round_)
    phis = len(w.lines)
    index = "%" + w.fresh(name)
    names = ["%" + w.fresh("carry") for _ in carries]
    w.lines.extend([""] * (1 + len(carries)))
    inside = w.loops
    values = body(index, names)
    following = w.let(f"add nsw i64 {index}, {step}")
    last = w.block
    again = w.let(f"icmp slt i64 {following}, {high}")
    w.add(f"br i1 {again}, label %{round_}, label %{end}{_mark(w, inside, rounds)}")
    w.lines[phis] = f"  {index} = phi i64 [ {low}, %{start} ], [ {following}, %{last} ]"
    for n, ((type, first), carry, value) in enumerate(zip(carries, names, values)):
        w.lines[phis + 1 + n] = (
            f"  {carry} = phi {type} [ {first}, %{start} ], [ {value}, %{last} ]"
        )
    w.label(end)
    if hoisted:
        w.lines[mark:mark] = hoisted
    if known:
        return list(values)
    return [
        w.let(f"phi {type} [ {first}, %{before} ], [ {value}, %{last} ]")
        for (type, first), value in zip(carries, values)
    ]


def _emit_once(
    w: Writer, low: int, initial: list[str], body: Body, hoisted: list[str] | None
) -> list[str]:
    """A loop of a single round is that round."""
    mark = len(w.lines)
    values = body(str(low), initial)
    w.lines[mark:mark] = hoisted or []
    return list(values)


def emit_while(
    w: Writer,
    carries: Sequence[Carry],
    cond: Callable[[list[str]], str],
    body: Callable[[list[str]], Sequence[str]],
) -> list[str]:
    """`while cond(carries): carries = body(carries)`; the final carries."""
    head, round_, end = w.fresh("while"), w.fresh("do"), w.fresh("done")
    before = w.block
    w.jump(head)
    w.label(head)
    phis = len(w.lines)
    names = ["%" + w.fresh("carry") for _ in carries]
    w.lines.extend([""] * len(names))
    inside = w.loops
    w.branch(cond(names), round_, end)
    w.label(round_)
    values = body(names)
    last = w.block
    w.add(f"br label %{head}{_mark(w, inside)}")
    for n, ((type, first), name, value) in enumerate(zip(carries, names, values)):
        w.lines[phis + n] = f"  {name} = phi {type} [ {first}, %{before} ], [ {value}, %{last} ]"
    w.label(end)
    return names


def _mark(w: Writer, inside: int, rounds: int = 1) -> str:
    """What the jump back says of a loop: it is an innermost one if no loop was written since there
    were that many."""
    w.loops += 1
    if w.loops > inside + 1:
        return ", !llvm.loop outer"
    return f", !llvm.loop {'inner' if rounds == 1 else f'unrolled {rounds}'}"


def numbered(module: str) -> str:
    """The text of a module whose loops have numbers, under which it is said what LLVM shall do:
    innermost ones begin at a multiple of `ALIGNMENT`, and none is unrolled but those marked so."""
    first, *rest = _MARK.split(module)
    parts = [first]
    nodes: list[str] = []
    for n, (kind, part) in enumerate(zip(rest[::2], rest[1::2]), 5):
        parts.append(f", !llvm.loop !{n}\n{part}")
        nodes.append(f"!{n} = distinct !{{!{n}, {_NODES[kind]}}}\n")
    if nodes or RARELY in module:
        nodes.insert(0, _SAID)
    return "".join(parts + nodes)


_NODES = {"inner": "!0, !1", "outer": "!1", "unrolled 4": "!0, !2", "unrolled 8": "!0, !3"}
_SAID = f"""\
!0 = !{{!"llvm.loop.align", i32 {ALIGNMENT}}}
!1 = !{{!"llvm.loop.unroll.disable"}}
!2 = !{{!"llvm.loop.unroll.count", i32 4}}
!3 = !{{!"llvm.loop.unroll.count", i32 8}}
!4 = !{{!"branch_weights", i32 1, i32 2000}}
"""
