"""Floor 3: derivatives, Function to Function.

jvp         tangents beside values
linearize   values, and the derivative there as a linear Function (`split` does the work)
transpose   a linear Function, backwards
"""

from jitnet.transforms.derivative import value_and_grad, vjp
from jitnet.transforms.jvp import jvp
from jitnet.transforms.linearize import linearize
from jitnet.transforms.transpose import transpose

__all__ = ["jvp", "linearize", "transpose", "value_and_grad", "vjp"]
