"""`velodrome delete` and `prune`, on this machine, in another Redis, and through kubectl."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from tests.monitors import unused_port
from velodrome.cli.app import app
from velodrome.machine.home import Home
from velodrome.machine.processes.lock import lock_job
from velodrome.machine.redis.server import OwnRedis
from velodrome.results.marks import Baseline
from velodrome.results.records import Progress
from velodrome.store import Store, export_lines, open_store

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

Command = Callable[..., Result]


@pytest.fixture
def velodrome(redis_server: RedisServer) -> Command:
    def run(*arguments: str) -> Result:
        env = {"VELODROME_REDIS_URL": redis_server.url, "TZ": "UTC", "COLUMNS": "200"}
        return CliRunner().invoke(app, list(arguments), env=env)

    return run


@pytest.fixture
def races(store: Store, make_race: type[Race]) -> list[Race]:
    """Three jobs of a board, a day apart, and one of another; the oldest alone has the entry gru."""
    made = [
        make_race(uid="a", name="night-1", created=0),
        make_race(uid="b", name="night-2", created=86_400, entries=("cnn", "mlp")),
        make_race(uid="c", name="night-3", created=2 * 86_400, entries=("cnn", "mlp")),
        make_race(uid="d", name="other", board="other", created=5),
    ]
    for race in made:
        store.register(race.info)
        store.accept(race.uid, 0, [race.record(index) for index in range(race.info.trials)])
    return made


def uids(store: Store) -> list[str]:
    return sorted(job.uid for job in store.jobs())


def test_a_job_goes_with_what_it_frees_shown_and_an_export_that_brings_it_back(
    velodrome: Command, store: Store, races: list[Race], tmp_path: Path
) -> None:
    before, file = list(export_lines(store)), tmp_path / "gone.jsonl"

    done = velodrome("delete", "job", "night-3", "--yes", "--export", str(file))

    assert done.exit_code == 0, done.output
    assert "job night-3 (c) of board digits: 1 job, 4 results, 0 marks; about " in done.output
    assert uids(store) == ["a", "b", "d"]
    assert velodrome("import", str(file)).exit_code == 0
    assert list(export_lines(store)) == before


def test_an_entry_and_a_board_go(velodrome: Command, store: Store, races: list[Race]) -> None:
    assert velodrome("delete", "entry", "digits", "cnn", "--yes").exit_code == 0
    assert [state.entry for _, state in store.board_entries("digits")] == ["gru", "mlp"]
    assert len(store.trials("c")) == 2

    assert velodrome("delete", "board", "digits", "-y").exit_code == 0
    assert uids(store) == ["d"]
    assert [board.name for board in store.boards()] == ["other"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["delete", "job", "nobody", "--yes"], "there is no job nobody"),
        (["delete", "entry", "digits", "vit", "--yes"], "has no entry vit; it has: cnn, gru, mlp"),
        (["delete", "board", "digit", "--yes"], "did you mean digits?"),
        (["delete", "jobs", "a", "--yes"], "write job JOB, entry BOARD ENTRY, board BOARD"),
        (["delete", "job", "c"], "say --yes"),
        (["delete", "digits", "--yes", "--export", "/nowhere"], "write job digits or board digits"),
        (["delete", "job", "a", "--yes"], "pinned as the baseline of cnn"),
        (["delete", "job", "d", "--yes"], "goes on: it reported within the last ten minutes"),
        (["prune", "--yes"], "say what is to stay"),
        (["prune", "--older-than", "soon", "--yes"], "soon is no age: write 90d"),
        (["prune", "--keep-jobs", "1"], "say --yes"),
    ],
)
def test_what_cannot_be_deleted_is_refused_with_the_fix(
    velodrome: Command, store: Store, races: list[Race], redis_server: RedisServer, arguments: list[str], says: str
) -> None:
    store.mark(Baseline(board="digits", entry="cnn", job_uid="a", at=datetime.now(UTC)))
    other = races[3]
    progress = Progress(job_uid="d", index=0, attempt="a9", phase="Training", at=datetime.now(UTC))
    with closing(redis_server.client()) as client:  # as of a race that began again
        client.hset(f"velodrome:job:{other.uid}:progress", "0", progress.model_dump_json())
    before = list(export_lines(store))

    done = velodrome(*arguments)

    assert done.exit_code == 2
    assert says in " ".join(done.output.replace("│", " ").split())
    assert list(export_lines(store)) == before


def test_nothing_goes_where_the_export_cannot_be_written(
    velodrome: Command, store: Store, races: list[Race], tmp_path: Path
) -> None:
    done = velodrome("delete", "board", "digits", "--yes", "--export", str(tmp_path / "no" / "file"))

    assert done.exit_code != 0
    assert "can't be written" in str(done.exception)
    assert uids(store) == ["a", "b", "c", "d"]


def test_a_pinned_job_goes_with_its_pin_when_that_is_said(velodrome: Command, store: Store, races: list[Race]) -> None:
    store.mark(Baseline(board="digits", entry="cnn", job_uid="a", at=datetime.now(UTC)))

    done = velodrome("delete", "job", "a", "--yes", "--with-baselines")

    assert "1 mark, 1 of them pinned baselines" in done.output
    assert uids(store) == ["b", "c", "d"]
    assert store.baselines("digits") == []


@pytest.mark.parametrize(("answer", "left"), [("n", ["a", "b", "c", "d"]), ("y", ["a", "b", "d"])])
def test_a_person_is_asked(
    store: Store, races: list[Race], redis_server: RedisServer, answer: str, left: list[str]
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "velodrome", "delete", "job", "c", "--redis", redis_server.url],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.write(ours, f"{answer}\n".encode())
    said, _ = process.communicate(timeout=100)
    os.close(ours)
    os.close(theirs)

    assert b"Delete it?" in said
    assert uids(store) == left


def test_pruning_keeps_what_is_new_pinned_or_all_there_is_of_an_entry(
    velodrome: Command, store: Store, races: list[Race], tmp_path: Path
) -> None:
    shown = velodrome("prune", "--keep-jobs", "1", "--dry-run").output
    assert "night-2" in shown
    assert not any(name in shown for name in ("night-1", "night-3", "other"))  # gru is in night-1 alone
    assert uids(store) == ["a", "b", "c", "d"]

    done = velodrome("prune", "--older-than", "1h", "--board", "digits", "--yes", "--export", str(tmp_path / "old"))

    assert done.exit_code == 0, done.output
    assert uids(store) == ["a", "c", "d"]
    assert velodrome("import", str(tmp_path / "old")).exit_code == 0
    assert uids(store) == ["a", "b", "c", "d"]
    assert "Nothing is past" in velodrome("prune", "--older-than", "99999d").output


def test_a_race_of_this_machine_is_not_deleted_while_it_runs(
    make_race: type[Race], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELODROME_HOME", str(tmp_path))
    home, race = Home(tmp_path), make_race()
    with OwnRedis(home) as own, open_store(own.url) as store:
        store.register(race.info)
        lock = lock_job(home, race.uid, race.name)
        (home.job(race.uid) / "attempts").mkdir()

        done = CliRunner().invoke(app, ["delete", "job", "race", "--yes"], env={"VELODROME_REDIS_URL": None})
        assert done.exit_code == 2
        assert "is being raced by process" in " ".join(done.output.replace("│", " ").split())
        assert store.job(race.uid) is not None

        lock.release()
        done = CliRunner().invoke(app, ["delete", "job", "race", "--yes"], env={"VELODROME_REDIS_URL": None})
        assert done.exit_code == 0, done.output
        assert store.job(race.uid) is None
        assert [path.name for path in home.job(race.uid).iterdir()] == ["lock"]


KUBECTL = """\
#!{python}
import json, os, signal, sys
arguments = sys.argv[1:]
if "port-forward" in arguments:
    print("Forwarding from 127.0.0.1:{port} -> 6379", flush=True)
    signal.pause()
elif "secret" in arguments:
    print(json.dumps({{"data": {{"password": "{password}"}}}}))
else:
    print(json.dumps({{"items": json.loads(os.environ["RACES"])}}))
"""


@pytest.fixture
def cluster(
    start_redis: Callable[..., RedisServer], make_race: type[Race], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[list[dict[str, Any]]], tuple[Result, Store]]]:
    """Deletes the job of a cluster whose Redis, behind a password, is reached as kubectl would: it only stands in."""
    port = unused_port()
    server = start_redis("--requirepass", "s3cret/@", "--bind", "127.0.0.1", "--port", str(port))
    program = tmp_path / "kubectl"
    password = base64.b64encode(b"s3cret/@").decode()
    program.write_text(KUBECTL.format(python=sys.executable, port=port, password=password))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    race = make_race()
    with open_store(f"unix://:s3cret%2F%40@{server.folder}/redis.sock") as store:
        store.register(race.info)

        def run(races: list[dict[str, Any]]) -> tuple[Result, Store]:
            monkeypatch.setenv("RACES", json.dumps(races))
            return CliRunner().invoke(app, ["delete", "job", "race", "--yes", "--cluster"]), store

        yield run


def test_a_job_of_a_cluster_goes_when_its_race_is_over(
    cluster: Callable[[list[dict[str, Any]]], tuple[Result, Store]],
) -> None:
    raw: dict[str, Any] = {"metadata": {"uid": "race-1", "name": "race"}, "status": {"conditions": []}}
    done, store = cluster([raw])
    assert done.exit_code == 2
    assert "it is Pending: wait for it, or stop it with velodrome delete race -n default" in " ".join(
        done.output.replace("│", " ").split()
    )
    assert [job.uid for job in store.jobs()] == ["race-1"]

    raw["status"]["conditions"] = [{"type": "Complete", "status": "True"}]
    done, store = cluster([raw])
    assert done.exit_code == 0, done.output
    assert store.jobs() == []


def test_a_year_is_an_age(velodrome: Command, store: Store, make_race: type[Race]) -> None:
    old = make_race(uid="old", created=int(-timedelta(days=4000).total_seconds()))
    new = make_race(uid="new")
    for race in (old, new):
        store.register(race.info)

    assert velodrome("prune", "--older-than", "520w", "-y").exit_code == 0

    assert uids(store) == ["new"]
