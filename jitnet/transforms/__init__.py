"""Floor 3: derivatives and batches, Function to Function.

jvp         tangents beside values
linearize   values, and the derivative there as a linear Function (`split` does the work)
transpose   a linear Function, backwards
vmap        a Function for many lanes at once
"""

from jitnet.transforms.derivative import jvp, linearize, value_and_grad, vjp
from jitnet.transforms.transpose import transpose
from jitnet.transforms.vmap import vmap

__all__ = ["jvp", "linearize", "transpose", "value_and_grad", "vjp", "vmap"]
