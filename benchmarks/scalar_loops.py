"""Loops of scalar code: jitnet against the same loops in C, compiled by gcc -O2.

    python benchmarks/scalar_loops.py             # all cases
    python benchmarks/scalar_loops.py collatz     # some

Both sides change the same arrays in place, take turns, and must agree to the bit; the table has
medians, their ratio, and how long the first call took.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import jitnet

N = 1_000_000
ROUNDS = 15


@dataclass(frozen=True)
class Case:
    """Attributes:
    function: plain Python.
    arguments: fresh arguments; numbers are passed by value.
    c: a C function `f` of the same arguments, and of the same result if that is a number.
    """

    function: Callable[..., Any]
    arguments: Callable[[], list[Any]]
    c: str


# -- a million steps of scalars --------------------------------------------------------------------


def logistic(x, limit):
    steps = 0
    while x < limit and steps < N:
        x = 3.9 * x * (1 - x)
        steps += 1
    return x


LOGISTIC = """
double f(double x, double limit) {
    long steps = 0;
    while (x < limit && steps < 1000000) { x = 3.9 * x * (1 - x); steps += 1; }
    return x;
}
"""


def collatz(n):
    """Python's ints: each sum and product is checked to fit, which C's are not."""
    steps = 0
    for i in range(n):
        k = i + 1
        while k != 1:
            if k % 2 == 1:
                k = 3 * k + 1
            else:
                k = k // 2
            steps += 1
    return steps


COLLATZ = """
long f(long n) {
    long steps = 0;
    for (long i = 0; i < n; i++) {
        long k = i + 1;
        while (k != 1) {
            if (k % 2 == 1) k = 3 * k + 1; else k = k / 2;
            steps += 1;
        }
    }
    return steps;
}
"""


def newton(x):
    for i in range(len(x)):
        a = x[i]
        y = a
        while abs(y * y - a) > a * 1e-12:
            y = (y + a / y) * 0.5
        x[i] = y


NEWTON = """
#include <math.h>
void f(double *x) {
    for (long i = 0; i < 100000; i++) {
        double a = x[i], y = a;
        while (fabs(y * y - a) > a * 1e-12) y = (y + a / y) * 0.5;
        x[i] = y;
    }
}
"""


# -- arrays, an element at a time ------------------------------------------------------------------


def recurrence(a, b):
    for i in range(1, len(a)):
        a[i] = 0.5 * a[i - 1] + b[i]


RECURRENCE = """
void f(double *a, double *b) {
    for (long i = 1; i < 1000000; i++) a[i] = 0.5 * a[i - 1] + b[i];
}
"""


def scatter(a, places, w):
    for i in range(len(w)):
        a[places[i]] += w[i]


SCATTER = """
void f(double *a, long *places, double *w) {
    for (long i = 0; i < 1000000; i++) a[places[i]] += w[i];
}
"""


def distance(d, s, t):
    for i in range(1, len(s) + 1):
        for j in range(1, len(t) + 1):
            change = d[i - 1, j - 1] + (s[i - 1] != t[j - 1])
            gap = min(d[i - 1, j], d[i, j - 1]) + 1
            d[i, j] = min(change, gap)


DISTANCE = """
void f(long *d, long *s, long *t) {
    for (long i = 1; i <= 1000; i++)
        for (long j = 1; j <= 1000; j++) {
            long change = d[(i - 1) * 1001 + j - 1] + (s[i - 1] != t[j - 1]);
            long up = d[(i - 1) * 1001 + j], left = d[i * 1001 + j - 1];
            long gap = (up < left ? up : left) + 1;
            d[i * 1001 + j] = change < gap ? change : gap;
        }
}
"""


def triangular(a):
    for i in range(len(a)):
        for j in range(i):
            a[i] -= a[j] * 1e-3


TRIANGULAR = """
void f(double *a) {
    for (long i = 0; i < 1400; i++)
        for (long j = 0; j < i; j++) a[i] -= a[j] * 1e-3;
}
"""


def _table() -> Any:
    d = np.zeros((1001, 1001), np.int64)
    d[0], d[:, 0] = np.arange(1001), np.arange(1001)
    return d


def _random() -> np.random.Generator:
    return np.random.default_rng(0)


CASES = {
    "logistic": Case(logistic, lambda: [0.5, 2.0], LOGISTIC),
    "collatz": Case(collatz, lambda: [10_000], COLLATZ),
    "newton": Case(newton, lambda: [_random().random(100_000) + 0.1], NEWTON),
    "recurrence": Case(recurrence, lambda: [np.ones(N), _random().random(N)], RECURRENCE),
    "scatter": Case(
        scatter,
        lambda: [np.zeros(N), _random().integers(0, N, N), _random().random(N)],
        SCATTER,
    ),
    "distance": Case(distance, lambda: [_table(), *_random().integers(0, 4, (2, 1000))], DISTANCE),
    "triangular": Case(triangular, lambda: [_random().random(1400)], TRIANGULAR),
}


# -- running ---------------------------------------------------------------------------------------


def compile_c(case: Case, folder: Path) -> Callable[[Sequence[Any]], Any]:
    source, library = folder / "f.c", folder / f"f{len(list(folder.iterdir()))}.so"
    source.write_text(case.c)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    f = ctypes.CDLL(str(library)).f
    of = {"double": ctypes.c_double, "long": ctypes.c_long, "void": None}
    f.restype = of[next(line for line in case.c.split("\n") if "f(" in line).split()[0]]
    numbers = {float: ctypes.c_double, int: ctypes.c_long}
    f.argtypes = [numbers.get(type(a), ctypes.c_void_p) for a in case.arguments()]
    return lambda args: f(*map(_passed, args))


def _passed(a: Any) -> Any:
    return a.ctypes.data if isinstance(a, np.ndarray) else a


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = call()
    return 1e3 * (time.perf_counter() - begin), result


def measure(
    case: Case, jitted: Callable[..., Any], c: Callable[[Sequence[Any]], Any]
) -> list[float]:
    """Medians in milliseconds: jitnet, C."""
    times: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        mine, theirs = case.arguments(), case.arguments()
        here, found = timed(lambda mine=mine: jitted(*mine))
        there, expected = timed(lambda theirs=theirs: c(theirs))
        times.append((here, there))
        assert found == expected
        for x, y in zip(mine, theirs):
            np.testing.assert_array_equal(x, y)
    return [statistics.median(column) for column in zip(*times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="all if none is named")
    chosen = parser.parse_args().cases or list(CASES)
    if shutil.which("gcc") is None:
        sys.exit("gcc is needed to compare with, and it is not here")
    print(f"{'case':12} {'jitnet ms':>10} {'gcc -O2 ms':>10} {'ratio':>6} {'first ms':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            case = CASES[name]
            jitted = jitnet.jit(case.function)
            first, _ = timed(lambda case=case, jitted=jitted: jitted(*case.arguments()))
            mine, theirs = measure(case, jitted, compile_c(case, Path(folder)))
            print(f"{name:12} {mine:10.3f} {theirs:10.3f} {mine / theirs:6.2f} {first:9.1f}")


if __name__ == "__main__":
    main()
