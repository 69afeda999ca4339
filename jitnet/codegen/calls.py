"""Functions that are lowered once and invoked from many places.

    %y, %z = invoke %x, %w {callee=@cell}        %y = alloc 8
                                                 %z = invoke %x, %w, %y {callee=@cell}

A callee is a kernel like the whole program is: arrays come as C-contiguous memory, results of known
shape go to memory of the caller's, and an array that the callee only updates, with nobody reading
the old content later, is updated where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from jitnet.codegen.origin import origins, overwritten
from jitnet.codegen.signature import AliasOutput, BufferOutput, HeapOutput, ScalarOutput
from jitnet.codegen.storage import Place, Report, Root, is_contiguous
from jitnet.ir import Eqn, Function, Literal, Value
from jitnet.kernel import statements as k

if TYPE_CHECKING:
    from jitnet.codegen.lower import Body
    from jitnet.codegen.program import Program


class Callee(NamedTuple):
    """A Function that is invoked.

    Attributes:
        function: kept, so that its id is.
        stores: `{j: i}` where result j is what becomes of param i, in its memory.
        consumed: params whose memory it overwrites, those of `stores` too.
    """

    function: Function
    program: Program
    stores: Mapping[int, int]
    consumed: frozenset[int]


@dataclass
class Callees:
    """The Functions that a program invokes, lowered when the first call of each is.

    Attributes:
        lower: `(function, stores, consumed, callees) -> program`, see `program.lower`.
    """

    lower: Callable[[Function, Mapping[int, int], frozenset[int], Callees], Program]
    done: dict[int, Callee] = field(default_factory=dict)

    def of(self, f: Function, report: Report) -> Callee:
        """`f` lowered; its copies and kernels are in the report of the first caller."""
        if id(f) not in self.done:
            stores = _stores(f)
            arrays = (i for i in overwritten(f) if f.params[i].rank)
            consumed = frozenset((*arrays, *stores.values()))
            program = self.lower(f, stores, consumed, self)
            self.done[id(f)] = Callee(f, program, stores, consumed)
            report.kernels += program.report.kernels
            report.copies += program.report.copies
        return self.done[id(f)]


def _stores(f: Function) -> dict[int, int]:
    """`{j: i}` where result j is param i after updates, one result for each param."""
    found: dict[int, int] = {}
    for j, (v, i) in enumerate(zip(f.results, origins(f))):
        fits = i is not None and v.rank and v is not f.params[i] and v.type == f.params[i].type
        if fits and i not in found.values() and v not in f.results[:j]:
            assert i is not None
            found[j] = i
    return found


def lower_invoke(body: Body, eqn: Eqn) -> None:
    callee = body.callees.of(eqn.attrs["callee"], body.report)
    becomes = {i: eqn.results[j] for j, i in callee.stores.items()}
    taken: dict[int, Place] = {}
    roots: list[Root] = []
    for i in sorted(callee.consumed):
        taken[i] = _acquire(body, eqn.operands[i], becomes.get(i), roots)
        roots.append(taken[i].root)
    operands = [
        taken[i].buffer if i in taken else _argument(body, v, roots)
        for i, v in enumerate(eqn.operands)
    ]
    outputs = callee.program.signature.outputs
    places = {eqn.results[j]: taken[i] for j, i in callee.stores.items()}
    for r, output in zip(eqn.results, outputs):
        if isinstance(output, BufferOutput):
            target = body.target(r)
            free = _is_in_order(target) and target.root not in roots
            places[r] = target if free else body.new(r)
            operands.append(places[r].buffer)
    found = k.invoke(callee.program.kernel, operands)
    for r, output in zip(eqn.results, outputs):
        if isinstance(output, ScalarOutput):
            body.bind(r, found[output.slot])
    owned: dict[Value, Value] = {}  # what the callee returns, as the first result that it is
    for r, v, output in zip(eqn.results, callee.function.results, outputs):
        if isinstance(output, HeapOutput) and v in owned:
            body.bind(r, body.env[owned[v]])
        elif isinstance(output, HeapOutput):
            body.bind(r, body.owned(r, found[output.slot]))
            owned[v] = r
        elif r in places:
            body.bind(r, places[r])
        elif isinstance(output, AliasOutput):
            operand = eqn.operands[output.input]
            body.bind(r, operand if isinstance(operand, Literal) else body.env[operand])


def _acquire(body: Body, v: Value, becomes: Value | None, taken: Collection[Root]) -> Place:
    """Contiguous memory with v's content, none that is taken, that may be overwritten."""
    if not any(root in taken for root in body.roots(v)):
        place = body.acquire(v, v if becomes is None else becomes)
        if _is_in_order(place) and place.root not in taken:
            return place
    fresh = body.new(v)
    body.copy(v, fresh, _WHY)
    return fresh


def _argument(body: Body, v: Value, written: Collection[Root]) -> Value:
    """An operand that the callee only reads."""
    if v.rank == 0:
        return body.scalar(v)
    if any(root in written for root in body.roots(v)):
        body.snapshot(v)  # it would be overwritten while it is read
    place = body.place(v)
    if _is_in_order(place):
        return place.buffer
    fresh = body.new(v)
    body.copy(v, fresh, _WHY)
    return fresh.buffer


_WHY = "a function that is compiled once takes C-contiguous arrays"


def _is_in_order(place: Place) -> bool:
    """Whether this is C-contiguous memory."""
    return (place.whole and place.c_order) or is_contiguous(place.buffer.buffer_type)
