"""The programs of tests/programs under NumPy, jitnet and, where it takes the source, Numba.

    python benchmarks/programs.py                     # all of them, one table
    python benchmarks/programs.py lu nbody stencils   # some programs, or whole themes
    python benchmarks/programs.py --seconds 0.5       # less time for each
    python benchmarks/programs.py --size test         # other sizes than "bench"
    python benchmarks/programs.py --systems numba     # only these beside NumPy
    python benchmarks/programs.py --json table.json   # the rows as data, too

Each program runs in a process of its own, on one thread, with the arguments of the size that is
asked for (`tests/programs` has them, beside the program). There the systems take turns, call by
call, each call on fresh arguments, which are made outside of the time; the table has medians. After
NumPy it is now the one's turn, now the other's. What compiles is called some times before that.
Results and changed arguments are compared with NumPy's before anything is timed; in the place of a
time there may be the name of the error. "x NumPy" is how many times faster jitnet is than NumPy, "x
Numba" the same for Numba. Compile time is that of the first call, less a later one. Numba compiles
helpers, too; `!` marks a program that it was expected to take and did not. Under the table are the
geometric means.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ROOT = Path(__file__).resolve().parent.parent
COLUMNS = (
    f"{'program':28}{'NumPy ms':>10}{'jit ms':>16}{'x NumPy':>9}"
    f"{'Numba ms':>10}{'x Numba':>9}{'compile s':>11}"
)

if __name__ == "__main__":
    for variable in THREADS:
        os.environ[variable] = "1"

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from programs import PROGRAMS, Program  # noqa: E402
from programs.comparing import compare  # noqa: E402

# -- one program -----------------------------------------------------------------------------------


def measure(program: Program, options: argparse.Namespace) -> dict[str, Any]:
    """The row of one program: times in milliseconds, or the name of the error in their place."""
    changed = program.arguments(options.size)
    expected = program.fn(*changed)
    systems: dict[str, Callable[..., Any]] = {"numpy": program.fn}
    row: dict[str, Any] = {"program": program.name}
    for name, prepare in (("jit", _jit), ("numba", _njit)):
        if name not in options.systems or (name == "numba" and not program.numba):
            continue
        try:
            mine = program.arguments(options.size)
            compiled = prepare(program.fn)
            start = time.perf_counter()
            with _at_most(options.limit):
                result = compiled(*mine)
            row[name + "_compile"] = time.perf_counter() - start
            if name == "jit":
                compare(result, expected, program.tolerance)
                compare(mine, changed, program.tolerance, "arguments")
            _warm_up(compiled, program, options)
            systems[name] = compiled
        except Exception as error:
            row[name] = _label(error)
            row[name + "_message"] = str(error)[:500]
    for name, times in _take_turns(systems, program, options).items():
        median = statistics.median(times)
        row[name] = 1e3 * median
        if name != "numpy":  # of the first call, which has compiled and then run
            row[name + "_compile"] = max(row[name + "_compile"] - median, 0.0)
    return row


def _warm_up(compiled: Callable[..., Any], program: Program, options: argparse.Namespace) -> None:
    """Calls that are not timed: jitnet's are native from the seventeenth on."""
    end = time.perf_counter() + options.seconds
    calls = 0
    while calls < 20 or (calls < 60 and time.perf_counter() < end):
        compiled(*program.arguments(options.size))
        calls += 1


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the midst of what takes longer than this, by a signal."""

    def give_up(*_: Any) -> None:
        raise TimeoutError(f"not compiled after {seconds} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _label(error: Exception) -> str:
    if isinstance(error, AssertionError):
        return "differs"
    return type(error).__name__.removesuffix("Error")


def _take_turns(
    systems: dict[str, Callable[..., Any]], program: Program, options: argparse.Namespace
) -> dict[str, list[float]]:
    """At least three calls of each system, then as many as fit into the seconds allowed. Whose turn
    it is after NumPy changes: it takes the longest, and leaves the caches full of its own."""
    times: dict[str, list[float]] = {name: [] for name in systems}
    others = [name for name in systems if name != "numpy"]
    end = time.perf_counter() + options.seconds
    while len(times["numpy"]) < 3 or (time.perf_counter() < end and len(times["numpy"]) < 200):
        for name in ("numpy", *others):
            mine = program.arguments(options.size)
            start = time.perf_counter()
            systems[name](*mine)
            times[name].append(time.perf_counter() - start)
        others.reverse()
    return times


def _jit(fn: Callable[..., Any]) -> Callable[..., Any]:
    import jitnet

    return jitnet.jit(fn)


def _njit(fn: Callable[..., Any], done: dict[Any, Any] | None = None) -> Callable[..., Any]:
    """`fn` under `numba.njit`, and the helpers of the corpus that it finds in its globals too."""
    import numba

    done = {} if done is None else done
    if fn in done:
        return done[fn]
    names = dict(fn.__globals__)
    copied = types.FunctionType(fn.__code__, names, fn.__name__, fn.__defaults__, fn.__closure__)
    copied.__kwdefaults__ = fn.__kwdefaults__
    done[fn] = numba.njit(copied)
    for name in _names(fn.__code__):
        helper = names.get(name)
        if isinstance(helper, types.FunctionType) and helper.__module__.startswith("programs."):
            names[name] = _njit(helper, done)
    return done[fn]


def _names(code: types.CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


# -- the table -------------------------------------------------------------------------------------


def table(names: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure each program in a process of its own, and print a line for each."""
    print(f"{_conditions(options)}\n\n{COLUMNS}")
    rows = []
    for name in names:
        row = _in_own_process(name, options)
        rows.append(row)
        print(_line(row), flush=True)
    print("\n".join(_means(rows)))
    return rows


def _conditions(options: argparse.Namespace) -> str:
    return (
        f"size {options.size!r}, one thread, medians of {options.seconds} s of calls in turns; "
        f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}"
    )


def _in_own_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--size", options.size]
    command += ["--seconds", str(options.seconds), "--limit", str(options.limit)]
    command += ["--systems", *options.systems]
    try:
        patience = 60 + 2 * options.limit + 10 * options.seconds
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return {"program": name, "numpy": "-", "jit": "timeout"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return {"program": name, "numpy": "-", "jit": "crash", "jit_message": last[0]}
    return json.loads(done.stdout.splitlines()[-1])


def _line(row: dict[str, Any]) -> str:
    flag = "!" if isinstance(row.get("numba"), str) else ""
    cells = [f"{row['program']:28}", _cell(row["numpy"], 10), _cell(row.get("jit"), 16)]
    cells += [_cell(_ratio(row, "numpy", "jit"), 9), _cell(row.get("numba"), 10) + flag]
    cells += [_cell(_ratio(row, "numba", "jit"), 9), _cell(row.get("jit_compile"), 11)]
    return "".join(cells)


def _cell(value: Any, width: int) -> str:
    if value is None:
        return " " * width
    if isinstance(value, str):
        return f" {value[: width - 1]:>{width - 1}}"
    return f"{value:{width}.2f}"


def _ratio(row: dict[str, Any], slow: str, fast: str) -> float | None:
    a, b = row.get(slow), row.get(fast)
    return a / b if isinstance(a, float) and isinstance(b, float) else None


def _means(rows: list[dict[str, Any]]) -> list[str]:
    lines = [""]
    for title, slow, fast in (
        ("NumPy / jit", "numpy", "jit"),
        ("Numba / jit", "numba", "jit"),
        ("NumPy / Numba", "numpy", "numba"),
    ):
        ratios = {r["program"]: q for r in rows if (q := _ratio(r, slow, fast)) is not None}
        if not ratios:
            lines.append(f"{title:14} no program")
            continue
        mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
        worst = min(ratios, key=lambda name: ratios[name])
        lines.append(
            f"{title:14} geometric mean {mean:7.2f}x over {len(ratios)} programs, "
            f"least {ratios[worst]:.2f}x ({worst})"
        )
    compiled = {r["program"]: r["jit_compile"] for r in rows if "jit_compile" in r}
    if compiled:
        slowest = max(compiled, key=lambda name: compiled[name])
        middle = statistics.median(compiled.values())
        lines.append(
            f"{'compile time':14} median {middle:.2f} s, most {compiled[slowest]:.2f} s ({slowest})"
        )
    failed = [f"{r['program']} ({r['jit']})" for r in rows if isinstance(r.get("jit"), str)]
    lines.append(
        f"{'not compiled':14} {len(failed)}" + (": " + ", ".join(failed) if failed else "")
    )
    return lines


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
    parser.add_argument("--limit", type=float, default=30.0, help="most seconds to compile one")
    parser.add_argument("--systems", nargs="+", default=["jit", "numba"], choices=("jit", "numba"))
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        warnings.simplefilter("ignore")
        np.seterr(all="ignore")
        print(json.dumps(measure(PROGRAMS[options.one], options)))
        return
    rows = table(_selected(options.names), options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
