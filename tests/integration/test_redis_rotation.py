"""Passwords change while a race goes on: nothing that a runner reports is lost. On a real Redis with TLS.

The operator's part that collects reports, the leaderboard's part that reads them, and runners that report, all work the
whole time, each with the login that its pod would have.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from tests.integration.conftest import Race
from tests.integration.installation import InstalledRedis, install
from velodrome.cli.app import app
from velodrome.cli.cluster.passwords import RedisUsers
from velodrome.collector import Collector
from velodrome.connections import certificates
from velodrome.connections.clients import RedisLogin, build
from velodrome.errors import StoreRefused, TryAgain, VelodromeError
from velodrome.results.records import Observed, ResultReport
from velodrome.store import Store, roles
from velodrome.store.edge import connect
from velodrome_operator.access import Access
from velodrome_operator.service import Options, _job_key

PATIENCE = 150.0
REPEATS = 100

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InstalledRedis]:
    made = install(tmp_path)
    made.start()
    programs = tmp_path / "bin"
    programs.mkdir()
    made.kubectl(programs)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "200")
    yield made
    made.kill()


def rotate(*arguments: str) -> str:
    """The command's output. The environment stays as it is: OpenSSL reads it in the threads of a race, which crashes
    while another thread changes it.
    """
    done = CliRunner().invoke(app, ["rotate", "--cluster", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return str(done.output)


def wait(what: str, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@dataclass
class Going:
    """A race under way. Everyone opens new connections all the time, so that each password in force is tried.

    Until somebody is in a `hurry`, reports trickle, and the last ten wait.
    """

    installed: InstalledRedis
    race: Race
    stopped: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    looked: int = 0
    collected: int = 0
    troubles: list[str] = field(default_factory=list)
    held_up: int = 0

    def report(self, access: Access) -> None:
        """A runner after the other reports, with the URL that was put into the race's Secret at the beginning."""
        url, login = access.url(self.race.uid), RedisLogin(ca_file=self.installed.mounts / roles.AUTHORITY)
        while not self.stopped.is_set() and self.sent < len(self.race.plan):
            if self.sent >= len(self.race.plan) - 10:
                self.hurry.wait(0.1)
                if not self.hurry.is_set():
                    continue
            try:
                with Store(build(url, login)) as store:
                    for _ in range(3):
                        if self.sent < len(self.race.plan):
                            store.append(self.race.uid, ResultReport(result=self.race.result(self.sent)))
                            self.sent += 1
            except TryAgain:
                self.held_up += 1
            except VelodromeError as error:
                self.troubles.append(f"runner: {error}")
                return
            self.hurry.wait(0.8)

    def collect(self) -> None:
        with contextlib.closing(connect(self.installed.url, self.installed.login("operator"))) as client:
            store = Store(client)
            observed = Observed(executor="local", run_seconds=1.0)
            collector = Collector(store, self.race.plan, self.race.uid, lambda *_: observed, time.time)
            while not self.stopped.is_set():
                try:
                    self.collected += len(collector.collect_once().verdicts)
                except TryAgain:
                    self.held_up += 1
                except VelodromeError as error:
                    self.troubles.append(f"operator: {error}")
                    return
                client.connection_pool.disconnect()
                time.sleep(0.02)

    def look(self) -> None:
        with contextlib.closing(connect(self.installed.url, self.installed.login("leaderboard"))) as client:
            while not self.stopped.is_set():
                try:
                    Store(client).counts(self.race.uid)
                    self.looked += 1
                except TryAgain:
                    self.held_up += 1
                except VelodromeError as error:
                    self.troubles.append(f"leaderboard: {error}")
                    return
                client.connection_pool.disconnect()
                time.sleep(0.02)


@pytest.fixture
def going(installed: InstalledRedis) -> Iterator[Going]:
    """A race whose runners, operator and leaderboard work until the end of the test."""
    race = Race(repeats=REPEATS)
    with Store(installed.client("operator")) as store:
        store.register(race.info)
        address = f"localhost:{installed.port}"
        access = Access(installed.client("operator"), installed.data["job-key"], address, encrypted=True)
        access.grant(race.uid)
    here = Going(installed, race)
    tasks = [
        threading.Thread(target=here.report, args=(access,)),
        threading.Thread(target=here.collect),
        threading.Thread(target=here.look),
    ]
    for task in tasks:
        task.start()
    yield here
    here.stopped.set()
    here.hurry.set()
    for task in tasks:
        task.join()


def complete(going: Going) -> None:
    """Lets the race end, and looks at its results: each trial has the one that was sent."""
    going.hurry.set()
    wait("the race's end", lambda: bool(going.troubles) or going.collected == len(going.race.plan))
    assert going.troubles == []
    with Store(going.installed.client("operator")) as store:
        counts = store.counts(going.race.uid)
        assert counts.succeeded == len(going.race.plan)
        assert (counts.failed, counts.conflicts, counts.rejected) == (0, 0, {})


def works(installed: InstalledRedis, role: roles.Role, password: str) -> bool:
    login = RedisLogin(ca_file=installed.mounts / roles.AUTHORITY)
    try:
        with build(installed.url.replace("://", f"://{role}:{password}@"), login) as client:
            return bool(client.ping())
    except redis.AuthenticationError:
        return False


def test_a_rotation_under_a_race_loses_nothing(going: Going) -> None:
    installed, before = going.installed, going.installed.read()
    wait("reports", lambda: going.collected > 5 and going.looked > 5)
    output = rotate("--no-wait")
    assert output.count("has a new password; the one before still counts") == 3
    added, seen = installed.read(), going.collected
    wait("work with the old passwords, which the pods still have", lambda: going.collected > seen + 2)
    for role in roles.ROLES:
        key = roles.password_key(role)
        assert added[key] != before[key]
        assert added[f"{key}-previous"] == before[key]
        assert works(installed, role, before[key])
        assert works(installed, role, added[key])
    assert added[roles.JOB_KEY] == before[roles.JOB_KEY]
    installed.mount()  # as the kubelet does within two minutes
    seen, looked = going.collected, going.looked
    wait("work with the new ones", lambda: going.collected > seen + 2 and going.looked > looked + 2)

    output = rotate("--finish")
    assert output.count("the password before counts no more") == 3
    after = installed.read()
    assert set(after) == set(before)
    for role in roles.ROLES:
        key = roles.password_key(role)
        assert not works(installed, role, before[key])
        assert works(installed, role, after[key])
    seen, looked = going.collected, going.looked
    wait("work afterwards", lambda: going.collected > seen + 2 and going.looked > looked + 2)
    complete(going)


def test_it_waits_for_the_grace_period_and_ends_by_itself(going: Going) -> None:
    before = going.installed.read()
    ended = threading.Event()

    def kubelet() -> None:
        while not ended.wait(0.2):
            going.installed.mount()

    refreshing = threading.Thread(target=kubelet)
    refreshing.start()
    output = rotate("--role", "operator", "--grace", "6")
    ended.set()
    refreshing.join()
    assert "Waiting 6 s" in output
    assert "operator: the password before counts no more" in output
    after = going.installed.read()
    assert after["operator-password"] != before["operator-password"]
    assert after["leaderboard-password"] == before["leaderboard-password"]
    assert not works(going.installed, "operator", before["operator-password"])
    complete(going)


def test_a_rotation_that_is_killed_goes_on_when_it_is_started_again(going: Going) -> None:
    """It is killed after Redis has the new password and before the Secret has it: nobody knows that password then."""
    installed, before = going.installed, going.installed.read()
    line = [sys.executable, "-m", "velodrome", "rotate", "--cluster", "--role", "operator"]
    refuse = installed.folder / "refuse"
    refuse.touch()
    done = subprocess.run([*line, "--no-wait"], capture_output=True, check=False, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL
    assert installed.read() == before
    with installed.client("operator") as admin:
        assert len(admin.acl_getuser("operator")["passwords"]) == 2
    refuse.unlink()

    rotate("--role", "operator", "--no-wait")
    installed.mount()
    refuse.touch()  # now after Redis forgot the old one, and before the Secret says so
    done = subprocess.run([*line, "--finish"], capture_output=True, check=False, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL
    refuse.unlink()
    assert RedisUsers.read(json.loads(installed.secret.read_text())).has_two("operator")
    assert "a new password was added before" in rotate("--role", "operator", "--no-wait")
    assert "counts no more" in rotate("--role", "operator", "--finish")
    assert "nothing is to be removed" in rotate("--role", "operator", "--finish")
    with installed.client("operator") as admin:
        assert len(admin.acl_getuser("operator")["passwords"]) == 1
    complete(going)


def test_a_redis_that_starts_with_the_file_before_takes_the_new_one_again(going: Going) -> None:
    """The kubelet refreshes each pod's files in its own time, so Redis may start with those from before a rotation."""
    installed = going.installed
    before = (installed.mounts / roles.USERS).read_text()
    rotate("--no-wait")
    installed.mount()
    new = installed.read()["operator-password"]
    (installed.mounts / roles.USERS).write_text(before)
    going.stopped.set()
    installed.kill()
    installed.start()
    assert not works(installed, "operator", new)
    assert "a new password was added before" in rotate("--no-wait")
    assert works(installed, "operator", new)
    rotate("--finish")
    assert works(installed, "operator", new)


def test_two_at_once_do_not_mix(installed: InstalledRedis) -> None:
    """The second finds that the Secret changed under it."""
    from velodrome.cli.cluster.kubectl import Kubectl
    from velodrome.cli.cluster.rotation import Rotation

    told: list[str] = []
    first = Rotation(Kubectl(), "velodrome", told.append)
    stale = json.loads(installed.secret.read_text())
    first.begin(["marks"])
    with pytest.raises(VelodromeError, match="somebody else changed it meanwhile: run the command again"):
        first._replace(stale)
    first.finish(["marks"])
    assert told == [
        "marks: has a new password; the one before still counts",
        "marks: the password before counts no more",
    ]


def test_passwords_are_in_no_argument_of_a_program(installed: InstalledRedis) -> None:
    rotate("--no-wait")
    rotate("--finish")
    log = (installed.folder / "kubectl.log").read_text()
    assert "replace" in log
    for key, value in {**installed.data, **installed.read()}.items():
        assert value not in log, key


def test_it_gives_roles_the_rights_of_this_version(installed: InstalledRedis) -> None:
    with installed.client("operator") as admin:
        before = admin.acl_getuser("leaderboard")
        admin.execute_command("ACL", "SETUSER", "leaderboard", "resetkeys", "-@all", "+ping", "+flushall", "~old")
        rotate("--role", "leaderboard", "--no-wait")
        after = admin.acl_getuser("leaderboard")
    assert (after["keys"], set(after["commands"])) == (before["keys"], set(before["commands"]))
    rotate("--role", "leaderboard", "--finish")


def test_redis_keeps_no_password_that_can_be_read(installed: InstalledRedis) -> None:
    for key, value in installed.read().items():
        if key.endswith("-password") or key == roles.JOB_KEY:
            assert value not in installed.read()[roles.USERS]


def test_a_secret_of_version_0_1_0_is_completed_and_its_races_keep_their_users(
    installed: InstalledRedis, tmp_path: Path
) -> None:
    from tests.integration.installation import kept

    installed.secret.write_text(json.dumps(kept({"password": "as in 0.1.0"})))
    done = CliRunner().invoke(app, ["rotate", "--cluster"])
    assert done.exit_code != 0
    assert "velodrome rotate --cluster --complete" in str(done.exception)
    assert "users and certificates now" in rotate("--complete")
    data = installed.read()
    assert data["password"] == data[roles.JOB_KEY] == "as in 0.1.0"
    assert "velodrome-redis.velodrome.svc" in certificates.names_of(data[roles.CERTIFICATE])
    assert set(data) - {"password"} == set(installed.data)
    installed.kill()
    installed.mount()
    installed.start()
    assert works(installed, "marks", data["marks-password"])


def test_a_renewed_certificate_is_trusted_by_who_trusted_the_one_before(going: Going) -> None:
    installed, before = going.installed, going.installed.read()
    output = rotate("--certificate")
    assert "kubectl -n velodrome rollout restart statefulset/velodrome-redis" in output
    after = installed.read()
    assert after[roles.AUTHORITY] == before[roles.AUTHORITY]
    assert after[roles.CERTIFICATE] != before[roles.CERTIFICATE]
    assert certificates.names_of(after[roles.CERTIFICATE]) == certificates.names_of(before[roles.CERTIFICATE])
    days = (certificates.ends_at(after[roles.CERTIFICATE]) - datetime.now(UTC)).days
    assert days > 3600
    wait("reports", lambda: going.collected > 5)
    installed.mount()
    installed.kill()  # as a restart of its pod does; the file has the users, so that only those of races must be made
    installed.start()
    with installed.client("operator") as admin:
        Access(admin, before[roles.JOB_KEY], "x").grant(going.race.uid)
    going.troubles.clear()
    assert works(installed, "leaderboard", after["leaderboard-password"])


def test_the_operator_reads_the_key_of_races_beside_its_password(installed: InstalledRedis, tmp_path: Path) -> None:
    options = Options(installed.url, login=installed.login("operator"))
    assert _job_key(options, {}) == installed.data[roles.JOB_KEY]
    (installed.mounts / roles.JOB_KEY).unlink()
    with pytest.raises(StoreRefused, match=f"VELODROME_JOB_KEY_FILE: .*{roles.JOB_KEY} can't be read"):
        _job_key(options, {})
    (tmp_path / "elsewhere").write_text("key\n")
    assert _job_key(replace(options, job_key_file=tmp_path / "elsewhere"), {}) == "key"
    (tmp_path / "elsewhere").write_text("")
    with pytest.raises(StoreRefused, match="is empty"):
        _job_key(replace(options, job_key_file=tmp_path / "elsewhere"), {})
    assert _job_key(Options("redis://:of-0.1.0@redis"), {"password": "of-0.1.0"}) == "of-0.1.0"
