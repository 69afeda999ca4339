"""NVIDIA's compiler takes the CUDA C++ as it is, for GPUs of three generations, without spills.

No GPU is needed for that, only the compiler: `pip install "jitnet[nvrtc]"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet.codegen.cuda.cut import cut
from jitnet.runtime.devices.cuda import OPTIONS
from jitnet.runtime.executable import lowered

nvrtc = pytest.importorskip(
    "cuda.bindings.nvrtc", reason='NVRTC is not installed: pip install "jitnet[nvrtc]"'
)

GENERATIONS = ("sm_80", "sm_90", "sm_100")
SPILL = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def normalised(x):
    d = x - x.mean(axis=1, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=1, keepdims=True) + 1e-5)


def softmax_pulled(x, ct):
    return jitnet.vjp(softmax, x)[1](ct)


def scattered(x, i, v):
    x[i] += v
    return x[x > 0], np.cumsum(x)


def blurred(u, steps):
    for _ in range(steps):
        u[1:-1, 1:-1] = (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]) / 4
    return u


def escaped(x, y):
    a, b, n = x, y, np.zeros(x.shape, np.int32)
    for _ in range(5):
        a, b = a * a - b * b + x, 2 * a * b + y
        n += a * a + b * b < 4
    return n


def powers(z, w):
    return np.exp(z) * w, np.arctan2(z.real, w.imag), abs(z) ** 0.3


X = np.ones((64, 1000), np.float32)
Z = np.ones(3000, np.complex128)
CASES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (softmax, (X,)),
    (softmax_pulled, (X, X)),
    (gelu, (X,)),
    (normalised, (X,)),
    (lambda x: (x.sum(), x.max(), x.sum(axis=0), x.std(axis=1)), (X.astype(np.float64),)),
    (scattered, (np.ones(3000), np.arange(5000) % 3000, np.ones(5000))),
    (blurred, (np.ones((200, 300)), 30)),
    (escaped, (X, X)),
    (powers, (Z, Z)),
]


def unit(fn: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """The CUDA C++ of a function."""
    f = jitnet.trace(fn)(*args)
    return cut(lowered(f, ["C"] * len(f.params)).program.kernel).text


def compiled(text: str, generation: str) -> str:
    """What the compiler says of a translation unit.

    Raises:
        AssertionError: it does not take it.
    """
    error, program = nvrtc.nvrtcCreateProgram(text.encode(), b"kernels.cu", 0, [], [])
    assert not int(error)
    options = [*OPTIONS, "--ptxas-options=-v", f"-arch={generation}"]
    (error,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = b" " * size
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(program)
    assert not int(error), log.decode()
    return log.decode()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_kernels_compile_without_spills(generation: str) -> None:
    for fn, args in CASES:
        log = compiled(unit(fn, args), generation)
        spills = SPILL.findall(log)
        assert spills, log
        assert set(spills) == {("0", "0")}, f"{fn.__name__}: {log}"
