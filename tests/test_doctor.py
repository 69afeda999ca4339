"""`jitnet.doctor()`: what is installed, what works, and what to install."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cupy_stand_in import cupy_standing_in
from nvmath_stand_in import nvmath_standing_in
from simulated import needs_compiler

import jitnet


def told(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], list[str]]:
    found = jitnet.doctor()
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "jitnet"
    assert len(lines) == len(found)
    return found, lines


@needs_compiler
def test_what_is_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it fails
    found, lines = told(capsys)
    for name in ("Python", "NumPy", "llvmlite", "OpenBLAS", "processor", "cpu", "g++", "cpusim"):
        assert found[name]["works"], name
        assert found[name]["found"]
    assert found["cpu"]["found"] == "works"
    assert "vectors of" in found["processor"]["found"]
    assert not found["cuda"]["works"]
    assert found["CuPy"]["remedy"] == 'pip install "jitnet[cuda]"'
    assert '  CuPy       not there: pip install "jitnet[cuda]"' in lines
    assert "driver" not in found


def properties(i: int) -> dict[str, Any]:
    return {"name": b"A GPU", "totalGlobalMem": 80 * 10**9, "major": 9, "minor": 0}


def test_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    with cupy_standing_in() as cupy:
        cupy.__version__ = "14.2.0"
        cupy.runtime.getDeviceProperties = properties
        found, lines = told(capsys)
    assert found["driver"]["found"] == "for CUDA 13.0"
    assert found["NVRTC"]["found"] == "13.0"
    assert "  GPU 0      A GPU, 80 GB, sm_90" in lines
    assert not found["cuBLASLt"]["works"]
    assert "pip install nvmath-python" in found["cuBLASLt"]["remedy"]
    with cupy_standing_in() as cupy, nvmath_standing_in(cupy):
        cupy.__version__ = "14.2.0"
        cupy.runtime.getDeviceProperties = properties
        assert jitnet.doctor()["cuBLASLt"]["found"] == "13.1.1"


@pytest.mark.parametrize("driver", [0, 12040])
def test_drivers(driver: int, capsys: pytest.CaptureFixture[str]) -> None:
    with cupy_standing_in(driver) as cupy:
        cupy.__version__ = "14.2.0"
        found, _ = told(capsys)
    assert found["CuPy"]["works"]
    assert not found["driver"]["works"]
    assert not found["cuda"]["works"]
    assert ("nvidia-smi" if not driver else "cupy-cuda12x") in found["driver"]["remedy"]
    assert "GPU 0" not in found


def test_no_compilers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with cupy_standing_in() as cupy:
        cupy.__version__ = "14.2.0"

        def missing() -> Any:
            raise ImportError("libnvrtc.so.13 is not there")

        cupy.cuda.nvrtc = SimpleNamespace(getVersion=missing)
        found, _ = told(capsys)
    assert "apt install g++" in found["g++"]["remedy"]
    assert not found["cpusim"]["works"] or found["cpusim"]["found"] == "works"
    assert found["NVRTC"]["remedy"] == 'pip install "cupy-cuda13x[ctk]"'
    assert found["cpu"]["works"]


def test_extras_that_are_recommended_exist() -> None:
    root = Path(jitnet.__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    files = [*root.glob("jitnet/**/*.py"), *root.glob("tests/*.py"), root / "README.md"]
    named = {x for f in files for x in re.findall(r"(?:jitnet|'\.)\[(\w+)\]", f.read_text())}
    assert {"cuda", "nvrtc"} <= named <= {*project["optional-dependencies"]}
    for extra in ("cuda", "cuda12"):
        has = project["optional-dependencies"][extra]
        assert any(x.startswith("cupy-cuda") and "[ctk]" in x for x in has)  # all but the driver
        assert any(x.startswith("nvmath-python") for x in has)  # for cuBLASLt
