"""Recurrent networks and filters: a state that is carried over a sequence.

LSTM and GRU cells, sequences read from both ends, decoding that feeds its own choice back, and
Kalman's filter with its smoother.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .program import Program


def sigmoid(x):
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def lstm_cell(x, h, c, params):
    """One step of an LSTM; `x` [batch, d], `h`, `c` [batch, n]."""
    gates = x @ params["W"] + h @ params["U"] + params["b"]
    i, f, g, o = np.split(gates, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, c


def lstm(xs, params):
    """An LSTM over `xs` [steps, batch, d]: all outputs [steps, batch, n] and the last state."""
    n = params["U"].shape[0]
    h = np.zeros((xs.shape[1], n))
    c = np.zeros((xs.shape[1], n))
    outputs = []
    for x in xs:
        h, c = lstm_cell(x, h, c, params)
        outputs.append(h)
    return np.stack(outputs), (h, c)


def gru(xs, lengths, Wz, Wr, Wh, Uz, Ur, Uh):
    """A GRU over padded sequences `xs` [batch, steps, d]: each is frozen at the end of its length
    [batch]. Gives the states [batch, n]."""
    h = np.zeros((xs.shape[0], Uz.shape[0]))
    for t in range(xs.shape[1]):
        x = xs[:, t]
        z = 1 / (1 + np.exp(-(x @ Wz + h @ Uz)))
        r = 1 / (1 + np.exp(-(x @ Wr + h @ Ur)))
        candidate = np.tanh(x @ Wh + (r * h) @ Uh)
        new = (1 - z) * h + z * candidate
        going = t < lengths
        h[going] = new[going]
    return h


def bidirectional(xs, forwards, backwards):
    """Two plain recurrent networks over `xs` [steps, d], one from each end, side by side
    [steps, 2 n]."""

    def run(sequence, weights):
        w, u, b = weights
        h = np.zeros(len(b))
        states = []
        for x in sequence:
            h = np.tanh(w @ x + u @ h + b)
            states.append(h)
        return states

    ahead = run(xs, forwards)
    back = run(reversed(xs), backwards)[::-1]
    return np.array([np.concatenate(pair) for pair in zip(ahead, back)])


def greedy_decode(context, embedding, W, U, V, end, limit):
    """A sequence is written from a `context` [n]: the likeliest token is fed back until `end`.
    Gives the tokens [limit] padded with -1, how many, and their log probability."""
    tokens = np.full(limit, -1)
    h = context
    token = 0
    log_probability = 0.0
    for t in range(limit):
        h = np.tanh(W @ embedding[token] + U @ h)
        scores = V @ h
        scores -= scores.max()
        token = scores.argmax()
        log_probability += scores[token] - np.log(np.exp(scores).sum())
        tokens[t] = token
        if token == end:
            return tokens, t + 1, log_probability
    return tokens, limit, log_probability


class Belief(NamedTuple):
    """A Gaussian: mean [n] and covariance [n, n]."""

    mean: np.ndarray
    covariance: np.ndarray


def kalman_step(belief, z, F, H, Q, R):
    """Predict, then correct by the measurement `z` [m]; also the log likelihood of `z`."""
    mean = F @ belief.mean
    covariance = F @ belief.covariance @ F.T + Q
    innovation = z - H @ mean
    S = H @ covariance @ H.T + R
    gain = covariance @ H.T @ np.linalg.inv(S)
    log_likelihood = -0.5 * (
        innovation @ np.linalg.solve(S, innovation) + np.log(np.linalg.det(2 * np.pi * S))
    )
    corrected = (np.eye(len(mean)) - gain @ H) @ covariance
    return Belief(mean + gain @ innovation, corrected), log_likelihood


def kalman(belief, measurements, F, H, Q, R):
    """Kalman's filter over `measurements` [steps, m], those that are NaN skipped; the means
    [steps, n], the last belief, and the log likelihood."""
    means = np.zeros((len(measurements), len(belief.mean)))
    total = 0.0
    for t in range(len(measurements)):
        z = measurements[t]
        if np.isnan(z).any():
            belief = Belief(F @ belief.mean, F @ belief.covariance @ F.T + Q)
        else:
            belief, log_likelihood = kalman_step(belief, z, F, H, Q, R)
            total += log_likelihood
        means[t] = belief.mean
    return means, belief, total


def scalar_kalman(z, process, noise):
    """A random walk seen through noise, `z` [n]: filter, then the smoother backwards."""
    n = len(z)
    mean = np.zeros(n)
    variance = np.zeros(n)
    m, p = z[0], noise
    for t in range(n):
        p += process
        gain = p / (p + noise)
        m += gain * (z[t] - m)
        p *= 1 - gain
        mean[t], variance[t] = m, p
    smooth = mean.copy()
    for t in range(n - 2, -1, -1):
        c = variance[t] / (variance[t] + process)
        smooth[t] += c * (smooth[t + 1] - mean[t])
    return smooth, variance


def echo_state(inputs, reservoir, input_weights, leak, washout):
    """An echo state network: states of a `reservoir` [n, n] driven by `inputs` [steps], and the
    readout [n + 1] that predicts the next input, by ridge regression."""
    n = len(reservoir)
    states = np.ones((len(inputs), n + 1))
    x = np.zeros(n)
    for t, u in enumerate(inputs):
        x = (1 - leak) * x + leak * np.tanh(reservoir @ x + input_weights * u)
        states[t, 1:] = x
    S = states[washout:-1]
    target = inputs[washout + 1 :]
    readout = np.linalg.solve(S.T @ S + 1e-6 * np.eye(n + 1), S.T @ target)
    error = np.sqrt(np.mean((S @ readout - target) ** 2))
    return readout, error


# -- arguments -------------------------------------------------------------------------------------


def _weights(rng, *shape):
    return rng.standard_normal(shape) / np.sqrt(shape[-1])


def _lstm(rng, steps, batch, d, n):
    params = {"W": _weights(rng, d, 4 * n), "U": _weights(rng, n, 4 * n), "b": np.zeros(4 * n)}
    return rng.standard_normal((steps, batch, d)), params


def _gru(rng, steps, batch, d, n):
    w = [_weights(rng, d, n) for _ in range(3)] + [_weights(rng, n, n) for _ in range(3)]
    return rng.standard_normal((batch, steps, d)), rng.integers(1, steps + 1, batch), *w


def _both_ways(rng, steps, d, n):
    def weights():
        return _weights(rng, n, d), _weights(rng, n, n), np.zeros(n)

    return rng.standard_normal((steps, d)), weights(), weights()


def _decoder(rng, n, vocabulary, limit):
    return (
        rng.standard_normal(n),
        2 * rng.standard_normal((vocabulary, n)),
        _weights(rng, n, n),
        _weights(rng, n, n),
        rng.standard_normal((vocabulary, n)),
        vocabulary,
        limit,
    )


def _tracking(rng, steps):
    dt = 0.1
    F = np.eye(4)
    F[0, 2] = F[1, 3] = dt
    H = np.eye(2, 4)
    z = np.cumsum(rng.standard_normal((steps, 2)), axis=0)
    z[rng.random(steps) < 0.2] = np.nan
    return Belief(np.zeros(4), np.eye(4)), z, F, H, 0.1 * np.eye(4), 0.5 * np.eye(2)


def _walk(rng, n):
    return rng.standard_normal(n).cumsum() + rng.standard_normal(n), 1.0, 1.0


def _reservoir(rng, n, steps):
    series = np.sin(0.2 * np.arange(steps)) * np.sin(0.031 * np.arange(steps))
    return series, 0.9 * _weights(rng, n, n), rng.uniform(-1, 1, n), 0.7, steps // 10


PROGRAMS = (
    Program(
        "lstm",
        lstm,
        _lstm,
        {
            "test": {"steps": 5, "batch": 3, "d": 4, "n": 6},
            "bench": {"steps": 100, "batch": 16, "d": 32, "n": 64},
        },
        tolerance=1e-11,
    ),
    Program(
        "gru",
        gru,
        _gru,
        {
            "test": {"steps": 5, "batch": 3, "d": 4, "n": 6},
            "bench": {"steps": 100, "batch": 16, "d": 32, "n": 64},
        },
        numba=True,
        tolerance=1e-11,
    ),
    Program(
        "bidirectional",
        bidirectional,
        _both_ways,
        {"test": {"steps": 6, "d": 4, "n": 5}, "bench": {"steps": 1000, "d": 16, "n": 32}},
        tolerance=1e-11,
    ),
    Program(
        "greedy_decode",
        greedy_decode,
        _decoder,
        {
            "test": {"n": 6, "vocabulary": 9, "limit": 12},
            "bench": {"n": 64, "vocabulary": 200, "limit": 500},
        },
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "kalman",
        kalman,
        _tracking,
        {"test": {"steps": 12}, "bench": {"steps": 1000}},
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "scalar_kalman",
        scalar_kalman,
        _walk,
        {"test": {"n": 40}, "bench": {"n": 50_000}},
        numba=True,
    ),
    Program(
        "echo_state",
        echo_state,
        _reservoir,
        {"test": {"n": 6, "steps": 60}, "bench": {"n": 100, "steps": 2000}},
        numba=True,
        tolerance=1e-5,
    ),
)
