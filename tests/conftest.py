"""Shared by all tests: IR is verified after every pass; `--update-golden` rewrites tests/golden;
`--device cuda` runs on a GPU what runs on cpusim elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import devices
import pytest

from jitnet import errors, passes
from jitnet.ir import Function, verify


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what the passes give into tests/golden"
    )
    parser.addoption(
        "--device",
        choices=devices.KINDS,
        default="cpusim",
        help="run the tests of devices alone, on a GPU or with stand-ins for its libraries",
    )
    parser.addoption(
        "--memory-apart",
        action="store_true",
        help="allocate a GPU's memory without CuPy's pool, for compute-sanitizer",
    )


def pytest_configure(config: pytest.Config) -> None:
    stack = ExitStack()
    config.add_cleanup(stack.close)
    try:
        devices.choose(config.option.device, config.option.memory_apart, stack)
    except errors.NotAvailableError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With another device than cpusim, tests of modules that know of it stay."""
    if config.option.device == "cpusim":
        return
    chosen = {item for item in items if hasattr(item.module, "DEVICE")}
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--update-golden"))


def _verify_after(step: object, f: Function) -> None:
    verify(f)


@pytest.fixture(autouse=True, scope="session")
def _verified_passes() -> Iterator[None]:
    """Whatever a pass makes is verified, in every test."""
    passes.OBSERVERS.append(_verify_after)
    yield
    passes.OBSERVERS.remove(_verify_after)
