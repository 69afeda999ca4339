"""Python classes whose calls can go straight to native code.

    class Jitted(NativeCallable):
        def __call__(self, *args, **kwargs): ...     # runs while no entry is set

    enable(Jitted)
    set_entry(f, address)        # ptr (ptr self, ptr args, i64 nargsf, ptr kwnames)

CPython calls an object by the pointer at its class's vectorcall offset, and by `__call__` where
that pointer is null. `NativeCallable` has the room for the pointer; `enable` tells CPython to look
there, which it does not do by itself for classes that define `__call__`. What is relied on is
checked: where it does not hold, nothing is enabled and `__call__` runs as always.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_OFFSET = 16  # of the entry in an instance, behind the object's head
_TYPE_VECTORCALL_OFFSET, _TYPE_FLAGS = 56, 168  # in a type object, on 64-bit systems
_HAVE_VECTORCALL = 1 << 11
_DEFAULT_FLAGS = 1 << 18  # every feature of the version that a type has without asking
_BASETYPE = 1 << 10
_MEMBERS_SLOT, _SSIZE_MEMBER, _READONLY = 72, 19, 1


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _TypeSlot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class _TypeSpec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_TypeSlot)),
    )


def _supported() -> bool:
    """Whether this interpreter lays objects out as this module and `runtime.dispatch` expect."""
    return (
        sys.implementation.name == "cpython"
        and (3, 11) <= sys.version_info < (3, 14)
        and sys.maxsize == 2**63 - 1
        and sys.byteorder == "little"
        and not set("dt") & set(getattr(sys, "abiflags", ""))  # debug, free-threaded
    )


_KEPT: list[Any] = []  # the type refers to these


def _make_base() -> Any:
    if not _supported():
        return object
    members = (_Member * 2)(
        _Member(b"__vectorcalloffset__", _SSIZE_MEMBER, _OFFSET, _READONLY, None), _Member()
    )
    slots = (_TypeSlot * 2)(_TypeSlot(_MEMBERS_SLOT, ctypes.addressof(members)), _TypeSlot())
    name = b"jitnet.runtime.vectorcall.NativeCallable"
    spec = _TypeSpec(name, _OFFSET + 8, 0, _DEFAULT_FLAGS | _BASETYPE, slots)
    _KEPT.extend((members, slots, spec))
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(
        ("PyType_FromSpec", ctypes.pythonapi)
    )
    return make(ctypes.addressof(spec))


NativeCallable: Any = _make_base()


def enable(cls: type) -> bool:
    """Let instances of this subclass of `NativeCallable`, which defines `__call__`, be called by
    their entries. Returns whether they will be."""
    if NativeCallable is object:
        return False
    offset = ctypes.c_ssize_t.from_address(id(cls) + _TYPE_VECTORCALL_OFFSET)
    flags = ctypes.c_ulong.from_address(id(cls) + _TYPE_FLAGS)
    if flags.value != cls.__flags__ or offset.value != _OFFSET:
        return False
    flags.value |= _HAVE_VECTORCALL
    return True


def set_entry(instance: Any, address: int) -> None:
    """Call `instance` by the native function at this address from now on; 0 for `__call__`.

    The caller keeps the code alive as long as the instance lives.
    """
    ctypes.c_void_p.from_address(id(instance) + _OFFSET).value = address
