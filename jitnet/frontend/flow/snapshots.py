"""Containers that stand for others, as long as nobody writes to any of them.

    best = start                    a step leaves `best` and `trial` one list: the loop carries what
    for i in range(n):              is in it once for each. Of both, and of `start`, a snapshot is
        trial = [x[i], y[i]]        kept: what they hold may not change from there on
        if trial[0] < best[0]:
            best = trial

Loops carry the items of a container that each step makes anew. Where others know it too, its copies
are as good as itself until one of them is written to, which is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jitnet import errors
from jitnet.frontend.context import running_trace
from jitnet.frontend.flow.containers import is_container, taken_apart
from jitnet.frontend.flow.variants import Variants
from jitnet.frontend.flow.world import Content, same_content


@dataclass(frozen=True)
class Snapshot:
    """What a container held; its name is that of the variable that it is a copy for."""

    content: Content
    held: Any

    @property
    def name(self) -> str:
        return self.content.name


def keep(x: Any, name: str) -> None:
    """Note what the containers in a tree hold, which are copies of others or have some."""
    kept = running_trace().function.snapshots
    for container in containers_of(x):
        content = Content(container, name)
        kept.append(Snapshot(content, content.get()))


def of(x: Any) -> Snapshot | None:
    """The snapshot of a container, if there is one."""
    kept = running_trace().function.snapshots
    return next((s for s in kept if s.content.container is x), None)


def containers_of(x: Any) -> Iterator[Any]:
    """The containers in a tree that can be changed."""
    found = taken_apart(x)
    if found is None:
        return
    if is_container(x) and type(x) is not Variants:
        yield x
    for item in found[1]:
        yield from containers_of(item)


def check() -> None:
    """Raises:
    MutationError: where one of them has been written to.
    """
    for snapshot in running_trace().function.snapshots:
        if not same_content(snapshot.content.get(), snapshot.held):
            kind = type(snapshot.content.container).__name__
            raise errors.MutationError(
                f"the {kind} that {snapshot.name} is after a step of a loop, or may be, is written "
                "to",
                why="other variables may be the same one, and would have to see it",
                remedy=f"bind {snapshot.name} to a copy in the loop, as list(x), dict(x) or "
                "copy.copy(x) make it",
            )


def refuse_identity(x: Any) -> None:
    """Raises:
    ConcretizationError: for a container that stands for another one.
    """
    found = of(x)
    if found is not None:
        raise errors.ConcretizationError(
            f"whether the {type(x).__name__} that {found.name} is after a step of a loop is "
            "another one",
            why="the loop carries what is in it, and other variables may be the same one",
            remedy="compare what is in them, or keep the number of the one that is meant",
        )


@contextmanager
def forgotten_if_it_fails() -> Iterator[None]:
    """Forget what was noted by a part of the program that is not traced to its end."""
    kept = running_trace().function.snapshots
    before = len(kept)
    try:
        yield
    except BaseException:
        del kept[before:]
        raise
