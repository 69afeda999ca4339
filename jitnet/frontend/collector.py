"""Python's cyclic garbage collector, at rest while a program compiles.

    with resting():         # a tenth of the time of a large program, for no memory to speak of
        traced = trace(fn)

Compilation makes many small objects and few cycles, all of which last until it ends. Looking
through them again and again frees nothing. What the user's program makes is freed as ever where
nothing refers to it any more.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resting() -> Iterator[None]:
    """No collections inside, unless somebody asks for one; afterwards it is as it was.

    Of threads that overlap, the first one that came has seen the collector at work, and starts it
    again.
    """
    was_working = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_working:
            gc.enable()
