"""The page docs/numpy-coverage.md is true: a function compiles, or is refused as it says there.

`pytest tests/test_numpy_coverage.py --update-golden` calls all and writes the page. Without that,
what the page calls compiled is compiled, many functions at once, and compared with NumPy; what it
calls refused must be refused with that error.
"""

from __future__ import annotations

import copy
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy_calls import ARGUMENTS, CHANGES_ARGUMENTS, MODULES, OUTSIDE
from oracle import compare

import jitnet
from jitnet.errors import JitnetError

PAGE = Path(__file__).parents[1] / "docs" / "numpy-coverage.md"
AT_ONCE = 30
WRITTEN_FOR = "2.4."
pytestmark = pytest.mark.skipif(
    not np.__version__.startswith(WRITTEN_FOR), reason=f"the page is of NumPy {WRITTEN_FOR}x"
)
HEAD = """\
# NumPy's functions under `@jit`

Every public function of NumPy, called inside a compiled function on sample arguments
(`tests/numpy_calls.py`): it is compiled and gives what NumPy gives, or it is refused while tracing,
with the error shown. Options that are refused although the function is compiled are not listed.
This page is written by `pytest tests/test_numpy_coverage.py --update-golden`.

Dtypes are bool, all integers, float16, float32, float64, complex64, complex128, and ml_dtypes'
bfloat16. Functions take those that NumPy's take, and promote them as NumPy does: float16 is refused
by `np.linalg` here, too, and a bfloat16 array times a Python float is float32. Sums, products and
dots of halves are made in float32 and rounded once, where NumPy rounds each term along leading
axes.
"""

Call = Callable[..., Any]
Refusal = tuple[str, str]


def public_functions(module: Any) -> list[str]:
    """The names of a module's functions and ufuncs."""
    found = ((name, getattr(module, name)) for name in sorted(module.__all__))
    return [name for name, x in found if callable(x) and not isinstance(x, type)]


def arguments_of(call: Call) -> list[str]:
    return list(inspect.signature(call).parameters)


def expected_of(call: Call) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*(copy.deepcopy(ARGUMENTS[name]) for name in arguments_of(call)))


def refusal_of(call: Call) -> Refusal | None:
    """The error by which a call is refused; None where it compiles."""
    expected = expected_of(call)
    args = [copy.deepcopy(ARGUMENTS[name]) for name in arguments_of(call)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = jitnet.jit(call)(*args)
    except JitnetError as error:
        return error.code, error.what
    except Exception as error:
        return type(error).__name__, str(error)
    compare(got, expected, rtol=1e-10)
    return None


def check_together(calls: Sequence[Call]) -> None:
    """Compile several calls as one program, and compare each."""
    names = sorted({name for call in calls for name in arguments_of(call)})

    def together(*values: Any) -> list[Any]:
        given = dict(zip(names, values))
        return [call(*[given[name] for name in arguments_of(call)]) for call in calls]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = jitnet.jit(together)(*(copy.deepcopy(ARGUMENTS[name]) for name in names))
    for one, call in zip(got, calls, strict=True):
        compare(one, expected_of(call), rtol=1e-10)


# -- the page --------------------------------------------------------------------------------------


def written() -> str:
    """The page, from calling everything."""
    parts, counts = [], []
    for title, (_, calls) in MODULES.items():
        refusals = {name: refusal_of(call) for name, call in calls.items()}
        compiled = sorted(name for name, refusal in refusals.items() if refusal is None)
        refused = {name: r for name, r in sorted(refusals.items()) if r is not None}
        counts.append((title, len(compiled), len(refused)))
        parts.append(f"## {title}\n\nCompiled: {listed(compiled)}.\n")
        if refused:
            parts.append("| Refused | With |\n|---|---|")
            parts += [
                f"| `{name}` | {code}: {text(what)} |" for name, (code, what) in refused.items()
            ]
            parts.append("")
    outside = [f"`{name}` ({what})" for name, what in OUTSIDE.items()]
    parts.append(f"## Not called\n\n{', '.join(outside)}.\n")
    rows = [f"| {title} | {good} | {bad} |" for title, good, bad in counts]
    total = "| all | {} | {} |".format(*(sum(c[i] for c in counts) for i in (1, 2)))
    table = ["| Module | Compiled | Refused |", "|---|---|---|", *rows, total, ""]
    return "\n".join([HEAD, *table, *parts])


def listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def text(what: str) -> str:
    """An error's first line, as a cell of a table."""
    return what.split("\n")[0].replace("|", "\\|")


def read(page: str) -> Iterator[tuple[str, str, Refusal | None]]:
    """`(module, function, refusal)` for each function on the page."""
    for section in page.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        if title not in MODULES:
            continue
        line = next(line for line in body.splitlines() if line.startswith("Compiled: "))
        for name in re.findall(r"`(\w+)`", line):
            yield title, name, None
        for name, code, what in re.findall(r"^\| `(\w+)` \| (\w+): (.*) \|$", body, re.MULTILINE):
            yield title, name, (code, what)


# -- tests -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> str:
    if request.config.getoption("--update-golden"):
        PAGE.write_text(written())
    return PAGE.read_text()


def test_every_public_function_has_a_call() -> None:
    for title, (module, calls) in MODULES.items():
        outside = OUTSIDE if title == "numpy" else {}
        assert sorted([*calls, *outside]) == public_functions(module)


def test_the_page_has_every_function(page: str) -> None:
    on_page = sorted((title, name) for title, name, _ in read(page))
    assert on_page == sorted(
        (title, name) for title, (_, calls) in MODULES.items() for name in calls
    )
    counts = re.findall(r"^\| all \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    refused = sum(refusal is not None for *_, refusal in read(page))
    assert counts == [(str(len(on_page) - refused), str(refused))]


def test_what_is_called_compiled_is_compiled(page: str) -> None:
    calls = {name: MODULES[title][1][name] for title, name, refusal in read(page) if not refusal}
    alone = [call for name, call in calls.items() if name in CHANGES_ARGUMENTS]
    others = [call for name, call in calls.items() if name not in CHANGES_ARGUMENTS]
    for call in alone:
        assert refusal_of(call) is None
    for start in range(0, len(others), AT_ONCE):
        check_together(others[start : start + AT_ONCE])


def test_what_is_called_refused_is_refused(page: str) -> None:
    for title, name, refusal in read(page):
        if refusal is not None:
            code, what = refusal_of(MODULES[title][1][name]) or ("", "compiled")
            assert (code, text(what)) == refusal, f"{title}.{name}"
