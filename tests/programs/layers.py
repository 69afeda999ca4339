"""Layers of neural networks, forwards: loops over windows, dicts of weights, attention.

Weights come as arrays, tuples, lists and dicts, as they do from whoever trained them.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def relu(x):
    """The positive part."""
    return np.maximum(x, 0)


def softmax(x):
    """Softmax along the last axis, shifted for safety."""
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def conv2d(images, weights):
    """Valid convolution of `images` [n, h, w, c_in] with `weights` [k, k, c_in, c_out], a window of
    all images at a time. Gives [n, h - k + 1, w - k + 1, c_out]."""
    k = weights.shape[0]
    n, height, width = images.shape[0], images.shape[1] - k + 1, images.shape[2] - k + 1
    output = np.empty((n, height, width, weights.shape[3]), dtype=images.dtype)
    for i in range(height):
        for j in range(width):
            window = images[:, i : i + k, j : j + k, :, np.newaxis]
            output[:, i, j, :] = np.sum(window * weights[np.newaxis], axis=(1, 2, 3))
    return output


def max_pool(x):
    """Pooling of 2x2 windows of `x` [n, h, w, c]."""
    output = np.empty((x.shape[0], x.shape[1] // 2, x.shape[2] // 2, x.shape[3]), dtype=x.dtype)
    for i in range(x.shape[1] // 2):
        for j in range(x.shape[2] // 2):
            output[:, i, j, :] = np.max(x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, :], axis=(1, 2))
    return output


def lenet(images, conv1, conv2, fc1w, fc1b, fc2w, fc2b):
    """Two convolutions with pooling and two dense layers: classes [n] of `images` [n, h, w, 1]."""
    x = max_pool(relu(conv2d(images, conv1)))
    x = max_pool(relu(conv2d(x, conv2)))
    x = np.reshape(x, (x.shape[0], -1))
    x = relu(x @ fc1w + fc1b)
    return np.argmax(x @ fc2w + fc2b, axis=1)


def batchnorm(x, eps=1e-5):
    """Normalisation of `x` [n, h, w, c] over the batch."""
    mean = np.mean(x, axis=0, keepdims=True)
    std = np.std(x, axis=0, keepdims=True)
    return (x - mean) / np.sqrt(std + eps)


def resnet_block(x, conv1, conv2, conv3):
    """A bottleneck: 1x1, padded 3x3 and 1x1 convolutions with normalisation, added to `x`."""
    padded = np.zeros((x.shape[0], x.shape[1] + 2, x.shape[2] + 2, conv1.shape[3]), x.dtype)
    padded[:, 1:-1, 1:-1, :] = conv2d(x, conv1)
    y = relu(batchnorm(padded))
    y = relu(batchnorm(conv2d(y, conv2)))
    return relu(batchnorm(conv2d(y, conv3)) + x)


def perceptron(x, layers):
    """A multilayer perceptron: `layers` is a list of (weights, bias); probabilities [n,
    classes]."""
    *hidden, (w, b) = layers
    for weights, bias in hidden:
        x = relu(x @ weights + bias)
    return softmax(x @ w + b)


def layer_norm(x, gain, bias):
    """Normalisation along the last axis."""
    mean = x.mean(-1, keepdims=True)
    variance = x.var(-1, keepdims=True)
    return gain * (x - mean) / np.sqrt(variance + 1e-5) + bias


def attention(x, weights, heads, causal):
    """Self-attention over `x` [length, d] with `heads`; `weights` is a dict."""
    length, d = x.shape
    q, k, v = np.split(x @ weights["qkv"] + weights["qkv_bias"], 3, axis=-1)
    out = []
    for h in range(heads):
        part = slice(h * d // heads, (h + 1) * d // heads)
        scores = q[:, part] @ k[:, part].T / np.sqrt(d / heads)
        if causal:
            scores = scores + (1 - np.tri(length, dtype=x.dtype)) * -1e10
        out.append(softmax(scores) @ v[:, part])
    return np.hstack(out) @ weights["projection"] + weights["projection_bias"]


def gelu(x):
    """The Gaussian error unit by its approximation."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def transformer(tokens, model):
    """A small transformer: logits [length, vocabulary] of `tokens` [length]."""
    x = model["embedding"][tokens] + model["positions"][range(len(tokens))]
    for block in model["blocks"]:
        x = x + attention(layer_norm(x, **block["norm1"]), block["attention"], 2, True)
        hidden = gelu(layer_norm(x, **block["norm2"]) @ block["up"])
        x = x + hidden @ block["down"]
    return layer_norm(x, **model["norm"]) @ model["embedding"].T


def depthwise(image, kernels, biases):
    """Each channel of `image` [c, h, w] by its own kernel of `kernels` [c, k, k], sides padded, as
    sums of shifted planes; leaky."""
    channels, height, width = image.shape
    k = kernels.shape[1]
    margin = k // 2
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)))
    out = np.zeros_like(image)
    for c in range(channels):
        for di in range(k):
            for dj in range(k):
                if kernels[c, di, dj] == 0:
                    continue
                out[c] += kernels[c, di, dj] * padded[c, di : di + height, dj : dj + width]
        out[c] += biases[c]
    out[out < 0] *= 0.1
    return out


def train_logistic(x, y, rate, epochs, batch):
    """Logistic regression of `y` [n] on `x` [n, p] by minibatches with momentum: weights,
    losses."""
    w = np.zeros(x.shape[1])
    momentum = np.zeros_like(w)
    losses = []
    for _ in range(epochs):
        loss = 0.0
        for start in range(0, len(x), batch):
            xb, yb = x[start : start + batch], y[start : start + batch]
            p = 1 / (1 + np.exp(-(xb @ w)))
            loss -= np.sum(yb * np.log(p + 1e-12) + (1 - yb) * np.log(1 - p + 1e-12))
            gradient = xb.T @ (p - yb) / len(xb)
            momentum = 0.9 * momentum - rate * gradient
            w += momentum
        losses.append(loss / len(x))
    return w, losses


def train_network(x, y, layers, rate, epochs):
    """Backpropagation by hand: `layers`, a list of dicts with weights "w" and biases "b", learn the
    classes `y` [n] of `x` [n, p] in place. Gives the losses and the share that is right."""
    losses = np.zeros(epochs)
    right = 0.0
    for epoch in range(epochs):
        inputs = [x]
        for depth, layer in enumerate(layers):
            z = inputs[-1] @ layer["w"] + layer["b"]
            inputs.append(np.tanh(z) if depth < len(layers) - 1 else softmax(z))
        p = inputs.pop()
        losses[epoch] = -np.log(p[np.arange(len(y)), y]).mean()
        right = (p.argmax(axis=1) == y).mean()
        delta = p.copy()
        delta[np.arange(len(y)), y] -= 1
        delta /= len(y)
        for depth in reversed(range(len(layers))):
            layer, a = layers[depth], inputs[depth]
            back = delta @ layer["w"].T
            layer["w"] -= rate * a.T @ delta
            layer["b"] -= rate * delta.sum(axis=0)
            delta = back * (1 - a**2)
    return losses, right


# -- arguments -------------------------------------------------------------------------------------


def _f32(rng, *shape):
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def _convolution(rng, n, size, channels):
    return _f32(rng, n, size, size, 3), _f32(rng, 3, 3, 3, channels)


def _pooled(rng, n, size, channels):
    return (_f32(rng, n, size, size, channels),)


def _lenet(rng, n, size):
    flat = (((size - 4) // 2 - 4) // 2) ** 2 * 8
    return (
        _f32(rng, n, size, size, 1),
        _f32(rng, 5, 5, 1, 4),
        _f32(rng, 5, 5, 4, 8),
        _f32(rng, flat, 32),
        _f32(rng, 32),
        _f32(rng, 32, 10),
        _f32(rng, 10),
    )


def _resnet(rng, n, size, channels):
    half = channels // 2
    return (
        _f32(rng, n, size, size, channels),
        _f32(rng, 1, 1, channels, half),
        _f32(rng, 3, 3, half, half),
        _f32(rng, 1, 1, half, channels),
    )


def _perceptron(rng, n, width):
    layers = [
        (_f32(rng, a, b), _f32(rng, b)) for a, b in ((20, width), (width, width), (width, 10))
    ]
    return _f32(rng, n, 20), layers


def _transformer(rng, length, d):
    def norm():
        return {"gain": 1 + _f32(rng, d), "bias": _f32(rng, d)}

    def block():
        return {
            "norm1": norm(),
            "attention": {
                "qkv": _f32(rng, d, 3 * d),
                "qkv_bias": _f32(rng, 3 * d),
                "projection": _f32(rng, d, d),
                "projection_bias": _f32(rng, d),
            },
            "norm2": norm(),
            "up": _f32(rng, d, 4 * d),
            "down": _f32(rng, 4 * d, d),
        }

    model = {
        "embedding": _f32(rng, 30, d),
        "positions": _f32(rng, length, d),
        "blocks": [block() for _ in range(2)],
        "norm": norm(),
    }
    return rng.integers(0, 30, length), model


def _depthwise(rng, channels, size):
    kernels = rng.standard_normal((channels, 3, 3))
    kernels[np.abs(kernels) < 0.3] = 0
    return rng.standard_normal((channels, size, size)), kernels, rng.standard_normal(channels)


def _classes(rng, n, p):
    x = rng.standard_normal((n, p))
    return x, (x @ rng.standard_normal(p) > 0).astype(float), 0.1, 3, 16


def _network(rng, n, width, epochs):
    x = rng.standard_normal((n, 8))
    shapes = ((8, width), (width, width), (width, 3))
    layers = [{"w": rng.standard_normal(s) / np.sqrt(s[0]), "b": np.zeros(s[1])} for s in shapes]
    return x, (x[:, :3] * 2).argmax(axis=1), layers, 0.5, epochs


PROGRAMS = (
    Program(
        "conv2d",
        conv2d,
        _convolution,
        {
            "test": {"n": 2, "size": 6, "channels": 4},
            "bench": {"n": 4, "size": 40, "channels": 16},
        },
        numba=True,
        tolerance=1e-5,
    ),
    Program(
        "max_pool",
        max_pool,
        _pooled,
        {
            "test": {"n": 2, "size": 6, "channels": 3},
            "bench": {"n": 8, "size": 64, "channels": 32},
        },
    ),
    Program("lenet", lenet, _lenet, {"test": {"n": 2, "size": 16}, "bench": {"n": 8, "size": 28}}),
    Program(
        "resnet_block",
        resnet_block,
        _resnet,
        {
            "test": {"n": 3, "size": 4, "channels": 4},
            "bench": {"n": 4, "size": 28, "channels": 32},
        },
        tolerance=1e-3,
    ),
    Program(
        "perceptron",
        perceptron,
        _perceptron,
        {"test": {"n": 5, "width": 16}, "bench": {"n": 512, "width": 1024}},
        tolerance=1e-5,
    ),
    Program(
        "transformer",
        transformer,
        _transformer,
        {"test": {"length": 7, "d": 8}, "bench": {"length": 128, "d": 96}},
        tolerance=1e-4,
    ),
    Program(
        "depthwise",
        depthwise,
        _depthwise,
        {"test": {"channels": 3, "size": 8}, "bench": {"channels": 32, "size": 160}},
    ),
    Program(
        "train_network",
        train_network,
        _network,
        {
            "test": {"n": 12, "width": 5, "epochs": 3},
            "bench": {"n": 500, "width": 64, "epochs": 40},
        },
        tolerance=1e-9,
    ),
    Program(
        "train_logistic",
        train_logistic,
        _classes,
        {"test": {"n": 40, "p": 5}, "bench": {"n": 8000, "p": 30}},
        numba=True,
        tolerance=1e-9,
    ),
)
