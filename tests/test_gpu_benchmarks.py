"""The cases of `benchmarks/gpu.py`: answers at tiny sizes on the simulated GPU, jitnet's side of
`--check`, and what is known of them at full size without running anything.

python benchmarks/gpu.py --check     # all of this beside JAX and PyTorch, where they are installed
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from simulated import needs_compiler

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from on_gpu import CASES, Blank, Case, difference, on_jitnet, opened, reference
from on_gpu.case import leaves

pytestmark = needs_compiler

LONG = ("LeNet", "LSTM, 100 steps", "transformer block")
"""What g++ takes seconds for: these are only run on the CPU here."""

TABLES = ("memory", "beside", "calls")
ONCE = {case.key: case for name in TABLES for case in CASES[name] if case.name not in LONG}
PRODUCTS = [case for case in CASES["products"] if case.name.endswith("64 of 512")]


@pytest.mark.parametrize("case", [*ONCE.values(), *PRODUCTS], ids=lambda case: case.name)
def test_answers(case: Case) -> None:
    arguments = case.make(np.random.default_rng(0), True)
    call = opened("jitnet", check=True).prepared(case, arguments)
    assert call is not None
    off = difference(case.compared(call()), case.compared(reference(case, arguments)))
    assert off <= case.tolerance


@pytest.mark.parametrize("name", LONG)
def test_steps_on_the_cpu(name: str) -> None:
    (case,) = (case for case in CASES["beside"] if case.name == name)
    arguments = case.make(np.random.default_rng(0), True)
    first, params = reference(case, arguments)
    second, _ = reference(case, (params, *arguments[1:]))
    assert second < first
    assert all(np.isfinite(leaf).all() for leaf in leaves(params))


@pytest.mark.parametrize(
    ("name", "launches", "moved"),
    [
        ("softmax", 1, 1.01),
        ("softmax, backward", 1, 1.01),
        ("layernorm", 1, 1.01),
        ("layernorm, backward", 2, 1.4),
        ("gelu, backward", 1, 1.01),
        ("heat, 100 steps", 102, 1.1),
        ("perceptron, Adam", 14, None),
    ],
)
def test_launches_and_bytes_at_full_size(name: str, launches: int, moved: float | None) -> None:
    (case,) = (case for case in CASES["beside"] if case.name == name)
    arguments = case.make(Blank(), False)
    cost = on_jitnet(case, True).lower(*arguments).cost()
    assert cost["launches"] <= launches
    if moved is not None and case.least is not None:
        assert cost["moved_bytes"] <= moved * case.least(*arguments)


def test_what_is_wrong_is_found() -> None:
    assert difference({"a": 1.0, "b": [2.0]}, {"a": 1.0, "b": [2.0]}) == 0
    assert difference((np.array([1.0, 4.0]),), (np.array([1.0, 2.0]),)) == 1
    assert difference(np.array([np.nan]), np.array([1.0])) == np.inf
    with pytest.raises(ValueError, match="should be"):
        difference(np.ones(3), np.ones(4))
