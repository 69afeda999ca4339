"""What `benchmarks/gpu.py` measures, and beside whom.

from on_gpu import CASES, opened
call = opened("jitnet", check=True).prepared(CASES["memory"][0], arguments)
"""

from __future__ import annotations

from .case import Blank, Case, difference
from .cases import CASES
from .systems import NAMES, NotThereError, System, on_jitnet, opened, reference

__all__ = [
    "CASES",
    "NAMES",
    "Blank",
    "Case",
    "NotThereError",
    "System",
    "difference",
    "on_jitnet",
    "opened",
    "reference",
]
