"""The cases: which functions, at which sizes.

CASES["memory"][0].make(rng, small=True)    # a few hundred elements, to see whether all is right
CASES["memory"][0].make(rng, small=False)   # 256 MB for each large array
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from . import functions as f
from .case import Case, leaves

MB = 1 << 20
LARGE = 256 * MB // 4
"""Elements of float32 in 256 MB."""


def _f32(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape, dtype=np.float32)


def _normal(*shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> Callable[..., Any]:
    """Arguments of float32, each with its small shape and its large one."""
    return lambda rng, small: tuple(_f32(rng, *(s if small else large)) for s, large in shapes)


def _given(*args: Any) -> int:
    """The bytes of all arrays among the arguments."""
    return sum(x.nbytes for x in leaves(list(args)) if isinstance(x, np.ndarray))


# -- kernels that wait for memory ------------------------------------------------------------------

FLAT = ((1000,), (LARGE,))
ROWS = ((20, 100), (LARGE // 1024, 1024))
ROW = ((100,), (1024,))
PLANE = ((40, 50), (8192, 8192))
SPACE = ((10, 11, 12), (400, 400, 400))


def _scale(rng: np.random.Generator, small: bool) -> Any:
    return (np.float32(2.5), *_normal(FLAT, FLAT)(rng, small))


def _taken(rng: np.random.Generator, small: bool) -> Any:
    rows, columns, count = (50, 32, 40) if small else (1 << 18, 256, 1 << 18)
    return _f32(rng, rows, columns), rng.integers(0, rows, count)


MEMORY = (
    Case("a*x+y", "memory", f.scale_and_add, _scale, least=lambda a, x, y: 3 * x.nbytes),
    Case("gelu", "memory", f.gelu, _normal(FLAT), least=lambda x: 2 * x.nbytes),
    Case("softmax rows", "memory", f.softmax, _normal(ROWS), least=lambda x: 2 * x.nbytes),
    Case(
        "layernorm rows",
        "memory",
        f.layernorm,
        _normal(ROWS, ROW, ROW),
        least=lambda x, gain, bias: 2 * x.nbytes,
    ),
    Case("row sums", "memory", f.row_sums, _normal(ROWS), least=_given),
    Case("column sums", "memory", f.column_sums, _normal(ROWS), least=_given),
    Case("full sum", "memory", f.full_sum, _normal(FLAT), least=_given, tolerance=1e-2),
    Case("transpose", "memory", f.transpose, _normal(PLANE), least=lambda x: 2 * x.nbytes),
    Case("stencil, 5 points", "memory", f.stencil_2d, _normal(PLANE), least=lambda u: 2 * u.nbytes),
    Case("stencil, 7 points", "memory", f.stencil_3d, _normal(SPACE), least=lambda u: 2 * u.nbytes),
    Case("scan", "memory", f.running_sum, _normal(FLAT), least=lambda x: 2 * x.nbytes),
    Case(
        "gather rows",
        "memory",
        f.rows_taken,
        _taken,
        least=lambda x, i: i.nbytes + 2 * len(i) * x[0].nbytes,
    ),
)

# -- beside peers ----------------------------------------------------------------------------------


def _layers(rng: np.random.Generator, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Weights w1, b1, w2, ... of dense layers."""
    params = {}
    for k, (n, m) in enumerate(pairwise(sizes), 1):
        params[f"w{k}"] = _f32(rng, n, m) / np.float32(n**0.5)
        params[f"b{k}"] = _f32(rng, m) * np.float32(0.1)
    return params


def _perceptron(rng: np.random.Generator, small: bool) -> Any:
    batch, sizes = (20, (24, 40, 36, 10)) if small else (1024, (784, 1024, 1024, 10))
    params = _layers(rng, sizes)
    mean, square = ({k: np.zeros_like(v) for k, v in params.items()} for _ in range(2))
    return params, mean, square, np.array(0), _f32(rng, batch, sizes[0]), rng.integers(0, 10, batch)


def _lenet(rng: np.random.Generator, small: bool) -> Any:
    batch = 2 if small else 256
    params = _layers(rng, (400, 120, 84, 10))
    params |= {"k1": _f32(rng, 5, 5, 1, 6) / np.float32(5), "c1": _f32(rng, 6)}
    params |= {"k2": _f32(rng, 5, 5, 6, 16) / np.float32(12), "c2": _f32(rng, 16)}
    return params, _f32(rng, batch, 32, 32, 1), rng.integers(0, 10, batch)


def _lstm(rng: np.random.Generator, small: bool) -> Any:
    steps, batch, d, n = (4, 3, 5, 7) if small else (100, 64, 256, 512)
    params = {
        "w": _f32(rng, d, 4 * n) / np.float32(d**0.5),
        "u": _f32(rng, n, 4 * n) / np.float32(n**0.5),
        "b": _f32(rng, 4 * n) * np.float32(0.1),
    }
    return params, _f32(rng, steps, batch, d), _f32(rng, steps, batch, n)


def _block(rng: np.random.Generator, small: bool) -> Any:
    batch, length, d, heads = (2, 9, 12, 3) if small else (8, 512, 512, 8)
    shapes = {"qkv": (d, 3 * d), "out": (d, d), "up": (d, 4 * d), "down": (4 * d, d)}
    params = {k: _f32(rng, *s) / np.float32(s[0] ** 0.5) for k, s in shapes.items()}
    params |= {f"{k}_bias": _f32(rng, s[1]) * np.float32(0.1) for k, s in shapes.items()}
    for k in ("1", "2"):
        params |= {f"gain{k}": 1 + _f32(rng, d) / 10, f"shift{k}": _f32(rng, d) / 10}
    return params, _f32(rng, batch, length, d), _f32(rng, batch, length, d), heads


def _stepped(*shapes: tuple[tuple[int, ...], tuple[int, ...]], steps: int) -> Callable[..., Any]:
    arrays = _normal(*shapes)
    return lambda rng, small: (*arrays(rng, small), 5 if small else steps)


def _many_steps(arrays: int) -> Callable[..., int]:
    """Each step reads and writes so many arrays of the state's size, at least."""
    return lambda u, *rest: arrays * u.nbytes * rest[-1]


def _without_moments(result: Any) -> Any:
    """The loss and the parameters; who has its moments elsewhere gives no more."""
    loss, rest = result
    return loss, rest[0] if isinstance(rest, tuple) else rest


PULLED = functools.partial(Case, section="beside", differentiated=True)
MIDDLE = ((40, 50), (4096, 4096))
CUBE = ((10, 11, 12), (256, 256, 256))

BESIDE = (
    Case("softmax", "beside", f.softmax, _normal(ROWS), least=lambda x: 2 * x.nbytes),
    PULLED(
        "softmax, backward",
        fn=f.softmax_pulled,
        make=_normal(ROWS, ROWS),
        least=lambda ct, x: 3 * x.nbytes,
    ),
    Case(
        "layernorm",
        "beside",
        f.layernorm,
        _normal(ROWS, ROW, ROW),
        least=lambda x, gain, bias: 2 * x.nbytes,
    ),
    PULLED(
        "layernorm, backward",
        fn=f.layernorm_pulled,
        make=_normal(ROWS, ROWS, ROW, ROW),
        least=lambda ct, x, gain, bias: 3 * x.nbytes,
        tolerance=1e-3,
    ),
    Case("gelu", "beside", f.gelu, _normal(FLAT), least=lambda x: 2 * x.nbytes),
    PULLED(
        "gelu, backward",
        fn=f.gelu_pulled,
        make=_normal(FLAT, FLAT),
        least=lambda ct, x: 3 * x.nbytes,
    ),
    Case(
        "heat, 100 steps",
        "beside",
        f.heat,
        _stepped(MIDDLE, steps=100),
        static=(1,),
        least=_many_steps(2),
    ),
    Case(
        "heat in space, 50 steps",
        "beside",
        f.heat_3d,
        _stepped(CUBE, steps=50),
        static=(1,),
        least=_many_steps(2),
    ),
    Case(
        "waves, 100 steps",
        "beside",
        f.wave,
        _stepped(MIDDLE, MIDDLE, steps=100),
        static=(2,),
        least=_many_steps(3),
    ),
    PULLED(
        "perceptron, Adam",
        fn=f.perceptron_step,
        make=_perceptron,
        compared=_without_moments,
        tolerance=1e-3,
    ),
    PULLED("LeNet", fn=f.lenet_step, make=_lenet, tolerance=1e-3),
    PULLED("LSTM, 100 steps", fn=f.lstm_step, make=_lstm, tolerance=1e-3),
    PULLED("transformer block", fn=f.block_step, make=_block, static=(3,), tolerance=1e-3),
)

# -- what a call costs -----------------------------------------------------------------------------


def one_array(x):
    return x * 2 + 1


def twelve_arrays(a, b, c, d, e, f, g, h, i, j, k, m):
    return a + b * c + d * e + f * g + h * i + j * k + m


TEN = ((10,), (10,))
CALLS = (
    Case("one array of 10", "calls", one_array, _normal(TEN)),
    Case("twelve arrays of 10", "calls", twelve_arrays, _normal(*[TEN] * 12)),
)

# -- products --------------------------------------------------------------------------------------


def product(x, y):
    return x @ y


def _matrices(dtype: str, shape: tuple[int, ...]) -> Callable[..., Any]:
    def make(rng: np.random.Generator, small: bool) -> Any:
        if dtype == "bfloat16":
            import ml_dtypes

            scalar: Any = ml_dtypes.bfloat16
        else:
            scalar = np.dtype(dtype)
        dims = (*(2 for _ in shape[:-2]), 24, 24) if small else shape
        return tuple(_f32(rng, *dims).astype(scalar) for _ in range(2))

    return make


def _products() -> tuple[Case, ...]:
    shapes = {str(n): (n, n) for n in (512, 1024, 2048, 4096, 8192)} | {"64 of 512": (64, 512, 512)}
    return tuple(
        Case(
            f"{dtype} {name}",
            "products",
            product,
            _matrices(dtype, shape),
            work=lambda x, y: 2 * x.size * y.shape[-1],
            tolerance=1e-4 if dtype == "float32" else 2e-2,
        )
        for dtype in ("float32", "float16", "bfloat16")
        for name, shape in shapes.items()
    )


CASES: dict[str, tuple[Case, ...]] = {
    "memory": MEMORY,
    "beside": BESIDE,
    "calls": CALLS,
    "products": _products(),
}
