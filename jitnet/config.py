"""Settings from the environment, read in this one place.

JITNET_DUMP=dir        one numbered text file per stage of every compiled function
JITNET_LOG=compiles    one line per compilation on stderr
JITNET_LOG=recompiles  one line when a function is compiled again, with what is new
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Config(NamedTuple):
    """Attributes:
    dump: folder for the stages' texts, or None.
    log: the kinds of event to report.
    """

    dump: str | None
    log: frozenset[str]


def read() -> Config:
    """The settings as the environment has them now."""
    log = os.environ.get("JITNET_LOG", "")
    return Config(
        dump=os.environ.get("JITNET_DUMP") or None,
        log=frozenset(word.strip() for word in log.split(",") if word.strip()),
    )
