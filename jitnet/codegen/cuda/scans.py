"""Running sums and products, by many threads: loops in order whose `combine` says that the terms
may be taken in by a tree.

    for 0, %n, 0.0 {kind='seq', combine=('add',)} @body(%k: i64, %total: f32) {
      %x = load ..., %k;  %next = add %total, %x;  store ..., %next, %k
      return %next
    }

A block goes over its row in rounds, of `SCANNED` neighbours for each thread. A long one at the top
of a program is three launches: the sums of parts, the running sum of these, and each part once more
from where it begins. The order is a matter of the extent alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitnet.codegen.cuda.memory import references
from jitnet.codegen.cuda.rows import Unit, is_scalar_op, row
from jitnet.codegen.cuda.state import FEWEST_SHARED_OUT, scalar_op, trips
from jitnet.codegen.cuda.text import C_TYPES, stripped
from jitnet.codegen.vectorize import NEUTRAL
from jitnet.ir import ArrayType, Builder, DType, Eqn, Function, Literal, Value, current
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import ScalarOp

SCANNED = 4
"""Elements of a thread in one round."""

LONG_SCAN = 16384
"""Scans of fewer terms are one block's work."""

SCAN_PART = 4096
"""Terms of a part at least."""

MOST_SCAN_PARTS = 1024


@dataclass(frozen=True)
class Scan:
    """Attributes:
    name, op: what folds.
    term: what the running value takes in.
    first: the equations that make the term.
    """

    name: str
    op: ScalarOp
    term: Value
    first: Sequence[Eqn]


def find_scan(eqn: Eqn) -> Scan | None:
    """What a loop scans, where threads can share that; None for any other statement."""
    if eqn.op is not S.FOR or eqn.attrs["kind"] != "seq" or len(eqn.attrs["combine"]) != 1:
        return None
    if len(eqn.operands) != 3 or not isinstance(eqn.operands[2].type, ArrayType):
        return None
    count = trips(eqn)
    if count is not None and count < FEWEST_SHARED_OUT:
        return None
    (name,), (body,) = eqn.attrs["combine"], eqn.regions
    if name not in NEUTRAL:
        return None
    return _scan(name, body)


def _scan(name: str, body: Function) -> Scan | None:
    total, makers = body.params[1], {r: e for e in body.eqns for r in e.results}
    if not all(is_scalar_op(e) or e.op in (S.LOAD, S.STORE) for e in body.eqns):
        return None
    op, taken = scalar_op(name), makers.get(body.results[0])
    if taken is None or taken.op is not op or taken.operands[0] is not total:
        return None
    term = taken.operands[1]
    needed, todo = set[Eqn](), [term]
    while todo:
        v = todo.pop()
        if v is total:
            return None
        eqn = makers.get(v)
        if eqn is not None and eqn not in needed:
            needed.add(eqn)
            todo += references(eqn)
    return Scan(name, op, term, [e for e in body.eqns if e in needed])


# -- long ones -------------------------------------------------------------------------------------


def scan_in_parts(eqn: Eqn) -> Sequence[Eqn] | None:
    """A long scan as three loops; None where it is not one."""
    scan, count = find_scan(eqn), trips(eqn)
    if scan is None or count is None or count < LONG_SCAN:
        return None
    (low, high, initial), (body,) = eqn.operands, eqn.regions
    size = max(SCAN_PART, -(-count // MOST_SCAN_PARTS))
    parts = -(-count // size)
    op, neutral = scan.op, Literal(NEUTRAL[scan.name][not initial.dtype.is_float], initial.dtype)
    with Builder("scan", "kernel") as b, b.at(eqn.loc):
        totals = S.alloc(initial.dtype, (parts,), "totals")
        starts = S.alloc(initial.dtype, (parts,), "starts")

        def bounds(p: Value) -> tuple[Value, Value]:
            first = ix.add(s.mul(p, size), low)
            return first, s.minimum(s.add(first, size), high)

        def fold(p: Value) -> None:
            with current().child("body") as inside:
                inside.params += [Value(v.type, v.name) for v in body.params]
                index, so_far = inside.params
                env: dict[Value, Value] = {body.params[0]: index}
                for e in scan.first:
                    results = inside.rebind(e, [env.get(v, v) for v in e.operands])
                    env.update(zip(e.results, results))
                folded = inside.build(op(so_far, env.get(scan.term, scan.term)))
            attrs = {"kind": "vector", "combine": (scan.name,)}
            (total,) = current().bind(S.FOR, (*bounds(p), neutral), attrs, (folded,))
            S.store(totals, total, p)

        def begin(p: Value, so_far: Value) -> Sequence[Value]:
            S.store(starts, so_far, p)
            return (op(so_far, S.load(totals, p)),)

        def again(p: Value) -> None:
            operands = (*bounds(p), S.load(starts, p))
            current().bind(S.FOR, operands, eqn.attrs, (body,))

        S.loop(0, parts, fold, kind="parallel", name="part")
        S.loop(0, parts, begin, (initial,), combine=(scan.name,), name="part")
        of_all = b.eqns[-1]
        S.loop(0, parts, again, kind="parallel", name="part")
    return [replace(e, results=eqn.results) if e is of_all else e for e in b.eqns]


# -- text ------------------------------------------------------------------------------------------


def scan_of(unit: Unit, scan: Scan, dtype: DType, neutral: str) -> str:
    """The name of the unit's function that tells each thread what the threads before it have
    folded, and takes all of it into what was folded so far."""
    function = f"scan_{scan.name}_{dtype.name}"
    type = C_TYPES[dtype]

    def both(a: str, b: str) -> str:
        return stripped(row(unit, scan.op, [dtype, dtype], [a, b]))

    unit.functions[function] = f"""\
static __device__ __forceinline__ {type} {function}({type} mine, {type}& so_far) {{
  __shared__ {type} parts[256], sums[16];
  const int me = threadIdx.x, size = (blockDim.x + 15) / 16;
  __syncthreads();
  parts[me] = mine;
  __syncthreads();
  if (me < 16) {{
    {type} sum = {neutral};
    for (int i = me * size; i < blockDim.x && i < (me + 1) * size; ++i) {{
      const {type} part = parts[i];
      parts[i] = sum;
      sum = {both("sum", "part")};
    }}
    sums[me] = sum;
  }}
  __syncthreads();
  {type} before = so_far;
  for (int i = 0; i < me / size; ++i) before = {both("before", "sums[i]")};
  for (int i = 0; i < 16; ++i) so_far = {both("so_far", "sums[i]")};
  return {both("before", "parts[me]")};
}}"""
    return function
