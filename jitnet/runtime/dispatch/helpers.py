"""Functions that all entries call, as LLVM IR: they read CPython's and NumPy's objects.

    %data = call ptr @array_data(ptr %x, ...)    ; null unless %x is the array that is expected

An object's class is at byte 8; a tuple's, list's and dict's size at 16. An ndarray has its data at
16, rank at 24, extents at 32, strides at 40, dtype at 56 and flags at 64.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from jitnet.runtime.engine import compile_text

DECLARATIONS = """\
@PyFloat_Type = external global i8
@PyLong_Type = external global i8
@PyComplex_Type = external global i8
@PyTuple_Type = external global i8
@PyList_Type = external global i8
@PyDict_Type = external global i8
@_Py_TrueStruct = external global i8

declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyMethod_New(ptr, ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)
declare void @PyErr_Clear()
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyLong_FromUnsignedLongLong(i64)
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyComplex_FromDoubles(double, double)
declare ptr @PyBool_FromLong(i64)
declare ptr @PyTuple_New(i64)
declare ptr @PyList_New(i64)
declare ptr @PyDict_New()
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare i32 @PyDict_Next(ptr, ptr, ptr, ptr)
declare ptr @PyDict_GetItemWithError(ptr, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare ptr @PyArray_Scalar(ptr, ptr, ptr)
declare i32 @PyArray_SetBaseObject(ptr, ptr)
declare ptr @PyCapsule_New(ptr, ptr, ptr)
declare ptr @PyCapsule_GetPointer(ptr, ptr)
declare ptr @aligned_alloc(i64, i64)
declare void @free(ptr)
"""
"""What CPython and NumPy offer."""

HELPERS = """\
; The data of an array of exactly this dtype, rank, extents and flags; null for anything else.
; An extent of -1 stands for any that is more than 1.
define ptr @array_data(ptr %x, ptr %array, ptr %descr, i32 %rank, ptr %dims, i32 %mask,
                                i32 %wanted) {
  %class.at = getelementptr i8, ptr %x, i64 8
  %class = load ptr, ptr %class.at
  %is.array = icmp eq ptr %class, %array
  br i1 %is.array, label %fields, label %no
fields:
  %descr.at = getelementptr i8, ptr %x, i64 56
  %own.descr = load ptr, ptr %descr.at
  %is.descr = icmp eq ptr %own.descr, %descr
  %rank.at = getelementptr i8, ptr %x, i64 24
  %own.rank = load i32, ptr %rank.at
  %is.rank = icmp eq i32 %own.rank, %rank
  %flags.at = getelementptr i8, ptr %x, i64 64
  %flags = load i32, ptr %flags.at
  %masked = and i32 %flags, %mask
  %is.wanted = icmp eq i32 %masked, %wanted
  %most = and i1 %is.descr, %is.rank
  %all = and i1 %most, %is.wanted
  br i1 %all, label %shape, label %no
shape:
  %dims.at = getelementptr i8, ptr %x, i64 32
  %own.dims = load ptr, ptr %dims.at
  br label %head
head:
  %i = phi i32 [ 0, %shape ], [ %next, %axis ], [ %next, %any ]
  %done = icmp eq i32 %i, %rank
  br i1 %done, label %yes, label %axis
axis:
  %own.at = getelementptr i64, ptr %own.dims, i32 %i
  %own = load i64, ptr %own.at
  %dim.at = getelementptr i64, ptr %dims, i32 %i
  %dim = load i64, ptr %dim.at
  %next = add i32 %i, 1
  %same = icmp eq i64 %own, %dim
  br i1 %same, label %head, label %any
any:
  %is.any = icmp eq i64 %dim, -1
  %is.more = icmp sgt i64 %own, 1
  %fits = and i1 %is.any, %is.more
  br i1 %fits, label %head, label %no
yes:
  %data.at = getelementptr i8, ptr %x, i64 16
  %data = load ptr, ptr %data.at
  ret ptr %data
no:
  ret ptr null
}

; The value behind the next key of a dict if the key is this object, otherwise null.
define ptr @next_item(ptr %dict, ptr %position, ptr %expected) {
  %key.at = alloca ptr
  %value.at = alloca ptr
  %more = call i32 @PyDict_Next(ptr %dict, ptr %position, ptr %key.at, ptr %value.at)
  %none = icmp eq i32 %more, 0
  br i1 %none, label %no, label %found
found:
  %key = load ptr, ptr %key.at
  %same = icmp eq ptr %key, %expected
  br i1 %same, label %yes, label %no
yes:
  %value = load ptr, ptr %value.at
  ret ptr %value
no:
  ret ptr null
}

; Whether an int fits i64; its value.
define i1 @small_int(ptr %x, ptr %place) {
  %overflow.at = alloca i32
  %value = call i64 @PyLong_AsLongLongAndOverflow(ptr %x, ptr %overflow.at)
  store i64 %value, ptr %place
  %overflow = load i32, ptr %overflow.at
  %fits = icmp eq i32 %overflow, 0
  ret i1 %fits
}

; Whether two objects of built-in classes are of one class and equal.
define i1 @same(ptr %x, ptr %y) {
  %identical = icmp eq ptr %x, %y
  br i1 %identical, label %yes, label %classes
classes:
  %x.at = getelementptr i8, ptr %x, i64 8
  %y.at = getelementptr i8, ptr %y, i64 8
  %x.class = load ptr, ptr %x.at
  %y.class = load ptr, ptr %y.at
  %comparable = icmp eq ptr %x.class, %y.class
  br i1 %comparable, label %compare, label %no
compare:
  %answer = call i32 @PyObject_RichCompareBool(ptr %x, ptr %y, i32 2)
  %equal = icmp eq i32 %answer, 1
  ret i1 %equal
yes:
  ret i1 true
no:
  ret i1 false
}

; Whether a Python function returns True; an exception counts as no.
define i1 @holds(ptr %condition) {
  %answer = call ptr @PyObject_CallNoArgs(ptr %condition)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %clear, label %compare
clear:
  call void @PyErr_Clear()
  ret i1 false
compare:
  %true = icmp eq ptr %answer, @_Py_TrueStruct
  call void @Py_DecRef(ptr %answer)
  ret i1 %true
}

; Raise what a program has reported, by a Python function.
define void @fail(ptr %function, i32 %status, i64 %results) {
  %arguments = alloca [2 x ptr]
  %wide = zext i32 %status to i64
  %first = call ptr @PyLong_FromLongLong(i64 %wide)
  %second = call ptr @PyLong_FromLongLong(i64 %results)
  store ptr %first, ptr %arguments
  %second.at = getelementptr ptr, ptr %arguments, i64 1
  store ptr %second, ptr %second.at
  %answer = call ptr @PyObject_Vectorcall(ptr %function, ptr %arguments, i64 2, ptr null)
  call void @Py_DecRef(ptr %first)
  call void @Py_DecRef(ptr %second)
  ret void
}

; A new array, by columns if so flagged. NumPy takes over the reference to the dtype.
define ptr @new_array(ptr %array, ptr %descr, i32 %rank, ptr %dims, i32 %flags) {
  call void @Py_IncRef(ptr %descr)
  %x = call ptr @PyArray_NewFromDescr(ptr %array, ptr %descr, i32 %rank, ptr %dims, ptr null,
                                      ptr null, i32 %flags, ptr null)
  ret ptr %x
}

; What is done with a kernel's memory when the array over it is gone.
define void @release(ptr %capsule) {
  %data = call ptr @PyCapsule_GetPointer(ptr %capsule, ptr null)
  %block = getelementptr i8, ptr %data, i64 -64 ; codegen.heap.HEADER
  call void @free(ptr %block)
  ret void
}

; A new array over memory that a kernel has allocated, which it owns from then on.
define ptr @array_over(ptr %array, ptr %descr, i32 %rank, ptr %dims, ptr %data, i32 %flags) {
  %owner = call ptr @PyCapsule_New(ptr %data, ptr null, ptr @release)
  %none = icmp eq ptr %owner, null
  br i1 %none, label %failed, label %make
make:
  call void @Py_IncRef(ptr %descr)
  %x = call ptr @PyArray_NewFromDescr(ptr %array, ptr %descr, i32 %rank, ptr %dims, ptr null,
                                      ptr %data, i32 %flags, ptr null)
  %unmade = icmp eq ptr %x, null
  br i1 %unmade, label %drop.owner, label %own
drop.owner:
  call void @Py_DecRef(ptr %owner)
  ret ptr null
own:
  %status = call i32 @PyArray_SetBaseObject(ptr %x, ptr %owner)
  ret ptr %x
failed:
  ret ptr null
}

; Call a method with arguments as a vectorcall has them.
define ptr @call_method(ptr %function, ptr %self, ptr %args, i64 %nargsf, ptr %kwnames) {
  %method = call ptr @PyMethod_New(ptr %function, ptr %self)
  %none = icmp eq ptr %method, null
  br i1 %none, label %failed, label %call
failed:
  ret ptr null
call:
  %result = call ptr @PyObject_Vectorcall(ptr %method, ptr %args, i64 %nargsf, ptr %kwnames)
  call void @Py_DecRef(ptr %method)
  ret ptr %result
}

; Give up the references that are held; the rest of the places are null.
define void @drop(ptr %objects, i64 %count) {
  br label %head
head:
  %i = phi i64 [ 0, %0 ], [ %next, %step ]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %out, label %body
body:
  %at = getelementptr ptr, ptr %objects, i64 %i
  %x = load ptr, ptr %at
  %none = icmp eq ptr %x, null
  br i1 %none, label %step, label %release
release:
  call void @Py_DecRef(ptr %x)
  br label %step
step:
  %next = add i64 %i, 1
  br label %head
out:
  ret void
}

; Memory for one call: the one that is kept (`home`) unless another call has it, or new.
define ptr @take(ptr %spare, i64 %size) {
  %left = atomicrmw xchg ptr %spare, ptr null acquire
  %none = icmp eq ptr %left, null
  br i1 %none, label %new, label %found
found:
  ret ptr %left
new:
  %fresh = call ptr @aligned_alloc(i64 64, i64 %size)
  ret ptr %fresh
}

define void @give(ptr %spare, ptr %block, ptr %home) {
  %is.home = icmp eq ptr %block, %home
  br i1 %is.home, label %keep, label %drop
keep:
  store atomic ptr %block, ptr %spare release, align 8
  ret void
drop:
  call void @free(ptr %block)
  ret void
}
"""
"""What entries need more than once, compiled once."""
_DEFINITION = re.compile(r"^define (\w+ @(\w+)\([^)]*\)) \{", re.MULTILINE)


def declarations() -> str:
    """What an entry's text begins with."""
    helpers = [f"declare {head}" for head, _ in _DEFINITION.findall(HELPERS)]
    return "\n".join([DECLARATIONS, *helpers, ""])


@lru_cache(maxsize=1)
def symbols() -> Mapping[str, int]:
    """Addresses of what `declarations` has and the process does not export."""
    numpy = numpy_functions()
    names = [name for _, name in _DEFINITION.findall(HELPERS)]
    library, addresses = compile_text(DECLARATIONS + HELPERS, names, numpy)
    _KEPT.append(library)
    return numpy | dict(zip(names, addresses))


_KEPT: list[Any] = []


def numpy_functions() -> dict[str, int]:
    """Addresses from NumPy's table of C functions."""
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    multiarray: Any = np._core.multiarray  # type: ignore[attr-defined]
    table = ctypes.cast(get(multiarray._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    places = {"PyArray_NewFromDescr": 94, "PyArray_Scalar": 60, "PyArray_SetBaseObject": 282}
    return {name: int(table[place] or 0) for name, place in places.items()}
