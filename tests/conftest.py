"""Shared by all tests: IR is verified after every pass; `--update-golden` rewrites tests/golden."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jitnet import passes
from jitnet.ir import Function, verify


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what the passes give into tests/golden"
    )


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
