"""Source locations: the user's lines that an equation came from.

A `Loc` is an inline stack, innermost frame first. Transforms keep it and add a tag, so that the
gradient of a line still names that line: `model.py:12 (jvp, transpose)`.
"""

from __future__ import annotations

import linecache
from typing import NamedTuple

MOST_FRAMES = 16


class Frame(NamedTuple):
    """One line of the user's program; columns are 0-based, -1 where unknown."""

    file: str
    line: int
    function: str = ""
    column: int = -1
    end_column: int = -1

    @property
    def source(self) -> str:
        """The text of the line, or '' where the source is not at hand."""
        return linecache.getline(self.file, self.line).rstrip("\n")


class Loc(NamedTuple):
    frames: tuple[Frame, ...] = ()
    tags: tuple[str, ...] = ()

    def tagged(self, tag: str) -> Loc:
        return self._replace(tags=(*self.tags, tag))

    def called_from(self, site: Loc) -> Loc:
        """The location of what a call at `site` runs."""
        return Loc((*self.frames, *site.frames)[:MOST_FRAMES], (*self.tags, *site.tags))


UNKNOWN = Loc()
