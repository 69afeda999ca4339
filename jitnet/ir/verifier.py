"""Checks that a Function keeps the rules of the IR.

    verify(f)     # VerifyError: @f, `%y: f64[4] = mul %x, 2.0`: the rule of mul gives f64[3] for
                  # %y, not f64[4]

The rules: every value is bound once, before it is used; dims are i64 scalars in scope; array-level
regions see only their own params, kernel-level ones all that is around them; recorded types are
those that the ops' rules infer; the dims of results are ints, params or other results, so that a
caller can name them.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from jitnet.errors import VerifyError
from jitnet.ir import types as T
from jitnet.ir.builder import resolve_result_dims
from jitnet.ir.core import Eqn, Function
from jitnet.ir.op import TypeRuleError
from jitnet.ir.printer import Names, print_eqn
from jitnet.ir.value import Dense, Literal, Value

_INDEX = T.scalar(T.i64)


def verify(f: Function) -> None:
    """Check a Function, all its regions and those that it names.

    Raises:
        VerifyError: naming the function, the equation, the value and the types.
    """
    for g in (f, *f.callees()):
        _Verifier(g).function(g, set())


class _Verifier:
    def __init__(self, f: Function) -> None:
        self.path = [f.name]
        self.names = Names()

    def fail(self, message: str, eqn: Eqn | None = None) -> VerifyError:
        where = ".".join(self.path)
        if eqn is None:
            return VerifyError(f"@{where}: {message}", frames=())
        text = print_eqn(eqn, self.names)
        return VerifyError(f"@{where}: `{text}`: {message}", frames=eqn.loc.frames)

    def name(self, value: Value) -> str:
        return repr(value) if isinstance(value, Literal) else f"%{self.names.of(value)}"

    def type(self, type: T.Type) -> str:
        return T.type_text(type, lambda d: str(d) if isinstance(d, int) else self.name(d))

    def function(self, f: Function, outer: Set[Value]) -> None:
        scope = set(outer)
        for param in f.params:
            self.bind(param, scope, None)
        for param in f.params:
            self.dims_in_scope(param, scope, None)
        for eqn in f.eqns:
            if eqn.op.level != f.level:
                raise self.fail(f"{eqn.op.name} is no op of the {f.level} level", eqn)
            self.eqn(eqn, scope, f.level)
        for result in f.results:
            if not isinstance(result, Literal) and result not in scope:
                raise self.fail(f"the result {self.name(result)} is not defined")
        self.result_dims(f, outer)

    def eqn(self, eqn: Eqn, scope: set[Value], level: str) -> None:
        for operand in eqn.operands:
            if not isinstance(operand, Literal) and operand not in scope:
                raise self.fail(f"{self.name(operand)} is not defined before it is used", eqn)
        for name, value in eqn.attrs.items():
            if not _is_attr(value):
                raise self.fail(f"the attribute {name} cannot be {value!r}", eqn)
        for region in eqn.regions:
            if region.level != level:
                raise self.fail(f"the region @{region.name} is of the {region.level} level", eqn)
            self.path.append(region.name)
            self.function(region, scope if level == "kernel" else frozenset())
            self.path.pop()
        self.result_types(eqn)
        for result in eqn.results:
            self.bind(result, scope, eqn)
        for result in eqn.results:
            self.dims_in_scope(result, scope, eqn)

    def bind(self, value: Value, scope: set[Value], eqn: Eqn | None) -> None:
        if isinstance(value, Literal):
            raise self.fail(f"the literal {value!r} cannot be bound", eqn)
        if value in scope:
            raise self.fail(f"{self.name(value)} is bound twice", eqn)
        scope.add(value)

    def dims_in_scope(self, value: Value, scope: Set[Value], eqn: Eqn | None) -> None:
        for dim in value.type.symbolic:
            if dim not in scope:
                raise self.fail(
                    f"{self.name(value)}: {self.type(value.type)} has the dim {self.name(dim)}, "
                    "which is not defined here",
                    eqn,
                )
            if dim.type != _INDEX:
                raise self.fail(
                    f"{self.name(value)} has the dim {self.name(dim)}, which is "
                    f"{self.type(dim.type)} and not i64",
                    eqn,
                )

    def result_types(self, eqn: Eqn) -> None:
        try:
            inferred = eqn.op.infer(eqn.operands, eqn.attrs, eqn.regions)
        except TypeRuleError as error:
            types = ", ".join(self.type(v.type) for v in eqn.operands)
            raise self.fail(f"the rule of {eqn.op.name} refuses ({types}): {error}", eqn) from error
        if len(inferred) != len(eqn.results):
            raise self.fail(
                f"the rule of {eqn.op.name} gives {len(inferred)} results, not {len(eqn.results)}",
                eqn,
            )
        for type, result in zip(inferred, eqn.results):
            expected = resolve_result_dims(type, eqn.results)
            if expected != result.type:
                raise self.fail(
                    f"the rule of {eqn.op.name} gives {self.type(expected)} for "
                    f"{self.name(result)}, not {self.type(result.type)}",
                    eqn,
                )

    def result_dims(self, f: Function, outer: Set[Value]) -> None:
        nameable = {*f.params, *f.results, *outer}
        for result in f.results:
            for dim in result.type.symbolic:
                if dim not in nameable:
                    raise self.fail(
                        f"the result {self.name(result)}: {self.type(result.type)} has the dim "
                        f"{self.name(dim)}, which is neither a param nor a result"
                    )


def _is_attr(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_attr, value))
    kinds = (bool, int, float, str, T.DType, T.ArrayType, T.TapeType, T.BufferType, Dense, Function)
    return value is None or isinstance(value, kinds)
