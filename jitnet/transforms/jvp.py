"""Forward mode: a Function that carries tangents along.

    func @f(%x: f64[3]) -> (f64[3])        func @f(%x: f64[3], %dx: f64[3]) -> (f64[3], f64[3])
      %y = sin %x                     →      %y = sin %x
      return %y                              %0 = cos %x
                                             %dy = zmul %0, %dx
                                             return %y, %dy

Tangents that are known to be zero do not exist: they are None while the rules run, and have no
params and no results. Complex numbers do not come here: see `realforms`.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Builder, Function, Value
from jitnet.ops.pairs import is_complex
from jitnet.ops.primitive import JvpTransform, Primitive
from jitnet.ops.tape import tangent_type

Pushed = tuple[Function, tuple[bool, ...]]


def jvp(f: Function, nonzero: Sequence[bool]) -> Pushed:
    """`(f', nonzero results)` for tangents of the params marked in `nonzero`.

    `f'` takes f's params, then a tangent for each nonzero one, and returns f's results, then a
    tangent for each result that can have one.
    """
    done: dict[tuple[int, tuple[bool, ...]], tuple[Function, Pushed]] = {}

    def once(f: Function, nonzero: Sequence[bool]) -> Pushed:
        """Loops ask for their regions until their carries are settled, and so do loops in them:
        each question is answered once."""
        key = (id(f), tuple(nonzero))
        if key not in done:
            done[key] = f, _jvp(f, nonzero, once)
        return done[key][1]

    return once(f, nonzero)


def _jvp(f: Function, nonzero: Sequence[bool], jvp: JvpTransform) -> Pushed:
    with Builder(f.name) as b:
        primals = dict(zip(f.params, b.params_like(f.params)))
        tangents: dict[Value, Value] = {}
        for p, moves in zip(f.params, nonzero, strict=True):
            if moves:
                tangents[p] = b.param(tangent_type(primals[p].type), f"d{p.name}")
        for eqn in f.eqns:
            op = eqn.op
            assert isinstance(op, Primitive)
            operands = [primals.get(v, v) for v in eqn.operands]
            moving = [tangents.get(v) for v in eqn.operands]
            if all(t is None for t in moving):
                primals.update(zip(eqn.results, b.rebind(eqn, operands)))
                continue
            assert not any(map(is_complex, eqn.operands)), "derivatives are taken in real numbers"
            with b.at(eqn.loc.tagged("jvp")):
                results, moved = op.jvp(eqn, operands, moving, jvp)
            primals.update(zip(eqn.results, results))
            for r, t in zip(eqn.results, moved, strict=True):
                if t is not None:
                    t.name = t.name or (f"d{r.name}" if r.name else "")
                    tangents[r] = t
    out = tuple(v in tangents for v in f.results)
    values = (primals.get(v, v) for v in f.results)
    return b.build(*values, *(tangents[v] for v in f.results if v in tangents)), out
