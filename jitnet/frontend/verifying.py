"""`jit(fn, verify=True)`: every call runs NumPy too, and the first line that differs is named.

    f = jit(step, verify=True)
    f(x)      # [JN027] h is not what NumPy computes: it differs by 0.25
              #   --> model.py:12 in step

NumPy runs the function on copies of the arguments. Where its results, or the arguments that it
changed, are not those of the compiled program, the traced Function is run by the array interpreter
(`interp`), which is NumPy too. If that agrees with the program, the trace is wrong: what each line
of the function assigned is compared with what the Function computed for that line. If it does not,
the code generator is wrong: the program is compiled again with all of its values as results.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from jitnet import errors
from jitnet.frontend.copying import copied
from jitnet.frontend.device_arrays import device_of
from jitnet.frontend.pytree import flatten, leaf_paths
from jitnet.frontend.recording import ELEMENT, Assigned, record
from jitnet.frontend.restoring import Saved
from jitnet.frontend.traced import Output, Traced
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Eqn, Frame, Value
from jitnet.ops.index import SCATTER
from jitnet.ops.slicing import UPDATE
from jitnet.source import is_users


class Program(Protocol):
    """A compiled function for one kind of arguments: `jitted.Specialisation`."""

    @property
    def traced(self) -> Traced: ...
    @property
    def executable(self) -> Any: ...
    @property
    def computed(self) -> Mapping[int, int]: ...
    def inputs(self, leaves: Sequence[Any]) -> list[Any]: ...
    def run(self, leaves: Sequence[Any], arguments: Any) -> Any: ...


@dataclass(frozen=True)
class _Call:
    """A call that is checked.

    Attributes:
        arguments: `(args, kwargs)` as they were.
        inputs: those of the traced Function.
        scale: how many eps rounding may add up to, see `_scale`.
    """

    fn: Callable[..., Any]
    program: Program
    arguments: Any
    inputs: Sequence[Any]
    scale: float


def run(fn: Callable[..., Any], program: Program, leaves: Sequence[Any], arguments: Any) -> Any:
    """What the program gives for these arguments, once NumPy has given the same.

    Raises:
        VerificationError: where the two differ by more than rounding.
        Exception: what the program raises.
    """
    inputs = program.inputs(leaves)
    if any(device_of(type(x)) for x in inputs):
        raise errors.ArgumentError(
            "an array of a device, for a function with verify=True",
            why="NumPy is to compute the same on copies",
            remedy="pass arrays of NumPy, which device= uploads",
        )
    params = program.traced.function.params
    own = copied([np.asarray(x, p.dtype.numpy) for x, p in zip(inputs, params)])
    args, kwargs, *places = arguments
    given = copied((args, kwargs))
    before = Saved(*places) if places else Saved(())
    call = _Call(fn, program, given, own, _scale(own))
    outside = [x for x, source in zip(inputs, program.traced.inputs) if source.leaf is None]
    numpys = copied(given)
    expected, raised = _by_numpy(fn, numpys, outside)
    numpys_places = before.taken_back()
    try:
        got = program.run(leaves, arguments)
    except Exception as error:
        if raised is None or isinstance(error, type(raised)):
            raise
        wrong = _Found("the error", raised, error, np.inf, errors.raised_at(raised))
        raise _error(wrong, "the compiled program raises another one") from None
    if raised is not None:
        wrong = _Found("the result", raised, got, np.inf, errors.raised_at(raised))
        raise _error(wrong, "the compiled program does not raise") from raised
    ours = ((args, kwargs), before.contents())
    for what, a, b in _compared(program.traced, got, expected, ours, (numpys, numpys_places)):
        apart = difference(a, b, call.scale)
        if apart:
            frames = _origins(program.traced).get(what) or _definition(fn)
            raise _located(call, _Found(what, b, a, apart, frames))
    return got


def _by_numpy(
    fn: Callable[..., Any], arguments: Any, outside: Sequence[Any]
) -> tuple[Any, Exception | None]:
    """What the function returns or raises. Arrays from outside are left as they were."""
    before = [np.array(x) for x in outside]
    args, kwargs = arguments
    try:
        with np.errstate(all="ignore"):
            return fn(*args, **kwargs), None
    except Exception as error:
        return None, error
    finally:
        for array, was in zip(outside, before):
            if isinstance(array, np.ndarray) and array.flags.writeable:
                np.copyto(array, was)


def _compared(
    traced: Traced, got: Any, expected: Any, ours: Any, numpys: Any
) -> Iterator[tuple[str, Any, Any]]:
    """What has to be equal: a name, and both values."""
    (a, tree), (b, other) = flatten(got), flatten(expected)
    if tree != other:
        yield "the result", got, expected
        return
    for i, (x, y) in enumerate(zip(a, b)):
        yield "the result" if len(a) == 1 else f"result {i}", x, y
    (a, tree), (b, other) = flatten(ours[1]), flatten(numpys[1])
    if tree != other:
        yield "what becomes of what is outside", ours[1], numpys[1]
        return
    for path, x, y in zip(leaf_paths(tree), a, b):
        yield f"what becomes of {path.partition('.')[2]}", x, y
    (a, tree), (b, other) = flatten(ours[0]), flatten(numpys[0])
    if tree != other:
        yield "what becomes of the arguments", ours[0], numpys[0]
        return
    for name, x, y in zip(traced.names, a, b):
        yield f"what becomes of argument {name}", x, y


# -- comparing -------------------------------------------------------------------------------------


def difference(got: Any, expected: Any, scale: float) -> float:
    """How far two values are apart; 0.0 where it is rounding, inf where they cannot be compared.

    Args:
        scale: how many eps rounding may add up to, whatever the magnitude of the result.
    """
    if type(got) is not type(expected):
        return np.inf
    if not isinstance(expected, (np.ndarray, np.generic, float, complex)):
        return 0.0 if got is expected or got == expected else np.inf
    return _apart(np.asarray(got), np.asarray(expected), scale)


def _apart(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], scale: float) -> float:
    if a.dtype != b.dtype or a.shape != b.shape:
        return np.inf
    eps = _eps(b.dtype)
    with np.errstate(all="ignore"):
        same = a == b
        if eps:
            same |= np.isnan(a) & np.isnan(b)
        if same.all():
            return 0.0
        wide = np.complex128 if b.dtype.kind == "c" else np.float64
        apart = np.abs(a[~same].astype(wide) - b[~same].astype(wide))
    worst = float(np.where(np.isnan(apart), np.inf, apart).max())
    if not eps:
        return worst
    rounding = eps**0.5 * _greatest([b]) + eps * scale
    return worst if worst > rounding else 0.0


def _eps(dtype: np.dtype[Any]) -> float:
    """Of floats and complex numbers, how far those next to 1 are from it; 0.0 of what is exact."""
    if dtype.name == "bfloat16":
        return 2.0**-7
    return float(np.finfo(dtype).eps) if dtype.kind in "fc" else 0.0


def _scale(inputs: Sequence[Any]) -> float:
    """What rounding leaves of sums that cancel out: some eps of the inputs' magnitude, and more
    the more of them there are."""
    return _greatest(inputs) * (16 + 2 * math.sqrt(max((x.size for x in inputs), default=0)))


def _greatest(values: Sequence[Any]) -> float:
    """The greatest finite magnitude of floats and ints."""
    greatest = 0.0
    for x in map(np.asarray, values):
        finite = np.abs(x[np.isfinite(x)])
        greatest = max(greatest, float(finite.max(initial=0)))
    return greatest


# -- finding the line ------------------------------------------------------------------------------


class _Found(NamedTuple):
    """The first value that differs."""

    variable: str
    expected: Any
    got: Any
    apart: float
    frames: Sequence[errors.Place]


class _Computed(NamedTuple):
    """A value that the interpreter computed, and the lines that it was computed for."""

    frames: Sequence[Frame]
    value: Any


def _located(call: _Call, wrong: _Found) -> errors.VerificationError:
    """The error for results that differ, at the first line that does."""
    made: dict[Value, Any] = {}
    by_line: dict[Any, list[_Computed]] = defaultdict(list)

    def observe(eqn: Eqn, values: Sequence[Any]) -> None:
        for result, value in zip(eqn.results, values):
            made[result] = value
            names = [result.name] if result.name and not eqn.regions else []
            names += [ELEMENT] if eqn.op in (UPDATE, SCATTER) else []
            for i, frame in enumerate(eqn.loc.frames):
                for name in names:
                    computed = _Computed(eqn.loc.frames[i:], value)
                    by_line[frame.file, frame.line, name].append(computed)

    function = call.program.traced.function
    results = evaluate(function, [x[()] for x in call.inputs], observe)
    if _are_as_compiled(call, results):
        assigned = record(call.fn, *copied(call.arguments))
        found = _first_traced_wrongly(assigned, by_line, call.scale)
        return _error(found or wrong, "it was traced wrongly, or handed out wrongly")
    found = _first_miscompiled(call, made)
    return _error(found or wrong, "the code generator is wrong; the interpreter agrees with NumPy")


def _error(found: _Found, why: str) -> errors.VerificationError:
    variable, expected, got, apart, frames = found
    return errors.VerificationError(variable, expected, got, apart, why=why, frames=frames)


def _are_as_compiled(call: _Call, results: Sequence[Any]) -> bool:
    """Whether the program computes what the interpreter does."""
    program = call.program
    own = program.executable.run(copied(call.inputs))
    return all(
        _apart(_like(own[place], results[i]), np.asarray(results[i]), call.scale) == 0.0
        for i, place in program.computed.items()
    )


def _like(x: Any, other: Any) -> np.ndarray[Any, Any]:
    """A number, which may be Python's, or an array, in the other one's dtype."""
    return np.asarray(x, np.asarray(other).dtype)


def _first_traced_wrongly(
    assigned: Sequence[Assigned], by_line: Mapping[Any, Sequence[_Computed]], scale: float
) -> _Found | None:
    """The first assignment whose value is not what the Function has for it.

    Where a line does not run as often in both, as in the arms of a branch or in a loop that is
    traced step by step, it is passed over.
    """
    count: dict[Any, int] = defaultdict(int)
    times: dict[Any, int] = defaultdict(int)
    for a in assigned:
        times[a.place] += 1
    for a in assigned:
        number = count[a.place]
        count[a.place] += 1
        expected = np.asarray(a.value)
        alike = [c for c in by_line.get(a.place, ()) if _is_of_kind(c.value, expected)]
        if len(alike) != times[a.place]:
            continue
        got = alike[number]
        apart = _apart(np.asarray(got.value), expected, scale)
        if apart:
            return _Found(a.variable, a.value, got.value, apart, got.frames)
    return None


def _is_of_kind(value: Any, expected: np.ndarray[Any, Any]) -> bool:
    x = np.asarray(value)
    return bool(x.dtype == expected.dtype) and x.shape == expected.shape


def _first_miscompiled(call: _Call, made: Mapping[Value, Any]) -> _Found | None:
    """The first equation outside of loops and branches whose compiled value is wrong."""
    from jitnet.frontend import backend  # the code generator

    function = call.program.traced.function
    eqns = [eqn for eqn in function.eqns if _has_arrays(eqn)]
    values = [result for eqn in eqns for result in eqn.results]
    whole = replace(function, results=tuple(values), _hash=[])
    executable = backend.compile(whole, ["C"] * len(function.params))
    own = dict(zip(values, executable.run([np.array(x, order="C") for x in call.inputs])))
    for eqn in eqns:
        for result in eqn.results:
            expected = made[result]
            got = _like(own[result], expected)
            apart = _apart(got, np.asarray(expected), call.scale)
            if apart:
                name = result.name or f"a value of the op {eqn.op.name}"
                return _Found(name, expected, got, apart, eqn.loc.frames)
    return None


def _has_arrays(eqn: Eqn) -> bool:
    return bool(eqn.results) and all(isinstance(r.type, ArrayType) for r in eqn.results)


def _definition(fn: Callable[..., Any]) -> Sequence[Frame]:
    code = getattr(inspect.unwrap(fn), "__code__", None)
    if code is None or not is_users(code.co_filename):
        return ()
    return (Frame(code.co_filename, code.co_firstlineno, code.co_qualname),)


def _origins(traced: Traced) -> dict[str, Sequence[Frame]]:
    """The lines that results and changed arguments come from, by what messages call them."""
    function = traced.function
    frames = {r: eqn.loc.frames for eqn in function.eqns for r in eqn.results}
    alone = len(traced.outputs) == 1
    found: dict[str, Sequence[Frame]] = {}
    for i, output in enumerate(traced.outputs):
        if isinstance(output, Output) and output.result is not None:
            value = function.results[output.result]
            found["the result" if alone else f"result {i}"] = frames.get(value, ())
    for result, source in traced.stores.items():
        leaf = traced.inputs[source].leaf
        if leaf is not None:
            name = f"what becomes of argument {traced.names[leaf]}"
            found[name] = frames.get(function.results[result], ())
    return found
