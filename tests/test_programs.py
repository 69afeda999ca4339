"""Whole NumPy programs, unmodified: compiled, they give NumPy's answers, and their gradients."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from cupy_stand_in import cupy_standing_in
from simulated import needs_compiler

import jitnet

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


# -- the programs ----------------------------------------------------------------------------------


def attention(q, k, v):
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)) @ v


def lstm(params, xs):
    w, u, b = params["w"], params["u"], params["b"]
    n = u.shape[0]
    h = c = np.zeros(n)
    for x in xs:
        z = x @ w + h @ u + b
        i, f, o, g = z[:n], z[n : 2 * n], z[2 * n : 3 * n], z[3 * n :]
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    return h


def convolution(image, kernels):
    """A 3x3 convolution as a sum of shifted images."""
    rows, columns = image.shape[0] - 2, image.shape[1] - 2
    out = 0
    for i in range(3):
        for j in range(3):
            patch = image[i : i + rows, j : j + columns, None]
            out = out + patch * kernels[i, j]
    return np.maximum(out, 0)


def n_body(positions, velocities, masses, dt=0.01):
    for _ in range(3):
        apart = positions[None, :, :] - positions[:, None, :]
        cubed = ((apart**2).sum(axis=-1) + 1e-3) ** 1.5
        pull = (apart / cubed[:, :, None] * masses[None, :, None]).sum(axis=1)
        velocities = velocities + dt * pull
        positions = positions + dt * velocities
    return positions, velocities


def mandelbrot(x, y):
    """Escape counts, with a fixed number of steps."""
    a, b = x, y
    count = np.zeros(x.shape, dtype=np.int32)
    for _ in range(20):
        a, b = a * a - b * b + x, 2 * a * b + y
        a, b = np.clip(a, -1e6, 1e6), np.clip(b, -1e6, 1e6)
        count = count + (a * a + b * b < 4)
    return count


def heat(u, steps=4):
    for _ in range(steps):
        inside = u[1:-1, 1:-1]
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        u = np.pad(inside + 0.1 * (around - 4 * inside), 1)
    return u


def k_means_step(points, centres):
    distances = ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    nearest = distances.argmin(axis=1)
    member = (nearest[:, None] == np.arange(centres.shape[0])).astype(points.dtype)
    return (member.T @ points) / np.maximum(member.sum(axis=0), 1)[:, None], nearest


def cross_entropy(weights, x, labels):
    logits = x @ weights
    logits = logits - logits.max(axis=1, keepdims=True)
    picked = logits[np.arange(len(labels)), labels]
    return (np.log(np.exp(logits).sum(axis=1)) - picked).mean()


def power_iteration(a):
    v = np.ones(a.shape[0]) / np.sqrt(a.shape[0])
    for _ in range(30):
        v = a @ v
        v = v / np.linalg.norm(v)
    return v @ a @ v, v


def moving_statistics(x, width=5):
    """Means and deviations of windows, from running sums."""
    total = np.concatenate([np.zeros(1), np.cumsum(x)])
    squares = np.concatenate([np.zeros(1), np.cumsum(x * x)])
    mean = (total[width:] - total[:-width]) / width
    return mean, np.sqrt(np.maximum((squares[width:] - squares[:-width]) / width - mean**2, 0))


def above_average(x):
    """What depends on data is how much comes out."""
    chosen = x[x > x.mean()]
    return chosen, chosen.sum() / x.sum()


A = normal(6, 6)
LSTM_PARAMS = {"w": normal(3, 16), "u": normal(4, 16), "b": normal(16)}
PROGRAMS = {
    "attention": (attention, (normal(2, 5, 4), normal(2, 7, 4), normal(2, 7, 3))),
    "lstm": (lstm, (LSTM_PARAMS, normal(6, 3))),
    "convolution": (convolution, (normal(9, 8), normal(3, 3, 4))),
    "n-body": (n_body, (normal(5, 3), normal(5, 3), np.abs(normal(5)))),
    "mandelbrot": (mandelbrot, np.meshgrid(np.linspace(-2, 1, 13), np.linspace(-1, 1, 11))),
    "heat": (heat, (normal(8, 9),)),
    "k-means": (k_means_step, (normal(30, 2), normal(4, 2))),
    "cross entropy": (cross_entropy, (normal(5, 3), normal(7, 5), RNG.integers(0, 3, 7))),
    "power iteration": (power_iteration, (A @ A.T,)),
    "moving statistics": (moving_statistics, (normal(40),)),
    "above average": (above_average, (np.abs(normal(25)),)),
}
DIFFERENTIABLE = set(PROGRAMS) - {"mandelbrot", "k-means"}


def leaves(tree):
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in leaves(tree[key])]
    if isinstance(tree, (tuple, list)):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str) -> None:
    fn, args = PROGRAMS[name]
    for found, expected in zip(leaves(jitnet.jit(fn)(*args)), leaves(fn(*args)), strict=True):
        assert type(found) is type(expected)
        assert np.asarray(found).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", sorted(DIFFERENTIABLE))
def test_gradient_of_program(name: str) -> None:
    """Along a random direction of the first argument, against central differences."""
    fn, (first, *rest) = PROGRAMS[name]

    def loss(first, *rest):
        parts = leaves(fn(first, *rest))
        return sum(np.sum(p * p) for p in parts if p.dtype.kind == "f")

    gradient = jitnet.grad(loss)(first, *rest)
    direction = [normal(*np.shape(x)) for x in leaves(first)]
    slope = sum(np.sum(g * d) for g, d in zip(leaves(gradient), direction))

    def moved(by: float):
        steps = iter(direction)
        if isinstance(first, dict):
            return {k: v + by * next(steps) for k, v in first.items()}
        return first + by * next(steps)

    eps = 1e-6
    expected = (loss(moved(eps), *rest) - loss(moved(-eps), *rest)) / (2 * eps)
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-7)


# -- the examples ----------------------------------------------------------------------------------


def example(name: str) -> ModuleType:
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_training_step_keeps_its_budget() -> None:
    """Eight products, a kernel for each array that Adam updates, and one for each layer and way; no
    copy; one compilation for all steps."""
    digits = example("train_digits")
    (x, y), _ = digits.load(np.float32)
    params, state = digits.initial(np.float32)
    step = jitnet.jit(digits.train_step)
    for start in (0, 64, 128):
        _, params, state = step(params, state, x[start : start + 64], y[start : start + 64])
    assert step.cache_info().misses == 1
    cost = step.lower(params, state, x[:64], y[:64]).cost()
    assert cost["kernels"] <= 20
    assert cost["copies"] == 0
    assert all(v.dtype == np.float32 for layer in params for v in layer.values())


def test_training_follows_backpropagation_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    example("train_digits").check(steps=20)
    assert "20 steps" in capsys.readouterr().out


@needs_compiler
@pytest.mark.parametrize("device", ["cpusim", "cuda"])
def test_training_on_a_device(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    with cupy_standing_in() as cupy:
        example("train_digits").train_on(device, steps=5, tolerance=1e-10)
    assert "step 5/5  loss" in capsys.readouterr().out
    called = {c for c in cupy.log if not c.startswith(("alloc", "launch"))}
    ours = {"memcpy H2D", "memcpy D2H", "synchronize", "dgemm"}  # the status word, and products
    assert called == (ours if device == "cuda" else set())


def test_inspecting_prints_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    example("inspect_ir").main()
    printed = capsys.readouterr().out
    assert all(
        word in printed for word in ("func @", "fused", "call_extern", "rows=1", "'kernels'")
    )
