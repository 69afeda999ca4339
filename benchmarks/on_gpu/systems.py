"""Who takes part: jitnet, and the peers that are installed.

system = opened("jax", check=False)
call = system.prepared(case, arguments)    # on the device, compiled on the first call
call(); system.wait()

With `check`, everything is on the CPU: jitnet on its simulated GPU, peers on their own CPU
backends, and torch without its compiler.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import jitnet

from .case import Case, leaves, mapped

NAMES = ("jitnet", "cupy", "jax", "torch")

Call = Callable[[], Any]


class NotThereError(Exception):
    """A peer is missing, or has no GPU."""


@dataclass(frozen=True)
class System:
    """Attributes:
    prepared: `prepared(case, arguments)` makes a function of nothing, which makes one call; None
        where the system has no version of the case.
    wait: until all calls are done.
    """

    name: str
    version: str
    prepared: Callable[[Case, tuple[Any, ...]], Call | None]
    wait: Callable[[], None]
    fetched: Callable[[Any], Any]

    def on_host(self, result: Any) -> Any:
        """A copy of a result, of NumPy arrays."""
        return mapped(lambda leaf: np.array(self.fetched(leaf)), result)


def opened(name: str, check: bool) -> System:
    """The system.

    Raises:
        NotThereError: where it cannot take part; it says why.
    """
    try:
        return _OPEN[name](check)
    except ImportError as error:
        raise NotThereError(f"not installed ({error.name or error})") from None


def reference(case: Case, arguments: tuple[Any, ...]) -> Any:
    """What the CPU gives: NumPy, or jitnet where there are derivatives or much to do."""
    many = sum(x.size for x in leaves(list(arguments)) if isinstance(x, np.ndarray)) > 1_000_000
    if case.differentiated or many:
        fn: Any = jitnet.jit(case.fn, static=case.static)
        return fn(*arguments)
    with np.errstate(all="ignore"):
        return case.fn(*mapped(lambda x: x.copy() if isinstance(x, np.ndarray) else x, arguments))


def _placed(put: Callable[[Any], Any], arguments: tuple[Any, ...]) -> Any:
    """The arguments with their arrays put somewhere else."""
    return mapped(lambda x: put(x) if isinstance(x, np.ndarray) else x, arguments)


def on_jitnet(case: Case, check: bool) -> Any:
    """The case's function, unmodified, for the GPU or the simulated one."""
    return jitnet.jit(case.fn, static=case.static, device="cpusim" if check else "cuda")


def _jitnet(check: bool) -> System:
    if check:
        put, wait, fetched = (lambda x: x), (lambda: None), (lambda x: x)
    else:
        import cupy

        put, fetched = cupy.asarray, cupy.asnumpy
        wait = cupy.cuda.Device().synchronize

    def prepared(case: Case, arguments: tuple[Any, ...]) -> Call:
        fn, given = on_jitnet(case, check), _placed(put, arguments)
        return lambda: fn(*given)

    return System("jitnet", jitnet.__version__, prepared, wait, fetched)


def _cupy(check: bool) -> System:
    if check:
        raise NotThereError("left out, as it needs a GPU")
    import cupy

    versions = importlib.import_module("on_gpu.in_cupy").VERSIONS

    def prepared(case: Case, arguments: tuple[Any, ...]) -> Call | None:
        fn, given = versions.get(case.key), _placed(cupy.asarray, arguments)
        return None if fn is None else lambda: fn(*given)

    wait = cupy.cuda.Device().synchronize
    return System("cupy", cupy.__version__, prepared, wait, cupy.asnumpy)


def _jax(check: bool) -> System:
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    device = jax.devices()[0]
    if not check and device.platform == "cpu":
        raise NotThereError("installed without CUDA")
    versions = importlib.import_module("on_gpu.in_jax").VERSIONS
    last: list[Any] = []

    def prepared(case: Case, arguments: tuple[Any, ...]) -> Call | None:
        if case.key not in versions:
            return None
        fn = jax.jit(versions[case.key], static_argnums=case.static)
        given = _placed(lambda x: jax.device_put(x, device), arguments)

        def call() -> Any:
            result = fn(*given)
            last[:] = [result]
            return result

        return call

    def wait() -> None:
        jax.block_until_ready(last)

    return System("jax", jax.__version__, prepared, wait, np.asarray)


def _torch(check: bool) -> System:
    import torch

    if not check and not torch.cuda.is_available():
        raise NotThereError("installed without CUDA")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    module = importlib.import_module("on_gpu.in_torch")
    device = "cpu" if check else "cuda"

    def put(x: Any) -> Any:
        if x.dtype.name == "bfloat16":
            return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16).to(device)
        return torch.from_numpy(x).to(device)

    def fetched(x: Any) -> Any:
        x = x.detach() if isinstance(x, torch.Tensor) else torch.tensor(x)
        return (x.float() if x.dtype == torch.bfloat16 else x).cpu().numpy()

    def prepared(case: Case, arguments: tuple[Any, ...]) -> Call | None:
        def compiled(fn: Any) -> Any:
            mode = "reduce-overhead" if case.section == "calls" else None
            return fn if check else torch.compile(fn, mode=mode)

        given = _placed(put, arguments)
        if case.key in module.STEPS:
            step: Call = module.STEPS[case.key](compiled, *given)
            return step
        if case.key not in module.VERSIONS:
            return None
        fn = compiled(module.VERSIONS[case.key])
        return lambda: fn(*given)

    wait = (lambda: None) if check else torch.cuda.synchronize
    return System("torch", torch.__version__, prepared, wait, fetched)


_OPEN: dict[str, Callable[[bool], System]] = {
    "jitnet": _jitnet,
    "cupy": _cupy,
    "jax": _jax,
    "torch": _torch,
}
