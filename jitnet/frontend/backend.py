"""The one seam between the frontend and what runs programs.

executable = compile(function, ["C", "F"])
executable = compile(function, ["C", "F"], device="cpusim")
outputs = executable.run([x, y])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitnet.codegen.program import NO_STORES
from jitnet.ir import Function
from jitnet.runtime import executable
from jitnet.runtime.executable import Executable
from jitnet.runtime.release import release

__all__ = ["Executable", "compile", "release"]


def compile(
    function: Function,
    layouts: Sequence[str],
    stores: Mapping[int, int] = NO_STORES,
    device: str | None = None,
) -> Executable:
    """Compile a Function for a device: None or "cpu", "cpusim", "cuda"; see
    `runtime.executable.compile`.

    Raises:
        NotAvailableError: where the device is not there.
    """
    if device in (None, "cpu"):
        return executable.compile(function, layouts, stores)
    from jitnet.runtime import devices  # which few want

    return devices.compile(function, layouts, stores, devices.open_device(device))
