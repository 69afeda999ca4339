"""Which line of the user's program is running: frames, positions and the names results go to.

    h = np.tanh(x @ w)      # while tanh is dispatched: this line, these columns, and "h"

A frame is the user's when its code lies neither in this package, nor in NumPy, nor in Python's own
library. Everything is looked up by code object and instruction offset, so it is exact to the column
and needs no source text.
"""

from __future__ import annotations

import itertools
import os
import sys
from enum import Enum
from types import CodeType, FrameType
from typing import NamedTuple

import numpy as np


class Position(NamedTuple):
    """A place in a file; columns are 0-based bytes, -1 where unknown."""

    file: str
    line: int
    function: str
    column: int
    end_column: int


Site = tuple[CodeType, int]
"""A code object and the offset of the instruction it is at."""


class Origin(Enum):
    """Whose code a file holds."""

    USER = 1
    LIBRARY = 2  # Python's own
    INTERNAL = 3  # jitnet, NumPy, the import system


def _folder(file: str) -> str:
    return os.path.dirname(os.path.abspath(file)) + os.sep


_INTERNAL = (_folder(__file__), _folder(np.__file__), "<frozen ", "<__array_function__")
_LIBRARY = _folder(os.__file__)
_ORIGINS: dict[str, Origin] = {}


def origin(file: str) -> Origin:
    """Whose code this file holds."""
    known = _ORIGINS.get(file)
    if known is None:
        known = Origin.USER
        if file.startswith(_INTERNAL):
            known = Origin.INTERNAL
        elif file.startswith(_LIBRARY) and not is_installed(file):
            known = Origin.LIBRARY
        _ORIGINS[file] = known
    return known


def is_users(file: str) -> bool:
    return origin(file) is Origin.USER


def is_installed(file: str) -> bool:
    """Whether a file is one of an installed package's."""
    return "-packages" + os.sep in file


def user_sites(until: CodeType | None = None, passes: int = 1, limit: int = 16) -> tuple[Site, ...]:
    """The user's frames that are running, innermost first.

    The walk ends when it has met the code `until` `passes` times (the outermost trace's root).
    """
    sites: list[Site] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(sites) < limit:
        code = frame.f_code
        if code is until:
            passes -= 1
            if passes == 0:
                break
        elif is_users(code.co_filename):
            sites.append((code, frame.f_lasti))
        frame = frame.f_back
    return tuple(sites)


def position(site: Site) -> Position:
    """Line and columns of a site. A site's columns are -1 where it spans several lines."""
    code, offset = site
    unknown = (None, None, None, None)
    here = next(itertools.islice(code.co_positions(), offset // 2, None), unknown)
    line, end_line, column, end_column = here
    if line is None:
        line = code.co_firstlineno
    if column is None or end_column is None or end_line != line:
        column, end_column = -1 if column is None else column, -1
    return Position(code.co_filename, line, code.co_qualname, column, end_column)


_OPNAMES: list[str] = []


def _opname(opcode: int) -> str:
    if not _OPNAMES:
        import dis  # costs a millisecond, and only tracing needs it

        _OPNAMES.extend(dis.opname)
    return _OPNAMES[opcode]


def target_name(sites: tuple[Site, ...]) -> str:
    """The variable that the value now computed is stored to next, or ''.

    A value that a helper returns gets the name that the helper's caller gives it.
    """
    for code, offset in sites:
        opname, argument = _next_instruction(code, offset)
        if opname == "RETURN_VALUE":
            continue
        if opname in ("STORE_FAST", "STORE_DEREF"):
            return _local_name(code, argument)
        if opname in ("STORE_FAST_STORE_FAST", "STORE_FAST_LOAD_FAST"):  # Python 3.13
            return _local_name(code, argument >> 4)
        if opname in ("STORE_NAME", "STORE_GLOBAL"):
            return code.co_names[argument]
        return ""
    return ""


def _next_instruction(code: CodeType, offset: int) -> tuple[str, int]:
    """Name and argument of the instruction after the one at `offset`."""
    text = code.co_code
    argument = 0
    for i in range(offset + 2, len(text), 2):
        opname = _opname(text[i])
        if opname in ("CACHE", "COPY"):  # COPY: `a = b = x` stores x twice
            continue
        argument = argument << 8 | text[i + 1]
        if opname != "EXTENDED_ARG":
            return opname, argument
    return "", 0


def _local_name(code: CodeType, slot: int) -> str:
    names = (*code.co_varnames, *(c for c in code.co_cellvars if c not in code.co_varnames))
    names += code.co_freevars
    name = names[slot] if slot < len(names) else ""
    return "" if name.startswith("_jn_") else name  # a temporary variable of rewritten code
