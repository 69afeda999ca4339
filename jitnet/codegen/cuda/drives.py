"""What the host carries out, statement by statement, and which scalars it knows.

for 0, %steps { ... a nest of 20,000 points ... }      the host drives it: one launch a step
for 0, 100 { ... 64 points ... }                       a kernel's
%n = add %k, 1                                         the host's, where it knows %k
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.codegen.cuda.folded import is_folding
from jitnet.codegen.cuda.marks import HOSTS
from jitnet.codegen.cuda.memory import bound_in, walk
from jitnet.codegen.cuda.merge import UNKNOWN, is_parallel
from jitnet.codegen.cuda.product_nests import ANY_ORDER, LARGEST_PRODUCT
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.state import trips
from jitnet.codegen.workspace import static_bytes
from jitnet.ir import BufferType, Eqn, Literal, Value
from jitnet.kernel import statements as S

LARGE = 8192
"""Nests of so many points are launches of their own, in loops too."""

MOST_ASKED = 256
"""Values that a kernel of what is small asks for, which may leave as many behind: arguments of a
launch are 4 KB at most."""


def drives(eqn: Eqn) -> bool:
    """Whether the host carries out a loop or branch, statement by statement."""
    if any(isinstance(r.type, BufferType) for r in eqn.results) and "settled" not in eqn.attrs:
        return True
    return is_large(eqn)


def is_large(eqn: Eqn) -> bool:
    """The same but for the buffers that it ends in."""
    if is_folding(eqn) or (is_parallel(eqn) and eqn.attrs["kind"] == "parallel"):
        return False
    inner = list(walk((eqn,)))
    if any(e.op in HOSTS or _is_dynamic(e) for e in inner):
        return True
    buffers = {v for e in inner for v in e.operands if isinstance(v.type, BufferType)}
    if len(buffers) > MOST_ASKED and len(buffers.difference(bound_in((eqn,)))) > MOST_ASKED:
        return True
    if eqn.op is S.FOR and eqn.attrs["kind"] != "seq":
        return False
    return any(_points(region.eqns) >= LARGE for region in eqn.regions)


def _is_dynamic(eqn: Eqn) -> bool:
    if eqn.op is not S.ALLOC:
        return False
    return bool(eqn.attrs.get("heap")) or static_bytes(eqn.result.buffer_type) is None


def _points(eqns: Sequence[Eqn]) -> int:
    """The size of the largest nest of independent loops in a region."""
    most = 0
    for eqn in eqns:
        inner = max((_points(r.eqns) for r in eqn.regions), default=0)
        if eqn.op is S.FOR and eqn.attrs["kind"] != "seq":
            inner = max(inner, 1) * (trips(eqn) or eqn.attrs.get("terms", UNKNOWN))
        elif eqn.attrs.get(ANY_ORDER):
            inner = max((trips(eqn) or 0) * LARGE // (LARGEST_PRODUCT + 1), 1)
        most = max(most, inner)
    return most


# -- what the host knows ---------------------------------------------------------------------------


def known_of(eqns: Sequence[Eqn], given: set[Value]) -> set[Value]:
    """The scalars that the host can compute without asking the device: integers of integers that
    it knows, in loops that it drives too."""
    known = set(given)
    for eqn in eqns:
        if is_scalar_op(eqn):
            if is_exact(eqn) and all(isinstance(v, Literal) or v in known for v in eqn.operands):
                known.add(eqn.result)
        elif eqn.op is S.TAPE_LENGTH or eqn.op is S.TAPE_EXTENT:
            known.update(eqn.results)
        elif eqn.regions and drives(eqn):
            known |= _known_of_driven(eqn, known)
    return known


def is_exact(eqn: Eqn) -> bool:
    return not any(v.dtype.is_float for v in (*eqn.operands, eqn.result))


def _known_of_driven(eqn: Eqn, known: set[Value]) -> set[Value]:
    def isknown_of(v: Value) -> bool:
        return isinstance(v, Literal) or v in known

    if eqn.op is S.IF:
        for region in eqn.regions:
            known = known | known_of(region.eqns, known)
        ends = zip(eqn.results, *(r.results for r in eqn.regions))
        return known | {r for r, a, b in ends if isknown_of(a) and isknown_of(b)}
    first = 2 if eqn.op is S.FOR else 0
    initial, bodies = eqn.operands[first:], eqn.regions
    carried = {i for i, v in enumerate(initial) if isknown_of(v)}
    outside = known
    while True:
        known = set(outside)
        for region in bodies:
            params = region.params[-len(initial) :] if initial else ()
            known.update(p for i, p in enumerate(params) if i in carried)
            known.update(region.params[: len(region.params) - len(initial)])
            known = known_of(region.eqns, known)
        kept = {i for i in carried if isknown_of(bodies[-1].results[i])}
        if kept == carried:
            break
        carried = kept
    return known | {eqn.results[i] for i in carried}
