"""What is measured, as plain NumPy functions: they are given to jitnet as they stand.

    softmax(x)                                # rows of x [n, m]
    heat(u, steps)                            # changes u [n, m] in place
    loss, params = lstm_step(params, xs, target)

Training steps take their derivatives by `jitnet.value_and_grad`; nothing else knows of jitnet.
"""

from __future__ import annotations

import numpy as np

from jitnet import value_and_grad, vjp

# -- kernels that wait for memory ------------------------------------------------------------------


def scale_and_add(a, x, y):
    return a * x + y


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def layernorm(x, gain, bias):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain + bias


def row_sums(x):
    return x.sum(axis=1)


def column_sums(x):
    return x.sum(axis=0)


def full_sum(x):
    return x.sum()


def transpose(x):
    return x.T.copy()


def stencil_2d(u):
    """Five points: the inner ones of [n, m]."""
    inner = u[1:-1, 1:-1]
    around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
    return inner + 0.1 * (around - 4 * inner)


def stencil_3d(u):
    """Seven points: the inner ones of [n, m, l]."""
    inner = u[1:-1, 1:-1, 1:-1]
    around = (
        (u[:-2, 1:-1, 1:-1] + u[2:, 1:-1, 1:-1])
        + (u[1:-1, :-2, 1:-1] + u[1:-1, 2:, 1:-1])
        + (u[1:-1, 1:-1, :-2] + u[1:-1, 1:-1, 2:])
    )
    return inner + 0.1 * (around - 6 * inner)


def running_sum(x):
    return np.cumsum(x)


def rows_taken(x, i):
    return x[i]


# -- derivatives in reverse ------------------------------------------------------------------------


def gelu_pulled(ct, x):
    return vjp(gelu, x)[1](ct)[0]


def softmax_pulled(ct, x):
    return vjp(softmax, x)[1](ct)[0]


def layernorm_pulled(ct, x, gain, bias):
    return vjp(layernorm, x, gain, bias)[1](ct)


# -- stencils over many steps ----------------------------------------------------------------------


def heat(u, steps):
    """Steps of diffusion in the plane; the edge stays."""
    u = u.copy()
    for _ in range(steps):
        u[1:-1, 1:-1] = stencil_2d(u)
    return u


def heat_3d(u, steps):
    """The same in space."""
    u = u.copy()
    for _ in range(steps):
        u[1:-1, 1:-1, 1:-1] = stencil_3d(u)
    return u


def wave(now, before, steps):
    """Steps of the wave equation in the plane: two states that change places."""
    for _ in range(steps):
        following = 2 * now - before
        following[1:-1, 1:-1] += 0.2 * (
            (now[:-2, 1:-1] + now[2:, 1:-1])
            + (now[1:-1, :-2] + now[1:-1, 2:])
            - 4 * now[1:-1, 1:-1]
        )
        now, before = following, now
    return now, before


# -- training steps --------------------------------------------------------------------------------


def cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels]
    return (np.log(np.exp(shifted).sum(axis=1)) - picked).mean()


def descended(params, grads, rate=0.1):
    """One step down the gradient."""
    return {k: params[k] - np.float32(rate) * grads[k] for k in params}


def adam(params, grads, mean, square, t):
    """One step of Adam (Kingma and Ba, 2015)."""
    t = t + 1
    new_params, new_mean, new_square = {}, {}, {}
    for k, g in grads.items():
        new_mean[k] = 0.9 * mean[k] + 0.1 * g
        new_square[k] = 0.999 * square[k] + 0.001 * g * g
        unbiased = new_mean[k] / (1 - 0.9**t), new_square[k] / (1 - 0.999**t)
        new_params[k] = params[k] - 0.001 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    return new_params, new_mean, new_square, t


def perceptron_loss(p, x, labels):
    h = np.maximum(x @ p["w1"] + p["b1"], 0)
    h = np.maximum(h @ p["w2"] + p["b2"], 0)
    return cross_entropy(h @ p["w3"] + p["b3"], labels)


def perceptron_step(params, mean, square, t, x, labels):
    """A perceptron of three layers, with Adam."""
    loss, grads = value_and_grad(perceptron_loss)(params, x, labels)
    return loss, adam(params, grads, mean, square, t)


def convolution(x, kernel):
    """Valid convolution of x [n, h, w, c] with kernel [k, k, c, d]: windows, times a matrix."""
    k, _, c, d = kernel.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))
    n, h, w = windows.shape[:3]
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * h * w, k * k * c)
    return (columns @ kernel.reshape(k * k * c, d)).reshape(n, h, w, d)


def pool(x):
    """The largest of each window of 2 x 2 of x [n, h, w, c], h and w even."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def lenet_loss(p, images, labels):
    x = pool(np.maximum(convolution(images, p["k1"]) + p["c1"], 0))
    x = pool(np.maximum(convolution(x, p["k2"]) + p["c2"], 0))
    x = np.maximum(x.reshape(len(x), -1) @ p["w1"] + p["b1"], 0)
    x = np.maximum(x @ p["w2"] + p["b2"], 0)
    return cross_entropy(x @ p["w3"] + p["b3"], labels)


def lenet_step(params, images, labels):
    """LeNet-5 with rectified units, and the largest of each window."""
    loss, grads = value_and_grad(lenet_loss)(params, images, labels)
    return loss, descended(params, grads)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_loss(p, xs, target):
    """The squared error of what an LSTM gives for xs [steps, batch, d]."""
    n = p["u"].shape[0]
    h = np.zeros((xs.shape[1], n), xs.dtype)
    c = np.zeros_like(h)
    inputs = xs @ p["w"] + p["b"]
    total = np.float32(0)
    for t in range(len(xs)):
        gates = inputs[t] + h @ p["u"]
        i, f, o = (sigmoid(gates[:, k * n : k * n + n]) for k in (0, 1, 3))
        c = f * c + i * np.tanh(gates[:, 2 * n : 3 * n])
        h = o * np.tanh(c)
        error = h - target[t]
        total = total + (error * error).mean()
    return total / np.float32(len(xs))


def lstm_step(params, xs, target):
    """An LSTM over a sequence, backwards through all of its time."""
    loss, grads = value_and_grad(lstm_loss)(params, xs, target)
    return loss, descended(params, grads)


def heads_of(x, heads):
    """x [batch, length, d] as [batch, heads, length, d / heads]."""
    batch, length, d = x.shape
    return x.reshape(batch, length, heads, d // heads).transpose(0, 2, 1, 3)


def attention(p, x, heads):
    """Causal self-attention over x [batch, length, d]."""
    batch, length, d = x.shape
    q, k, v = (heads_of(part, heads) for part in np.split(x @ p["qkv"] + p["qkv_bias"], 3, axis=-1))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(np.float32(d // heads))
    scores = np.where(np.tri(length, dtype=bool), scores, np.float32(-1e9))
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    out = (e / e.sum(axis=-1, keepdims=True)) @ v
    out = out.transpose(0, 2, 1, 3).reshape(batch, length, d)
    return out @ p["out"] + p["out_bias"]


def block_loss(p, x, target, heads):
    """The squared error of what a transformer's block makes of x [batch, length, d]."""
    x = x + attention(p, layernorm(x, p["gain1"], p["shift1"]), heads)
    h = gelu(layernorm(x, p["gain2"], p["shift2"]) @ p["up"] + p["up_bias"])
    error = x + h @ p["down"] + p["down_bias"] - target
    return (error * error).mean()


def block_step(params, x, target, heads):
    """One block of a transformer: attention and a perceptron, each behind a layer norm."""
    loss, grads = value_and_grad(block_loss)(params, x, target, heads)
    return loss, descended(params, grads)
