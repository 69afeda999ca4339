"""The same in JAX, as one writes it there.

VERSIONS["heat"](u, 100)    # a `lax.fori_loop`
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from .functions import transpose as numpys_transpose

LAYERNORM_EPSILON = 1e-5


def scale_and_add(a, x, y):
    return a * x + y


def gelu(x):
    return jax.nn.gelu(x, approximate=True)


def softmax(x):
    return jax.nn.softmax(x, axis=1)


def layernorm(x, gain, bias):
    return jax.nn.standardize(x, axis=-1, epsilon=LAYERNORM_EPSILON) * gain + bias


def stencil_2d(u):
    inner = u[1:-1, 1:-1]
    around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
    return inner + 0.1 * (around - 4 * inner)


def stencil_3d(u):
    inner = u[1:-1, 1:-1, 1:-1]
    around = u[:-2, 1:-1, 1:-1] + u[2:, 1:-1, 1:-1] + u[1:-1, :-2, 1:-1] + u[1:-1, 2:, 1:-1]
    around = around + u[1:-1, 1:-1, :-2] + u[1:-1, 1:-1, 2:]
    return inner + 0.1 * (around - 6 * inner)


def _pulled(fn):
    return lambda ct, *args: jax.vjp(fn, *args)[1](ct)


def heat(u, steps):
    return lax.fori_loop(0, steps, lambda _, u: u.at[1:-1, 1:-1].set(stencil_2d(u)), u)


def heat_3d(u, steps):
    return lax.fori_loop(0, steps, lambda _, u: u.at[1:-1, 1:-1, 1:-1].set(stencil_3d(u)), u)


def wave(now, before, steps):
    def step(_, state):
        now, before = state
        inner = now[1:-1, 1:-1]
        around = now[:-2, 1:-1] + now[2:, 1:-1] + now[1:-1, :-2] + now[1:-1, 2:]
        following = (2 * now - before).at[1:-1, 1:-1].add(0.2 * (around - 4 * inner))
        return following, now

    return lax.fori_loop(0, steps, step, (now, before))


# -- training steps --------------------------------------------------------------------------------


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()


def descended(params, grads):
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)


def perceptron_loss(p, x, labels):
    h = jax.nn.relu(x @ p["w1"] + p["b1"])
    h = jax.nn.relu(h @ p["w2"] + p["b2"])
    return cross_entropy(h @ p["w3"] + p["b3"], labels)


def perceptron_step(params, mean, square, t, x, labels):
    loss, grads = jax.value_and_grad(perceptron_loss)(params, x, labels)
    t = t + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grads)
    square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, grads)
    first, second = 1 - 0.9**t, 1 - 0.999**t

    def moved(p, m, s):
        return p - 0.001 * (m / first) / (jnp.sqrt(s / second) + 1e-8)

    return loss, (jax.tree.map(moved, params, mean, square), mean, square, t)


def lenet_loss(p, images, labels):
    def convolved(x, kernel, bias):
        x = lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + bias)
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    x = convolved(images, p["k1"], p["c1"])
    x = convolved(x, p["k2"], p["c2"]).reshape(len(images), -1)
    x = jax.nn.relu(x @ p["w1"] + p["b1"])
    x = jax.nn.relu(x @ p["w2"] + p["b2"])
    return cross_entropy(x @ p["w3"] + p["b3"], labels)


def lenet_step(params, images, labels):
    loss, grads = jax.value_and_grad(lenet_loss)(params, images, labels)
    return loss, descended(params, grads)


def lstm_loss(p, xs, target):
    n = p["u"].shape[0]

    def cell(state, gates):
        h, c = state
        i, f, g, o = jnp.split(gates + h @ p["u"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((xs.shape[1], n), xs.dtype)
    _, outputs = lax.scan(cell, (zero, zero), xs @ p["w"] + p["b"])
    return ((outputs - target) ** 2).mean()


def lstm_step(params, xs, target):
    loss, grads = jax.value_and_grad(lstm_loss)(params, xs, target)
    return loss, descended(params, grads)


def block_loss(p, x, target, heads):
    batch, length, d = x.shape
    h = layernorm(x, p["gain1"], p["shift1"]) @ p["qkv"] + p["qkv_bias"]
    q, k, v = (part.reshape(batch, length, heads, -1) for part in jnp.split(h, 3, axis=-1))
    h = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(batch, length, d)
    x = x + h @ p["out"] + p["out_bias"]
    h = gelu(layernorm(x, p["gain2"], p["shift2"]) @ p["up"] + p["up_bias"])
    return ((x + h @ p["down"] + p["down_bias"] - target) ** 2).mean()


def block_step(params, x, target, heads):
    loss, grads = jax.value_and_grad(block_loss)(params, x, target, heads)
    return loss, descended(params, grads)


# -- and how they are called -----------------------------------------------------------------------

VERSIONS = {
    "scale_and_add": scale_and_add,
    "gelu": gelu,
    "softmax": softmax,
    "layernorm": layernorm,
    "row_sums": lambda x: x.sum(axis=1),
    "column_sums": lambda x: x.sum(axis=0),
    "full_sum": jnp.sum,
    "transpose": numpys_transpose,
    "stencil_2d": stencil_2d,
    "stencil_3d": stencil_3d,
    "running_sum": jnp.cumsum,
    "rows_taken": lambda x, i: x[i],
    "gelu_pulled": lambda ct, x: _pulled(gelu)(ct, x)[0],
    "softmax_pulled": lambda ct, x: _pulled(softmax)(ct, x)[0],
    "layernorm_pulled": _pulled(layernorm),
    "heat": heat,
    "heat_3d": heat_3d,
    "wave": wave,
    "perceptron_step": perceptron_step,
    "lenet_step": lenet_step,
    "lstm_step": lstm_step,
    "block_step": block_step,
    "one_array": lambda x: x * 2 + 1,
    "twelve_arrays": lambda a, b, c, d, e, f, g, h, i, j, k, m: (
        a + b * c + d * e + f * g + h * i + j * k + m
    ),
    "product": jnp.matmul,
}
