"""Who else knows a container, or the memory of an array.

    log = [row]           row is in what `log` holds: not joined item by item, never overwritten
    def f(): row[0]       ... and in the closure of f
    ROWS.append(row)      ... and in a global that running code names

All variables of the user's running functions are gone through, and all that they lead to. A
container or array that only the variables that are being joined or carried know can be made anew;
to write to one that others know is to be seen by them.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Collection, Container, Sequence
from functools import cache, partial
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType
from typing import Any

from jitnet.frontend.arrays import stores_behind
from jitnet.frontend.context import Trace, run_traced, running_trace
from jitnet.frontend.flow.variants import Variants, objects_of
from jitnet.frontend.flow.world import Content, Location, Variable, leading_on
from jitnet.frontend.places import Appended, attributes, is_plain_object
from jitnet.frontend.rewriting import HOOKS, is_thunk
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer
from jitnet.frontend.watch import Rest
from jitnet.source import is_users


def known_elsewhere(store: Store, *locations: Location) -> bool:
    """Whether the caller, or another variable or container than these, has an array there."""
    if any(known_elsewhere(first, *locations) for first in store.stands_for):
        return True
    if any(store is own for own in running_trace().function.iterated):
        return True
    home: Trace | None = store.home
    while home is not None:
        if store in home.stores:
            return True
        home = home.parent
    return _is_held(store, locations)


def is_held_elsewhere(container: Any, *locations: Location) -> bool:
    """Whether the caller, or another variable or container than these, has this container."""
    function = running_trace().function
    stands_for_others = any(s.content.container is container for s in function.snapshots)
    is_callers = id(container) in function.containers
    return is_callers or stands_for_others or _is_held(container, locations)


def _is_held(thing: Any, locations: Sequence[Location]) -> bool:
    """Whether another variable or container than these reaches a container or memory."""
    names = {location.name for location in locations}
    own = {id(location.container) for location in locations if isinstance(location, Content)}
    with Rest():
        return _is_in_frames(thing, names, own) or any(
            _reaches(variables.namespace.get(name), thing, set(own))
            for variables in running_trace().globals()
            for name in variables.reached
            if not (id(variables) in own and name in variables.stored)
        )


def _is_in_frames(thing: Any, names: Container[str], own: set[int]) -> bool:
    """Whether a variable of the running functions, or a global that they name, reaches it other
    than through the containers `own`; the innermost function's variables of these names do not
    count."""
    seen_from_globals = set(own)
    is_innermost = True
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not run_traced.__code__:
        if is_users(frame.f_code.co_filename):
            variables, seen = frame.f_locals, set(own)
            for name, content in variables.items():
                is_own = is_innermost and name in names
                if not is_own and _reaches(content, thing, seen, variables):
                    return True
            for name in _named(frame.f_code):
                if _reaches(frame.f_globals.get(name), thing, seen_from_globals):
                    return True
            is_innermost = is_innermost and is_thunk(frame.f_code)
        frame = frame.f_back
    return False


@cache
def _named(code: CodeType) -> frozenset[str]:
    """The names of globals, among others, in a code object and in those inside of it."""
    inner = (_named(part) for part in code.co_consts if isinstance(part, CodeType))
    return frozenset(code.co_names).union(*inner)


def _reaches(x: Any, thing: Any, seen: set[int], known: Container[str] = ()) -> bool:
    """Whether an object leads to a container or memory; `known` variables of functions' closures
    are looked at by themselves.

    Args:
        seen: what does not lead there, by identity; gets what is looked at in vain.
    """
    pending = [x]
    while pending:
        x = pending.pop()
        if x is thing:
            return True
        if type(x) is Tracer:
            if any(own is thing for own in stores_behind(x.place)):
                return True
        elif id(x) not in seen:
            seen.add(id(x))
            pending += leading_on(_children(x, known))
    return False


def _children(x: Any, known: Container[str]) -> Collection[Any]:
    if isinstance(x, (int, float, str)) or x is None:
        return ()
    if type(x) is Appended:
        return x.new
    if isinstance(x, (list, tuple, set, deque)):
        return x
    if isinstance(x, dict):
        return x.values()
    if type(x) is Variants:
        return objects_of(x)
    if isinstance(x, FunctionType):
        if is_thunk(x.__code__) or not is_users(x.__code__.co_filename):
            return ()
        cells = zip(x.__code__.co_freevars, x.__closure__ or ())
        return [Variable(c, n).get() for n, c in cells if n not in known and n != HOOKS]
    if isinstance(x, partial):
        return (x.func, *x.args, *x.keywords.values())
    if isinstance(x, (MethodType, BuiltinFunctionType)):
        return (x.__self__,)
    return attributes(x).values() if is_plain_object(x) else ()
