"""What the Redis user of each role may do: all of its work, and nothing else. On a real Redis with setup's users."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
import streamlit as st
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from tests.integration.conftest import Race
from tests.integration.installation import InstalledRedis, install, kept
from tests.integration.test_operator_inboxes import commands, permitted
from velodrome import keys
from velodrome.backup.places import FolderPlace
from velodrome.backup.rotation import make_backup
from velodrome.board import marking
from velodrome.board.tenancy import ShownBoards
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.cli.app import app
from velodrome.connections import certificates
from velodrome.errors import LocalError, StoreRefused
from velodrome.results.records import ResultReport
from velodrome.store import Store, export_lines, roles
from velodrome.store.deletion import Deleter, DeletionTarget
from velodrome.store.edge import connect
from velodrome.trends.regressions import judge
from velodrome_leaderboard.access.current import asked_by
from velodrome_leaderboard.access.people import Person
from velodrome_leaderboard.marking import NotAnAdmin, desk
from velodrome_operator.access import Access

sys.path.append(str(Path(__file__).parents[2]))  # results to look at come from tools/, as a person makes them

SIGN_IN = """
issuer: https://login.example.org
clientId: velodrome
clientSecretFile: client
cookieSecretFile: cookie
address: https://velodrome.example.org
viewers: {claim: groups, values: [team]}
"""
WRITES = ("HSET", "SET", "RPUSH", "LPUSH", "ZADD", "DEL", "UNLINK", "HDEL", "FLUSHALL", "EVALSHA", "EVAL", "SCRIPT")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstalledRedis]:
    """A server with made-up results and a race under way, whose inbox holds a report."""
    from tools.sample_results import fill

    made = install(tmp_path_factory.mktemp("roles"))
    made.start()
    with made.client("operator") as client, Store(client) as store:
        fill(store, datetime.now(UTC))
        race = Race(uid="going", name="going", board="going")
        store.register(race.info)
        store.accept(race.uid, 0, [race.record(0)], [race.progress(1)])
        store.append(race.uid, ResultReport(result=race.result(1)))
        Access(client, made.data["job-key"], "redis:6379").instruct(race.uid, {0: True})
    yield made
    made.kill()


def refused_of(installed: InstalledRedis, role: roles.Role) -> dict[str, int]:
    """How often each command was refused to the role's user, as Redis logged it."""
    with installed.client("operator") as admin:
        log = admin.acl_log()
    return {
        str(each["object"]): int(each["count"]) for each in log if each["username"] == role and each["reason"] != "auth"
    }


def written(installed: InstalledRedis) -> int:
    """How many changes Redis' data has seen."""
    with installed.client("operator") as admin:
        info = admin.info("persistence")
        return int(info["rdb_changes_since_last_save"])


def test_each_page_is_whole_for_the_user_who_may_only_read(
    installed: InstalledRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(installed.client("operator")) as store:
        jobs = store.jobs(limit=100)
        chosen = next(job for job in jobs if store.trials(job.uid))
        index = next(iter(store.trials(chosen.uid)))
    queries = [
        ("boards", {}),
        ("board", {"name": chosen.board}),
        ("job", {"uid": chosen.uid}),
        ("job", {"uid": "going"}),
        ("run", {"job": chosen.uid, "trial": str(index)}),
        ("run", {"job": "going", "trial": "1"}),
        ("history", {"board": chosen.board, "entry": chosen.entries[0], "objective": "accuracy"}),
    ]
    pages = {}
    before = written(installed)
    for role in ("operator", "leaderboard"):
        for name, value in installed.environ(role).items():
            monkeypatch.setenv(name, value)
        shown = []
        for page, query in queries:
            st.cache_resource.clear()
            drawn = AppTest.from_function(_script, kwargs={"page": page}, default_timeout=60)
            for name, value in query.items():
                drawn.query_params[name] = value
            drawn.run()
            assert not drawn.exception, (role, page)
            shown.append((page, " ".join(html.body for html in drawn.html)))
        pages[role] = shown
    assert refused_of(installed, "leaderboard") == {}
    assert [page for page, _ in pages["leaderboard"]] == [page for page, _ in pages["operator"]]
    for (page, one), (_, other) in zip(pages["leaderboard"], pages["operator"], strict=True):
        assert abs(len(one) - len(other)) < 200, page  # times may differ by a second
        assert len(one) > 1000, page
        assert "does not let this user" not in one, page
    assert written(installed) == before


def _script(page: str) -> None:
    from velodrome_leaderboard.shell import PAGES, show

    show(PAGES[page][1])


def test_all_that_a_viewer_reads_is_read_and_nothing_is_written(installed: InstalledRedis) -> None:
    before = written(installed)
    answers = []
    for role in ("operator", "leaderboard", "marks"):
        with Store(installed.client(role)) as store:
            found: list[object] = [store.boards(), store.changes(), store.jobs(limit=1000), list(store.each_job())]
            for board in store.boards():
                objectives = objectives_of(store, board.name)
                found += [objectives, read_objectives(store, board.name, objectives, verdicts=True)]
                found += [store.baselines(board.name), store.acknowledgements(board.name)]
                found += [store.log(board.name), store.marks_changed(board.name)]
                found += [store.board_entries(board.name), store.board_version(board.name)]
            for job in store.each_job():
                found += [judge(store, job.uid), store.counts(job.uid), store.rejections(job.uid)]
                found += [store.hidden([job.uid]), store.measured(job.uid)]
                found += [store.conflicts(job.uid), store.progress(job.uid), store.records(job.uid)]
                found += [list(export_lines(store, uid=job.uid)), store.position(job.uid)]
            answers.append(found)
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) > 20
    assert refused_of(installed, "leaderboard") == {}
    assert written(installed) == before


def test_the_leaderboard_may_read_results_and_do_nothing_else(installed: InstalledRedis) -> None:
    with installed.client("operator") as admin:
        known = dict(commands(admin))
        names = {name.decode() for name in admin.scan_iter("*")}
    changed = written(installed)
    with installed.client("leaderboard") as client:
        allowed = permitted(client, known, {"auth", "hello", "quit", "reset"})
        assert allowed == set(roles.READING) | {"ping", "client|setname"}
        inbox, instructions = keys.inbox("going"), keys.instructions("going")
        assert {inbox, instructions} <= names
        for question in (("LRANGE", inbox, 0, -1), ("HGETALL", instructions), ("EXISTS", inbox), ("GET", "other")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*question)
    assert written(installed) == changed
    assert not allowed & {each.lower() for each in WRITES}


@pytest.fixture
def cli(installed: InstalledRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    installed.kubectl(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
        return done.exit_code, f"{done.output}{done.exception or ''}"

    return run


@pytest.fixture
def finished(installed: InstalledRedis) -> Race:
    """Two jobs whose results may be marked and deleted."""
    race = Race(uid="mine", name="mine", board="mine")
    with Store(installed.client("operator")) as store:
        for each in (Race(uid="older", name="older", board="mine"), race):
            store.register(each.info)
            store.accept(each.uid, 0, [each.record(index) for index in range(len(each.plan))])
    return race


def test_marks_are_set_by_their_own_user(
    installed: InstalledRedis, cli: Callable[..., tuple[int, str]], finished: Race
) -> None:
    entry = finished.entries[0]
    for arguments in (
        ("ack", "mine", entry, "--note", "on purpose"),
        ("baseline", "set", "older", entry),
        ("ack", "mine", entry, "--undo"),
        ("ack", "mine", entry),
        ("baseline", "show"),
        ("baseline", "clear", "mine", entry),
        ("hide", f"mine/{entry}/0", "--reason", "its data were wrong"),
        ("marks", "mine"),
        ("unhide", f"mine/{entry}/0"),
        ("hide", f"mine/{entry}/0", "--reason", "they were, after all"),
    ):
        code, output = cli(*arguments, "--cluster")
        assert code == 0, (arguments, output)
    with Store(installed.client("leaderboard")) as store:
        assert [mark.entry for mark in store.acknowledgements("mine")][:1] == [entry]
        assert store.baselines("mine") == []
        (uid,) = {mark.job_uid for mark in store.acknowledgements("mine")}
        assert [one.note for one in store.hidden([uid])[uid]] == ["they were, after all"]
        assert [deed.did for deed in store.log("mine")][:3] == ["hid", "showed again", "hid"]
    assert refused_of(installed, "marks") == {}
    code, output = cli("regressions", "mine", "--cluster")
    assert "Unknown" in output or code == 0, output

    # Without the user of marks, reading goes on and writing does not: they are different users.
    with installed.client("operator") as admin:
        admin.execute_command("ACL", "SETUSER", "marks", "off")
        shown, refused = cli("baseline", "show", "--cluster"), cli("ack", "mine", entry, "--cluster")
        admin.execute_command("ACL", "SETUSER", "marks", "on")
    assert shown[0] == 0
    assert refused[0] != 0
    assert "refuses the user name or the password" in " ".join(refused[1].split())


def test_an_admin_writes_from_the_pages_as_the_user_of_marks_alone(
    installed: InstalledRedis, finished: Race, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in (("sign-in.yaml", SIGN_IN), ("client", "secret"), ("cookie", "c" * 32)):
        (tmp_path / name).write_text(text)
    marks = {keys.ENV_MARKS_PASSWORD_FILE: installed.environ("marks")[keys.ENV_REDIS_PASSWORD_FILE]}
    for name, value in {**installed.environ("leaderboard"), keys.ENV_SIGN_IN: str(tmp_path / "sign-in.yaml")}.items():
        monkeypatch.setenv(name, value)
    at, admin = datetime.now(UTC), Person("boss", admin=True)
    before = refused_of(installed, "leaderboard")

    def hide(index: int) -> None:
        st.cache_resource.clear()
        with asked_by(admin), desk("mine") as where:
            marking.hide(where.store, finished.info, index, "its data were wrong", where.admin.name, at)

    with installed.client("operator") as redis_admin:
        redis_admin.delete(keys.job(finished.uid, "hidden"))
    with pytest.raises(LocalError, match="may only read"):
        hide(1)
    for name, value in marks.items():
        monkeypatch.setenv(name, value)
    hide(1)
    with installed.client("operator") as redis_admin:
        redis_admin.execute_command("ACL", "SETUSER", "marks", "off")
        with pytest.raises(StoreRefused):
            hide(2)
        redis_admin.execute_command("ACL", "SETUSER", "marks", "on")
    for stranger in (Person("ann"), Person("ops", admin=True, shown=ShownBoards(("other",)))):
        with asked_by(stranger), pytest.raises(NotAnAdmin), desk("mine"):
            pass
    with Store(installed.client("leaderboard")) as store:
        assert [one.index for one in store.hidden([finished.uid])[finished.uid]] == [1]
    assert refused_of(installed, "leaderboard") == before


def test_results_are_deleted_by_the_user_of_marks(
    installed: InstalledRedis, cli: Callable[..., tuple[int, str]], finished: Race
) -> None:
    cli("baseline", "set", "older", finished.entries[1], "--cluster")
    code, output = cli("delete", "entry", "mine", finished.entries[0], "--yes", "--cluster")
    assert code == 0, output
    code, output = cli("delete", "job", "mine", "--yes", "--cluster")
    assert code == 0, output
    code, output = cli("prune", "--keep-jobs", "1", "--board", "mine", "--yes", "--cluster")
    assert code == 0, output
    code, output = cli("delete", "board", "mine", "--yes", "--with-baselines", "--cluster")
    assert code == 0, output
    with installed.client("operator") as admin, Store(admin) as store:
        assert "mine" not in [board.name for board in store.boards()]
        assert admin.keys("velodrome:*mine*") == []
    assert refused_of(installed, "marks") == {}


def test_the_user_of_marks_reads_no_inbox_and_registers_nothing(installed: InstalledRedis) -> None:
    inbox = keys.inbox("going")
    with installed.client("marks") as client:
        for refused in (
            ("LRANGE", inbox, 0, -1), ("RPUSH", inbox, "x"), ("HGET", keys.instructions("going"), "0"),
            ("SET", "x", "y"),
            ("ACL", "LIST"), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("SCAN", 0), ("FLUSHALL",), ("EVAL", "return 1", 0),
            ("HSET", keys.COHORTS, "x", "y"), ("ZADD", keys.JOBS, 1, "x"),
        ):  # fmt: skip
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*refused)
        # A script does not widen what its user may do.
        digest = client.execute_command("SCRIPT", "LOAD", "return redis.call('LRANGE', KEYS[1], 0, -1)")
        with pytest.raises(redis.ResponseError):
            client.evalsha(digest, 1, keys.job("going", "info"))
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.evalsha(digest, 1, inbox)


def test_a_deletion_says_about_how_much_it_frees(installed: InstalledRedis, finished: Race) -> None:
    with Deleter(connect(installed.url, installed.login("marks"))) as deleter:
        found = deleter.footprint(DeletionTarget("mine", uid=finished.uid))
    assert found.bytes > 1000
    assert found.trials == len(finished.plan)


def test_a_certificate_from_another_secret_is_checked_against_that_ones_authority(
    installed: InstalledRedis, cli: Callable[..., tuple[int, str]]
) -> None:
    """Redis may have its certificate from cert-manager: then the Secret of the users has an authority of no use."""
    volumes, another = installed.folder / "volumes.json", installed.folder / "another.json"
    foreign = certificates.make(("elsewhere",), datetime.now(UTC)).authority
    volumes.write_text(json.dumps([{"name": "tls", "secret": {"secretName": "of-another"}}]))
    another.write_text(json.dumps(kept({roles.AUTHORITY: foreign})))
    code, output = cli("baseline", "show", "--cluster")
    assert code != 0
    assert "an authority that is not trusted here" in output
    another.write_text(json.dumps(kept({roles.AUTHORITY: installed.data[roles.AUTHORITY]})))
    assert cli("baseline", "show", "--cluster")[0] == 0
    volumes.unlink()


def test_a_backup_is_made_by_the_user_who_reads_alone(installed: InstalledRedis, tmp_path: Path) -> None:
    """The chart's CronJob connects as that user."""
    before = refused_of(installed, "leaderboard")
    with Store(installed.client("leaderboard")) as store:
        made = make_backup(store, FolderPlace(tmp_path), datetime.now(UTC), keep=1)
    assert made.contents.jobs > 1
    assert refused_of(installed, "leaderboard") == before
