"""jitnet: a tracing JIT compiler for plain NumPy functions, with source-to-source derivatives.

from jitnet import jit, grad

@jit
def loss(w, x, y):
    return ((np.tanh(x @ w) - y) ** 2).mean()

grad(loss)(w, x, y)
"""

from jitnet import errors, ir, testing
from jitnet.api import (
    Jitted,
    Lowered,
    checkpoint,
    custom_jvp,
    custom_vjp,
    doctor,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    register_pytree_node,
    stop_gradient,
    synchronize,
    trace,
    value_and_grad,
    vjp,
    vmap,
)

__version__ = "0.2.0"

__all__ = [
    "Jitted",
    "Lowered",
    "__version__",
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "doctor",
    "errors",
    "grad",
    "hessian",
    "ir",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "register_pytree_node",
    "stop_gradient",
    "synchronize",
    "testing",
    "trace",
    "value_and_grad",
    "vjp",
    "vmap",
]
