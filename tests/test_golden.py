"""Golden text: `tests/golden/*.ir` hold a Function, the passes to run, and the text they give.

Run `pytest tests/test_golden.py --update-golden` to rewrite the outputs, and read the difference.
Input and output are also run on drawn arrays, and must agree bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jitnet import ops, passes  # noqa: F401  (ops: the parser finds them in the registry)
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Function, parse, verify

FOLDER = Path(__file__).parent / "golden"
FILES = sorted(FOLDER.glob("*.ir"))
SEPARATOR = "# gives:\n"


def _passes(text: str) -> list[passes.Pass]:
    (line,) = (line for line in text.splitlines() if line.startswith("# passes:"))
    return [getattr(passes, name.strip()) for name in line.partition(":")[2].split(",")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file: Path, update_golden: bool) -> None:
    given, _, expected = file.read_text().partition(SEPARATOR)
    f = parse(given)
    verify(f)
    result = passes.run(f, _passes(given))
    if update_golden:
        file.write_text(given + SEPARATOR + str(result))
    else:
        assert str(result) == expected
        assert parse(expected) == result
    _assert_same_bits(f, result)


def test_there_are_golden_files() -> None:
    assert len(FILES) >= 10


def _assert_same_bits(f: Function, g: Function) -> None:
    rng = np.random.default_rng(0)
    args = _arguments(f, rng)
    for a, b in zip(evaluate(f, args), evaluate(g, args), strict=True):
        np.testing.assert_array_equal(a, b)
        if np.asarray(a).dtype.kind == "f":
            zero = np.equal(a, 0)
            np.testing.assert_array_equal(np.signbit(a)[zero], np.signbit(b)[zero])


def _arguments(f: Function, rng: np.random.Generator) -> list[Any]:
    """Floats with zeros and infinities among them; scalars small enough to be indices."""
    extents = {p: np.int64(3) for p in f.params if p.type == ArrayType(p.dtype) and p.rank == 0}
    args: list[Any] = []
    for p in f.params:
        shape = tuple(d if isinstance(d, int) else int(extents[d]) for d in p.dims)
        if p.dtype.is_bool:
            args.append(rng.random(shape) < 2)
        elif p.dtype.is_integer:
            args.append(np.full(shape, 2 if p.name != "k" else 3, p.dtype.numpy))
        else:
            values = rng.standard_normal(shape)
            special = rng.choice([0.0, -0.0, np.inf, 2.0], shape)
            args.append(np.where(rng.random(shape) < 0.3, special, values))
    for k, p in enumerate(f.params):
        if p in {d for q in f.params for d in q.dims}:
            args[k] = np.int64(3)
    return [a if np.ndim(a) else a[()] for a in map(np.asarray, args)]
