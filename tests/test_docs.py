"""The documents are true: their programs run, and print what they are shown to print.

README: the Python blocks are one script; a `text` block after one is what that block prints.
architecture: a block `ir NAME: STAGE` is what the compiler prints for the block `ir NAME: traced`,
which is the trace of the block `python NAME`, if there is one, for the call in its first line.
CONTRIBUTING: Python blocks are files and `diff` blocks change some, in a copy that works then.

`pytest tests/test_docs.py --update-golden` writes what was printed into the documents.
"""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jitnet import ops, trace, transforms  # noqa: F401  (ops: the parser finds them in the registry)
from jitnet.codegen.program import lower
from jitnet.ir import Function, parse, verify
from jitnet.passes import optimize
from jitnet.passes.fuse import fuse

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "-- end of block --"


def blocks(document: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a document: `(info string, text)`."""
    return BLOCK.findall(document.read_text())


def compare(document: Path, info: str, shown: str, printed: str, update: bool) -> None:
    """A block's text is what was printed; or it becomes that."""
    if update and shown != printed:
        text, old, new = document.read_text(), f"```{info}\n{shown}```", f"```{info}\n{printed}```"
        assert text.count(old) == 1
        document.write_text(text.replace(old, new))
    else:
        assert printed == shown


def run_script(script: Path, *, package: Path = ROOT) -> str:
    """What a script prints, with the `jitnet` of that folder."""
    command = [sys.executable, "-W", "error", script.name]
    environment = {"PYTHONPATH": str(package), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=script.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- README ----------------------------------------------------------------------------------------


def test_readme_prints_what_it_shows(tmp_path: Path, update_golden: bool) -> None:
    found = blocks(README)
    programs = [text for info, text in found if info == "python"]
    script = tmp_path / "tour.py"
    script.write_text(f"print({END!r})\n".join([*programs, ""]))
    printed = iter(run_script(script).replace(f"{tmp_path}/", "").split(f"{END}\n"))
    for (info, _), (following, shown) in zip(found, [*found[1:], ("", "")]):
        if info != "python":
            continue
        output = next(printed)
        if following == "text":
            compare(README, following, shown, output, update_golden)
        else:
            assert not output


def test_readme_names_commands_that_exist() -> None:
    """Targets of make, scripts, their options, and extras."""
    text = README.read_text() + CONTRIBUTING.read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z]+)`", text):
        assert f"\n{target}:" in makefile, target
    for script, option in re.findall(r"((?:examples|benchmarks)/\w+\.py)(?: (--\w+))?", text):
        source = (ROOT / script).read_text()
        assert not option or f'"{option}"' in source, option
    project = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r"jitnet\[(\w+)\]", text):
        assert f"\n{extra} = [" in project, extra


@pytest.mark.parametrize("document", [README, CONTRIBUTING, ARCHITECTURE], ids=lambda p: p.stem)
def test_files_that_are_named_exist(document: Path) -> None:
    folders = [ROOT, ROOT / "jitnet", document.parent]
    text = BLOCK.sub("", document.read_text())
    links = re.findall(r"\]\(([\w/.]+)\)", text)
    paths = re.findall(r"`([\w/]+/[\w/]*(?:\.\w+)?)`", text)
    for name in [*links, *paths]:
        assert any((folder / name).exists() for folder in folders), name


# -- architecture ----------------------------------------------------------------------------------

STAGES: dict[str, Callable[[Function], object]] = {
    "traced": lambda f: f,
    "linear": lambda f: transforms.linearize(f, [True] * len(f.params))[1],
    "gradient": lambda f: optimize(transforms.value_and_grad(f, [0])),
    "kernels": lambda f: kernel(f),
    "gradient kernels": lambda f: kernel(transforms.value_and_grad(f, [0])),
}


def kernel(f: Function) -> Function:
    return lower(fuse(optimize(f)), ["C"] * len(f.params)).kernel


def excerpts() -> Iterator[tuple[str, str, str]]:
    """`(name, stage, text)` of the IR in architecture.md."""
    for info, text in blocks(ARCHITECTURE):
        if info.startswith("ir "):
            name, _, stage = info.removeprefix("ir ").partition(": ")
            yield name, stage, text


@pytest.mark.parametrize(("name", "stage"), [(n, s) for n, s, _ in excerpts()])
def test_ir_is_what_the_compiler_prints(name: str, stage: str, update_golden: bool) -> None:
    texts = {(n, s): text for n, s, text in excerpts()}
    f = parse(texts[name, "traced"])
    verify(f)
    printed = str(STAGES[stage](f))
    compare(ARCHITECTURE, f"ir {name}: {stage}", texts[name, stage], printed, update_golden)


PROGRAMS = {i.removeprefix("python "): t for i, t in blocks(ARCHITECTURE) if i[:7] == "python "}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_traced_to_what_is_shown(
    name: str, update_golden: bool, tmp_path: Path
) -> None:
    script = tmp_path / f"{name}.py"
    script.write_text(PROGRAMS[name])
    namespace = runpy.run_path(str(script))
    call = PROGRAMS[name].partition("\n")[0].removeprefix("# ")
    function = namespace[name]
    printed = str(eval(call, {"np": np, name: trace(function)}))
    shown = next(t for n, stage, t in excerpts() if (n, stage) == (name, "traced"))
    compare(ARCHITECTURE, f"ir {name}: traced", shown, printed, update_golden)


def test_every_module_is_in_the_architecture() -> None:
    """Each file is named, alone or with its folder; of a folder inside a floor, the folder."""
    text = ARCHITECTURE.read_text()
    missing = []
    for path in (ROOT / "jitnet").rglob("*.py"):
        *folders, name = path.relative_to(ROOT / "jitnet").parts
        names = [f"`{name}`", f"`{'/'.join([*folders, name])}`", f"`{'/'.join(folders)}/`"]
        known = names if len(folders) > 1 else names[:2]
        if name != "__init__.py" and not any(n in text for n in known):
            missing.append(str(path.relative_to(ROOT)))
    assert not missing


# -- CONTRIBUTING ----------------------------------------------------------------------------------


def test_walked_through_code_works(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "jitnet", tmp_path / "jitnet", ignore=ignored)
    for info, text in blocks(CONTRIBUTING):
        head, _, body = text.partition("\n")
        if info == "python":
            (tmp_path / head.removeprefix("# ")).write_text(body)
        elif info == "diff":
            for hunk in body.split("...\n"):
                apply(hunk, tmp_path / head.removeprefix("--- "))
    scripts = sorted(tmp_path.glob("test_*.py"))
    assert len(scripts) == 3
    for script in scripts:
        run_script(script, package=tmp_path)


def apply(hunk: str, path: Path) -> None:
    """Replace a hunk's old lines, which must be unique in the file, by its new ones."""
    lines = hunk.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
    new = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
    text = path.read_text()
    assert text.count(f"\n{old}") == 1, f"{path}: not there, or not once:\n{old}"
    path.write_text(text.replace(f"\n{old}", f"\n{new}"))
