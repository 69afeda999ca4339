"""What `jit` is told about how a function is to be compiled and run.

    Options(device="cuda", async_errors=True)

A part of what a function is, not of a call: each has its own cache of programs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Attributes:
    device: "cpu", "cuda", "cpusim", or None: where the arrays are.
    fast_math: arithmetic of floats may be reordered and contracted, and elementary functions may
        be coarser.
    async_errors: calls on a device do not wait for what its kernels report: later calls raise it.
    deterministic: on a device, no sum depends on which thread comes first.
    loader: what compiles and loads a GPU's kernels: "nvrtc", or "rawmodule" for CuPy's.
    """

    device: str | None = None
    fast_math: bool = False
    async_errors: bool = False
    deterministic: bool = True
    loader: str = "nvrtc"
