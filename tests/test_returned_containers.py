"""Lists, dicts, tuples and objects from outside that a function returns are the caller's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jitnet import jit
from jitnet.frontend import jitted

X = np.ones(2)


class Store:
    def __init__(self) -> None:
        self.items = [np.ones(2), 1.0]
        self.table = {"a": np.zeros(2), "inner": self.items}
        self.pair = (self.items, 2)
        self.calls = 0

    def get(self, x: Any) -> Any:
        return self.items

    def parts(self, x: Any) -> Any:
        return self.table["inner"], self.table, self.pair, [self.items, x]

    def counted(self, x: Any) -> Any:
        self.calls += 1
        return self.items, x + self.calls

    def grown(self, x: Any) -> Any:
        self.items.append(x * 2)
        return self.items

    def written(self, x: Any) -> Any:
        self.items[0][0] = x[1] + 5
        return self.items


STORE, LIST = Store(), [np.arange(3.0), 2]


def identities(x: Any, store: Store) -> Any:
    """Which objects are in a result."""
    known = (store, store.items, store.table, store.pair, store.items[0], store.table["a"], LIST, X)
    if isinstance(x, (list, tuple)) and not any(x is k for k in known):
        return type(x), [identities(item, store) for item in x]
    if isinstance(x, dict) and not any(x is k for k in known):
        return {k: identities(v, store) for k, v in x.items()}
    return [x is k for k in known], np.array_equal(x, x) if isinstance(x, np.ndarray) else None


@pytest.mark.parametrize("method", ["get", "parts", "counted", "grown", "written"])
@pytest.mark.parametrize("native", [False, True])
def test_methods_return_what_their_objects_have(
    method: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jitted, "NATIVE_AFTER", 1 if native else 10**9)
    ours, theirs, f = Store(), Store(), jit(getattr(Store, method))
    for _ in range(5):
        got, want = f(ours, X), getattr(theirs, method)(X)
        assert identities(got, ours) == identities(want, theirs)
        assert len(ours.items) == len(theirs.items)
        np.testing.assert_array_equal(ours.items[0], theirs.items[0])


def test_globals_closures_and_defaults() -> None:
    held = [1.0, {"x": np.ones(2)}]

    def default(x: Any, m: Any = LIST) -> Any:
        return m

    assert jit(lambda x: LIST)(X) is LIST
    assert jit(lambda x: held)(X) is held
    assert jit(lambda x: held[1])(X) is held[1]
    assert jit(lambda x: STORE)(X) is STORE
    assert jit(lambda x: (x, STORE.items))(X)[1] is STORE.items
    assert jit(default)(X) is LIST


def test_another_one_is_returned_once_it_is_there() -> None:
    store = Store()
    f = jit(lambda x: (store.items, store.table))
    for _ in range(2):
        items, table = f(X)
        assert items is store.items
        assert table is store.table
        store.items = list(store.items)
        assert f(X)[0] is store.items
        store.items[1] = 7.0
        assert f(X)[0][1] == 7.0
        store.table = dict(store.table)


def test_what_the_function_makes_is_new() -> None:
    f = jit(lambda x: [*LIST, x])
    assert f(X) is not f(X)
    g = jit(lambda x: list(LIST))
    first, second = g(X), g(X)
    assert first is not second
    assert first is not LIST
    assert first[0] is LIST[0]
