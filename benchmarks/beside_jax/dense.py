"""Functions of whole arrays: networks and a mixture of Gaussians, in NumPy and in JAX.

    case = CASES[0]
    case.ours(*case.make(rng))     # a loss, by NumPy
    case.theirs["rearranged"](*case.make(rng))   # the same number by jax.numpy

Networks are in single precision, as they are everywhere; the LSTM of tests/programs and the mixture
are in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from programs import layers, recurrent

from .case import Case

# -- a multilayer perceptron -----------------------------------------------------------------------


def perceptron(weights, x, labels):
    """Cross entropy of the perceptron of tests/programs, `weights` a list of pairs."""
    p = layers.perceptron(x, weights)
    return -np.log(p[np.arange(len(labels)), labels]).mean()


def jax_perceptron(weights, x, labels):
    """The same; `log_softmax` is what JAX has for it."""
    *hidden, (w, b) = weights
    for v, c in hidden:
        x = jax.nn.relu(x @ v + c)
    scores = jax.nn.log_softmax(x @ w + b)
    return -jnp.take_along_axis(scores, labels[:, None], axis=1).mean()


def _perceptron_arguments(rng):
    sizes = (256, 512, 512, 10)
    weights = [(_f32(rng, a, b) / a**0.5, _f32(rng, b)) for a, b in pairwise(sizes)]
    return weights, _f32(rng, 256, 256), rng.integers(0, 10, 256)


# -- a convolutional network -----------------------------------------------------------------------


def convolution(x, kernel):
    """Valid convolution of `x` [n, h, w, c_in] with `kernel` [k, k, c_in, c_out]: a product of
    matrices for each of its points, summed up."""
    k = kernel.shape[0]
    height, width = x.shape[1] - k + 1, x.shape[2] - k + 1
    out = np.zeros((x.shape[0], height, width, kernel.shape[3]), x.dtype)
    for i in range(k):
        for j in range(k):
            out += x[:, i : i + height, j : j + width] @ kernel[i, j]
    return out


def pool(x):
    """The largest of each window of 2x2 of `x` [n, h, w, c], h and w even."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def convnet(weights, images, labels):
    """Two convolutions with pooling, one dense layer, cross entropy."""
    x = pool(np.maximum(convolution(images, weights["conv1"]) + weights["bias1"], 0))
    x = pool(np.maximum(convolution(x, weights["conv2"]) + weights["bias2"], 0))
    p = layers.softmax(x.reshape(len(x), -1) @ weights["dense"] + weights["bias"])
    return -np.log(p[np.arange(len(labels)), labels]).mean()


def jax_convnet(weights, images, labels):
    """The same by XLA's convolution and reduction of windows."""

    def convolve(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    x = pool(jax.nn.relu(convolve(images, weights["conv1"]) + weights["bias1"]))
    x = pool(jax.nn.relu(convolve(x, weights["conv2"]) + weights["bias2"]))
    scores = jax.nn.log_softmax(x.reshape(len(x), -1) @ weights["dense"] + weights["bias"])
    return -jnp.take_along_axis(scores, labels[:, None], axis=1).mean()


def _convnet_arguments(rng):
    weights = {
        "conv1": _f32(rng, 3, 3, 3, 32) / 5,
        "bias1": _f32(rng, 32),
        "conv2": _f32(rng, 3, 3, 32, 64) / 17,
        "bias2": _f32(rng, 64),
        "dense": _f32(rng, 6 * 6 * 64, 10) / 48,
        "bias": _f32(rng, 10),
    }
    return weights, _f32(rng, 16, 30, 30, 3), rng.integers(0, 10, 16)


# -- an LSTM over 200 steps ------------------------------------------------------------------------


def lstm(params, xs, target):
    """The squared error of what the LSTM of tests/programs gives for `xs` [steps, batch, d]."""
    outputs, _ = recurrent.lstm(xs, params)
    return ((outputs - target) ** 2).mean()


def jax_lstm(params, xs, target):
    """The same by a scan; the inputs' product is taken out of it."""
    n = params["U"].shape[0]

    def cell(state, gates):
        h, c = state
        i, f, g, o = jnp.split(gates + h @ params["U"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((xs.shape[1], n), xs.dtype)
    _, outputs = lax.scan(cell, (zero, zero), xs @ params["W"] + params["b"])
    return ((outputs - target) ** 2).mean()


def _lstm_arguments(rng):
    steps, batch, d, n = 200, 16, 32, 64
    params = {
        "W": rng.standard_normal((d, 4 * n)) / d**0.5,
        "U": rng.standard_normal((n, 4 * n)) / n**0.5,
        "b": np.zeros(4 * n),
    }
    return params, rng.standard_normal((steps, batch, d)), rng.standard_normal((steps, batch, n))


# -- attention -------------------------------------------------------------------------------------


def attention(weights, x, target):
    """The squared error of causal self-attention over `x` [batch, length, d] with 4 heads."""
    batch, length, d = x.shape
    heads = 4
    q, k, v = np.split(x @ weights["qkv"] + weights["qkv_bias"], 3, axis=-1)
    q, k, v = (
        part.reshape(batch, length, heads, d // heads).transpose(0, 2, 1, 3) for part in (q, k, v)
    )
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(np.float32(d // heads))
    scores = np.where(np.tri(length, dtype=bool), scores, np.float32(-1e9))
    out = (layers.softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(batch, length, d)
    return ((out @ weights["projection"] + weights["bias"] - target) ** 2).mean()


def jax_attention(weights, x, target):
    """The same with `jax.nn.softmax`."""
    batch, length, d = x.shape
    heads = 4
    q, k, v = jnp.split(x @ weights["qkv"] + weights["qkv_bias"], 3, axis=-1)
    q, k, v = (part.reshape(batch, length, heads, d // heads) for part in (q, k, v))
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / (d // heads) ** 0.5
    scores = jnp.where(jnp.tri(length, dtype=bool), scores, -1e9)
    out = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v).reshape(batch, length, d)
    return ((out @ weights["projection"] + weights["bias"] - target) ** 2).mean()


def _attention_arguments(rng):
    batch, length, d = 4, 256, 128
    weights = {
        "qkv": _f32(rng, d, 3 * d) / d**0.5,
        "qkv_bias": _f32(rng, 3 * d),
        "projection": _f32(rng, d, d) / d**0.5,
        "bias": _f32(rng, d),
    }
    return weights, _f32(rng, batch, length, d), _f32(rng, batch, length, d)


# -- a mixture of Gaussians ------------------------------------------------------------------------


def mixture(alphas, means, factors, x):
    """The negative log-likelihood of `x` [n, d] under k Gaussians: logits `alphas` [k], `means`
    [k, d], and triangular `factors` [k, d, d] of the precisions, their diagonals as logarithms."""
    d = x.shape[1]
    diagonals = factors[:, np.arange(d), np.arange(d)]
    lower = np.tril(factors, -1) + np.exp(diagonals)[:, :, None] * np.eye(d)
    whitened = np.einsum("kij,knj->kni", lower, x - means[:, None])
    terms = alphas + diagonals.sum(axis=1) - 0.5 * (whitened**2).sum(axis=2).T
    highest = terms.max(axis=1, keepdims=True)
    per_point = highest[:, 0] + np.log(np.exp(terms - highest).sum(axis=1))
    top = alphas.max()
    return len(x) * (top + np.log(np.exp(alphas - top).sum())) - per_point.sum()


def jax_mixture(alphas, means, factors, x):
    """The same with `logsumexp`."""
    diagonals = jnp.diagonal(factors, axis1=1, axis2=2)
    lower = jnp.tril(factors, -1) + jax.vmap(jnp.diag)(jnp.exp(diagonals))
    whitened = jnp.einsum("kij,knj->kni", lower, x - means[:, None])
    terms = alphas + diagonals.sum(axis=1) - 0.5 * (whitened**2).sum(axis=2).T
    logsumexp = jax.scipy.special.logsumexp
    return len(x) * logsumexp(alphas) - logsumexp(terms, axis=1).sum()


def _mixture_arguments(rng):
    n, d, k = 1000, 16, 25
    factors = rng.standard_normal((k, d, d)) / d
    return rng.standard_normal(k), rng.standard_normal((k, d)), factors, rng.standard_normal((n, d))


# -- the cases -------------------------------------------------------------------------------------


def _f32(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape, dtype=np.float32)


def _case(
    name: str,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    make: Callable[[np.random.Generator], tuple[Any, ...]],
    varied: tuple[int, ...],
    tolerance: float = 1e-9,
) -> Case:
    return Case(name, "dense", ours, {"rearranged": theirs}, make, varied, tolerance)


CASES = (
    _case("perceptron", perceptron, jax_perceptron, _perceptron_arguments, (0,), 1e-4),
    _case("convnet", convnet, jax_convnet, _convnet_arguments, (0,), 1e-4),
    _case("lstm", lstm, jax_lstm, _lstm_arguments, (0,)),
    _case("attention", attention, jax_attention, _attention_arguments, (0,), 1e-4),
    _case("mixture", mixture, jax_mixture, _mixture_arguments, (0, 1, 2)),
)
