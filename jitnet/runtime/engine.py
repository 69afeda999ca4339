"""Compiles LLVM IR text to native code in this process. The one place that uses LLVM.

    native = compile_module(emit(kernel, host_target()))
    native.address                      # of the entry function

LLVM is imported on the first compilation. Code lives as long as its `Native`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from jitnet.codegen.llvm import LlvmModule
from jitnet.kernel.target import Target
from jitnet.runtime.externs import extern_address

LARGE = 5_000
"""Lines of a module from which on no passes run: they take a second for 10,000 lines, and what they
gain there, in code that was traced step by step, is a fifth to a third of the time."""

VAST = 10_000
"""Lines from which on instructions are chosen quickly, too, for code that takes up to twice the
time: 30,000 lines take 2.5 s otherwise, and 0.2 s so."""

_LOCK = threading.RLock()
_NUMBERS = itertools.count()


class CompileError(Exception):
    """LLVM refused a module: an error in jitnet itself; the text is in the message."""


@dataclass(frozen=True)
class Seconds:
    """Where a compilation's time went."""

    parse: float
    passes: float
    codegen: float
    link: float


@dataclass(frozen=True, eq=False)
class Native:
    """Machine code of a module.

    Attributes:
        module: what it was made from.
        address: of the entry function.
        object: the object file, for a cache.
        seconds: what the compilation took.
    """

    module: LlvmModule
    address: int
    object: bytes
    seconds: Seconds
    _library: Any  # unloads the code when it goes

    @cached_property
    def asm(self) -> str:
        """The assembly text."""
        with _LOCK:
            return str(_machine_for(self.module).emit_assembly(_parse(self.module)[0]))


@lru_cache(maxsize=1)
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@lru_cache(maxsize=1)
def host_target() -> Target:
    """The machine that this process runs on."""
    llvm = _llvm()
    flags = llvm.get_host_cpu_features()
    triple = llvm.get_process_triple()
    if flags.get("avx512f") and flags.get("avx512vl") and flags.get("avx512dq"):
        width = 64
    elif flags.get("avx2"):
        width = 32
    else:
        width = 16
    return Target(triple, llvm.get_host_cpu_name(), flags.flatten(), width)


def _lines(module: LlvmModule) -> int:
    return module.text.count("\n")


@lru_cache(maxsize=2)
def _machine(level: int = 2) -> Any:
    llvm, target = _llvm(), host_target()
    # at level 2 of code generation the scheduler does what matters, level 3 gains nothing more
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=level,
        reloc="pic",
        codemodel="small",
        jit=True,
    )


def _machine_for(module: LlvmModule) -> Any:
    return _machine(0) if _lines(module) > VAST else _machine()


@lru_cache(maxsize=1)
def _jit() -> Any:
    return _llvm().create_lljit_compiler(_machine(), use_jit_link=True)


def _parse(module: LlvmModule) -> tuple[Any, float]:
    """The module in LLVM, its passes run, and the time at which it was parsed."""
    parsed = _parse_text(module.text)
    now = time.perf_counter()
    if module.passes and _lines(module) <= LARGE:
        _run_passes(module, _llvm(), _machine(), parsed)
    return parsed, now


def _parse_text(text: str) -> Any:
    try:
        parsed = _llvm().parse_assembly(text)
    except RuntimeError as error:
        raise CompileError(f"{error}\n{text}") from error
    parsed.triple = host_target().triple
    parsed.data_layout = str(_machine().target_data)
    return parsed


def _run_passes(module: LlvmModule, llvm: Any, machine: Any, parsed: Any) -> None:
    # The vectoriser and the unroller double the time, and what they find in such loops is
    # seldom faster: loops worth vectorising are written as vectors.
    # Level 2: jumps on what an earlier branch has decided are worth its time, level 3 is not.
    options = llvm.create_pipeline_tuning_options(2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_interleaving = False
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    if module.passes == "module":  # loops that are marked are unrolled among these
        builder.getModulePassManager().run(parsed, builder)
        return
    managers = [builder.getFunctionPassManager()]
    if module.unrolls:
        unroll = llvm.create_new_function_pass_manager()
        unroll.add_loop_unroll_pass()
        unroll.add_instruction_combine_pass()
        unroll.add_simplify_cfg_pass()
        managers.append(unroll)
    for function in parsed.functions:
        if not function.is_declaration:
            for passes in managers:
                passes.run(function, builder)


def compile_module(module: LlvmModule) -> Native:
    """Compile, link and load.

    Raises:
        CompileError: LLVM refuses the text.
        NotAvailableError: an extern routine's library is missing.
    """
    with _LOCK:
        begin = time.perf_counter()
        parsed, read = _parse(module)
        optimised = time.perf_counter()
        code = _machine_for(module).emit_object(parsed)
        generated = time.perf_counter()
        library, address = _link(module, code)
        end = time.perf_counter()
    seconds = Seconds(read - begin, optimised - read, generated - optimised, end - generated)
    return Native(module, address, code, seconds, library)


def load_object(module: LlvmModule, code: bytes) -> Native:
    """Link and load an object file that a compilation of the same module made."""
    with _LOCK:
        begin = time.perf_counter()
        library, address = _link(module, code)
        end = time.perf_counter()
    return Native(module, address, code, Seconds(0.0, 0.0, 0.0, end - begin), library)


def compile_text(
    text: str, entries: Sequence[str], symbols: Mapping[str, int]
) -> tuple[Any, list[int]]:
    """Compile and load text that is no kernel's.

    Args:
        entries: the functions that are wanted.
        symbols: addresses of what the text declares and the process does not export.

    Returns:
        What keeps the code alive, and the functions' addresses.

    Raises:
        CompileError: LLVM refuses the text.
    """
    with _LOCK:
        return _load(_machine().emit_object(_parse_text(text)), entries, symbols)


def _link(module: LlvmModule, code: bytes) -> tuple[Any, int]:
    symbols = {name: extern_address(name) for name in module.externs}
    library, (address,) = _load(code, [module.entry], symbols)
    return library, address


def _load(code: bytes, entries: Sequence[str], symbols: Mapping[str, int]) -> tuple[Any, list[int]]:
    builder = _llvm().JITLibraryBuilder().add_object_img(code)
    for entry in entries:
        builder.export_symbol(entry)
    for name, address in symbols.items():
        builder.import_symbol(name, address)
    builder.add_current_process()
    library = builder.link(_jit(), f"library{next(_NUMBERS)}")
    return library, [int(library[entry]) for entry in entries]
