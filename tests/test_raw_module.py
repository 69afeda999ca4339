"""`jit(fn, loader="rawmodule")`: kernels that CuPy's RawModule compiles and loads.

With the stand-in for CuPy they run; with CuPy itself, where it is installed, NVIDIA's compiler
takes them with the options that RawModule comes to, without a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gpu_functions
import numpy as np
import pytest
from cupy_stand_in import StandIn, cupy_standing_in
from simulated import assert_same, needs_compiler

from jitnet import jit, trace
from jitnet.codegen.cuda.cut import cut
from jitnet.runtime.devices.cuda import FAST_OPTIONS, OPTIONS, RAW_MODULES_OWN
from jitnet.runtime.executable import lowered

RNG = np.random.default_rng(0)


def two_launches(x, s):
    total = x.sum()
    return x * s - total, total


@pytest.fixture
def cupy() -> Iterator[StandIn]:
    with cupy_standing_in() as made:
        yield made


def options_of(log: list[str]) -> list[list[str]]:
    return [line.split()[1:] for line in log if line.startswith("RawModule")]


@needs_compiler
@pytest.mark.parametrize("device", [None, "cuda"])
def test_calls_replays_and_graphs(device: str | None, cupy: StandIn) -> None:
    f, x = jit(two_launches, device=device, loader="rawmodule"), RNG.standard_normal((300, 20))
    plain = jit(two_launches, device=device)
    held = cupy.array(x)
    for n in range(8):
        for got, want in zip(f(held, 2.0 + n), plain(held, 2.0 + n)):
            assert_same(got.get(), want.get())
    assert options_of(cupy.log) == [
        ["-std=c++17", "-fmad=false", "-prec-div=true", "-prec-sqrt=true"]
    ]
    assert "graph" in cupy.log
    told = "kernels by CuPy's RawModule: float32's denormals are zero"
    assert told in f.explain(held, 2.0)
    assert told not in plain.explain(held, 2.0)


@needs_compiler
def test_fast_math(cupy: StandIn) -> None:
    x = cupy.array(RNG.standard_normal(300))
    jit(lambda x: x / 3 + x, loader="rawmodule", fast_math=True)(x)
    assert options_of(cupy.log) == [
        ["-std=c++17", "-fmad=true", "-prec-div=false", "-prec-sqrt=false"]
    ]


@needs_compiler
def test_several_gpus() -> None:
    with cupy_standing_in(gpus=3) as cupy:
        f, x = jit(two_launches, loader="rawmodule"), RNG.standard_normal((30, 4))
        for _ in range(6):
            for number in (2, 1):
                with cupy.cuda.Device(number):
                    held = cupy.array(x)
                y, _ = f(held, 3.0)
                assert y.device.id == number
                np.testing.assert_allclose(y.get(), two_launches(x, 3.0)[0], rtol=1e-12)


@needs_compiler
def test_nothing_changes_on_the_cpu() -> None:
    x = np.array([1e-40, 3.0], np.float32)
    assert_same(jit(lambda x: x * 2, loader="rawmodule")(x), x * 2)


@pytest.mark.parametrize(("device", "compiler"), [("cpu", "LLVM"), ("cpusim", r"g\+\+")])
def test_it_is_for_gpus(device: str, compiler: str) -> None:
    with pytest.raises(ValueError, match=f"device='{device}' there are none, {compiler} compiles"):
        jit(lambda x: x, device=device, loader="rawmodule")


def test_there_are_two() -> None:
    with pytest.raises(ValueError, match="must be 'nvrtc' or 'rawmodule', not 'nvcc'"):
        jit(lambda x: x, loader="nvcc")


def test_the_text_is_the_same_in_each_process() -> None:
    """CuPy's cache on the disk goes by it."""
    script = "from test_raw_module import unit; print(unit('adam_step'))"
    texts = set()
    for seed in ("1", "2"):
        known = {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = [sys.executable, "-c", script]
        done = subprocess.run(run, env={**os.environ, **known}, capture_output=True, check=True)
        texts.add(done.stdout)
    assert len(texts) == 1
    assert b"__global__" in texts.pop()


def unit(name: str) -> str:
    """The CUDA C++ of a function."""
    (case,) = (case for case in gpu_functions.CASES if case.name == name)
    f = trace(case.fn)(*case.args)
    return cut(lowered(f, ["C"] * len(f.params)).program.kernel).text


# -- CuPy itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [OPTIONS, FAST_OPTIONS])
def test_nvidias_compiler_takes_what_it_is_given(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of RawModule but the driver's loading of what was compiled."""
    cupy = pytest.importorskip("cupy", reason='CuPy is not installed: pip install "jitnet[cuda]"')
    compiler, loaded = cupy.cuda.compiler, []

    class Module(cupy.cuda.function.Module):
        def load(self, code: bytes) -> None:
            loaded.append(code)

    monkeypatch.setattr(compiler, "function", SimpleNamespace(Module=Module))
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    arch = lambda arch=None: (f"-arch=sm_{arch}", "cubin")  # noqa: E731
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", arch)  # asks the driver
    given: list[tuple[str, ...]] = []
    compile_ = compiler.nvrtc.compileProgram

    def noted(program: Any, options: tuple[str, ...]) -> None:
        given.append(tuple(options))
        compile_(program, options)

    nvrtc = SimpleNamespace(**{**vars(compiler.nvrtc), "compileProgram": noted})
    monkeypatch.setattr(compiler, "nvrtc", nvrtc)
    own = tuple(option for option in options if option not in RAW_MODULES_OWN)
    text = unit("softmax")
    cupy._core.core.compile_with_cache(text, own, arch="90", prepend_cupy_headers=False)
    assert b"softmax" in loaded[-1]
    for option in ("-ftz=true", "--device-as-default-execution-space", "-arch=sm_90", *own):
        assert given[-1].count(option) == 1
