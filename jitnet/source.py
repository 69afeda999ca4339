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
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

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
        elif (_ORIGINS.get(code.co_filename) or origin(code.co_filename)) is Origin.USER:
            sites.append((code, frame.f_lasti))
        frame = frame.f_back
    return tuple(sites)


class Place:
    """An instruction of the user's that is being executed, and where its function was called from.

    Attributes:
        site: None at the bottom, where nobody's program is.
        outer: the place of the caller.
        note: what whoever asks keeps about the place.
    """

    __slots__ = ("_inner", "note", "outer", "site")

    def __init__(self, site: Site | None = None, outer: Place | None = None) -> None:
        self.site = site
        self.outer = outer
        self.note: Any = None
        self._inner: dict[tuple[int, int], Place] = {}

    def at(self, code: CodeType, offset: int) -> Place:
        """The place of a function that is called from here; the same one each time."""
        key = id(code), offset  # the place keeps the code, and so its id
        known = self._inner.get(key)
        if known is None:
            known = self._inner[key] = Place((code, offset), self)
        return known


_RESUMED = 0x20 | 0x80 | 0x200  # generators and coroutines, whose callers may go on between


class Stack:
    """The user's running frames, from one question to the next: only those that are new, or that
    have gone on since, are looked at."""

    def __init__(self) -> None:
        self._frames: list[FrameType] = []
        self._places: list[Place] = [Place()]
        self._index: dict[FrameType, int] = {}

    def place(self, until: CodeType, passes: int) -> Place:
        """Where the user's program is. The walk ends as in `user_sites`."""
        frame: FrameType | None = sys._getframe(1)
        new: list[FrameType] = []
        kept = 0
        while frame is not None:
            code = frame.f_code
            if code is until:
                passes -= 1
                if passes == 0:
                    break
            elif (_ORIGINS.get(code.co_filename) or origin(code.co_filename)) is Origin.USER:
                new.append(frame)
                known = self._index.get(frame)
                if known is not None and not code.co_flags & _RESUMED:
                    kept = known  # those that called it have not gone on
                    break
            frame = frame.f_back
        for gone in self._frames[kept:]:
            del self._index[gone]
        del self._frames[kept:], self._places[kept + 1 :]
        for frame in reversed(new):
            self._index[frame] = len(self._frames)
            self._frames.append(frame)
            self._places.append(self._places[-1].at(frame.f_code, frame.f_lasti))
        return self._places[-1]


_POSITIONS: dict[tuple[int, int], tuple[CodeType, Position]] = {}
_POSITION_LIMIT = 1 << 16  # places remembered; a program that has more simply computes them again


def position(site: Site) -> Position:
    """Line and columns of a site. A site's columns are -1 where it spans several lines."""
    code, offset = site
    known = _POSITIONS.get((id(code), offset))
    if known is None:
        if len(_POSITIONS) >= _POSITION_LIMIT:
            _POSITIONS.clear()
        known = _POSITIONS[id(code), offset] = code, _position(code, offset)  # code keeps its id
    return known[1]


def _position(code: CodeType, offset: int) -> Position:
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


def target_name(site: Site) -> str | None:
    """The variable that the value now computed is stored to next, or ''; None where it is returned,
    and gets the name that the caller gives it."""
    code, offset = site
    opname, argument = _next_instruction(code, offset)
    if opname == "RETURN_VALUE":
        return None
    if opname in ("STORE_FAST", "STORE_DEREF"):
        return _local_name(code, argument)
    if opname in ("STORE_FAST_STORE_FAST", "STORE_FAST_LOAD_FAST"):  # Python 3.13
        return _local_name(code, argument >> 4)
    if opname in ("STORE_NAME", "STORE_GLOBAL"):
        return code.co_names[argument]
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


def user_traceback(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without jitnet's and NumPy's own frames."""
    if traceback is None:
        return None
    rest = user_traceback(traceback.tb_next)
    if not is_users(traceback.tb_frame.f_code.co_filename):
        return rest
    return TracebackType(rest, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)
