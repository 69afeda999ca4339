"""The floors: who may import whom, read from the source of every module.

ir < kernel < ops < interp, transforms, passes < codegen < runtime < frontend < api. Imports stand
at the top of a module; the few inside functions are lazy for a measured reason and named here.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jitnet"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {
    "jitnet.errors": 0,
    "jitnet.source": 0,
    "jitnet.config": 0,
    "jitnet.ir": 0,
    "jitnet.kernel": 1,
    "jitnet.ops": 2,
    "jitnet.interp": 3,
    "jitnet.transforms": 3,
    "jitnet.passes": 3,
    "jitnet.codegen": 4,
    "jitnet.runtime": 5,
    "jitnet.frontend": 6,
    "jitnet.api": 7,
    "jitnet.testing": 7,
    "jitnet": 8,
}
LAZY_MODULES = {"llvmlite", "scipy_openblas32", "cupy", "dis"}  # slow to load, or optional
LAZY_MODULES |= {"ml_dtypes"}  # optional
LAZY_MODULES |= {"jitnet.frontend.backend", "jitnet.frontend.native"}  # LLVM: 40 ms
LAZY_MODULES |= {  # half of the frontend: 30 ms
    *("jitnet.frontend.tracing", "jitnet.frontend.derivatives", "jitnet.frontend.linear"),
    *("jitnet.frontend.mapped", "jitnet.frontend.custom_tracing"),
}
LAZY_MODULES |= {"jitnet.frontend.explaining", "jitnet.frontend.verifying"}  # for a few: 4 ms
LAZY_MODULES |= {"jitnet.runtime.devices", "jitnet.runtime.devices.checkup"}  # for a few: 10 ms
LAZY_MODULES |= {"jitnet.frontend.device_entries"}
LAZY_MODULES |= {"cupy_backends", "nvmath"}
ENGINE_MODULES = {"llvmlite", "scipy_openblas32"}  # the runtime's alone
ENGINE_MODULES |= {"cupy", "cupy_backends", "nvmath"}
LONGEST_FILE = 650


def module_name(file: Path) -> str:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


def floor(module: str) -> int:
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in FLOORS and (n > 1 or len(parts) == 1):
            return FLOORS[".".join(parts[:n])]
    raise AssertionError(f"{module} stands on no floor: name it in FLOORS")


@cache
def imports(module: str) -> tuple[tuple[str, bool, int], ...]:
    """What a module imports when it runs: (module, at the top, line)."""
    return tuple(_imports(ast.parse(MODULES[module].read_text())))


def _imports(node: ast.AST, top: bool = True) -> Iterator[tuple[str, bool, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, top, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            name = str(child.module)
            inner = [f"{name}.{alias.name}" for alias in child.names]
            named = [full for full in inner if full in MODULES]
            yield from ((full, top, child.lineno) for full in named or [name])
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, top and not function)


@pytest.mark.parametrize("module", MODULES)
def test_a_floor_imports_only_the_floors_below(module: str) -> None:
    for target, _, line in imports(module):
        if target.split(".")[0] == "jitnet":
            assert floor(target) <= floor(module), f"{MODULES[module]}:{line} imports {target}"


def test_no_circles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' -> '.join((*path, module))}"
        if module in done:
            return
        for target, _, _ in imports(module):
            if target in MODULES:
                visit(target, (*path, module))
        done.add(module)

    for module in MODULES:
        if MODULES[module].name != "__init__.py":
            visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_imports_stand_at_the_top(module: str) -> None:
    for target, top, line in imports(module):
        lazy = not LAZY_MODULES.isdisjoint((target, target.split(".")[0]))
        assert top != lazy, f"{MODULES[module]}:{line} imports {target}"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_runtime_knows_the_engines(module: str) -> None:
    for target, _, line in imports(module):
        if target.split(".")[0] in ENGINE_MODULES:
            assert module.startswith("jitnet.runtime"), f"{MODULES[module]}:{line}"


@pytest.mark.parametrize("module", MODULES)
def test_files_open_with_a_paragraph_and_stay_short(module: str) -> None:
    text = MODULES[module].read_text()
    if not text:
        return
    assert ast.get_docstring(ast.parse(text)), f"{module} says nothing of what it is for"
    assert text.count("\n") <= LONGEST_FILE, f"{module} is asking to be two files"


def test_importing_jitnet_loads_nothing_slow() -> None:
    code = "import sys, jitnet; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in out.stdout.split()}
    assert not loaded & {"llvmlite", "scipy_openblas32", "cupy", "scipy", "hypothesis"}
