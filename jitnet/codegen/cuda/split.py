"""Long reductions at the top of a program become two: parts side by side, then the parts.

    %t = for 0, 1000000, 0.0 {kind='vector', combine=('add',)}
    ->
    for 0, 245 {kind='parallel'} @body(%b: i64) {    store %parts, (the sum of one part), %b }
    %t = for 0, 245, 0.0 {kind='vector', combine=('add',)}      (of %parts)

The loop over one part says how many `terms` it has, which its bounds do not.

A loop in order that carries scalars, in which most of a round does not depend on what is carried
(the sums of blocks that a compensated total takes in), falls in two as well: one that computes the
terms, and is parallel, and one that takes them in, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jitnet.codegen.cuda.memory import references
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.scans import scan_in_parts
from jitnet.codegen.cuda.state import trips
from jitnet.codegen.vectorize import IDEMPOTENT, NEUTRAL
from jitnet.ir import ArrayType, Builder, Eqn, Function, Literal, Value, current, registry
from jitnet.ir import types as T
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion, ScalarOp

LONG = 8192
"""Folds of fewer terms are one block's work."""

PART = 4096
"""Terms of a part at least."""

MOST_PARTS = 512

FEWEST_ROUNDS = 8
"""Loops of fewer rounds stay whole."""


def folded_constants(f: Function) -> Function:
    """The kernel Function with integer arithmetic on constants done, and loops of no rounds
    left out, which lowering leaves to LLVM."""
    return _fold_region(f, {})


def _fold_region(f: Function, env: dict[Value, Value]) -> Function:
    eqns: list[Eqn] = []
    for eqn in f.eqns:
        operands = tuple(env.get(v, v) for v in eqn.operands)
        known = _folded(eqn, operands)
        if known is not None:
            env[eqn.result] = known
            continue
        regions = tuple(_fold_region(r, env) for r in eqn.regions)
        eqn = replace(eqn, operands=operands, regions=regions)
        if eqn.op is S.FOR and trips(eqn) == 0 and not any(map(_may_be_dim, eqn.results)):
            env.update(zip(eqn.results, operands[2:]))
            continue
        eqns.append(eqn)
    results = tuple(env.get(v, v) for v in f.results)
    return replace(f, eqns=tuple(eqns), results=results, _hash=[])


def _may_be_dim(v: Value) -> bool:
    """Whether types may name it, which are not rewritten."""
    return not isinstance(v.type, ArrayType) or v.dtype is T.i64


def _folded(eqn: Eqn, operands: Sequence[Value]) -> Literal | None:
    op: Any = eqn.op
    if not isinstance(op, ScalarOp | Conversion) or eqn.result.dtype.is_float:
        return None
    known = [v for v in operands if isinstance(v, Literal) and not v.dtype.is_float]
    if len(known) < len(operands):
        return None
    return evaluate(eqn, [v.data for v in known])


def evaluate(eqn: Eqn, operands: Sequence[Any]) -> Literal:
    """The value of a scalar op on known operands."""
    op: Any = eqn.op
    with np.errstate(all="ignore"):
        if isinstance(op, Conversion):
            return Literal(op.numpy(operands[0], eqn.result.dtype.numpy), eqn.result.dtype)
        return Literal(op.numpy(*operands), eqn.result.dtype)


def split(f: Function, drives: Callable[[Eqn], bool]) -> Function:
    """The kernel Function with its long reductions in two; `drives` says of which statements the
    host carries out the regions."""
    eqns: list[Eqn] = []
    for eqn in f.eqns:
        if eqn.regions and drives(eqn):
            regions = tuple(split(r, drives) for r in eqn.regions)
            eqns.append(replace(eqn, regions=regions))
        else:
            eqns += _split(eqn)
    return replace(f, eqns=tuple(eqns), _hash=[])


def _split(eqn: Eqn) -> Sequence[Eqn]:
    if eqn.op is not S.FOR or len(eqn.operands) == 2:
        return (eqn,)
    if any(not isinstance(v.type, ArrayType) for v in eqn.results):
        return (eqn,)
    count = trips(eqn)
    if count is None:
        return (eqn,)
    scanned = scan_in_parts(eqn)
    if scanned is not None:
        return scanned
    if eqn.attrs["kind"] == "vector" and count >= LONG and _is_foldable(eqn):
        return _in_parts(eqn, count)
    if eqn.attrs["kind"] == "seq" and count >= FEWEST_ROUNDS:
        return _terms_first(eqn, count)
    return (eqn,)


def _is_foldable(eqn: Eqn) -> bool:
    names = eqn.attrs["combine"]
    known = all(n in NEUTRAL or n in IDEMPOTENT for n in names)
    return known and len(names) == len(eqn.results)


def _in_parts(eqn: Eqn, count: int) -> Sequence[Eqn]:
    low, high, *initial = eqn.operands
    names = eqn.attrs["combine"]
    size = max(PART, -(-count // MOST_PARTS))
    parts = -(-count // size)
    neutral = [
        v if name in IDEMPOTENT else Literal(NEUTRAL[name][v.dtype.kind != "f"], v.dtype)
        for name, v in zip(names, initial)
    ]
    with Builder("parts", "kernel") as b, b.at(eqn.loc):
        memory = [S.alloc(v.dtype, (parts,), "parts") for v in initial]

        def part(i: Value) -> None:
            start = ix.add(s.mul(i, size), low)
            stop = s.minimum(s.add(start, size), high)
            attrs = {**eqn.attrs, "terms": size}
            inner = current().bind(S.FOR, (start, stop, *neutral), attrs, eqn.regions)
            for parts_of, total in zip(memory, inner):
                S.store(parts_of, total, i)

        def whole(i: Value, *totals: Value) -> list[Value]:
            ops: list[Any] = [registry("kernel")[name] for name in names]
            return [op(t, S.load(m, i)) for op, t, m in zip(ops, totals, memory)]

        S.loop(0, parts, part, kind="parallel", name="part")
        S.loop(0, parts, whole, initial, "vector", names, name="part")
    *before, last = b.eqns
    return [*before, replace(last, results=eqn.results)]


def _terms_first(eqn: Eqn, count: int) -> Sequence[Eqn]:
    (body,) = eqn.regions
    index, *carries = body.params
    waiting = set(carries)
    first: list[Eqn] = []
    chain: list[Eqn] = []
    for inner in body.eqns:
        if waiting.isdisjoint(references(inner)):
            first.append(inner)
            continue
        if not is_scalar_op(inner):
            return (eqn,)
        waiting.update(inner.results)
        chain.append(inner)
    if not any(e.op is S.FOR for e in first):
        return (eqn,)
    ready = {r for e in first for r in e.results}
    used = [v for e in chain for v in e.operands] + list(body.results)
    terms = [v for v in dict.fromkeys(used) if v in ready]
    if not all(isinstance(v.type, ArrayType) for v in terms):
        return (eqn,)
    low, high, *initial = eqn.operands
    with Builder("terms", "kernel") as b, b.at(eqn.loc):
        memory = [S.alloc(v.dtype, (count,), v.name or "terms") for v in terms]
        with b.child("body") as inside:
            inside.params.append(index)
            inside.eqns.extend(first)
            for m, v in zip(memory, terms):
                S.store(m, v, ix.subtract(index, low))
        b.bind(S.FOR, (low, high), {"kind": "seq", "combine": ()}, (inside.build(),))

        def take_in(i: Value, *state: Value) -> list[Value]:
            env = {index: i, **dict(zip(carries, state))}
            env.update((v, S.load(m, ix.subtract(i, low))) for m, v in zip(memory, terms))
            for e in chain:
                results = current().rebind(e, [env.get(v, v) for v in e.operands])
                env.update(zip(e.results, results))
            return [env.get(v, v) for v in body.results]

        S.loop(low, high, take_in, initial)
    *before, last = b.eqns
    return [*before, replace(last, results=eqn.results)]
