"""Gradients beside JAX's: programs with loops and writes, and functions of whole arrays.

    python benchmarks/gradients_beside_jax.py                  # all of them, one table
    python benchmarks/gradients_beside_jax.py rope attention   # some
    python benchmarks/gradients_beside_jax.py --seconds 1      # less time for each
    python benchmarks/gradients_beside_jax.py --json table.json

`benchmarks/beside_jax` has the functions: for the loops programs of `tests/programs` as they stand,
and two JAX versions of each written by hand. The *direct port* keeps the program's loops and its
writes; the *rearranged* one does what it computes in the way that suits JAX. Dense functions have
one JAX version only. `jitnet.value_and_grad(f)` and `jax.jit(jax.value_and_grad(f))` take turns,
after all were checked to give the same value and gradient: five calls each, fewer if a call takes
long. Each case is measured in a process of its own that may use one core; jitnet is given NumPy
arrays and gives NumPy arrays, JAX its own. The table has medians of the process's time on that
core, all its threads together, in milliseconds: what a call takes where nobody else uses it. Then
how many times faster jitnet is, and the seconds of the first calls, less a later one. Under it are
geometric means.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WAYS = ("direct", "rearranged")
HEAD = (
    f"{'program':24}{'kind':>6}{'jitnet ms':>11}{'direct':>12}{'x JAX':>9}"
    f"{'rearranged':>12}{'x JAX':>9}{'compile s:':>12}{'jitnet':>8}{'direct':>8}{'rearr.':>8}"
)
LONG = 0.5
"""Seconds of one turn: who takes longer for a call makes fewer of them in a row."""

if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):  # before JAX counts the cores
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import jax  # noqa: E402
import numpy as np  # noqa: E402
from beside_jax import CASES, Case  # noqa: E402

# -- one case --------------------------------------------------------------------------------------


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """The row of one case: milliseconds of a call, seconds of compiling, by system."""
    import jitnet

    jax.config.update("jax_enable_x64", True)
    arguments = case.make(np.random.default_rng(0))
    systems = {"jitnet": (jitnet.value_and_grad(case.ours, argnums=case.varied), arguments)}
    for way, theirs in case.theirs.items():
        gradient = jax.jit(jax.value_and_grad(theirs, argnums=case.varied))
        systems[way] = (gradient, jax.tree.map(jax.numpy.asarray, arguments))
    row: dict[str, Any] = {"program": case.name, "kind": case.kind}
    results = {}
    for name, (fn, given) in systems.items():
        start = time.perf_counter()
        results[name] = jax.block_until_ready(fn(*given))
        row[name + "_compile"] = time.perf_counter() - start
    for way in case.theirs:
        _same(results["jitnet"], results[way], case)
    for name, times in _take_turns(systems, seconds).items():
        median = statistics.median(times)
        row[name] = 1e3 * median
        row[name + "_compile"] = max(row[name + "_compile"] - median, 0.0)
    return row


def _same(ours: Any, theirs: Any, case: Case) -> None:
    """AssertionError unless value and gradients agree, as far as rounding lets them."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    for k, (a, b) in enumerate(pairs):
        a, b = np.asarray(a), np.asarray(b)
        off = np.abs(a - b).max() / np.abs(b).max()
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{case.name}: type of leaf {k}"
        assert off <= case.tolerance, f"{case.name}: leaf {k} differs by {off:.1e}"


def _take_turns(
    systems: dict[str, tuple[Callable[..., Any], Sequence[Any]]], seconds: float
) -> dict[str, list[float]]:
    """Turns of up to five calls: at least three turns of each, and as many as the seconds allow."""
    times: dict[str, list[float]] = {name: [] for name in systems}
    end = time.perf_counter() + seconds
    turns = 0
    while turns < 3 or (time.perf_counter() < end and turns < 100):
        turns += 1
        for name, (fn, given) in systems.items():
            turn = time.perf_counter() + LONG
            for _ in range(5):
                start = time.process_time()
                jax.block_until_ready(fn(*given))
                times[name].append(time.process_time() - start)
                if time.perf_counter() > turn:
                    break
    return times


# -- the table -------------------------------------------------------------------------------------


def table(names: list[str], seconds: float) -> list[dict[str, Any]]:
    """Measure each case in a process of its own, and print a line for each."""
    print(
        f"value and gradient, one thread on one core, medians; Python "
        f"{platform.python_version()}, NumPy {np.__version__}, JAX {jax.__version__}, "
        f"{platform.machine()}\n\n{HEAD}"
    )
    rows = []
    for name in names:
        command = [sys.executable, __file__, "--one", name, "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(_line(rows[-1]), flush=True)
    print()
    for title, kinds in (
        ("loops", ("loop",)),
        ("dense", ("dense",)),
        ("overall", ("loop", "dense")),
    ):
        _summarise(title, [row for row in rows if row["kind"] in kinds])
    return rows


def _summarise(title: str, rows: list[dict[str, Any]]) -> None:
    """Geometric means of how many times faster jitnet is, for each way of writing the JAX side;
    what is written in one way only counts as both."""
    ways = [way for way in WAYS if any(way in row for row in rows)]
    for way in ways:
        ratios = {r["program"]: r.get(way, r["rearranged"]) / r["jitnet"] for r in rows}
        mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
        least = min(ratios, key=lambda name: ratios[name])
        print(
            f"{title if len(ways) == 1 else f'{title}, {way}':20} geometric mean {mean:7.2f}x "
            f"over {len(ratios)}, least {ratios[least]:.2f}x ({least})"
        )


def _line(row: dict[str, Any]) -> str:
    line = f"{row['program']:24}{row['kind']:>6}{row['jitnet']:11.3f}"
    for way in WAYS:
        if way in row:
            line += f"{row[way]:12.3f}{row[way] / row['jitnet']:9.2f}"
        else:
            line += f"{'-':>12}{'-':>9}"
    line += f"{'':12}{row['jitnet_compile']:8.2f}"
    return line + "".join(
        f"{row[way + '_compile']:8.2f}" if way in row else f"{'-':>8}" for way in WAYS
    )


def main() -> None:
    """Parse the command line; measure one case, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(CASES)}")
    parser.add_argument("--seconds", type=float, default=4.0, help="time for the calls of each")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(CASES[options.one], options.seconds)))
        return
    if unknown := set(options.names) - set(CASES):
        sys.exit(f"no case of this name: {', '.join(sorted(unknown))}")
    rows = table(options.names or list(CASES), options.seconds)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
