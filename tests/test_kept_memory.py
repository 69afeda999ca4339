"""Run-time memory that calls leave to each other: found again, bounded, given back, in threads."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest

import jitnet
from jitnet.runtime import heap
from jitnet.runtime.release import release


@pytest.fixture(autouse=True)
def _empty_pool():
    release()
    yield
    heap._POOL[heap._LIMIT_WORD] = heap.LIMIT
    release()


def kept(x, low):
    """Its intermediate arrays have an extent that only the data decides."""
    y = np.sort(x[x > low])
    return np.cumsum(y[::-1] * np.cumsum(y))[:3] + y.max()


def test_a_call_leaves_its_memory_to_the_next():
    f = jitnet.jit(kept)
    x = np.linspace(0.0, 1.0, 1000)
    f(x, 0.5)
    first = heap.kept_bytes()
    assert first > 0
    for _ in range(5):
        f(x, 0.5)
        assert heap.kept_bytes() <= 2 * first
    release()
    assert heap.kept_bytes() == 0


def test_another_program_finds_it():
    f, g = jitnet.jit(kept), jitnet.jit(lambda x, low: kept(x * 2.0, low))
    x = np.linspace(0.0, 1.0, 1000)
    f(x, -1.0)
    first = heap.kept_bytes()
    g(x, -1.0)
    assert heap.kept_bytes() < 2 * first


def test_the_pool_is_bounded():
    heap._POOL[heap._LIMIT_WORD] = 1 << 16
    f = jitnet.jit(kept)
    for n in (100, 1000, 3000, 10_000, 100_000):
        x = np.linspace(0.0, 1.0, n)
        np.testing.assert_array_equal(f(x, 0.25), kept(x, 0.25))
        assert heap.kept_bytes() <= 1 << 16


def test_clear_cache_gives_it_back():
    f = jitnet.jit(kept)
    f(np.linspace(0.0, 1.0, 1000), 0.5)
    assert heap.kept_bytes() > 0
    f.clear_cache()
    assert heap.kept_bytes() == 0


def test_memory_of_a_call_that_raises_is_kept_too():
    def fails(x, i):
        y = x[x > 0.5]
        z = np.cumsum(y) * 2.0
        return z[i] + y.sum()

    f = jitnet.jit(fails)
    x = np.linspace(0.0, 1.0, 1000)
    f(x, 3)
    first = heap.kept_bytes()
    for _ in range(20):
        with pytest.raises(IndexError):
            f(x, 100_000)
    assert heap.kept_bytes() <= 2 * first


def test_threads_share_the_pool():
    f = jitnet.jit(kept)
    inputs = [np.linspace(0.0, 1.0, 500 + 37 * k) for k in range(8)]
    expected = [kept(x, 0.3) for x in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(200):
            if not np.array_equal(f(inputs[k], 0.3), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(inputs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_a_pool_of_its_own():
    f = jitnet.jit(kept)
    x = np.linspace(0.0, 1.0, 1000)
    f(x, 0.5)
    heap._POOL[0] = 1  # as if another thread were working on it
    child = os.fork()
    if child == 0:
        ok = np.array_equal(f(x, 0.5), kept(x, 0.5))
        os._exit(0 if ok else 1)
    heap._POOL[0] = 0
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    sys.stdout.flush()
