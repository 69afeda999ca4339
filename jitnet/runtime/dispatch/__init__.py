"""Calls of compiled programs without Python in between: one native function per kind of call.

    entry = compile_entry(spec, program, slow=Jitted.__call__)
    set_entry(jitted, entry.address)     # jitted(x) now runs it

The function checks the arguments against the `CallSpec`, field by field, gathers the program's
argument slots, makes the result arrays, runs the program and puts the result together. At the first
thing that differs it jumps to the entry for another kind of call, or to the Python method `slow`;
so it does when the program reports an error, since running it again in Python raises it with all
that belongs to it. Programs that write to their arguments are not run again: a Python function
raises what they report.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jitnet.codegen.signature import AliasOutput, ScalarOutput
from jitnet.runtime.dispatch.arguments import check_arguments, check_surroundings, fill_inputs
from jitnet.runtime.dispatch.helpers import declarations, symbols
from jitnet.runtime.dispatch.results import (
    allocate,
    build_result,
    is_large,
    run_program,
    take_over,
)
from jitnet.runtime.dispatch.spec import (
    Argument,
    ArrayLeaf,
    Branch,
    CallSpec,
    Chosen,
    Constant,
    Extent,
    Listing,
    NumberLeaf,
    Result,
    ScalarLeaf,
    is_named_tuple,
)
from jitnet.runtime.dispatch.text import Emitter
from jitnet.runtime.engine import compile_text
from jitnet.runtime.native import NativeProgram
from jitnet.runtime.vectorcall import NativeCallable

__all__ = [
    "Argument",
    "ArrayLeaf",
    "Branch",
    "CallSpec",
    "Chosen",
    "Constant",
    "Entry",
    "Extent",
    "Listing",
    "NumberLeaf",
    "Result",
    "ScalarLeaf",
    "compile_entry",
    "is_supported",
]


@dataclass(frozen=True, eq=False)
class Entry:
    """A native function for one kind of call. Whoever uses its address keeps it."""

    address: int
    text: str
    kept: tuple[Any, ...]


def compile_entry(
    spec: CallSpec,
    program: NativeProgram,
    slow: Callable[..., Any],
    otherwise: Entry | None = None,
    release: bool = False,
    calls: ctypes.c_int64 | None = None,
) -> Entry:
    """The native function for calls as `spec` says, which `is_supported`.

    Args:
        slow: the function behind `__call__` of the object that will be called; it takes all calls
            that no entry takes.
        otherwise: the entry to try next.
        release: let other Python threads run meanwhile; costs some 30 ns.
        calls: counts the calls that the entry takes.
    """
    e = Emitter(spec, program)
    text = _emit(e, slow, otherwise, release, calls)
    library, (address,) = compile_text(text, ["call"], symbols())
    return Entry(address, text, (library, e.kept, spec, program, slow, otherwise))


def _emit(
    e: Emitter, slow: Any, otherwise: Entry | None, release: bool, calls: ctypes.c_int64 | None
) -> str:
    w, outputs = e.w, e.program.signature.outputs
    check_surroundings(e)
    check_arguments(e)
    read = fill_inputs(e)
    passed = any(isinstance(leaf, Argument) for leaf in _leaves(e.spec.result))
    if release or passed or any(map(is_large, outputs)):  # threads may drop what lists hold
        for x in dict.fromkeys([*read, *(leaf.object for leaf in e.leaves)]):
            e.hold(x)
    made = [leaf for leaf in _leaves(e.spec.result) if isinstance(leaf, Result)]
    turned = {leaf.output for leaf in made if leaf.by_columns}
    arrays = [allocate(e, output, n in turned) for n, output in enumerate(outputs)]
    run_program(e, release)
    if calls is not None:
        _count(e, calls)
    root = build_result(e, take_over(e, arrays, turned))
    w.add(f"call void @Py_IncRef(ptr {root})")
    w.add(f"call void @drop(ptr %objects, i64 {e.objects})")
    w.add(f"ret ptr {root}")
    _ways_out(e, slow, otherwise)
    held = f"ptr %objects, i8 0, i64 {8 * e.objects}, i1 false"
    begin = [
        "define ptr @call(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames) {",
        "entry:",
        f"  %objects = alloca [{max(e.objects, 1)} x ptr]",
        *e.allocas,
        f"  call void @llvm.memset.p0.i64({held})",
    ]
    weights = '!0 = !{!"branch_weights", i32 1000, i32 1}\n'
    return "\n".join([declarations(), *e.globals, *begin, *w.lines, "}\n", weights])


def _count(e: Emitter, calls: ctypes.c_int64) -> None:
    """One more call; no other thread runs meanwhile."""
    e.kept.append(calls)
    place = f"inttoptr (i64 {ctypes.addressof(calls)} to ptr)"
    before = e.w.let(f"load i64, ptr {place}")
    e.w.add(f"store i64 {e.w.let(f'add i64 {before}, 1')}, ptr {place}")


def _ways_out(e: Emitter, slow: Any, otherwise: Entry | None) -> None:
    w = e.w
    w.label("error")  # a Python exception is set
    w.add(f"call void @drop(ptr %objects, i64 {e.objects})")
    w.add("ret ptr null")
    if e.spec.fail is not None:
        w.label("raised")  # the program left with an error, and has written to arguments
        status = w.let("load i32, ptr %status")
        results = w.let("ptrtoint ptr %results to i64")
        fail = e.address_of(e.spec.fail)
        w.add(f"call void @fail(ptr {fail}, i32 {status}, i64 {results})")
        w.jump("error")
    w.label("failed")  # the program left with an error: run it again in Python
    w.add(f"call void @drop(ptr %objects, i64 {e.objects})")
    w.jump("miss")
    w.label("miss")
    arguments = "ptr %args, i64 %nargsf, ptr %kwnames"
    if otherwise is not None:
        other = f"inttoptr (i64 {otherwise.address} to ptr)"
        result = w.let(f"tail call ptr {other}(ptr %self, {arguments})")
    else:
        method = e.address_of(slow)
        result = w.let(f"call ptr @call_method(ptr {method}, ptr %self, {arguments})")
    w.add(f"ret ptr {result}")


# -- what is supported -----------------------------------------------------------------------------


def is_supported(spec: CallSpec, program: NativeProgram) -> bool:
    """Whether `compile_entry` can do this: results that are copies of inputs, and containers other
    than tuple, list, dict and NamedTuple go through Python."""
    signature = program.signature
    leaves: list[Any] = []
    for tree in (*spec.args, *(tree for _, tree in spec.kwargs)):
        leaves += _leaves(tree)
    return (
        NativeCallable is not object
        and None not in leaves
        and None not in _leaves(spec.result)
        and not any(
            isinstance(signature.outputs[leaf.output], AliasOutput)
            for leaf in _leaves(spec.result)
            if isinstance(leaf, Result)
        )
        and all(_is_flag(signature.outputs[n]) for n in _flags(spec.result))
        and all(
            not isinstance(source, int) or _is_passed(leaves[source], spec_of.dtype.name)
            for source, spec_of in zip(spec.sources, signature.inputs, strict=True)
        )
    )


def _is_flag(output: Any) -> bool:
    return isinstance(output, ScalarOutput) and output.dtype.is_bool


def _flags(tree: Any) -> Iterator[int]:
    """The outputs that choose among results."""
    if isinstance(tree, Chosen):
        yield tree.output
    sides = (tree.one, tree.other) if isinstance(tree, Chosen) else ()
    for child in tree.children if isinstance(tree, Branch) else sides:
        yield from _flags(child)


def _leaves(tree: Any) -> Iterator[Any]:
    """The leaves, None for containers of a class that is not known."""
    if isinstance(tree, Chosen):
        yield from _leaves(tree.one)
        yield from _leaves(tree.other)
    elif isinstance(tree, Listing):
        yield from tree.parts
    elif not isinstance(tree, Branch):
        yield tree
    elif tree.cls in (tuple, list, dict) or is_named_tuple(tree.cls):
        for child in tree.children:
            yield from _leaves(child)
    else:
        yield None


def _is_passed(leaf: Any, dtype: str) -> bool:
    """Whether a leaf's bits are those of an input of this dtype, or easily made so."""
    if isinstance(leaf, NumberLeaf):
        return dtype in {float: ("f32", "f64"), complex: ("c128",), int: ("i64",)}[leaf.cls]
    return isinstance(leaf, ArrayLeaf | ScalarLeaf) and leaf.dtype.name == dtype
