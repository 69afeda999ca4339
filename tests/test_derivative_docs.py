"""docs/derivatives.md is a script that runs, and the example of a fixed point is right."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jitnet import grad, jit, jvp, trace
from jitnet.testing import check_grads

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "derivatives.md"


def test_the_programs_of_the_page(tmp_path: Path) -> None:
    text = PAGE.read_text()
    script = tmp_path / "page.py"  # a file, so that functions have their source
    script.write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)))
    found = runpy.run_path(str(script))
    assert found["thrifty"] < found["plain"]


def test_the_table_is_tested() -> None:
    """The functions that its rows name are called by the tests of the conventions."""
    rows = re.findall(r"^\| (.*?) \|", PAGE.read_text(), re.M)
    codes = [code for row in rows for code in re.findall(r"`([^`]+)`", row)]
    names = {name for code in codes for name in re.findall(r"[a-z]\w+", code) if hasattr(np, name)}
    assert len(names) > 20
    tests = (ROOT / "tests" / "test_hard_derivatives.py").read_text()
    assert [name for name in names if f"np.{name}" not in tests and f".{name}(" not in tests] == []


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / "fixed_point.py"))


def test_a_fixed_point(example: dict[str, Any]) -> None:
    fixed_point, equilibrium = example["fixed_point"], example["equilibrium"]
    params = {"w": np.random.default_rng(0).normal(size=(4, 4)) / 4, "b": np.ones(4) / 3}

    def f(params: Any) -> Any:
        return fixed_point(equilibrium, params, np.zeros(4))

    check_grads(f, (params,), modes=("rev",))
    slope = grad(lambda params: f(params).sum())
    through = grad(lambda p: example["iterate"](lambda x: equilibrium(p, x), np.zeros(4)).sum())
    for name in params:  # what differentiating the iteration itself gives
        np.testing.assert_allclose(slope(params)[name], through(params)[name], rtol=1e-8)


def test_the_backward_pass_keeps_nothing_of_the_iteration(example: dict[str, Any]) -> None:
    f = grad(lambda a: example["fixed_point"](lambda a, x: (x + a / x) / 2, a, a))
    assert f(2.0) == pytest.approx(0.5 / np.sqrt(2))
    program = trace(f)(2.0)
    assert [e.op.name for e in program.eqns].count("while") == 2  # there and back
    assert "tape" not in str(program)


def test_training_an_equilibrium(example: dict[str, Any]) -> None:
    params = {"w": np.random.default_rng(0).normal(size=(4, 4)) / 4, "b": np.zeros(4)}
    target = np.array([0.3, -0.2, 0.5, 0.1])
    fitted, losses = example["train"](params, target, 40)
    assert losses[-1] < 1e-6 < losses[0]
    found = jit(lambda p: example["fixed_point"](example["equilibrium"], p, np.zeros(4)))(fitted)
    np.testing.assert_allclose(found, target, atol=1e-3)


def test_forward_mode_of_a_rule_that_iterates_is_refused_by_name(example: dict[str, Any]) -> None:
    def f(a: Any) -> Any:
        return example["fixed_point"](lambda a, x: (x + a / x) / 2, a, a)

    with pytest.raises(TypeError, match="cannot be transposed"):
        jvp(f, (2.0,), (1.0,))
