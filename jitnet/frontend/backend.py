"""The one seam between the frontend and what runs programs.

executable = compile(function, ["C", "F"])
executable = compile(function, ["C", "F"], {}, Options(device="cpusim"), [False, False])
outputs = executable.run([x, y])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitnet.codegen.program import NO_STORES
from jitnet.ir import Function
from jitnet.runtime import executable
from jitnet.runtime.executable import Executable
from jitnet.runtime.options import Options
from jitnet.runtime.release import release

__all__ = ["Executable", "compile", "release"]

NO_OPTIONS = Options()


def compile(
    function: Function,
    layouts: Sequence[str],
    stores: Mapping[int, int] = NO_STORES,
    options: Options = NO_OPTIONS,
    resident: Sequence[bool] = (),
) -> Executable:
    """Compile a Function, see `runtime.executable.compile`.

    Args:
        resident: of each param, whether the device has the array already.

    Raises:
        NotAvailableError: where the device is not there.
    """
    if options.device in (None, "cpu"):
        return executable.compile(function, layouts, stores, options.fast_math)
    from jitnet.runtime import devices  # which few want

    device = devices.open_device(options.device)
    return devices.compile(function, layouts, stores, device, options, resident)
