"""NumPy's functions on arguments that may be known or traced.

    either(np.floor, 2.5)           2.0, now
    either(np.floor, <traced x>)    %0 = floor %x

What is known while tracing, such as positions that extents decide, is computed then, by NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitnet import ops
from jitnet.frontend.dispatch import apply, call
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer
from jitnet.ir import Value


def is_traced(x: Any) -> bool:
    """Whether x is traced, or a sequence that holds something traced."""
    if isinstance(x, (list, tuple)):
        return any(map(is_traced, x))
    return type(x) is Tracer


def either(function: Any, *args: Any, **kwargs: Any) -> Any:
    """A ufunc or a function of NumPy's, by the tables where an argument is traced."""
    if not any(map(is_traced, (*args, *kwargs.values()))):
        return function(*args, **kwargs)
    if isinstance(function, np.ufunc):
        return apply(function, "__call__", args, kwargs)
    return call(function, *args, **kwargs)


def value_of(x: Any) -> Value:
    """A number or an array, known or traced, as a value; known arrays become constants."""
    if type(x) is Tracer:
        return x.value
    known = np.asarray(x)
    return ops.const(known) if known.ndim else as_array(known[()]).value
