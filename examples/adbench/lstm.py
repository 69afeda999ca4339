"""A small LSTM that foretells characters: its loss over a text, and the gradient in all weights.

    params, data = generate(np.random.default_rng(0), layers=2, length=1024, bits=14)
    objective(params, *data)            # a number
    gradient = derivative(params, *data)  # Weights of arrays like params

Characters are vectors of b numbers, and so are the hidden states h and the cells c of all layers;
weights multiply number by number. With the gates' weights w and biases v, each cut in four,

    f = s(x w_0 + v_0), i = s(h w_1 + v_1), o = s(x w_2 + v_2), g = tanh(h w_3 + v_3),
    c' = f c + i g,  h' = o tanh(c'),

where s is the logistic function and x the character before, times the first of the extra weights,
or what the layer below has given. What the last layer gives, times the second and plus the third of
the extra weights, is y; the loss is minus the mean of (y - log(sum(exp(y)) + 2)) times the next
character.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import jitnet


class Weights(NamedTuple):
    """Weights and biases of the layers' gates [2 layers, 4 b], and the extra weights [3, b]."""

    main: np.ndarray
    extra: np.ndarray


def sigmoid(x):
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def cell(weight, bias, hidden, memory, x):
    """One step of one layer: its hidden state and cell [b]."""
    b = len(hidden)
    forget = sigmoid(x * weight[:b] + bias[:b])
    ingate = sigmoid(hidden * weight[b : 2 * b] + bias[b : 2 * b])
    outgate = sigmoid(x * weight[2 * b : 3 * b] + bias[2 * b : 3 * b])
    change = np.tanh(hidden * weight[3 * b :] + bias[3 * b :])
    memory = memory * forget + ingate * change
    return outgate * np.tanh(memory), memory


def predict(params, state, x):
    """What is to follow `x` [b]; `state` [2 layers, b] is changed in place."""
    x = x * params.extra[0]
    for layer in range(0, len(state), 2):
        weight, bias = params.main[layer], params.main[layer + 1]
        state[layer], state[layer + 1] = cell(weight, bias, state[layer], state[layer + 1], x)
        x = state[layer]
    return x * params.extra[1] + params.extra[2]


def objective(params, state, text):
    """The loss over `text` [length, b], from the `state` [2 layers, b] at its beginning."""
    state = state.copy()
    total = 0.0
    for t in range(len(text) - 1):
        y = predict(params, state, text[t])
        total += text[t + 1] @ (y - np.log(np.exp(y).sum() + 2))
    return -total / ((len(text) - 1) * text.shape[1])


derivative = jitnet.grad(objective)


def generate(rng, layers, length, bits):
    """Weights, a state, and a text of characters of `bits` bits. The benchmark has 2 and 4 layers,
    texts of 1,024 and 4,096 characters, and 14 bits."""
    params = Weights(
        0.5 * rng.standard_normal((2 * layers, 4 * bits)), 0.5 * rng.standard_normal((3, bits))
    )
    state = 0.5 * rng.standard_normal((2 * layers, bits))
    return params, (state, rng.integers(0, 2, (length, bits)).astype(float))
