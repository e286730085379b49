"""The way of the acceptance: it stops at the first step that fails, says why, and counts the time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from tests.acceptance.flow import INSTALL, ROW, Acceptance, in_time
from tests.acceptance.steps import Step, StepFailed, Way


def ticking(*moments: float) -> Callable[[], float]:
    left: Iterator[float] = iter(moments)
    return lambda: next(left)


@pytest.fixture
def screen() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(screen: Console, way: Way) -> str:
    screen.print(way.table())
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_it_takes_all_steps_and_says_how_long_each_took(screen: Console) -> None:
    way = Way(screen, ticking(0, 5, 5, 65))
    assert way.take([Step("one", lambda: "seen [this]"), Step("two", lambda: "")])
    assert [(one.name, one.seconds) for one in way.outcomes] == [("one", 5), ("two", 60)]
    shown = said(screen, way)
    assert "seen [this]" in shown
    assert "65.0" in shown
    assert way.between("one", "two") == 65


def test_it_stops_at_the_first_step_that_fails_and_says_why(screen: Console) -> None:
    taken = []

    def fails() -> str:
        raise StepFailed("there is no row\nmore to look at")

    def never() -> str:
        taken.append("never")
        return ""

    way = Way(screen, ticking(0, 1, 1, 4))
    assert not way.take([Step("one", lambda: ""), Step("two", fails), Step("three", never)])
    assert taken == []
    assert way.failure is not None
    assert way.failure.failure == "StepFailed: there is no row\nmore to look at"
    assert "more to look at" not in said(screen, way)


@pytest.mark.parametrize(("ended", "late"), [(299.0, False), (301.0, True)])
def test_the_first_row_must_come_in_five_minutes(screen: Console, ended: float, late: bool) -> None:  # noqa: FBT001
    way = Way(screen, ticking(0, 0, 0, ended))
    way.take([Step(INSTALL, lambda: ""), Step(ROW, lambda: "")])
    assert bool(in_time(way)) is late


def test_the_way_goes_from_the_package_to_the_restored_board() -> None:
    names = [step.name for step in Acceptance(_Nothing(), "image").steps()]  # type: ignore[arg-type]
    assert names.index(INSTALL) < names.index(ROW)
    words = [
        "package",
        "helm install",
        "helm test",
        "digits",
        "browser",
        "Prometheus",
        "upgrade",
        "backup",
        "uninstall",
    ]
    places = [
        next(place for place, name in enumerate(names) if word in name)
        for word in [*words, "install again", "restore:"]
    ]
    assert places == sorted(places)


class _Nothing:
    """An installation that is never asked."""

    def __getattr__(self, name: str) -> Callable[[], str]:
        return str
