"""What jitnet's kernels do on an NVIDIA GPU, beside what the machine can do and beside its peers.

    python benchmarks/gpu.py                     # all tables
    python benchmarks/gpu.py memory products     # some of them
    python benchmarks/gpu.py --only softmax      # cases whose names contain this
    python benchmarks/gpu.py --check             # no GPU: all answers at tiny sizes, no times

`memory` has kernels that wait for memory, at 256 MB, in percent of what a copy by the device moves
in the same time; only the bytes that have to be read and written count. `beside` has layers, their
derivatives, stencils over many steps and steps of training next to jax.jit, torch.compile and CuPy,
in one process, turn by turn; `calls` what a call costs the host; `products` what cuBLAS does,
called by CuPy, in percent; `peak` the memory that calls took and what their plans said. Times are
medians of synchronised turns. Each answer is compared with the CPU's first: what is wrong is said
to be wrong, and not timed; who is missing is said to be missing. No float32 is computed as TF32.

With --check, jitnet is on its simulated GPU, JAX and PyTorch on the CPU (PyTorch not compiled), and
CuPy is left out. The table then has what is known without running anything: at full size, the
launches and library calls of each case, the bytes that these move, where each reads and writes an
element once, by what has to be moved, and the memory that the plan takes.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

if __name__ == "__main__":
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if "--check" in sys.argv:
        os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np  # noqa: E402
from on_gpu import (  # noqa: E402
    CASES,
    NAMES,
    Blank,
    Case,
    NotThereError,
    System,
    difference,
    on_jitnet,
    opened,
    reference,
)

TABLES = ("memory", "beside", "calls", "products", "peak")
TURN = 0.02
"""Seconds of one turn, at least."""

TURNS = 15
COPIED = 256 << 20
"""Bytes that are copied to see what the device can do."""

WRONG = "wrong"

# -- one case --------------------------------------------------------------------------------------


def prepared(case: Case, systems: Sequence[System], small: bool) -> dict[str, Any]:
    """By system, the call that is right; or, in words, why there is none."""
    arguments = case.make(np.random.default_rng(0), small)
    expected = case.compared(reference(case, arguments))
    calls: dict[str, Any] = {}
    for system in systems:
        try:
            call = system.prepared(case, arguments)
            if call is None:
                calls[system.name] = "-"
                continue
            result = call()
            system.wait()
            off = difference(system.on_host(case.compared(result)), expected)
        except Exception as error:  # whatever a peer says to a function that it cannot take
            calls[system.name] = f"refused ({type(error).__name__}: {str(error)[:60]})"
            continue
        calls[system.name] = call if off <= case.tolerance else f"{WRONG} by {off:.1e}"
    return calls


def timed(calls: Mapping[str, Any], systems: Sequence[System]) -> dict[str, float]:
    """Seconds of a call, by system: medians of turns."""
    waits = {system.name: system.wait for system in systems}
    there = {name: call for name, call in calls.items() if callable(call)}
    counts = {name: _calls_of_a_turn(call, waits[name]) for name, call in there.items()}
    seconds: dict[str, list[float]] = {name: [] for name in there}
    for _ in range(TURNS):
        for name, call in there.items():
            seconds[name].append(_turn(call, waits[name], counts[name]))
    return {name: statistics.median(times) for name, times in seconds.items()}


def _turn(call: Callable[[], Any], wait: Callable[[], None], count: int) -> float:
    """Seconds of a call, of so many in a row."""
    wait()
    start = time.perf_counter()
    for _ in range(count):
        call()
    wait()
    return (time.perf_counter() - start) / count


def _calls_of_a_turn(call: Callable[[], Any], wait: Callable[[], None]) -> int:
    for _ in range(3):  # what is recorded on the second call, captured on the third
        call()
    return min(max(1, math.ceil(TURN / _turn(call, wait, 2))), 2000)


# -- the tables ------------------------------------------------------------------------------------


def show_memory(cases: Sequence[Case], systems: Sequence[System]) -> None:
    copy = copy_bandwidth()
    print(f"device copy: {copy / 1e9:.0f} GB/s, read and write counted\n")
    print(f"{'kernel':24}" + "".join(f"{s.name:>12}" for s in systems) + "   % of a device copy")
    for case in cases:
        least = case.least(*case.make(np.random.default_rng(0), False)) if case.least else 0
        calls = prepared(case, systems, False)
        seconds = timed(calls, systems)
        rates = {name: f"{100 * least / copy / time:.1f}" for name, time in seconds.items()}
        _line(case.name, systems, calls, rates)


def show_beside(cases: Sequence[Case], systems: Sequence[System]) -> None:
    print(f"{'ms of a call':24}" + "".join(f"{s.name:>12}" for s in systems) + "   x best peer")
    ratios = []
    for case in cases:
        calls = prepared(case, systems, False)
        seconds = timed(calls, systems)
        shown = {name: f"{1e3 * time:.3f}" for name, time in seconds.items()}
        peers = [time for name, time in seconds.items() if name != "jitnet"]
        end = ""
        if peers and "jitnet" in seconds:
            ratios.append(min(peers) / seconds["jitnet"])
            end = f"{ratios[-1]:.2f}"
        _line(case.name, systems, calls, shown, end)
    if ratios:
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"geometric mean {mean:.2f} x the best peer, of {len(ratios)} cases")


def show_calls(cases: Sequence[Case], systems: Sequence[System]) -> None:
    print(f"{'us of the host':24}" + "".join(f"{s.name:>12}" for s in systems))
    for case in cases:
        calls = prepared(case, systems, False)
        shown = {name: f"{1e6 * time:.1f}" for name, time in timed(calls, systems).items()}
        _line(case.name, systems, calls, shown)


def show_products(cases: Sequence[Case], systems: Sequence[System]) -> None:
    both = [s for s in systems if s.name in ("jitnet", "cupy")]
    print(f"{'TFLOP/s':24}" + "".join(f"{s.name:>12}" for s in both) + "   % of cuBLAS by CuPy")
    for case in cases:
        work = case.work(*case.make(np.random.default_rng(0), False)) if case.work else 0
        calls = prepared(case, both, False)
        seconds = timed(calls, both)
        shown = {name: f"{work / time / 1e12:.1f}" for name, time in seconds.items()}
        percent = ""
        if len(seconds) == 2:
            percent = f"{100 * seconds['cupy'] / seconds['jitnet']:.1f}"
        _line(case.name, both, calls, shown, percent)


def show_peak(cases: Sequence[Case], systems: Sequence[System]) -> None:
    import cupy

    pool = cupy.get_default_memory_pool()
    (jitnet,) = (system for system in systems if system.name == "jitnet")
    print(f"{'MB beside arguments':24}{'planned':>12}{'taken':>12}")
    for case in cases:
        arguments = case.make(np.random.default_rng(0), False)
        planned = on_jitnet(case, False).lower(*_on_device(arguments)).cost()
        call = jitnet.prepared(case, arguments)
        assert call is not None
        for _ in range(3):
            call()
        jitnet.wait()
        pool.free_all_blocks()
        before = pool.total_bytes()
        result = call()
        jitnet.wait()
        taken = pool.total_bytes() - before
        del result
        known = f"{planned['peak_bytes'] / 1e6:.1f}" if planned["peak_is_known"] else "unknown"
        print(f"{case.name:24}{known:>12}{taken / 1e6:12.1f}", flush=True)


def _on_device(arguments: Any) -> Any:
    import cupy
    from on_gpu.case import mapped

    return mapped(lambda x: cupy.asarray(x) if isinstance(x, np.ndarray) else x, arguments)


def _line(
    name: str,
    systems: Sequence[System],
    calls: Mapping[str, Any],
    shown: Mapping[str, str],
    end: str = "",
) -> None:
    """A row: numbers, and, under it, what somebody said instead of one."""
    cells = "".join(f"{shown.get(s.name, _short(calls[s.name])):>12}" for s in systems)
    print(f"{name:24}{cells}   {end}".rstrip(), flush=True)
    for system, said in calls.items():
        if not callable(said) and said != "-":
            print(f"    {system}: {said}")


def _short(said: Any) -> str:
    return said.split()[0] if isinstance(said, str) else "?"


def copy_bandwidth() -> float:
    """Bytes a second that a copy by the device reads and writes."""
    import cupy

    source, target = cupy.zeros(COPIED, cupy.uint8), cupy.empty(COPIED, cupy.uint8)

    def copy() -> None:
        target.data.copy_from_device_async(source.data, COPIED, cupy.cuda.get_current_stream())

    wait = cupy.cuda.Device().synchronize
    count = _calls_of_a_turn(copy, wait)
    return 2 * COPIED / statistics.median(_turn(copy, wait, count) for _ in range(TURNS))


# -- without a GPU ---------------------------------------------------------------------------------


def check(tables: Sequence[str], only: str) -> Iterator[str]:
    """Go over all cases at tiny sizes; what is wrong, in words."""
    systems, missing = found(check=True)
    print("; ".join(missing))
    print(
        f"{'case':28}{'launches':>9}{'calls':>7}{'moved MB':>10}{'/ least':>8}{'peak MB':>9}"
        f"   answers: {', '.join(s.name for s in systems)}"
    )
    for table in tables:
        for case in chosen(table, only):
            calls = prepared(case, systems, True)
            for name, said in calls.items():
                if not callable(said) and said != "-":
                    yield f"{case.name}: {name} {said}"
            answers = " ".join("right" if callable(c) else c for c in calls.values())
            print(f"{case.name:28}{_told(case)}   {answers}", flush=True)


def _told(case: Case) -> str:
    """What the plan for the full size says."""
    arguments = case.make(Blank(), False)
    cost = on_jitnet(case, True).lower(*arguments).cost()
    if not cost["peak_is_known"]:
        return f"{'?':>9}{'?':>7}{'?':>10}{'?':>8}{'?':>9}"
    moved = cost.get("moved_bytes")
    least = case.least(*arguments) if case.least is not None else None
    return (
        f"{cost['launches']:9}{cost['calls']:7}"
        f"{'?' if moved is None else f'{moved / 1e6:.1f}':>10}"
        f"{f'{moved / least:.2f}' if moved is not None and least is not None else '':>8}"
        f"{cost['peak_bytes'] / 1e6:9.1f}"
    )


# -- what there is ---------------------------------------------------------------------------------


def found(check: bool) -> tuple[list[System], list[str]]:
    """The systems that take part, and who does not, and why."""
    systems, missing = [], []
    for name in NAMES:
        try:
            systems.append(opened(name, check))
            missing.append(f"{name} {systems[-1].version}")
        except NotThereError as error:
            missing.append(f"{name} is missing: {error}")
    return systems, missing


def chosen(table: str, only: str) -> list[Case]:
    """The cases of a table; of `peak` those of `beside`."""
    cases = CASES["beside" if table == "peak" else table]
    return [case for case in cases if only in case.name]


def describe() -> None:
    """The machine, and what runs on it."""
    import cupy

    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    print(f"{name}; {time.strftime('%d %B %Y')}; Python {sys.version.split()[0]}")
    print(
        f"driver for CUDA {_dotted(runtime.driverGetVersion())}, runtime "
        f"{_dotted(runtime.runtimeGetVersion())}, NVRTC "
        f"{'.'.join(map(str, cupy.cuda.nvrtc.getVersion()))}; no TF32"
    )


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


SHOW: dict[str, Callable[[Sequence[Case], Sequence[System]], None]] = {
    "memory": show_memory,
    "beside": show_beside,
    "calls": show_calls,
    "products": show_products,
    "peak": show_peak,
}


def main() -> None:
    """Parse the command line; print tables, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help=f"some of {', '.join(TABLES)}")
    parser.add_argument("--only", default="", help="cases whose names contain this")
    parser.add_argument("--check", action="store_true", help="answers only, without a GPU")
    options = parser.parse_args()
    if unknown := set(options.tables) - set(TABLES):
        sys.exit(f"no table of this name: {', '.join(sorted(unknown))}")
    if options.check:
        tables = [t for t in options.tables or TABLES if t != "peak"]
        wrong = list(check(tables, options.only))
        sys.exit("\n".join(wrong) or None)
    try:
        describe()
    except Exception as error:  # CuPy is missing, or has no driver, or no device
        sys.exit(f"no GPU to measure ({error}); --check does without; see jitnet.doctor()")
    systems, told = found(check=False)
    print("; ".join(told))
    if not any(system.name == "jitnet" for system in systems):
        sys.exit("jitnet has no GPU here; see jitnet.doctor()")
    for table in options.tables or TABLES:
        print(f"\n-- {table} " + "-" * 60)
        SHOW[table](chosen(table, options.only), systems)


if __name__ == "__main__":
    main()
