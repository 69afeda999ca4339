"""ADBench's four problems: what an objective takes, and what its derivatives take.

    python benchmarks/adbench.py                # all of them, one table
    python benchmarks/adbench.py gmm lstm       # some
    python benchmarks/adbench.py --seconds 1    # less time for each
    python benchmarks/adbench.py --json table.json

`examples/adbench` has the problems as plain NumPy, and makes data of the benchmark's sizes. Each
row is measured in a process of its own, on one thread; the objective in NumPy, the compiled
objective and the compiled derivatives take turns of three calls, after each was called once. The
table has medians of the process's time in milliseconds; what all derivatives take beside the
compiled objective (the benchmark's measure) and beside NumPy's; and the seconds of the first call,
less a later one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HEAD = (
    f"{'problem':40}{'NumPy f':>10}{'jit f':>9}{'derivatives':>13}{'/ jit f':>9}{'/ NumPy f':>11}"
    f"{'compile s':>11}"
)

if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"

sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

import numpy as np  # noqa: E402
from adbench import ba, gmm, hand, lstm  # noqa: E402

CASES = [
    (gmm, {"n": 1000, "d": 10, "k": 25}),
    (gmm, {"n": 1000, "d": 64, "k": 25}),
    (gmm, {"n": 10_000, "d": 32, "k": 50}),
    (ba, {"cameras": 49, "points": 7776, "observations": 31_843}),
    (ba, {"cameras": 257, "points": 65_132, "observations": 225_911}),
    (hand, {"correspondences": 100, "vertices": 544}),
    (hand, {"correspondences": 10_000, "vertices": 544}),
    (hand, {"correspondences": 10_000, "vertices": 10_000}),
    (lstm, {"layers": 2, "length": 1024, "bits": 14}),
    (lstm, {"layers": 4, "length": 4096, "bits": 14}),
]


def measure(number: int, seconds: float) -> dict[str, Any]:
    """The row of one case: medians in milliseconds, and seconds of compiling."""
    import jitnet

    module, size = CASES[number]
    params, data = module.generate(np.random.default_rng(0), **size)
    systems = {
        "numpy": module.objective,
        "jit": jitnet.jit(module.objective),
        "derivatives": module.derivative,
    }
    row: dict[str, Any] = {"problem": f"{_name(module)} {_sizes(size)}"}
    first: dict[str, float] = {}
    for name, fn in systems.items():
        start = time.perf_counter()
        fn(params, *data)
        first[name] = time.perf_counter() - start
    times: dict[str, list[float]] = {name: [] for name in systems}
    end = time.perf_counter() + seconds
    while len(times["jit"]) < 6 or (time.perf_counter() < end and len(times["jit"]) < 300):
        for name, fn in systems.items():
            for _ in range(3):
                start = time.process_time()
                fn(params, *data)
                times[name].append(time.process_time() - start)
    for name, taken in times.items():
        row[name] = 1e3 * statistics.median(taken)
    row["compile"] = max(first["derivatives"] - row["derivatives"] / 1e3, 0.0)
    return row


def table(numbers: list[int], seconds: float) -> list[dict[str, Any]]:
    """Measure each case in a process of its own, and print a line for each."""
    print(
        f"milliseconds, one thread, medians; Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {platform.machine()}\n\n{HEAD}"
    )
    rows = []
    for number in numbers:
        command = [sys.executable, __file__, "--one", str(number), "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(_line(rows[-1]), flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['problem']:40}{row['numpy']:10.3f}{row['jit']:9.3f}{row['derivatives']:13.3f}"
        f"{row['derivatives'] / row['jit']:9.2f}{row['derivatives'] / row['numpy']:11.2f}"
        f"{row['compile']:11.2f}"
    )


def _name(module: Any) -> str:
    return module.__name__.rpartition(".")[2]


def _sizes(size: dict[str, int]) -> str:
    return " ".join(f"{name[:6]}={value}" for name, value in size.items())


def main() -> None:
    """Parse the command line; measure one case, or print the table."""
    names = sorted({_name(module) for module, _ in CASES})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(names)}")
    parser.add_argument("--seconds", type=float, default=4.0, help="time for the calls of each")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one, options.seconds)))
        return
    if unknown := set(options.names) - set(names):
        sys.exit(f"no problem of this name: {', '.join(sorted(unknown))}")
    chosen = [k for k, (m, _) in enumerate(CASES) if _name(m) in (options.names or names)]
    rows = table(chosen, options.seconds)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
