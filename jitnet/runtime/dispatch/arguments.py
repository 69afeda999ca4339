"""Checks of the arguments and of what a function read from outside; the program's inputs.

f({"w": w, "b": b}, 0.1)    class of the dict, its size, its keys in order; w and b; a float
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from jitnet.codegen.signature import Input
from jitnet.codegen.text import memory_type
from jitnet.runtime.dispatch.spec import (
    ArgumentTree,
    ArrayLeaf,
    Branch,
    Constant,
    Extent,
    NumberLeaf,
    ScalarLeaf,
)
from jitnet.runtime.dispatch.text import Emitter, Leaf

_BY_VALUE = (int, str, bytes)
_NUMBERS = {float: "PyFloat_Type", int: "PyLong_Type", complex: "PyComplex_Type"}
_CONTAINERS = {tuple: "PyTuple_Type", list: "PyList_Type", dict: "PyDict_Type"}


def check_arguments(e: Emitter) -> None:
    """Leave unless the arguments are of the kind; collect their leaves."""
    w, spec = e.w, e.spec
    count = w.let("and i64 %nargsf, 9223372036854775807")
    e.require_equal("i64", count, len(spec.args))
    if not spec.kwargs:
        e.require_equal("ptr", "%kwnames", "null")
    else:
        e.require(w.let("icmp ne ptr %kwnames, null"))
        e.require_equal("i64", e.field("i64", "%kwnames", 16), len(spec.kwargs))
    for i, tree in enumerate(spec.args):
        _check(e, tree, e.field("ptr", "%args", 8 * i))
    for i, (name, tree) in enumerate(spec.kwargs):
        given = e.field("ptr", "%kwnames", 24 + 8 * i)
        e.require_equal("ptr", given, e.address_of(name))
        _check(e, tree, e.field("ptr", "%args", 8 * (len(spec.args) + i)))


def _check(e: Emitter, tree: ArgumentTree, x: str) -> None:
    if isinstance(tree, Branch):
        for child, item in zip(tree.children, _items(e, tree, x)):
            _check(e, child, item)
    else:
        e.leaves.append(Leaf(tree, x, _check_leaf(e, tree, x)))


def _items(e: Emitter, tree: Branch, x: str) -> Iterator[str]:
    """The container's items; each is written when it is asked for."""
    cls = f"@{_CONTAINERS[tree.cls]}" if tree.cls in _CONTAINERS else e.address_of(tree.cls)
    e.require_class(x, cls)
    e.require_equal("i64", e.field("i64", x, 16), len(tree.children))
    if tree.cls is dict:
        yield from _dict_items(e, tree, x)
        return
    items = e.field("ptr", x, 24) if tree.cls is list else e.at(x, 24)
    for i in range(len(tree.children)):
        yield e.field("ptr", items, 8 * i)


def _dict_items(e: Emitter, tree: Branch, x: str) -> Iterator[str]:
    """The values in order, the keys being the same objects in the same order."""
    position = e.stack(e.w.fresh("position"), 8)
    e.w.add(f"store i64 0, ptr {position}")
    for key in tree.keys:
        expected = e.address_of(key)
        value = e.w.let(f"call ptr @next_item(ptr {x}, ptr {position}, ptr {expected})")
        e.require(e.w.let(f"icmp ne ptr {value}, null"))
        yield value


def _check_leaf(e: Emitter, tree: ArgumentTree, x: str) -> str:
    if isinstance(tree, ArrayLeaf):
        return e.check_array(x, tree.dtype, tree.shape, tree.layout, tree.written)
    if isinstance(tree, ScalarLeaf):
        e.require_class(x, e.address_of(tree.dtype.numpy.type))
        return e.at(x, 16)
    if isinstance(tree, NumberLeaf):
        e.require_class(x, f"@{_NUMBERS[tree.cls]}")
        if tree.cls is not int:
            return e.at(x, 16)
        place = e.stack(e.w.fresh("int"), 8)
        e.require(e.w.let(f"call i1 @small_int(ptr {x}, ptr {place})"))
        return place
    assert isinstance(tree, Constant)
    expected = e.address_of(tree.value)
    if type(tree.value) in _BY_VALUE:
        e.require(e.w.let(f"call i1 @same(ptr {x}, ptr {expected})"))
    else:
        e.require_equal("ptr", x, expected)
    return "null"


def check_surroundings(e: Emitter) -> None:
    """Leave unless what the function read from outside is as it was. Comes first: a condition runs
    Python code, and no address may be held meanwhile."""
    w, spec = e.w, e.spec
    names = [(*item[:2], e.address_of(item[2])) for item in spec.items]
    for namespace, key, expected in (*names, *((*name, "null") for name in spec.absent)):
        where, name = e.address_of(namespace), e.address_of(key)
        now = w.let(f"call ptr @PyDict_GetItemWithError(ptr {where}, ptr {name})")
        e.require_equal("ptr", now, expected)
    for cell, expected in spec.cells:
        now = e.field("ptr", e.address_of(cell), 16)
        e.require_equal("ptr", now, e.address_of(expected))
    for thing, cls in spec.kinds:
        e.require_class(e.address_of(thing), e.address_of(cls))
    if spec.condition is not None:
        condition = e.address_of(spec.condition)
        e.require(w.let(f"call i1 @holds(ptr {condition})"))


def fill_inputs(e: Emitter) -> list[str]:
    """Fill the argument slots of the inputs; the objects that the program reads."""
    w, signature = e.w, e.program.signature
    read = []
    arrays = []
    slots = sum(1 + i.strides for i in signature.inputs)
    e.stack("argv", 8 * (slots + len(signature.outputs) + 1))
    for spec, source in zip(signature.inputs, e.spec.sources, strict=True):
        if isinstance(source, Extent):
            extent = _extent(e, e.leaves[source.leaf], source.axis)
            w.add(f"store i64 {extent}, ptr {e.next_slot()}")
            continue
        if isinstance(source, int):
            leaf = e.leaves[source]
        else:
            x = e.address_of(source)
            dtype, shape = spec.dtype, source.shape
            data = e.check_array(x, dtype, shape, spec.layout if spec.rank else "C")
            leaf = Leaf(ArrayLeaf(dtype, shape, spec.layout), x, data)
        read.append(leaf.object)
        if spec.is_array:
            arrays.append((spec, leaf))
            w.add(f"store ptr {leaf.value}, ptr {e.next_slot()}")
            _strides(e, spec, leaf)
        else:
            _scalar_input(e, spec, leaf)
    _require_apart(e, arrays)
    return read


def _require_apart(e: Emitter, arrays: Sequence[tuple[Input, Leaf]]) -> None:
    """Leave where memory that the program writes to is shared: that is traced by itself."""
    if not any(spec.written for spec, _ in arrays):
        return
    w = e.w
    bounds = [(spec.written, *_bounds(e, leaf)) for spec, leaf in arrays if _has_elements(leaf)]
    for i, (is_written, low, high) in enumerate(bounds):
        for other_is_written, other_low, other_high in bounds[i + 1 :]:
            if is_written or other_is_written:
                after = w.let(f"icmp uge i64 {low}, {other_high}")
                before = w.let(f"icmp uge i64 {other_low}, {high}")
                e.require(w.let(f"or i1 {after}, {before}"))


def _has_elements(leaf: Leaf) -> bool:
    return not isinstance(leaf.tree, ArrayLeaf) or 0 not in leaf.tree.shape


def _bounds(e: Emitter, leaf: Leaf) -> tuple[str, str]:
    """Where an array's memory begins and ends, as NumPy's `may_share_memory` sees it."""
    w, tree = e.w, leaf.tree
    assert isinstance(tree, ArrayLeaf | ScalarLeaf | NumberLeaf)
    low = w.let(f"ptrtoint ptr {leaf.value} to i64")
    size = 16 if isinstance(tree, NumberLeaf) else tree.dtype.itemsize
    if not isinstance(tree, ArrayLeaf):
        return low, w.let(f"add i64 {low}, {size}")
    if tree.layout != "strided":
        span = str(size * math.prod(extent for extent in tree.shape if extent is not None))
        for axis, extent in enumerate(tree.shape):
            if extent is None:
                span = w.let(f"mul i64 {span}, {_extent(e, leaf, axis)}")
        return low, w.let(f"add i64 {low}, {span}")
    high = w.let(f"add i64 {low}, {size}")
    steps = e.field("ptr", leaf.object, 40)
    for axis, extent in enumerate(tree.shape):
        last = w.let(f"sub i64 {_extent(e, leaf, axis)}, 1") if extent is None else extent - 1
        span = w.let(f"mul i64 {e.field('i64', steps, 8 * axis)}, {last}")
        is_down = w.let(f"icmp slt i64 {span}, 0")
        low = w.let(f"add i64 {low}, {w.let(f'select i1 {is_down}, i64 {span}, i64 0')}")
        high = w.let(f"add i64 {high}, {w.let(f'select i1 {is_down}, i64 0, i64 {span}')}")
    return low, high


def _extent(e: Emitter, leaf: Leaf, axis: int) -> str:
    """An array's extent, as it comes."""
    return e.field("i64", e.field("ptr", leaf.object, 32), 8 * axis)


def _strides(e: Emitter, spec: Input, leaf: Leaf) -> None:
    if spec.layout != "strided":
        return
    w, size = e.w, spec.unit.itemsize
    steps = e.field("ptr", leaf.object, 40)
    for axis in range(spec.rank):
        step = e.field("i64", steps, 8 * axis)
        e.require_equal("i64", w.let(f"and i64 {step}, {size - 1}"), 0)
        step = w.let(f"ashr i64 {step}, {size.bit_length() - 1}")
        w.add(f"store i64 {step}, ptr {e.next_slot()}")
    for _ in range(spec.strides - spec.rank):
        w.add(f"store i64 1, ptr {e.next_slot()}")


def _scalar_input(e: Emitter, spec: Input, leaf: Leaf) -> None:
    w, slot, dtype = e.w, e.next_slot(), spec.dtype
    if isinstance(leaf.tree, NumberLeaf) and dtype.name == "f32":
        double = w.let(f"load double, ptr {leaf.value}")
        w.add(f"store float {w.let(f'fptrunc double {double} to float')}, ptr {slot}")
        return
    type = memory_type(dtype)
    w.add(f"store {type} {w.let(f'load {type}, ptr {leaf.value}')}, ptr {slot}")
