"""Scatters by atomic operations, where `jit` is told that sums need not come in an order.

    for 0, 20000 { %k = load %index, %i;  store %x, (%x[%k] + %v[%i]), %k }
    ->
    for 0, 20000 {kind='parallel'} @body(%i) {
      %k = load %index, %i
      store %x, %v[%i], %k {atomic='add'}
    }

A loop in order becomes independent where all that ties its rounds together is memory that they take
terms into, and that they do not read otherwise. What is set, not taken in, has a last one who
wins: such loops, and numbers of 8 and 16 bits, are `owned`. So are those whose rounds are few.
Small targets of many rounds have a copy in each block's shared memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from jitnet.codegen.cuda.drives import LARGE
from jitnet.codegen.cuda.inline import count_uses
from jitnet.codegen.cuda.marks import is_independent
from jitnet.codegen.cuda.memory import Places, Root, bound_in, walk
from jitnet.codegen.cuda.merge import is_parallel, nest_of, turned
from jitnet.codegen.cuda.owned import FEWEST_CHOSEN
from jitnet.codegen.cuda.parts import MOST_ROWS_APART, box, dims_of, each_part
from jitnet.codegen.cuda.rows import Unit, row
from jitnet.codegen.cuda.state import scalar_op, trips
from jitnet.codegen.cuda.text import C_TYPES, stripped
from jitnet.ir import Builder, DType, Eqn, Function, Literal, Value, current
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S

TAKEN_IN = (
    *("add", "mul", "minimum", "maximum", "fmin", "fmax"),
    *("bitwise_and", "bitwise_or", "bitwise_xor"),
)
"""Scalar ops whose terms may come in any order."""

_HARDWARE = {
    "add": "atomicAdd",
    "minimum": "atomicMin",
    "maximum": "atomicMax",
    "bitwise_and": "atomicAnd",
    "bitwise_or": "atomicOr",
    "bitwise_xor": "atomicXor",
}
"""CUDA's functions, for integers. Floats have the first one."""

_WORDS = {4: "unsigned int", 8: "unsigned long long"}
"""What can be compared and exchanged, by its bytes."""


FEW_TOTALS = 1024
"""Elements of targets of which each block has a copy in shared memory."""

FEWEST_APART = 8
"""Blocks that are worth copies."""

SHARE = 2048
"""Rounds of such a block at least; and four for each element of its copy."""


def with_atomics(f: Function) -> Function:
    """The kernel Function with its scatters in no order."""
    places = Places(f)

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        for eqn in f.eqns:
            done = _unordered(eqn, places) if eqn.regions and not is_parallel(eqn) else None
            if done is None and eqn.regions and not is_parallel(eqn):
                eqn = replace(eqn, regions=tuple(map(region, eqn.regions)))
            eqns += done or (eqn,)
        return replace(f, eqns=tuple(eqns), _hash=[])

    return region(f)


@dataclass(frozen=True)
class _Update:
    """`store %x, (%x[%k] + %v), %k`.

    Attributes:
        load: of what was there.
        combine: the scalar op's equation.
        name: of the op that takes the term in.
        term: which is negated first where the op is `sub`.
    """

    load: Eqn
    combine: Eqn
    name: str
    term: Value


def _unordered(eqn: Eqn, places: Places) -> Sequence[Eqn] | None:
    """A loop in order as an independent one, or None."""
    if eqn.op is not S.FOR or len(eqn.operands) != 2:
        return None
    count = trips(eqn)
    if count is not None and count < FEWEST_CHOSEN:
        return None
    (body,) = eqn.regions
    updates: dict[Eqn, _Update] = {}
    _find(body.eqns, places, count_uses(body.eqns), updates)
    taken = _taken(body, updates, places)
    if not taken or not is_independent(eqn, places, taken) or _is_wide(eqn, places):
        return None
    loop = _independent(eqn, updates, taken, places)
    found = {
        e.operands[0]: u.name for e, u in updates.items() if places.roots[e.operands[0]] in taken
    }
    return _with_copies(loop, found, len(taken)) or (loop,)


def _with_copies(loop: Eqn, found: Mapping[Value, str], roots: int) -> Sequence[Eqn] | None:
    """The loop in blocks that take terms into copies of the targets, in shared memory, and these
    into the targets; None where there are too few rounds for that."""
    count, inside = trips(loop), set(bound_in((loop,)))
    totals = sum(prod(dims_of(v)) for v in found)
    known = all(len(dims_of(v)) == v.rank and v not in inside for v in found)
    if count is None or not known or len(found) != roots or totals > FEW_TOTALS:
        return None
    parts = min(MOST_ROWS_APART, count // max(SHARE, 4 * totals))
    if parts < FEWEST_APART:
        return None
    with Builder("copies", "kernel") as b, b.at(loop.loc):

        def keep(v: Value, mine: Value, p: Value) -> None:
            def taken_in(at: Sequence[Value]) -> None:
                current().bind(S.STORE, (v, S.load(mine, *at), *at), {"atomic": found[v]})

            box(dims_of(v), taken_in)

        each_part(loop, count, -(-count // parts), found, keep)
    return b.eqns


def _is_wide(eqn: Eqn, places: Places) -> bool:
    """Whether there are enough independent loops inside, which keep the order: those over the
    columns of rows that are added."""
    wide = turned(eqn, places)
    if wide is None:
        return False
    return prod(trips(level) or 1 for level in nest_of(wide, places).levels) >= LARGE


def _find(
    eqns: Sequence[Eqn], places: Places, uses: Counter[Value], updates: dict[Eqn, _Update]
) -> None:
    """The stores, in regions too, that take in a term."""
    makers = {e.results[0]: (n, e) for n, e in enumerate(eqns) if len(e.results) == 1}
    for n, eqn in enumerate(eqns):
        for region in eqn.regions:
            _find(region.eqns, places, uses, updates)
        if eqn.op is not S.STORE or eqn.operands[0].dtype.itemsize not in _WORDS:
            continue
        buffer, value, *at = eqn.operands
        _, combine = makers.get(value, (0, None))
        if combine is None or combine.op.name not in (*TAKEN_IN, "sub") or uses[value] != 1:
            continue
        first, second = combine.operands
        ways = [(first, second)] if combine.op is s.sub else [(first, second), (second, first)]
        for before, term in ways:
            begin, load = makers.get(before, (0, None))
            if load is None or load.op is not S.LOAD or uses[before] != 1:
                continue
            if load.operands[0] is not buffer or list(load.operands[1:]) != at:
                continue
            if not any(_may_write(e, eqn, places) for e in eqns[begin + 1 : n]):
                name = "add" if combine.op is s.sub else combine.op.name
                updates[eqn] = _Update(load, combine, name, term)
                break


def _may_write(eqn: Eqn, store: Eqn, places: Places) -> bool:
    """Whether an equation may write the element that `store` does."""
    root, (buffer, _, *at) = places.roots[store.operands[0]], store.operands
    for e in walk((eqn,)):
        if e.op is not S.STORE or places.roots[e.operands[0]].is_apart(root):
            continue
        both = zip(e.operands[2:], at)
        if e.operands[0] is not buffer or not any(_are_unequal(i, j) for i, j in both):
            return True
    return False


def _are_unequal(i: Value, j: Value) -> bool:
    return isinstance(i, Literal) and isinstance(j, Literal) and i.item != j.item


def _taken(body: Function, updates: dict[Eqn, _Update], places: Places) -> set[Root]:
    """Memory that is updated by one op, and not touched otherwise."""
    names: dict[Root, set[str]] = {}
    other: set[Root] = set()
    loads = {update.load for update in updates.values()}
    for eqn in body.walk():
        if eqn in updates:
            names.setdefault(places.roots[eqn.operands[0]], set()).add(updates[eqn].name)
        elif eqn.op in (S.LOAD, S.STORE) and eqn not in loads:
            other.add(places.roots[eqn.operands[0]])
    return {
        root
        for root, ops in names.items()
        if len(ops) == 1 and all(root is r or root.is_apart(r) for r in {*names, *other} - {root})
    } - other


def _independent(eqn: Eqn, updates: dict[Eqn, _Update], taken: set[Root], places: Places) -> Eqn:
    """The loop with atomic stores, and loops inside of it that are independent now, too."""
    mine = {e: u for e, u in updates.items() if places.roots[e.operands[0]] in taken}
    gone = {e for u in mine.values() for e in (u.load, u.combine)}

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        for e in f.eqns:
            if e in mine:
                eqns += _atomic(e, mine[e])
            elif e not in gone:
                attrs = e.attrs
                if e.op is S.FOR and len(e.operands) == 2 and is_independent(e, places, taken):
                    attrs = {**e.attrs, "kind": "parallel"}
                eqns.append(replace(e, attrs=attrs, regions=tuple(map(region, e.regions))))
        return replace(f, eqns=tuple(eqns), _hash=[])

    attrs = {**eqn.attrs, "kind": "parallel"}
    return replace(eqn, attrs=attrs, regions=tuple(map(region, eqn.regions)))


def _atomic(store: Eqn, update: _Update) -> Sequence[Eqn]:
    buffer, _, *at = store.operands
    with Builder("atomic", "kernel") as b, b.at(store.loc):
        term = update.term
        if update.combine.op is s.sub:
            term = s.neg(term) if term.dtype.is_float else s.sub(Literal(0, term.dtype), term)
        b.bind(S.STORE, (buffer, term, *at), {"atomic": update.name})
    return b.eqns


# -- as C++ ----------------------------------------------------------------------------------------


def take_in(unit: Unit, name: str, dtype: DType, place: str, term: str) -> str:
    """The statement that takes a term into an element."""
    unit.atomics = True
    if dtype.is_integer and name in _HARDWARE:
        type = _WORDS[dtype.itemsize]
        if name in ("minimum", "maximum"):
            type = C_TYPES[dtype]
        return f"{_HARDWARE[name]}(({type}*)&{place}, ({type}){term});"
    if name == "add":
        return f"atomicAdd(&{place}, {stripped(term)});"
    return f"{_exchanging(unit, name, dtype)}(&{place}, {stripped(term)});"


def _exchanging(unit: Unit, name: str, dtype: DType) -> str:
    """The name of the unit's function that tries until nobody came in between."""
    function = f"take_in_{name}_{dtype.name}"
    if function in unit.functions:
        return function
    type, word = C_TYPES[dtype], _WORDS[dtype.itemsize]
    value, bits = {
        T.f32: ("__int_as_float((int)before)", "(unsigned int)__float_as_int(total)"),
        T.f64: (
            "__longlong_as_double((long long)before)",
            "(unsigned long long)__double_as_longlong(total)",
        ),
    }.get(dtype, (f"({type})before", f"({word})total"))
    total = stripped(row(unit, scalar_op(name), [dtype, dtype], [value, "term"]))
    unit.functions[function] = f"""\
static __device__ __forceinline__ void {function}({type}* at, {type} term) {{
  {word} seen = *({word}*)at, before;
  do {{
    before = seen;
    const {type} total = {total};
    seen = atomicCAS(({word}*)at, before, {bits});
  }} while (seen != before);
}}"""
    return function
