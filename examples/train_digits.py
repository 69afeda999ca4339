"""Learn handwritten digits: a multilayer perceptron in plain NumPy, compiled and differentiated.

    python examples/train_digits.py            # train, print progress and the test accuracy
    python examples/train_digits.py --check    # compare 200 steps with hand-written backpropagation
    python examples/train_digits.py --device cpusim   # a few steps as CUDA C++, beside the CPU's
    python examples/train_digits.py --device cuda --steps 500      # the same on a GPU, with CuPy

Nothing in `predict`, `loss` and `adam_step` knows of jitnet: they are NumPy functions on NumPy
arrays. `jit` and `value_and_grad` are applied at the bottom, where the training loop needs them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from jitnet import jit, value_and_grad

HIDDEN = (128, 64)
BATCH = 64
EPOCHS = 40
LEARNING_RATE = 2e-3


class Adam(NamedTuple):
    """The optimiser's state: the step count and two moments of the gradient."""

    step: float
    mean: list
    square: list


# -- the model: plain NumPy ------------------------------------------------------------------------


def predict(params, x):
    """Logits [batch, 10] of images [batch, 64]."""
    *hidden, last = params
    for layer in hidden:
        x = np.maximum(x @ layer["w"] + layer["b"], 0)
    return x @ last["w"] + last["b"]


def loss(params, x, y):
    """Mean cross-entropy; y holds one-hot rows [batch, 10]."""
    logits = predict(params, x)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_normaliser = np.log(np.exp(shifted).sum(axis=1))
    return np.mean(log_normaliser - (shifted * y).sum(axis=1))


def adam_step(params, state, grads, rate=LEARNING_RATE, beta1=0.9, beta2=0.999, eps=1e-8):
    """One step of Adam (Kingma and Ba, 2015), without changing anything in place."""
    step = state.step + 1
    scale = rate * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
    new_params, means, squares = [], [], []
    for layer, grad, mean, square in zip(params, grads, state.mean, state.square):
        mean = {k: beta1 * mean[k] + (1 - beta1) * grad[k] for k in grad}
        square = {k: beta2 * square[k] + (1 - beta2) * grad[k] ** 2 for k in grad}
        new_params.append(
            {k: layer[k] - scale * mean[k] / (np.sqrt(square[k]) + eps) for k in grad}
        )
        means.append(mean)
        squares.append(square)
    return new_params, Adam(step, means, squares)


def train_step(params, state, x, y):
    """Loss and gradient on a minibatch, then one step of Adam."""
    value, grads = value_and_grad(loss)(params, x, y)
    params, state = adam_step(params, state, grads)
    return value, params, state


# -- the same gradient by hand, to compare with ----------------------------------------------------


def loss_and_grad_by_hand(params, x, y):
    """Backpropagation written out."""
    inputs = [x]
    for layer in params[:-1]:
        inputs.append(np.maximum(inputs[-1] @ layer["w"] + layer["b"], 0))
    logits = inputs[-1] @ params[-1]["w"] + params[-1]["b"]
    shifted = logits - logits.max(axis=1, keepdims=True)
    exps = np.exp(shifted)
    sums = exps.sum(axis=1, keepdims=True)
    value = np.mean(np.log(sums[:, 0]) - (shifted * y).sum(axis=1))
    delta = (exps / sums - y) / len(x)
    grads = []
    for layer, h in zip(params[::-1], inputs[::-1]):
        grads.append({"w": h.T @ delta, "b": delta.sum(axis=0)})
        delta = (delta @ layer["w"].T) * (h > 0)
    return value, grads[::-1]


def train_step_by_hand(params, state, x, y):
    value, grads = loss_and_grad_by_hand(params, x, y)
    params, state = adam_step(params, state, grads)
    return value, params, state


# -- data and training -----------------------------------------------------------------------------


def load(dtype):
    """Images scaled to [0, 1] and one-hot labels: (train x, train y), (test x, test labels)."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    x = (digits.data[order] / 16).astype(dtype)
    labels = digits.target[order]
    y = np.eye(10, dtype=dtype)[labels]
    held_out = len(x) // 5
    return (x[held_out:], y[held_out:]), (x[:held_out], labels[:held_out])


def initial(dtype, seed=1):
    """He-initialised layers, and Adam's zero moments."""
    rng = np.random.default_rng(seed)
    sizes = (64, *HIDDEN, 10)
    params = [
        {
            "w": (rng.standard_normal((n, m)) * np.sqrt(2 / n)).astype(dtype),
            "b": np.zeros(m, dtype),
        }
        for n, m in itertools.pairwise(sizes)
    ]
    zeros = [{k: np.zeros_like(v) for k, v in layer.items()} for layer in params]
    return params, Adam(0.0, zeros, zeros)


def batches(x, y, rng):
    """Shuffled minibatches, all of one size."""
    order = rng.permutation(len(x))
    for start in range(0, len(x) - BATCH + 1, BATCH):
        rows = order[start : start + BATCH]
        yield x[rows], y[rows]


def train(epochs):
    (x, y), (test_x, test_labels) = load(np.float32)
    params, state = initial(np.float32)
    step, rng, seconds = jit(train_step), np.random.default_rng(2), []
    for epoch in range(epochs):
        for xs, ys in batches(x, y, rng):
            start = time.perf_counter()
            value, params, state = step(params, state, xs, ys)
            seconds.append(time.perf_counter() - start)
        print(f"\repoch {epoch + 1:3d}/{epochs}  loss {value:.5f}", end="", flush=True)
    accuracy = np.mean(predict(params, test_x).argmax(axis=1) == test_labels)
    by_hand = time_by_hand(x, y, np.float32)
    jitted = statistics.median(seconds)
    print(f"\ntest accuracy {accuracy:.2%} on {len(test_labels)} held-out digits")
    print(f"first step (compiles) {seconds[0] * 1e3:.0f} ms")
    print(
        f"per step {jitted * 1e6:.0f} us; hand-written NumPy backpropagation "
        f"{by_hand * 1e6:.0f} us ({by_hand / jitted:.1f}x)"
    )
    return accuracy


def time_by_hand(x, y, dtype, steps=200):
    """Median seconds of one hand-written step."""
    params, state = initial(dtype)
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        _, params, state = train_step_by_hand(params, state, x[:BATCH], y[:BATCH])
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def check(steps=200, tolerance=1e-5):
    """The loss curves of both in float64, and the time per step of each, interleaved."""
    (x, y), _ = load(np.float64)
    ours, theirs = initial(np.float64), initial(np.float64)
    step, rng = jit(train_step), np.random.default_rng(2)
    worst, seconds = 0.0, ([], [])
    stream = (batch for _ in range(steps) for batch in batches(x, y, rng))
    for _, (xs, ys) in zip(range(steps), stream):
        t0 = time.perf_counter()
        value, *ours = step(*ours, xs, ys)
        t1 = time.perf_counter()
        expected, *theirs = train_step_by_hand(*theirs, xs, ys)
        t2 = time.perf_counter()
        seconds[0].append(t1 - t0)
        seconds[1].append(t2 - t1)
        worst = max(worst, abs(value - expected) / abs(expected))
    jitted, by_hand = (statistics.median(s) for s in seconds)
    print(f"{steps} steps in float64: largest relative difference of the loss {worst:.1e}")
    print(f"per step: jitnet {jitted * 1e6:.0f} us, NumPy {by_hand * 1e6:.0f} us")
    if not worst <= tolerance:
        raise SystemExit(f"the curves differ by more than {tolerance}")


def train_on(device, steps, tolerance=1e-9):
    """Steps in float64 on a device and on the CPU, side by side; the worst difference of the loss.

    Parameters and moments stay on a GPU; each batch goes there, and the loss comes back."""
    (x, y), _ = load(np.float64)
    put = arrays_of(device)
    params, state = initial(np.float64)
    ours, theirs = (placed(params, put), placed(state, put)), (params, state)
    step, plain = jit(train_step, device=device), jit(train_step)
    rng, worst, seconds = np.random.default_rng(2), 0.0, []
    stream = (batch for _ in range(steps) for batch in batches(x, y, rng))
    for number, (xs, ys) in zip(range(1, steps + 1), stream):
        start = time.perf_counter()
        value, *ours = step(*ours, put(xs), put(ys))
        value = float(value)
        seconds.append(time.perf_counter() - start)
        expected, *theirs = plain(*theirs, xs, ys)
        worst = max(worst, abs(value - expected) / abs(expected))
        print(f"\rstep {number}/{steps}  loss {value:.9f}, on the CPU {expected:.9f}", end="")
    milliseconds = statistics.median(seconds) * 1e3
    print(f"\nlargest relative difference {worst:.1e}; {milliseconds:.2f} ms a step")
    if not worst <= tolerance:
        raise SystemExit(f"the losses differ by more than {tolerance}")
    return worst


def arrays_of(device):
    """What makes an array of the device from one of NumPy."""
    if device != "cuda":
        return np.asarray
    import cupy

    return cupy.asarray


def placed(tree, put):
    """The tree with its arrays put somewhere else."""
    if isinstance(tree, dict):
        return {key: placed(value, put) for key, value in tree.items()}
    if isinstance(tree, Adam):
        return Adam(*(placed(value, put) for value in tree))
    if isinstance(tree, list):
        return [placed(value, put) for value in tree]
    return put(tree) if isinstance(tree, np.ndarray) else tree


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with backpropagation by hand")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--device", choices=("cpu", "cuda", "cpusim"), default="cpu")
    parser.add_argument("--steps", type=int, default=6, help="how many, with --device")
    options = parser.parse_args()
    if options.device != "cpu":
        train_on(options.device, options.steps)
    elif options.check:
        check()
    else:
        train(options.epochs)


if __name__ == "__main__":
    main()
