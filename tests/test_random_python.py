"""Random Python functions, run as they are and compiled: results, changed arguments and globals,
exceptions.

A program may be refused with an error of jitnet's that says why, never with a wrong answer; how
many are is printed and limited. The generator is `python_programs`.

NumPy copies what overlaps before it is assigned, but for vectors whose elements lie at different
distances: `a[1] = a[:, 3]` reads what it has written already. The plain programs copy there too.
What was changed when an exception was raised is not compared.
"""

from __future__ import annotations

import linecache
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import python_programs
from agreement import Outcome, assert_agree, outcome

import jitnet
from jitnet import errors

PROGRAMS = 40
CHANGED = ("COUNT", "LOG", "BOX")  # globals
REFUSALS = (
    errors.ConcretizationError,
    errors.MutationError,
    errors.ReturnError,
    errors.UnboundVariableError,
)
MOST_REFUSED = 0.3  # of the programs


def _arguments() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(7)

    def quarters(*shape: int) -> Any:
        return rng.integers(-8, 9, shape) / 4.0

    n = python_programs.N
    calls = [(quarters(n), quarters(n), quarters(n, n), s, k) for k, s in ((2, 0.5), (-1, 0.0))]
    x, a = quarters(n), quarters(n, n)
    return [*calls, (x, x, quarters(n, n), 1.0, 5), (x, a[1], a, -1.0, 0)]


CALLS = _arguments()


def loaded(source: str) -> Callable[..., Any]:
    """The function `f` of a source, which tracebacks and jitnet find again."""
    file = f"<random program {hash(source):x}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space: dict[str, Any] = {"__name__": "random_program"}
    exec(compile(source, file, "exec", dont_inherit=True), space)
    return space["f"]


def copying(source: str) -> str:
    """The source with copies in the places of vectors that are assigned to parts of arrays."""
    return re.sub(
        r"(?m)^(\s+)((?:a\[[^=\n]*\]|\w\[[^=\n]*:[^=\n]*\]) = )(.*)$", r"\1\2np.array(\3)", source
    )


def is_refused(ours: Outcome, plain: Outcome) -> bool:
    """Whether jitnet has refused the program, rather than raised what the program raises."""
    if not isinstance(ours.error, REFUSALS):
        return False
    return plain.error is None or not isinstance(ours.error, type(plain.error))


def refusal(source: str) -> str | None:
    """Compare the calls of a program; the class of the error if it is refused."""
    fn, reference = loaded(source), loaded(copying(source))
    ours_outside, outside = fn.__globals__, reference.__globals__
    outside.update({name: ours_outside[name] for name in ("Stop", "Box")})
    outside["reset"]()
    compiled = jitnet.jit(fn)
    for args in CALLS:
        plain, ours = outcome(reference, args), outcome(compiled, args)
        if is_refused(ours, plain):
            return type(ours.error).__name__
        try:
            assert_agree(ours, plain, widens=True)
            if plain.error is None:
                states = [Outcome([space[n] for n in CHANGED]) for space in (ours_outside, outside)]
                assert_agree(*states, widens=True)
            else:
                ours_outside["reset"](), outside["reset"]()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{args}\n{source}") from error
    return None


def test_random_programs_agree_with_python(capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()
    for seed in range(PROGRAMS):
        counts["programs"] += 1
        found = refusal(python_programs.write(random.Random(seed).randrange))
        if found is not None:
            counts[found] += 1
    refused = counts.total() - counts["programs"]
    with capsys.disabled():
        print(f"\n{refused} of {counts['programs']} random programs refused: {dict(counts)}")
    assert refused <= MOST_REFUSED * counts["programs"]


@pytest.mark.parametrize("seed", range(2))
def test_programs_are_made_from_their_choices_alone(seed: int) -> None:
    first, second = random.Random(seed), random.Random(seed)
    assert python_programs.write(first.randrange) == python_programs.write(second.randrange)
