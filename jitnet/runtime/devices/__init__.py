"""Devices that run generated CUDA C++: a GPU, or this machine's CPU in its place.

device = open_device("cpusim")
executable = compile(function, ["C"], {}, device)
"""

from jitnet.runtime.devices.device import Device
from jitnet.runtime.devices.executable import compile, open_device

__all__ = ["Device", "compile", "open_device"]
