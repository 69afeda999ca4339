"""What stands for the items of a list or deque that only the program knows: a tape.

    log = []                       log holds one object, a Grown
    for v in x:
        if v > 0: log.append(v)    %u = tape_push %t, %v

The list itself stays the user's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.context import running_trace
from jitnet.frontend.stores import Store
from jitnet.ir import Value
from jitnet.ops.tape import tape_type


@dataclass(frozen=True, eq=False)
class Grown:
    """What stands for the items of a list that grows in a loop: they are on a tape.

    Attributes:
        store: holds the tape.
        tree: the structure of an item, and `flavours` those of its parts.
        known: the items that the trace knows, as long as the tape is `start`.
    """

    store: Store
    tree: Any
    flavours: tuple[Any, ...]
    known: tuple[Any, ...] = ()
    start: Value | None = None

    def __deepcopy__(self, memo: Any) -> Grown:
        raise errors.UnsupportedFunctionError(
            "a deep copy of a list that grows in a loop",
            why="how many items it has is only known when the program runs",
            remedy="list(x), beside copies of what else is needed",
        )

    @property
    def changes(self) -> bool:
        """Whether items can be replaced and taken off."""
        return tape_type(self.store.value).changes

    def tape(self) -> Value:
        """The tape as it is now."""
        return self.store.read(running_trace())

    def count(self) -> Value:
        """How many items there are now."""
        return ops.tape_length(self.tape())


def grown(x: Any) -> Grown | None:
    """What stands for the items of a list or deque, if they are on a tape.

    Raises:
        UnsupportedFunctionError: where it stands among other items, by an operator of Python's.
    """
    if not ((type(x) is list or type(x) is deque) and x):
        return None
    own = x[-1] if type(x[-1]) is Grown else x[0]
    if type(own) is not Grown:
        return None
    if len(x) > 1:
        raise errors.UnsupportedFunctionError(
            f"a sum or a multiple of a {type(x).__name__} of which the program decides the length",
            remedy="a copy of it, to which items are appended: y = list(x); y.extend(more)",
        )
    return own
