"""Whatever lies in a store, every command that reads shows it: what an older version or somebody else put there too."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from velodrome.cli.app import app
from velodrome.store import Store, export_lines, import_lines

sys.path.append(str(Path(__file__).parents[2]))  # what fills the store is shared with the tests of pages

from tests.integration import odd
from tests.integration.conftest import BINARIES

if TYPE_CHECKING:
    from tests.integration.conftest import RedisServer

COMMANDS = (
    ("results",),
    ("results", "odd", "--json"),
    ("results", "odd", "--csv"),
    ("results", "odd", "--cohorts"),
    ("results", "odd", "--cohorts", "--json"),
    ("jobs",),
    ("jobs", "--json"),
    ("regressions", odd.UID),
    ("regressions", odd.UID, "--json"),
    ("regressions", odd.UNMEASURED),
    ("regressions", "odd-early"),
    ("baseline", "show"),
    ("baseline", "show", "--json"),
    ("export",),
    *(("show", f"{odd.UID}/{index}") for index in (*range(len(odd.VALUES)), 15)),
    ("show", f"{odd.UID}/0", "--json"),
    ("show", "odd-early/3"),
    ("show", f"{odd.UNMEASURED}/3"),
    ("show", "odd-running/0"),
    ("show", "odd-running/0", "--json"),
)

TIMED = (("jobs",), ("baseline", "show"), ("show", f"{odd.UID}/0"), ("show", f"{odd.UID}/7"))


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """One kind of Redis is enough here: what is shown does not depend on it."""
    return next(iter(BINARIES.values()))


@pytest.fixture(params=["Pacific/Kiritimati", "Etc/GMT+12"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the year 9999 ends first, and where the year 1 begins last."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_every_command_that_reads_survives_what_no_trial_has(
    store: Store, redis_server: RedisServer, zone: str
) -> None:
    odd.fill(store, redis_server.client())
    for command in COMMANDS if zone == "Pacific/Kiritimati" else TIMED:
        done = CliRunner().invoke(app, list(command), env={"VELODROME_REDIS_URL": redis_server.url})
        assert done.exception is None or isinstance(done.exception, SystemExit), (command, done.exception)
        assert done.exit_code in (0, 1), (command, done.output)


@pytest.mark.parametrize(("entry", "shown"), [(0, "1e+308 ratio"), (1, "-500 %"), (3, "9,730 %"), (4, "9e+101 %")])
def test_an_odd_value_is_shown_as_it_is(store: Store, redis_server: RedisServer, entry: int, shown: str) -> None:
    odd.fill(store, redis_server.client())
    done = CliRunner().invoke(app, ["show", f"{odd.UID}/{entry}"], env={"VELODROME_REDIS_URL": redis_server.url})
    assert shown in done.output
    assert "9999-12-31" in done.output


def test_an_export_of_odd_values_says_line_by_line_what_is_not_taken(store: Store, redis_server: RedisServer) -> None:
    odd.fill(store, redis_server.client())
    lines = list(export_lines(store))
    with Store(redis_server.client(6)) as other:
        report = import_lines(other, lines)
    assert report.rejected_count > 0
    assert all("ImpossibleValue" in line.why for line in report.rejected)
    assert json.loads(lines[0])["type"] == "job"
