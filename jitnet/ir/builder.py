"""Builds Functions, one equation at a time, inferring result types.

    with Builder("f") as b:
        x = b.param(ArrayType(f64, (3,)), "x")
        y = ops.mul(x, 2.0)          # ops bind into the innermost open builder
    f = b.build(y)

Builders nest; each thread and each asyncio task has its own stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import lru_cache
from typing import Any

from jitnet.ir import types as T
from jitnet.ir.core import Eqn, Function
from jitnet.ir.loc import UNKNOWN, Loc
from jitnet.ir.op import Op, ResultDim
from jitnet.ir.value import Literal, Value, substitute_type

_CURRENT: ContextVar[Builder | None] = ContextVar("jitnet_builder", default=None)


class Builder:
    """Collects params and equations; `build` freezes them into a Function."""

    def __init__(self, name: str = "f", level: str = "array") -> None:
        self.name = name
        self.level = level
        self.params: list[Value] = []
        self.eqns: list[Eqn] = []
        self.loc: Loc = UNKNOWN
        self._tokens: list[Token[Builder | None]] = []

    def __enter__(self) -> Builder:
        self._tokens.append(_CURRENT.set(self))
        return self

    def __exit__(self, *exc: object) -> None:
        _CURRENT.reset(self._tokens.pop())

    def child(self, name: str) -> Builder:
        """A builder for a region inside this one's Function."""
        builder = Builder(name, self.level)
        builder.loc = self.loc
        return builder

    def param(self, type: T.Type, name: str = "") -> Value:
        value = Value(type, name)
        self.params.append(value)
        return value

    def params_like(
        self, values: Sequence[Value], known: Mapping[Value, Value] | None = None
    ) -> tuple[Value, ...]:
        """Params of the same types and names. Dims that are among `values`, in whatever order, are
        mapped to the new params; those that are `known`, to what they are known to be."""
        params = [self.param(v.type, v.name) for v in values]
        env = {**dict(zip(reversed(values), reversed(params))), **(known or {})}
        for param, v in zip(params, values):
            param.type = substitute_type(v.type, env)
        return tuple(params)

    def bind(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: Sequence[Function] = (),
        names: Sequence[str] = (),
        loc: Loc | None = None,
    ) -> tuple[Value, ...]:
        """Append `op operands` and return its results, typed by the op's rule."""
        attrs = attrs or {}
        types = op.infer(operands, attrs, regions)
        results: list[Value] = []
        for i, type in enumerate(types):
            name = names[i] if i < len(names) else ""
            results.append(Value(resolve_result_dims(type, results), name))
        eqn = Eqn(op, tuple(operands), attrs, tuple(regions), tuple(results), loc or self.loc)
        self.eqns.append(eqn)
        return eqn.results

    def rebind(
        self,
        eqn: Eqn,
        operands: Sequence[Value],
        regions: Sequence[Function] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> tuple[Value, ...]:
        """The same equation on other operands (and regions, attrs); keeps names and location."""
        if regions is None and attrs is None and _has_same_types(eqn, operands):
            results = tuple([Value(r.type, r.name) for r in eqn.results])
            moved = Eqn(eqn.op, tuple(operands), eqn.attrs, eqn.regions, results, eqn.loc)
            self.eqns.append(moved)
            return results
        return self.bind(
            eqn.op,
            operands,
            eqn.attrs if attrs is None else attrs,
            eqn.regions if regions is None else regions,
            [r.name for r in eqn.results],
            eqn.loc,
        )

    def inline(self, f: Function, args: Sequence[Value]) -> tuple[Value, ...]:
        """Append a copy of f's equations with its params bound to `args`; return its results."""
        assert len(args) == len(f.params), f"@{f.name} takes {len(f.params)} values: {args}"
        env = dict(zip(f.params, args))
        for eqn in f.eqns:
            results = self.rebind(eqn, [env.get(v, v) for v in eqn.operands])
            env.update(zip(eqn.results, results))
        return tuple(env.get(v, v) for v in f.results)

    @contextmanager
    def at(self, loc: Loc) -> Iterator[None]:
        """Give the equations bound inside this location."""
        saved, self.loc = self.loc, loc
        try:
            yield
        finally:
            self.loc = saved

    def build(self, *results: Value) -> Function:
        return Function(self.name, tuple(self.params), tuple(self.eqns), results, self.level)


def _has_same_types(eqn: Eqn, operands: Sequence[Value]) -> bool:
    """Whether the type rule would say the same of these operands as it did of the equation's own:
    all extents are ints, and numbers that it might look at are the same."""
    if len(operands) != len(eqn.operands):
        return False
    for old, new in zip(eqn.operands, operands):
        if old is new:
            continue
        if isinstance(old, Literal) or isinstance(new, Literal) or not _is_static(old):
            return False
        if old.type is not new.type and old.type != new.type:
            return False
    return all(map(_is_static, eqn.results))


def _is_static(v: Value) -> bool:
    return isinstance(v.type, T.ArrayType) and not v.type.symbolic


def resolve_result_dims(type: T.Type, results: Sequence[Value]) -> T.Type:
    """The inferred type with each ResultDim replaced by the result it stands for."""
    if isinstance(type, T.TapeType) or not any(isinstance(d, ResultDim) for d in type.symbolic):
        return type
    dims = tuple(results[d.index] if isinstance(d, ResultDim) else d for d in type.dims)
    return T.ArrayType(type.dtype, dims)


def current() -> Builder:
    """The innermost open builder of this context."""
    builder = _CURRENT.get()
    assert builder is not None, "no builder is open: write `with Builder() as b:`"
    return builder


def literal(value: Any, dtype: T.DType) -> Literal:
    return Literal(value, dtype)


@lru_cache(maxsize=1024)
def index(value: int) -> Literal:
    """An i64 literal."""
    return Literal(value, T.i64)
