"""Complex numbers become pairs of real ones: the first thing that happens to a compiled program.

    func @f(%z: c128[3]) -> (c128[3]) {     func @f(%z: f64[3, 2]) -> (f64[3, 2]) {
      %w = neg %z                             %z_re = slice %z, 0, 0, 3, 1      (and reshaped)
      return %w                          ->   %z_im = slice %z, 0, 1, 3, 1
    }                                         %w_re = neg %z_re
                                              %w_im = neg %z_im
                                              %w = interleave %w_re, %w_im
                                              return %w }

The params and results of the program are complex arrays as they lie in memory: real ones with a
last axis of extent 2, and so are the arrays that regions take and return. Inside, each complex
value is two real values, and each op says how it computes on these (`Primitive.pairs`). An array
that lies in memory is known as a whole too, so that updates can write both halves of it in place.
Everything behind this pass, the other passes and the backends, knows real numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet import errors
from jitnet.ir import (
    ArrayType,
    Builder,
    Eqn,
    Function,
    Literal,
    TapeType,
    Value,
    substitute_type,
)
from jitnet.ops.complex_regions import from_memory, in_memory, region_params
from jitnet.ops.complexes import interleave, taken_apart
from jitnet.ops.pairs import is_complex, literal_pair
from jitnet.ops.primitive import Pair, Paired, Primitive

Environment = dict[Value, Paired]


def pairs(f: Function) -> Function:
    """`f` without complex numbers, for params and results as they lie in memory; `f` itself where
    there are none.

    Raises:
        UnsupportedFunctionError: for an op that does not compute on them.
    """
    if not has_complex(f):
        return f
    with Builder(f.name) as b:
        whole = {p: b.param(p.type, p.name) for p in f.params}
        for p, w in whole.items():
            w.type = substitute_type(p.type, whole)
            if is_complex(p):
                w.type = ArrayType(p.dtype.half, (*w.dims, 2))
        env: Environment = {p: taken_apart(w) if is_complex(p) else w for p, w in whole.items()}
        made = dict(zip(f.results, _body(f, env, b, _Splitter())))
        joined = {v: _joined(x) for v, x in made.items()}
        return b.build(*(joined[v] for v in f.results))


def _joined(x: Paired) -> Value:
    """A result as it lies in memory."""
    if not isinstance(x, Pair):
        return x
    return interleave(*x) if x.whole is None else x.whole


def has_complex(f: Function) -> bool:
    """Whether a Function has a complex value anywhere."""
    return any(map(_holds_complex, (*f.params, *f.results))) or any(map(_concerns, f.eqns))


def _concerns(eqn: Eqn) -> bool:
    """Whether an equation, or a region of it, has complex values."""
    if any(map(_holds_complex, (*eqn.operands, *eqn.results))):
        return True
    named = [g for g in eqn.attrs.values() if isinstance(g, Function)]
    return any(map(has_complex, (*eqn.regions, *named)))


def _holds_complex(v: Value) -> bool:
    if isinstance(v.type, TapeType):
        return any(dtype.is_complex for dtype, _ in v.type.fields)
    return is_complex(v)


def split_region(f: Function) -> Function:
    """A region without complex numbers: see `ops.complex_regions`."""
    return _Splitter()(f)


class _Splitter:
    """Splits regions; one Function that many equations name becomes one."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Function, Function]] = {}

    def __call__(self, f: Function) -> Function:
        if id(f) not in self._done:
            self._done[id(f)] = f, self._split(f) if has_complex(f) else f
        return self._done[id(f)][1]

    def _split(self, f: Function) -> Function:
        with Builder(f.name) as b:
            params = [region_params(b, p) for p in f.params]
            known = {p: v[0] for p, v in zip(f.params, params) if not is_complex(p)}
            for v in b.params:
                v.type = substitute_type(v.type, known)
            env = {p: from_memory(iter(v), p) for p, v in zip(f.params, params)}
            results = _body(f, env, b, self)
            return b.build(*(part for v in results for part in in_memory(v)))


def _body(f: Function, env: Environment, b: Builder, split: _Splitter) -> list[Paired]:
    """The equations of f on pairs; returns its results."""

    def value(v: Value) -> Paired:
        if isinstance(v, Literal):
            return literal_pair(v) if is_complex(v) else v
        return env[v]

    for eqn in f.eqns:
        operands = [value(v) for v in eqn.operands]
        results: Sequence[Paired]
        if _concerns(eqn):
            with b.at(eqn.loc):
                results = _on_pairs(eqn, operands, split)
        else:
            results = b.rebind(eqn, [v for v in operands if isinstance(v, Value)])
        env.update(zip(eqn.results, results, strict=True))
    return [value(v) for v in f.results]


def _on_pairs(eqn: Eqn, operands: Sequence[Paired], split: _Splitter) -> Sequence[Paired]:
    op = eqn.op
    assert isinstance(op, Primitive), f"{op.name} is no array op"
    if op.pairs is None:
        raise errors.UnsupportedFunctionError(
            f"{op.name} of complex numbers",
            why="this version has no such operation",
            remedy="compute with the real and the imaginary parts as two arrays",
            frames=eqn.loc.frames,
        )
    results = op.pairs(eqn, operands, split)
    for r, v in zip(eqn.results, results, strict=True):
        _name(r, v)
    return results


def _name(original: Value, v: Paired) -> None:
    """The halves are called after what they are halves of."""
    named = zip((*v,), ("_re", "_im")) if isinstance(v, Pair) else [(v, "")]
    for half, suffix in named:
        if original.name and not half.name and not isinstance(half, Literal):
            half.name = original.name + suffix
