"""`pytest --device`: tests of devices run on another one, and no others do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulated import needs_compiler

HERE = Path(__file__).parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=HERE, env=known, capture_output=True, text=True)


@needs_compiler
def test_with_stand_ins() -> None:
    """All that a GPU would run, but for CuPy and the GPU themselves."""
    chosen = "gathers_and_scatters or small_states or literals"
    files = ("test_cpusim.py", "test_gpu_kernels.py", "test_ir.py")
    done = run("--device", "stand-in", "-k", chosen, *files)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_where_there_is_no_gpu() -> None:
    done = run("--device", "cuda", "test_cpusim.py", "-k", "test_launches")
    if done.returncode == 0:
        pytest.skip("there is one")
    assert "ERROR: " in done.stderr
    assert "remedy: " in done.stderr
