"""What a gradient takes beside its function: the programs of tests/programs, compiled.

    python benchmarks/gradients.py                   # all of them, one table
    python benchmarks/gradients.py lu nbody stencils # some programs, or whole themes
    python benchmarks/gradients.py --seconds 0.5     # less time for each
    python benchmarks/gradients.py --json table.json # the rows as data, too
    python benchmarks/gradients.py --markdown docs/gradients.md

Each program becomes a function of its floats with one float for a result, a weighted sum of all
that it gives (`tests/differentiable.py`); the gradient is taken in all of them. Each runs in a
process of its own, on one thread; function and gradient take turns, call by call, each call on
fresh arguments, which are made outside of the time. The table has medians in milliseconds of the
processor's time, their ratio, what the first call took to compile, and the memory that a call takes
beside its arguments at its peak, in megabytes (`Lowered.cost`; "?" where it depends on the data).
Programs whose result no float decides are not in the table. Under it is the geometric mean of the
ratios.
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
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HEAD = f"{'program':28}{'f ms':>10}{'grad ms':>10}{'ratio':>8}{'compile s':>11}{'f MB':>9}{'MB':>9}"

if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from differentiable import Loss  # noqa: E402
from programs import PROGRAMS, Program  # noqa: E402

# -- one program -----------------------------------------------------------------------------------


def measure(program: Program, size: str, seconds: float) -> dict[str, Any]:
    """The row of one program: milliseconds, seconds of compiling, megabytes."""
    import jitnet

    loss = Loss(program, program.sizes[size])
    if not loss.floats:
        return {"program": program.name, "note": "no floats"}
    systems = {"f": jitnet.jit(loss.fn), "grad": jitnet.value_and_grad(loss.fn)}
    row: dict[str, Any] = {"program": program.name}
    for name, fn in systems.items():
        start = time.thread_time()
        lowered = fn.lower(loss.floats, loss.rest)
        row[name + "_compile"] = time.thread_time() - start
        cost = lowered.cost()
        row[name + "_mb"] = cost["peak_bytes"] / 1e6 if cost["peak_is_known"] else None
        fn(loss.floats, loss.rest)
    for name, times in _take_turns(systems, loss, seconds).items():
        row[name] = 1e3 * statistics.median(times)
    return row


def _take_turns(
    systems: dict[str, Callable[..., Any]], loss: Loss, seconds: float
) -> dict[str, list[float]]:
    """At least three calls of each, then as many as fit into the seconds allowed."""
    times: dict[str, list[float]] = {name: [] for name in systems}
    end = time.perf_counter() + seconds
    while len(times["f"]) < 3 or (time.perf_counter() < end and len(times["f"]) < 100):
        for name, fn in systems.items():
            floats, rest = loss.floats, loss.rest
            start = time.thread_time()
            fn(floats, rest)
            times[name].append(time.thread_time() - start)
    return times


# -- the table -------------------------------------------------------------------------------------


def table(names: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure each program in a process of its own, and print a line for each."""
    print(f"{_machine(options)}\n\n{HEAD}")
    rows = []
    for name in names:
        row = _in_own_process(name, options)
        rows.append(row)
        if row.get("note") != "no floats":
            print(_line(row), flush=True)
    print(f"\n{_summary(rows)}")
    return rows


def _machine(options: argparse.Namespace) -> str:
    return (
        f"size {options.size!r}, one thread; Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {_processor()}"
    )


def _processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _summary(rows: list[dict[str, Any]]) -> str:
    measured = [row for row in rows if "grad" in row]
    if not measured:
        return "nothing was measured"
    ratios = [row["grad"] / row["f"] for row in measured]
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    above = [f"{row['program']} {r:.1f}" for row, r in zip(measured, ratios) if r > 8]
    return (
        f"Geometric mean of the ratios: {mean:.2f}, over {len(ratios)} programs. "
        f"Above 8: {', '.join(above) or 'none'}."
    )


def _markdown(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The document: what was measured, where, and the table, largest ratio first."""
    measured = sorted((r for r in rows if "grad" in r), key=lambda r: r["f"] / r["grad"])
    lines = [
        "# What a gradient takes beside its function",
        "",
        "The programs of `tests/programs` whose result floats decide, compiled: a program as a",
        "function with one float for a result, and `value_and_grad` of that in all of its floats.",
        "Medians of processor time in milliseconds, function and gradient taking turns; the memory",
        "of a call beside its arguments at its peak, in megabytes, where that is known before it",
        "runs.",
        "",
        f"`make bench-gradients` prints this table. {date.today()}, {_machine(options)}.",
        "",
        _summary(rows),
        "",
        "| Program | f | value and gradient | ratio | MB of f | MB of the gradient |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in measured:
        cells = [
            row["program"],
            f"{row['f']:.3f}",
            f"{row['grad']:.3f}",
            f"{row['grad'] / row['f']:.2f}",
            _megabytes(row["f_mb"]),
            _megabytes(row["grad_mb"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _megabytes(mb: float | None) -> str:
    return "?" if mb is None else f"{mb:.2f}"


def _in_own_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--size", options.size]
    command += ["--seconds", str(options.seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit)
    except subprocess.TimeoutExpired:
        return {"program": name, "note": f"more than {options.limit} s"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return {"program": name, "note": last[0]}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _line(row: dict[str, Any]) -> str:
    if "note" in row:
        return f"{row['program']:28}  {row['note'][:90]}"
    return (
        f"{row['program']:28}{row['f']:10.3f}{row['grad']:10.3f}{row['grad'] / row['f']:8.2f}"
        f"{row['grad_compile']:11.2f}{_megabytes(row['f_mb']):>9}{_megabytes(row['grad_mb']):>9}"
    )


def _selected(words: list[str]) -> list[str]:
    """The programs named by `words`: names of programs or of themes; all if there are none."""
    theme = {name: p.fn.__module__.rpartition(".")[2] for name, p in PROGRAMS.items()}
    unknown = set(words) - set(theme) - set(theme.values())
    if unknown:
        sys.exit(f"no program or theme of this name: {', '.join(sorted(unknown))}")
    return [name for name in PROGRAMS if not words or name in words or theme[name] in words]


def main() -> None:
    """Parse the command line; measure one program, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="programs or themes; all if none is named")
    parser.add_argument("--size", default="bench", choices=("bench", "test"))
    parser.add_argument("--seconds", type=float, default=2.0, help="time for the calls of each")
    parser.add_argument("--limit", type=float, default=120.0, help="most seconds for one")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    parser.add_argument("--markdown", type=Path, help="write the document here, too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        warnings.simplefilter("ignore")
        np.seterr(all="ignore")
        print(json.dumps(measure(PROGRAMS[options.one], options.size, options.seconds)))
        return
    rows = table(_selected(options.names), options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if options.markdown:
        options.markdown.write_text(_markdown(rows, options))


if __name__ == "__main__":
    main()
