"""The array interpreter: runs a Function by the NumPy reference of each op. The living definition.

    func @f(%x: f64[3]) -> (f64[3]) {       evaluate(f, [np.arange(3.0)])
      %y = mul %x, 2.0 {}                   == (array([0., 2., 4.]),)
      return %y
    }

Slow and literal on purpose: it checks what every op produces against the types on record, so that
a wrong type rule or reference is found where it happens. Values of rank 0 are NumPy scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from jitnet.ir import ArrayType, Eqn, Function, Literal, Value
from jitnet.ops.primitive import Primitive

Environment = dict[Value, Any]
Observer = Callable[[Eqn, Sequence[Any]], None]


def evaluate(f: Function, args: Sequence[Any], observe: Observer | None = None) -> tuple[Any, ...]:
    """The results of `f` on `args`: arrays, NumPy scalars for rank 0, tapes.

    Args:
        f: an array-level Function.
        args: one per parameter, of its dtype and dims; arguments are never written to.
        observe: told of each equation that has run, in regions too, and of its results.

    Raises:
        TypeError: for an argument that is not of its parameter's type.
        AssertionError: where an op's reference produces another type than is on record.
        Exception: what a `check` raises.
    """
    if len(args) != len(f.params):
        raise TypeError(f"@{f.name} takes {len(f.params)} arguments, not {len(args)}")
    env: Environment = dict(zip(f.params, map(_as_datum, args)))
    for position, param in enumerate(f.params):
        problem = _mismatch(param, env[param], env)
        if problem:
            raise TypeError(f"argument {position} of @{f.name}: {problem}")
    with np.errstate(all="ignore"):
        for eqn in f.eqns:
            _run(eqn, env, observe)
    return tuple(_lookup(env, v) for v in f.results)


def _run(eqn: Eqn, env: Environment, observe: Observer | None) -> None:
    op = eqn.op
    assert isinstance(op, Primitive), f"{op} is not an array op"
    operands = [_lookup(env, v) for v in eqn.operands]
    if op.has_regions:
        outputs = op.numpy(eqn, partial(evaluate, observe=observe), *operands)
    else:
        outputs = op.numpy(eqn, *operands)
    assert len(outputs) == len(eqn.results), f"{op.name} returned {len(outputs)} results"
    env.update(zip(eqn.results, map(_as_datum, outputs)))
    for result in eqn.results:
        problem = _mismatch(result, env[result], env)
        assert not problem, f"the reference of {op.name}: {problem}"
    if observe is not None:
        observe(eqn, [env[result] for result in eqn.results])


def _lookup(env: Environment, value: Value) -> Any:
    return value.data if isinstance(value, Literal) else env[value]


def _as_datum(x: Any) -> Any:
    """Arrays of rank 0 become NumPy scalars."""
    return x[()] if isinstance(x, np.ndarray) and x.ndim == 0 else x


def _mismatch(value: Value, datum: Any, env: Environment) -> str:
    """What is wrong with a datum for a value's type, or ''."""
    if not isinstance(value.type, ArrayType):
        return ""
    if not isinstance(datum, np.ndarray | np.generic):
        return f"{value!r} is no array or NumPy scalar but {type(datum).__name__}"
    dims = tuple(d if isinstance(d, int) else int(_lookup(env, d)) for d in value.dims)
    if datum.dtype != value.dtype.numpy or datum.shape != dims:
        return f"{value!r} is {value.dtype}{list(dims)}, not {datum.dtype}{list(datum.shape)}"
    return ""
