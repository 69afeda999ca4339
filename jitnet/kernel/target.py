"""What code is made for: the few facts of a machine that lowering and code generation ask for.

Target(triple="x86_64-unknown-linux-gnu", cpu="znver4", features="+avx2,...", vector_bytes=32)
"""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """Attributes:
    triple: LLVM's name of the platform.
    cpu: LLVM's name of the processor.
    features: LLVM's feature string; what it says counts, whatever the processor's name says.
    vector_bytes: width of a vector register.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int

    @property
    def casts_halves(self) -> bool:
        """Whether there are instructions between float16 and float32: F16C, or any ARM's."""
        return "+f16c" in self.features.split(",") or self.triple.startswith(("aarch64", "arm64"))
