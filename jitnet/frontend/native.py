"""Native entries for kinds of calls that come often: a `Specialisation` put as a `CallSpec`.

    f = jit(lambda x, n: {"y": x * n})
    # CallSpec((ArrayLeaf(f64, (3,)), NumberLeaf(int)), (0, 1), Branch(dict, (Result(0),), ("y",)))

What cannot be said so stays with Python. The module is imported when the first entry is made: it
needs the code generator.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.codegen.signature import AliasOutput, BufferOutput, HeapOutput
from jitnet.frontend.context import RUNNING
from jitnet.frontend.effects import Known
from jitnet.frontend.guards import Guards
from jitnet.frontend.places import ABSENT
from jitnet.frontend.pytree import LEAF, is_registered
from jitnet.frontend.signature import LeafType, Static
from jitnet.frontend.traced import Chosen, Input, Output, Spread, Traced
from jitnet.frontend.varying import ANY_EXTENT
from jitnet.ir import Effect, Function, effect_of
from jitnet.runtime import dispatch
from jitnet.runtime.dispatch import Branch, CallSpec, Constant, Entry
from jitnet.runtime.native import NativeProgram
from jitnet.source import user_traceback

RELEASE_SECONDS = 15e-6
"""Programs that take longer, ctypes included, let other threads run."""


def make_entry(
    traced: Traced,
    program: Any,
    computed: Mapping[int, int],
    structure: tuple[Any, ...],
    types: Sequence[LeafType],
    inputs: Sequence[Any],
    slow: Callable[..., Any],
    otherwise: Entry | None,
    calls: ctypes.c_int64,
) -> Entry | None:
    """An entry for calls like this one; None where calls of the kind are Python's.

    Args:
        program: the executable's `run`, and `computed` which of its outputs is which result.
        structure, types: of the arguments.
        inputs: the program's, of this call: it is run once, for the time that it takes.
        slow, otherwise, calls: as `compile_entry` has them.
    """
    if not isinstance(program, NativeProgram):
        return None
    if any(effect_of(eqn) == Effect.HOST for eqn in traced.function.eqns):
        return None  # run again for its time, or its error, it would print again
    stored = [traced.inputs[source] for source in traced.stores.values()]
    if traced.effects or any(given.leaf is None or given.whole for given in stored):
        return None
    spec = _call_spec(traced, program, computed, structure, types)
    if spec is None or not dispatch.is_supported(spec, program):
        return None
    if not _may_take_long(traced.function):
        own = [x.copy(order="K") if isinstance(x, np.ndarray) and stored else x for x in inputs]
        release = _seconds(program, own) > RELEASE_SECONDS
    else:
        release = True
    return dispatch.compile_entry(spec, program, slow, otherwise, release, calls)


def _may_take_long(function: Function) -> bool:
    """Whether one call's time says nothing of another's."""
    return any(eqn.regions for eqn in function.eqns)


def _seconds(program: NativeProgram, inputs: Sequence[Any]) -> float:
    started = time.perf_counter()
    try:
        program(inputs)
    except Exception:  # what it has written to its arguments before need not be good for it again
        return math.inf
    return time.perf_counter() - started


def _call_spec(
    traced: Traced,
    program: NativeProgram,
    computed: Mapping[int, int],
    structure: tuple[Any, ...],
    types: Sequence[LeafType],
) -> CallSpec | None:
    stored = {traced.inputs[source].leaf for source in traced.stores.values()}
    leaves = [_argument(leaf, i in stored) for i, leaf in enumerate(types)]
    results = [_result(o, traced, program, computed, structure) for o in traced.outputs]
    captured = [source.capture for source in traced.inputs if source.leaf is None]
    places = _places(structure)
    if (
        None in results
        or len(set(computed.values())) < len(computed)  # distinct objects over one output
        or any(type(array) is not np.ndarray for array in captured)
        or not all(_is_plain(token) for token in (*structure, *traced.out_tree.tokens))
    ):
        return None
    arguments = _tree(iter(structure), iter(leaves))
    positional, keywords = arguments.children
    items, cells, kinds, condition = _surroundings(traced.guards, captured)
    return CallSpec(
        args=positional.children,
        kwargs=tuple(zip(keywords.keys, keywords.children, strict=True)),
        sources=tuple(_source(given, places) for given in traced.inputs),
        result=_tree(iter(traced.out_tree.tokens), iter(results)),
        items=tuple(item for item in items if item[2] is not ABSENT),
        absent=tuple((names, name) for names, name, held in items if held is ABSENT),
        cells=((RUNNING, 0), *cells),
        kinds=kinds,
        condition=condition,
        fail=_failing(program) if stored else None,
    )


def _failing(program: NativeProgram) -> Callable[[int, int], None]:
    """Raises what the program has reported, as `Jitted.__call__` would."""

    def fail(status: int, address: int) -> None:
        try:
            program.fail(status, address)
        except errors.JitnetError as error:
            raise error.with_traceback(user_traceback(error.__traceback__)) from None

    return fail


def _argument(leaf: LeafType, is_stored: bool) -> Any:
    if isinstance(leaf, Static):
        return Constant(leaf.value)
    if leaf.flavour == "array":
        shape = tuple(None if extent is ANY_EXTENT else extent for extent in leaf.shape)
        return dispatch.ArrayLeaf(leaf.dtype, shape, leaf.layout, is_stored)
    if leaf.flavour == "scalar":
        return dispatch.ScalarLeaf(leaf.dtype)
    if leaf.dtype.is_complex:
        return dispatch.NumberLeaf(complex)
    return dispatch.NumberLeaf(float if leaf.dtype.is_float else int)


def _source(given: Input, places: Sequence[int]) -> Any:
    """Where an input of the program comes from."""
    if given.leaf is None:
        return given.capture
    leaf = places[given.leaf]
    return leaf if given.axis is None else dispatch.Extent(leaf, given.axis)


def _result(
    output: Output | Chosen | Spread | Known,
    traced: Traced,
    program: NativeProgram,
    computed: Mapping[int, int],
    structure: tuple[Any, ...],
) -> Any:
    """A leaf of the result; None where each call must copy."""
    if isinstance(output, Chosen):
        one, other = (
            _result(side, traced, program, computed, structure)
            for side in (output.one, output.other)
        )
        if one is None or other is None:
            return None
        return dispatch.Chosen(computed[output.result], one, other)
    if isinstance(output, Known):
        return None
    if isinstance(output, Spread):
        return _listing(output, program, computed)
    if output.result is None:
        return None if isinstance(output.value, np.ndarray) else Constant(output.value)
    if output.view is not None:
        return None
    if output.source is not None:
        source = traced.inputs[output.source]
        if source.leaf is None:
            return Constant(source.capture)
        return dispatch.Argument(_places(structure)[source.leaf])
    place = computed[output.result]
    made = program.signature.outputs[place]
    if isinstance(made, BufferOutput | HeapOutput) and made.dims:
        return dispatch.Result(place, "array", output.by_columns)
    return dispatch.Result(place, output.flavour) if _is_made(made, output.flavour) else None


def _is_made(made: Any, flavour: str) -> bool:
    """Whether there are objects of rank 0 for such an output: Python's complex numbers are pairs of
    float64."""
    return not isinstance(made, AliasOutput) and (flavour != "python" or made.dtype.name != "c64")


def _listing(
    output: Spread, program: NativeProgram, computed: Mapping[int, int]
) -> dispatch.Listing | None:
    """A list of numbers, NumPy's scalars, arrays of known extents, or tuples of such."""
    first, *rest = output.tree.tokens
    if first is not LEAF and not (first[0] is tuple and all(token is LEAF for token in rest)):
        return None
    parts = []
    for result, flavour in zip(output.results, output.flavours, strict=True):
        made = program.signature.outputs[computed[result]]
        if not isinstance(made, BufferOutput | HeapOutput):
            return None
        extents = made.dims[1:]
        if not all(isinstance(d, int) for d in extents) or not _is_made(made, flavour):
            return None
        parts.append(dispatch.Result(computed[result], "array" if extents else flavour))
    return dispatch.Listing(tuple(parts), first is not LEAF) if parts else None


# -- trees -----------------------------------------------------------------------------------------


def _tree(tokens: Iterator[Any], leaves: Iterator[Any]) -> Any:
    """The tokens' tree with these leaves, as `dispatch` has trees: there, None is a leaf too."""
    token = next(tokens)
    if token is LEAF:
        return next(leaves)
    cls, meta, count = token
    if cls is NoneType:
        return Constant(None)
    children = tuple(_tree(tokens, leaves) for _ in range(count))
    return Branch(cls, children, meta[0] if cls is dict else ())


def _places(structure: tuple[Any, ...]) -> list[int]:
    """By leaf, its number where each None counts as one."""
    counted = [token for token in structure if token is LEAF or token[0] is NoneType]
    return [place for place, token in enumerate(counted) if token is LEAF]


_MAKE: Any = vars(namedtuple("_SAMPLE", ()))["_make"]


def _is_plain(token: Any) -> bool:
    """Whether a container is its items and nothing else; of NamedTuples, whether calling the class
    just makes one."""
    if token is LEAF:
        return True
    cls: Any = token[0]
    if cls in (tuple, list, dict, NoneType):
        return True
    if cls.__bases__ != (tuple,) or is_registered(cls):
        return False
    make = getattr(vars(cls).get("_make"), "__func__", None)
    return getattr(make, "__code__", None) is _MAKE.__func__.__code__


# -- what was read from outside --------------------------------------------------------------------


def _surroundings(held: Guards, captured: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """Items, cells and classes that are compared by identity, and a function for the rest, if any
    is left: the shapes of captured arrays are checked with the program's inputs."""
    items, cells, kinds, rest = held.split()
    inputs = {id(array) for array in captured}
    rest.shapes = [shape for shape in rest.shapes if id(shape[0]) not in inputs]
    left = rest.names or rest.cells or rest.containers or rest.shapes
    return items, cells, kinds, rest.hold if left else None
