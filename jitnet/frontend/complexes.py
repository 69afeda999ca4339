"""NumPy's functions that take complex numbers apart: real, imag, angle, iscomplex.

np.real(z)      z: c128[3]  ->  %0 = real %z
np.imag(x)      x: f64[3]   ->  zeros
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import ops
from jitnet.frontend import elementwise
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer, wrap


def real(val: Any) -> Any:
    """`np.real`: real numbers are their own real parts, the same object."""
    x = val if type(val) is Tracer else as_array(val)
    return wrap(ops.real(x.value), x.flavour) if x.value.dtype.is_complex else x


def imag(val: Any) -> Any:
    """`np.imag`."""
    x = val if type(val) is Tracer else as_array(val)
    return wrap(ops.imag(x.value), x.flavour)


def angle(z: Any, deg: bool = False) -> Any:
    """`np.angle`: in (-pi, pi], or in degrees."""
    x = as_array(z)
    found = elementwise.call(np.arctan2, imag(x), real(x))
    return elementwise.call(np.multiply, found, 180 / np.pi) if deg else found


def isreal(x: Any) -> Any:
    """`np.isreal`: where the imaginary part is 0."""
    return elementwise.call(np.equal, imag(as_array(x)), 0)


def iscomplex(x: Any) -> Any:
    """`np.iscomplex`: where the imaginary part is not 0."""
    return elementwise.call(np.not_equal, imag(as_array(x)), 0)


TABLE: dict[Any, Callable[..., Any]] = {
    np.real: real,
    np.imag: imag,
    np.angle: angle,
    np.isreal: isreal,
    np.iscomplex: iscomplex,
    np.iscomplexobj: lambda x: as_array(x).value.dtype.is_complex,
    np.isrealobj: lambda x: not as_array(x).value.dtype.is_complex,
}
