"""The one seam to all that traces: it is imported when the first function is traced.

    from jitnet.frontend import tracing      # inside of the functions that need it
    tracing.trace_function(fn, tree, leaves)

The tables of NumPy's functions and the rewriter take half the time that `import jitnet` would.
"""

from jitnet.frontend.flow.calling import call
from jitnet.frontend.trace import trace_function

__all__ = ["call", "trace_function"]
