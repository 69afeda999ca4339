"""Derivatives of Functions that compute in complex numbers: taken in real ones, and put together.

    @f(%z: c128[3]) -> (c128)   ->   @f(%z: f64[3, 2]) -> (f64, f64)      # differentiated
    parts(%z)                        # [f64[3, 2]]: what the real Function takes in its place
    whole([%re, %im], c128)          # what comes out of it, as one complex number again

So no derivative rule knows complex numbers. The conventions are JAX's: a tangent dx + i dy is what
it looks like; a cotangent stands for its conjugate, so that the gradient of a real-valued f is
df/dx - i df/dy, and the pullback of a holomorphic function multiplies by f'(z).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jitnet.ir import ArrayType, Builder, Function, Value, substitute_type
from jitnet.ops.complexes import complex, imag, interleave, real, taken_apart
from jitnet.ops.lift import neg
from jitnet.ops.pairs import is_complex
from jitnet.ops.shape import zeros_like
from jitnet.ops.tape import tangent_type
from jitnet.passes.pairs import has_complex, split_region


@dataclass(frozen=True)
class RealForm:
    """A Function in real numbers, in place of one that may have complex ones.

    Attributes:
        original: the Function with complex numbers.
        function: it in real numbers. An array of complex numbers is one param or result, with a
            last axis of extent 2; a number is two.
    """

    original: Function
    function: Function

    @property
    def takes_complex(self) -> bool:
        """Whether complex numbers are among the params and results."""
        return any(map(is_complex, (*self.original.params, *self.original.results)))

    def of_params(self, marks: Sequence[bool]) -> list[bool]:
        """What is said of each param, said of what stands for it."""
        return [m for p, m in zip(self.original.params, marks) for _ in range(_count(p))]

    def of_results(self, marks: Sequence[bool]) -> list[tuple[bool, ...]]:
        """What is said of the real results, by the original ones."""
        rest = iter(marks)
        return [tuple(next(rest) for _ in range(_count(r))) for r in self.original.results]

    def asked(self, results: Sequence[int] | None) -> list[bool]:
        """Which of the real results are asked for, by the positions of the original ones. None is
        all of them; of a number that is asked for by name, only the real part is."""
        if results is None:
            return [True] * len(self.function.results)
        found = []
        for i, r in enumerate(self.original.results):
            found += [i in results, *[False] * (_count(r) - 1)]
        return found

    def known(self, known: Function) -> Function:
        """The known half, on the original's params and results."""
        if not self.takes_complex:
            return known
        with Builder(known.name) as b:
            values = iter(b.inline(known, parts(b.params_like(self.original.params))))
            return b.build(*joined(values, self.original.results), *values)

    def pushed(self, pushed: Function, nonzero: Sequence[bool], moves: Sequence[bool]) -> Function:
        """The jvp, on the original's params and results and their tangents."""
        if not self.takes_complex:
            return pushed
        f = self.original
        with Builder(f.name) as b:
            primals = b.params_like(f.params)
            moving = [p for p, m in zip(primals, nonzero) if m]
            tangents = [b.param(tangent_type(p.type), f"d{p.name}") for p in moving]
            values = iter(b.inline(pushed, [*parts(primals), *parts(tangents)]))
            results = joined(values, f.results)
            return b.build(*results, *moved(values, f.results, self.of_results(moves)))

    def linear(
        self, linear: Function, residuals: int, nonzero: Sequence[bool], moves: Sequence[bool]
    ) -> Function:
        """The linear half, on tangents of the original's params and results."""
        if not self.takes_complex:
            return linear
        f = self.original
        with Builder(linear.name) as b:
            saved, given, env = _residuals(b, linear, residuals)
            tangents = []
            for p in (p for p, m in zip(f.params, nonzero) if m):
                first, *_ = [next(given) for _ in range(_count(p))]
                tangents.append(_param_like(b, first, p, env))
            values = iter(b.inline(linear, [*saved, *parts(tangents)]))
            return b.build(*moved(values, f.results, self.of_results(moves)))

    def pulled(
        self, back: Function, residuals: int, wrt: Sequence[int], moves: Sequence[bool]
    ) -> Function:
        """The linear half transposed, on cotangents of the original's results and params `wrt`."""
        if not self.takes_complex:
            return back
        f = self.original
        with Builder(back.name) as b:
            saved, given, env = _residuals(b, back, residuals)
            operands: list[Value] = []
            for r, marks in zip(f.results, self.of_results(moves)):
                own = [next(given) for m in marks if m]
                if own:
                    taken = parts([_param_like(b, own[0], r, env)], conjugate=True)
                    operands += [v for v, m in zip(taken, marks) if m]
            values = iter(b.inline(back, [*saved, *operands]))
            return b.build(*joined(values, [f.params[i] for i in wrt], conjugate=True))


def real_form(f: Function) -> RealForm:
    """`f` in real numbers; `f` itself where it has no others."""
    return RealForm(f, split_region(f) if has_complex(f) else f)


def _count(v: Value) -> int:
    return 2 if is_complex(v) and not v.rank else 1


# -- values ----------------------------------------------------------------------------------------


def parts(values: Sequence[Value], conjugate: bool = False) -> list[Value]:
    """Values as a real Function takes them; `conjugate` for cotangents."""
    found: list[Value] = []
    for v in values:
        if not is_complex(v):
            found.append(v)
            continue
        re, im = real(v), imag(v)
        im = neg(im) if conjugate else im
        found += [interleave(re, im)] if v.rank else [re, im]
    return found


def whole(values: Sequence[Value], like: Value, conjugate: bool = False) -> Value:
    """What `parts` would take apart into these, if it had the dtype of `like`."""
    if not is_complex(like):
        return values[0]
    re, im = taken_apart(values[0]) if like.rank else values
    return complex(re, neg(im) if conjugate else im)


def joined(values: Iterator[Value], like: Sequence[Value], conjugate: bool = False) -> list[Value]:
    """The next values, as those that `like` says."""
    return [whole([next(values) for _ in range(_count(v))], v, conjugate) for v in like]


def moved(
    values: Iterator[Value], like: Sequence[Value], moving: Sequence[Sequence[bool]]
) -> list[Value]:
    """Tangents of those of the values `like` of which any part moves; the other parts are zero."""
    found = []
    for v, marks in zip(like, moving):
        if any(marks):
            halves = [next(values) if m else None for m in marks]
            filled = [zeros_like(ArrayType(v.dtype.half)) if h is None else h for h in halves]
            found.append(whole(filled, v))
    return found


def _residuals(
    b: Builder, f: Function, count: int
) -> tuple[tuple[Value, ...], Iterator[Value], dict[Value, Value]]:
    """Params for the first `count` of f's, the others of f's, and which stand for which."""
    saved = b.params_like(f.params[:count])
    return saved, iter(f.params[count:]), dict(zip(f.params, saved))


def _param_like(b: Builder, part: Value, v: Value, env: dict[Value, Value]) -> Value:
    """A param for a tangent or cotangent of v, where `part` is the real Function's first one."""
    type = substitute_type(part.type, env)
    if is_complex(v):
        assert isinstance(type, ArrayType)
        type = ArrayType(v.dtype, type.dims[:-1])
    return b.param(type, part.name)
