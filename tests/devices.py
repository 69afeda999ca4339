"""Which device the tests run kernels on: cpusim, or another one that `pytest --device` names.

    pytest --device cuda          # a GPU, by way of CuPy
    pytest --device stand-in      # the same calls, taken by stand-ins for CuPy and nvmath-python

    jit(f, device=DEVICE)(x)      # in a test whose results have to be right on all of them

Tests of what was generated, and of the simulator itself, name "cpusim". Of what else there is,
`--device` leaves those modules that import `DEVICE` from here.
"""

from __future__ import annotations

from contextlib import ExitStack

from cupy_stand_in import cupy_standing_in
from nvmath_stand_in import nvmath_standing_in

from jitnet.runtime.devices import open_device

KINDS = ("cpusim", "cuda", "stand-in")

DEVICE = "cpusim"
"""What `jit(device=)` gets."""

IS_GPU = False
"""Whether kernels run on a GPU, so that there is time for all programs."""


def choose(kind: str, memory_apart: bool, stack: ExitStack) -> None:
    """Set the above, before test modules are imported.

    Args:
        memory_apart: each allocation is one of the driver's, outside of which compute-sanitizer
            finds accesses; those within CuPy's pool it takes for right ones.
        stack: what it closes is over when the tests are.

    Raises:
        NotAvailableError: where there is no GPU.
    """
    global DEVICE, IS_GPU
    if kind == "stand-in":
        stack.enter_context(nvmath_standing_in(stack.enter_context(cupy_standing_in())))
    if kind != "cpusim":
        DEVICE = open_device("cuda").name
    if kind == "cuda":
        IS_GPU = True
        if memory_apart:
            import cupy

            cupy.cuda.set_allocator(None)
