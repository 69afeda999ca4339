"""Functions of all the kinds of kernels that a GPU gets: what the tests of launches, of simulated
runs and of NVIDIA's compiler go over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import jitnet

RNG = np.random.default_rng(5)


@dataclass(frozen=True)
class Case:
    """Attributes:
    launches: of one call, at most.
    products: library calls beside these.
    wide: whether memory is read 16 bytes at a time.
    """

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    launches: int
    products: int = 0
    wide: bool = False


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def pulled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The derivative in reverse: of the cotangent, and of the arguments."""

    def backward(ct, *args):
        return jitnet.vjp(fn, *args)[1](ct)

    return backward


# -- layers ----------------------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def layer_norm(x, scale, shift):
    d = x - x.mean(axis=1, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=1, keepdims=True) + 1e-5) * scale + shift


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def bias_relu(x, bias):
    return np.maximum(x + bias, 0)


# -- training --------------------------------------------------------------------------------------


def parameters() -> dict[str, np.ndarray]:
    shapes = {"w1": (64, 48), "b1": (48,), "w2": (48, 40), "b2": (40,), "w3": (40, 10), "b3": (10,)}
    return {name: normal(*shape) * np.float32(0.1) for name, shape in shapes.items()}


def adam(params, grads, m, v, t):
    t = t + 1
    for k in params:
        m[k] = 0.9 * m[k] + 0.1 * grads[k]
        v[k] = 0.999 * v[k] + 0.001 * grads[k] ** 2
        change = m[k] / (1 - 0.9**t) / (np.sqrt(v[k] / (1 - 0.999**t)) + 1e-8)
        params[k] = params[k] - 0.001 * change
    return params, m, v, t


def loss(p, x, y):
    h = np.maximum(x @ p["w1"] + p["b1"], 0)
    h = np.maximum(h @ p["w2"] + p["b2"], 0)
    z = h @ p["w3"] + p["b3"]
    z = z - z.max(axis=1, keepdims=True)
    return -(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))[np.arange(len(y)), y].mean()


def sgd_step(params, x, y):
    value, grads = jitnet.value_and_grad(loss)(params, x, y)
    return value, {k: params[k] - np.float32(0.1) * grads[k] for k in params}


def adam_step(params, m, v, t, x, y):
    value, grads = jitnet.value_and_grad(loss)(params, x, y)
    return value, adam(params, grads, m, v, t)


# -- other kinds -----------------------------------------------------------------------------------


def scattered(x, i, v):
    np.add.at(x, i, v)
    return x


def picked_rows(x, i):
    return (x[i] ** 3).sum()


def rows_pulled(x, i):
    return jitnet.grad(picked_rows)(x, i)


def recurrent(h, w, xs):
    for t in range(xs.shape[0]):
        h = np.tanh(h @ w + xs[t])
    return h


def blurred(u, steps):
    for _ in range(steps):
        u[1:-1, 1:-1] = (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]) / 4
    return u


def sums(x):
    return x.sum(), x.max(), x.sum(axis=0), x.std(axis=1)


def powers(z, w):
    return np.exp(z) * w, np.arctan2(z.real, w.imag), abs(z) ** 0.3


X, W = normal(60, 256), normal(256)
LABELS = RNG.integers(0, 10, 128)
Z = RNG.standard_normal(3000) + 1j * RNG.standard_normal(3000)

CASES = [
    Case("softmax", softmax, (X,), 1),
    Case("softmax_backward", pulled(softmax), (X, X), 1),
    Case("layer_norm", layer_norm, (X, W, W), 1),
    Case("layer_norm_backward", pulled(layer_norm), (X, X, W, W), 2),
    Case("gelu", gelu, (X,), 1, wide=True),
    Case("gelu_backward", pulled(gelu), (X, X), 1, wide=True),
    Case("bias_relu", bias_relu, (X, W), 1, wide=True),
    Case("adam", adam, (*(parameters() for _ in range(2)), parameters(),
         {k: v * v for k, v in parameters().items()}, 3.0), 1, wide=True),
    Case("sgd_step", sgd_step, (parameters(), normal(128, 64), LABELS), 14, 8),
    Case("adam_step", adam_step, (parameters(), parameters(),
         {k: v * v for k, v in parameters().items()}, 3.0, normal(128, 64), LABELS), 14, 8),
    Case("sums", sums, (normal(90, 130).astype(np.float64),), 3),
    Case("cumsum", np.cumsum, (normal(40_000),), 3),
    Case("cumsum_rows", lambda x: np.cumsum(x, axis=1), (X,), 1),
    Case("cumsum_columns", lambda x: np.cumsum(x, axis=0), (X,), 1),
    Case("cumsum_of_ints", np.cumsum, (RNG.integers(-9, 9, 20_000),), 3),
    Case("transposed", lambda x: np.exp(x.T) + 1, (normal(100, 130),), 1),
    Case("scattered", scattered, (normal(500), RNG.integers(0, 500, 4000), normal(4000)), 2),
    Case("rows_pulled", rows_pulled, (normal(300, 40), RNG.integers(0, 300, 2000)), 4),
    Case("stack_of_products", lambda x, y: x @ y, (normal(30, 20, 24), normal(30, 24, 16)), 1),
    Case("recurrent", recurrent, (normal(4, 16), normal(16, 16), normal(12, 4, 16)), 1),
    Case("blurred", blurred, (normal(100, 120), 3), 3),
    Case("powers", powers, (Z, Z[::-1].copy()), 1),
]  # fmt: skip
