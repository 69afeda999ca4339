"""The one seam between the frontend and what runs programs.

executable = compile(function, ["C", "F"])
outputs = executable.run([x, y])
"""

from jitnet.runtime.executable import Executable, compile

__all__ = ["Executable", "compile"]
