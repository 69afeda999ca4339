"""The same NumPy function under NumPy, jitnet, and those of JAX, Numba and torch.compile that are
installed.

    python benchmarks/compare.py              # all cases, one table
    python benchmarks/compare.py softmax      # some cases

Each case runs in a process of its own, on one thread. There the systems take turns, call by call,
so that they share whatever the machine is doing; the table has medians, their ratio to NumPy's, and
the time of the first call (compilation included). Results are compared with NumPy's before timing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import types

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SYSTEMS = ("numpy", "jitnet", "jax", "numba", "torch")
SECONDS_PER_CASE = 4.0

if __name__ == "__main__":
    for variable in THREADS:
        os.environ[variable] = "1"
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import numpy as np  # noqa: E402

# -- the functions ---------------------------------------------------------------------------------


def scale_and_shift(x, y):
    return x * y + 1


def chain(x):
    for _ in range(5):
        x = x * 1.01 + 0.5
    return x


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def layernorm(x, gain, bias):
    mean = x.mean(axis=1, keepdims=True)
    centred = x - mean
    variance = (centred * centred).mean(axis=1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain + bias


def stencil(u):
    inner = u[1:-1, 1:-1]
    around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
    return inner + 0.1 * (around - 4 * inner)


def column_sums(x):
    return x.sum(axis=0)


def tanh_product(x):
    return np.tanh(x @ x).sum()


def distances(points):
    d = points[:, None, :] - points[None, :, :]
    return np.sqrt((d * d).sum(axis=2))


def network(w1, b1, w2, b2, x):
    return np.tanh(x @ w1 + b1) @ w2 + b2


def network_loss(w1, b1, w2, b2, x, y):
    error = np.tanh(x @ w1 + b1) @ w2 + b2 - y
    return (error * error).mean()


def softmax_loss(x, w):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True) * w).sum()


# -- the cases -------------------------------------------------------------------------------------


def _normal(*shape, dtype="f4"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def _network_arguments():
    sizes = ((64, 128), (128,), (128, 10), (10,), (64, 64), (64, 10))
    return [_normal(*s) * np.float32(0.1) for s in sizes]


CASES = {
    "x*y+1, 10": (scale_and_shift, lambda: [_normal(10), _normal(10)], False),
    "x*y+1, 1M": (scale_and_shift, lambda: [_normal(10**6), _normal(10**6)], False),
    "chain of 10, 10M": (chain, lambda: [_normal(10**7)], False),
    "gelu, 1M": (gelu, lambda: [_normal(10**6)], False),
    "softmax, 4096x1024": (softmax, lambda: [_normal(4096, 1024)], False),
    "layernorm, 4096x1024": (
        layernorm,
        lambda: [_normal(4096, 1024), _normal(1024), _normal(1024)],
        False,
    ),
    "stencil, 2048x2048": (stencil, lambda: [_normal(2048, 2048, dtype="f8")], False),
    "sum axis 0, 1024x1024": (column_sums, lambda: [_normal(1024, 1024)], False),
    "tanh(x@x).sum(), 256": (tanh_product, lambda: [_normal(256, 256)], False),
    "distances, 1000x3": (distances, lambda: [_normal(1000, 3, dtype="f8")], False),
    "network, batch 64": (network, lambda: _network_arguments()[:5], False),
    "grad network, batch 64": (network_loss, _network_arguments, True),
    "grad softmax, 4096x1024": (
        softmax_loss,
        lambda: [_normal(4096, 1024), _normal(4096, 1024)],
        True,
    ),
}

# -- the systems -----------------------------------------------------------------------------------


def under_numpy(fn, args, gradient):
    return None if gradient else (lambda: fn(*args))


def under_jitnet(fn, args, gradient):
    import jitnet

    compiled = jitnet.jit(jitnet.grad(fn) if gradient else fn)
    return lambda: compiled(*args)


def under_jax(fn, args, gradient):
    import jax
    import jax.numpy

    jax.config.update("jax_enable_x64", True)
    twin = types.FunctionType(fn.__code__, {**fn.__globals__, "np": jax.numpy})
    compiled = jax.jit(jax.grad(twin) if gradient else twin)
    arrays = [jax.numpy.asarray(a) for a in args]
    return lambda: compiled(*arrays).block_until_ready()


def under_numba(fn, args, gradient):
    import numba

    if gradient:
        return None
    compiled = numba.njit(fn)
    return lambda: compiled(*args)


def under_torch(fn, args, gradient):
    import torch

    if gradient:
        return None
    torch.set_num_threads(1)
    compiled = torch.compile(fn)
    return lambda: compiled(*args)


UNDER = {
    "numpy": under_numpy,
    "jitnet": under_jitnet,
    "jax": under_jax,
    "numba": under_numba,
    "torch": under_torch,
}


def run_case(name):
    """`{system: [first seconds, median seconds] or a reason}`, the systems taking turns."""
    fn, make_args, gradient = CASES[name]
    args = make_args()
    calls, outcome, expected = {}, {}, None
    for system in SYSTEMS:
        try:
            call = UNDER[system](fn, args, gradient)
            if call is None:
                outcome[system] = "-"
                continue
            start = time.perf_counter()
            result = np.asarray(call())
            outcome[system] = [time.perf_counter() - start]
        except ImportError:
            outcome[system] = "not installed"
            continue
        except Exception as error:  # whatever a peer raises on a function that it cannot take
            outcome[system] = f"refused ({type(error).__name__})"
            continue
        if expected is None:
            expected = result
        np.testing.assert_allclose(result, expected, rtol=2e-3, atol=2e-3)
        calls[system] = call
    seconds = {system: [] for system in calls}
    end = time.perf_counter() + SECONDS_PER_CASE
    while time.perf_counter() < end or len(seconds["jitnet"]) < 5:
        for system, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[system].append(time.perf_counter() - start)
    for system, times in seconds.items():
        outcome[system].append(statistics.median(times))
    return outcome


# -- the table -------------------------------------------------------------------------------------


def show(name, outcome):
    base = outcome["numpy"][1] if isinstance(outcome["numpy"], list) else None
    for system in SYSTEMS:
        entry = outcome[system]
        if not isinstance(entry, list):
            if entry not in ("-", "not installed"):
                print(f"{name:26} {system:8} {entry}")
            continue
        first, median = entry
        ratio = f"{base / median:9.2f}x" if base else " " * 10
        print(f"{name:26} {system:8} {median * 1e6:12.1f} {ratio} {first * 1e3:12.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="parts of the names of cases")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_case(options.one)))
        return
    print(f"{'case':26} {'system':8} {'median us':>12} {'NumPy/it':>10} {'first ms':>12}")
    for name in CASES:
        if options.cases and not any(part in name for part in options.cases):
            continue
        command = [sys.executable, __file__, "--one", name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:26} failed:\n{done.stderr}")
            continue
        show(name, json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
