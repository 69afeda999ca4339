"""A function's places as they are before a call, so that a run of it can be taken back.

    before = Saved(places)       Model.steps is 3
    fn(model)                    NumPy's run makes it 4
    changed = before.taken_back()     [{"steps": 4}], and Model.steps is 3 again

`verify=True` runs a function twice, and it is to be changed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet.frontend.copying import copied
from jitnet.frontend.places import (
    ABSENT,
    Appended,
    Content,
    Item,
    Variables,
    attributes,
    containers_in,
    set_attributes,
    write,
)
from jitnet.frontend.pytree import flatten


class Saved:
    """What places hold: variables, containers, the content of arrays."""

    def __init__(self, places: Sequence[Item]) -> None:
        self._places = places
        self._variables = [(p, p.items()) for p in places if isinstance(p, Variables)]
        self._lengths = {id(p): len(p.original) for p in places if isinstance(p, Appended)}
        own = [p.original for p in places if isinstance(p, Content)]
        self._containers = [(c, _content(c)) for c in (*own, *containers_in(tuple(places)))]
        leaves, _ = flatten(tuple(places))
        self._arrays = [(x, x.copy()) for x in leaves if type(x) is np.ndarray]

    def contents(self) -> list[Any]:
        """A copy of what the places hold now; of lists that are appended to, what is new."""
        found: list[Any] = []
        for place in self._places:
            if isinstance(place, Variables):
                found.append(place.items())
            elif isinstance(place, Appended):
                found.append(place.original[self._lengths[id(place)] :])
            else:
                found.append(place.original)
        changed: list[Any] = copied(found)
        return changed

    def taken_back(self) -> list[Any]:
        """`contents`; and all is as it was."""
        found = self.contents()
        for variables, values in self._variables:
            for name in variables.names:
                write(variables.original, name, values.get(name, ABSENT))
        for place in self._places:
            if isinstance(place, Appended):
                del place.original[self._lengths[id(place)] :]
        for container, content in self._containers:
            _fill(container, content)
        for array, content in self._arrays:
            if array.flags.writeable:
                np.copyto(array, content)
        return found


def _content(container: Any) -> Any:
    return container.copy() if isinstance(container, (list, dict)) else attributes(container)


def _fill(container: Any, content: Any) -> None:
    if isinstance(container, list):
        container[:] = content
    elif isinstance(container, dict):
        container.clear()
        container.update(content)
    else:
        set_attributes(container, content)
