"""What every test may use: golden files, no silent skips in CI, and leaks that are reported where they are."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# Threads of OpenMP that wait for each other sleep. By default they spin, which takes the CPUs from other tests and from
# the thread that they wait for. It is read where torch is imported, here and in the processes of tests.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A test says nothing about time, so a slow machine must not fail one; in CI the same examples are tried every time.
settings.register_profile(
    "velodrome", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("velodrome")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the tests compute into their golden files; read the difference before you commit it",
    )


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Names packed bytes without the second at which they were packed: all workers must have the same names."""
    if isinstance(val, bytes) and val.startswith(b"\x1f\x8b"):
        return ascii(val[:4] + val[8:])
    return None


@pytest.fixture(autouse=True, scope="module")
def _collected() -> Iterator[None]:
    """Collects what a module's tests left in cycles, so that an open socket fails there and not in a later test."""
    yield
    gc.collect()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with the file `golden/NAME` beside the test, or writes that file under --update-golden."""
    folder = Path(request.path).parent / "golden"

    def check(name: str, text: str) -> None:
        path = folder / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"{path} is missing; write it with: make unit ARGS=--update-golden"
        assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; if that is meant: --update-golden"

    return check


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("gpu") is None:
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI a test that did not run is a failure: a missing server must not look like a pass."""
    if os.environ.get("CI"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where everything must run: {reason}"
