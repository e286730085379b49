"""Redis of the installation: TLS alone, a user for each role, and passwords that change while a race goes on."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Kube, race, uid_of
from tests.e2e.faults import administrator, as_a_runner, report_key
from tests.e2e.redis_access import RedisAccess
from tests.e2e.test_own_code import PROGRAM
from velodrome import keys
from velodrome.plan import plan
from velodrome.results.records import ResultReport, TrialResult
from velodrome.spec import validate
from velodrome.store import Store, roles

pytestmark = pytest.mark.smoke

NAMESPACE = "velodrome"
SLOW = "import time\ntime.sleep(6)\n"
OUTLASTING = 10  # slow trials, one at a time, take longer than a change of passwords


def secret(kube: Kube) -> dict[str, str]:
    text = kube("-n", NAMESPACE, "get", "secret", roles.SECRET_NAME, "-o", "json")
    return {key: base64.b64decode(value).decode() for key, value in json.loads(text)["data"].items()}


@pytest.fixture
def with_users(installed: Kube) -> Kube:
    """The installation, if its Redis has users: one of version 0.1.0 has not."""
    if roles.is_former(secret(installed)):
        pytest.skip("this installation has one password for all")
    return installed


def in_redis(kube: Kube, *words: str, password: str | None = None, user: str = "operator", tls: bool = True) -> str:
    """What Redis answers to redis-cli in its own pod; the password comes by standard input."""
    line = RedisAccess.of(kube).bare_cli()
    line = line if tls else [word for word in line if word not in ("--tls", "--cacert", "/etc/redis-tls/ca.crt")]
    if password is None:
        return kube(*line, *words, check=False)
    return kube(*line, stdin=f"AUTH {user} {password}\n{' '.join(words)}\n", check=False)


def velodrome(kube: Kube, *arguments: str) -> str:
    """A command on this machine, with the cluster's kubectl."""
    environ = {"PATH": f"{kube.cluster.at.bin}:/usr/bin:/bin", "COLUMNS": "200", "HOME": "/root"}
    line = [sys.executable, "-m", "velodrome", *arguments, f"--kubeconfig={kube.cluster.at.kubeconfig}"]
    done = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_redis_answers_in_tls_alone(with_users: Kube) -> None:
    assert "PONG" in in_redis(with_users, "PING", user="probe", password="any")
    assert "PONG" not in in_redis(with_users, "PING", user="probe", password="any", tls=False)
    assert "NOAUTH" in in_redis(with_users, "GET", "x")


def test_the_leaderboards_own_login_may_only_read(with_users: Kube) -> None:
    """With the files of its pod: the process that a viewer could break into has nothing else."""
    script = (
        "import os\n"
        "import redis\n"
        "from velodrome.store.edge import connect\n"
        "client = connect(os.environ['VELODROME_REDIS_URL'])\n"
        "client.zcard('velodrome:jobs')\n"
        "for words in (('SET', 'velodrome:jobs', 'x'), ('KEYS', '*'), ('ACL', 'LIST'), ('FLUSHALL',),\n"
        "              ('HSET', 'velodrome:job:x:records', '0', 'x'), ('EVAL', 'return 1', 0),\n"
        "              ('LRANGE', 'velodrome:reports:x', 0, -1), ('RPUSH', 'velodrome:reports:x', 'x')):\n"
        "    try:\n"
        "        client.execute_command(*words)\n"
        "    except redis.exceptions.NoPermissionError:\n"
        "        continue\n"
        "    print('may', *words)\n"
        "print('looked')\n"
    )
    line = ("-n", NAMESPACE, "exec", "-i", "deployment/velodrome-leaderboard", "--", "python", "-")
    assert with_users(*line, stdin=script).split() == ["looked"]


def test_the_secret_of_a_race_is_in_its_namespace_alone(installed: Kube, name: str, own_image: str) -> None:
    entry = {"name": "own", "image": own_image, "command": ["python", "-c", SLOW]}
    installed.apply(race(name, entries=[entry], trials={"repeats": 1}))
    selector = f"velodrome.dev/job-name={name}"

    def secrets() -> list[dict[str, Any]]:
        text = installed("get", "secret", "--all-namespaces", "-l", selector, "-o", "json")
        return list(json.loads(text)["items"])

    installed.wait("the race's pod", lambda: installed.items("pods", selector), 60)
    assert len(secrets()) == 2, "the login of its runners, and their report keys"
    for found in secrets():
        assert found["metadata"]["namespace"] == installed.get("bmj", name)["metadata"]["namespace"]
        assert found["immutable"] is True
        (owner,) = found["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("BenchmarkJob", uid_of(installed, name), True)
        said = installed("patch", "secret", found["metadata"]["name"], "-p", '{"stringData": {"x": "y"}}', check=False)
        assert "patched" not in said
    installed("delete", "bmj", name, "--wait=true")
    installed.wait("the Secret to go with its race", lambda: not secrets(), 60)


def test_passwords_change_under_a_race(with_users: Kube, name: str, own_image: str) -> None:
    """Every trial succeeds at its first attempt, no pod is restarted, and the former passwords count no more."""
    before, pods = secret(with_users), restarts(with_users)
    entry = {"name": "own", "image": own_image, "command": ["python", "-c", SLOW + PROGRAM]}
    with_users.apply(race(name, entries=[entry], trials={"repeats": OUTLASTING}))

    def done() -> int:
        return int(with_users.get("bmj", name).get("status", {}).get("trials", {}).get("succeeded", 0))

    with_users.wait("the first result", lambda: done() > 0, 240)
    output = velodrome(with_users, "rotate", "--cluster", "--grace", "45")
    assert output.count("the password before counts no more") == 3
    seen = done()
    with_users.wait("results after the change", lambda: done() > seen or done() == OUTLASTING, 240)
    with_users.wait("the race's end", lambda: with_users.condition(name, "Complete"), 600)
    trials = with_users.get("bmj", name)["status"]["trials"]
    assert (trials["succeeded"], trials.get("failed", 0)) == (OUTLASTING, 0)
    assert restarts(with_users) == pods

    after = secret(with_users)
    for role in roles.ROLES:
        key = roles.password_key(role)
        assert after[key] != before[key]
        assert "WRONGPASS" in in_redis(with_users, "PING", user=role, password=before[key])
        assert "PONG" in in_redis(with_users, "PING", user=role, password=after[key])
    assert after[roles.JOB_KEY] == before[roles.JOB_KEY]


def restarts(kube: Kube) -> dict[str, int]:
    """How often each container of the installation was restarted, by pod."""
    found = json.loads(kube("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    return {
        pod["metadata"]["name"]: sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))
        for pod in found
        if pod["metadata"]["name"].startswith(("velodrome-operator", "velodrome-redis", "velodrome-leaderboard"))
    }


def test_marks_are_set_through_kubectl(with_users: Kube, name: str, own_image: str) -> None:
    entry = {"name": "own", "image": own_image, "command": ["python", "-c", PROGRAM]}
    with_users.apply(race(name, entries=[entry], trials={"repeats": 1}))
    ended: Callable[[], dict[str, Any]] = lambda: with_users.condition(name, "Complete")  # noqa: E731
    with_users.wait("the race's end", ended, 240)
    uid = uid_of(with_users, name)
    assert "accepted" in velodrome(with_users, "ack", uid, "own", "--cluster")
    assert "compared with job" in velodrome(with_users, "baseline", "set", uid, "own", "--cluster")
    assert name in velodrome(with_users, "baseline", "show", "--cluster")
    velodrome(with_users, "delete", "job", uid, "--yes", "--with-baselines", "--cluster")


# Looks for the keys of other trials. Its own is all that it may find.
FORGER = """
import os, pathlib
key = pathlib.Path(os.environ["VELODROME_REPORT_KEY_FILE"])
assert len(key.read_text()) == 32
found = [folder for top in ("/etc", "/run", "/var", "/tmp", "/scratch") for folder, _, files in os.walk(top)
         if any(file.startswith("report-key-") for file in files)]
mounted = [line for line in open("/proc/self/mountinfo") if "/velodrome-report" in line]
if found or len(mounted) != 1:
    raise SystemExit(f"found {found} {mounted}")
"""
HELD = "import time\ntime.sleep(20)\n"


def test_an_entry_reports_for_its_own_trial_alone(installed: Kube, name: str, own_image: str) -> None:
    """Whoever has the race's Redis user and knows the uid of another trial's pod lacks the key of that trial."""
    victim = {"name": "victim", "image": own_image, "command": ["python", "-c", HELD + PROGRAM]}
    forger = {"name": "forger", "image": own_image, "command": ["python", "-c", FORGER + HELD + PROGRAM]}
    sharing = {"isolation": "None", "parallelism": 4}
    installed.apply(race(name, entries=[victim, forger], trials={"repeats": 2}, execution=sharing))

    def running() -> dict[str, str]:
        """The uids of the race's pods that run, by Job and completion index."""
        labels = [(pod["metadata"]["labels"], pod) for pod in installed.items("pods", f"velodrome.dev/job-name={name}")]
        return {
            f"{own['batch.kubernetes.io/job-name']}/{own['batch.kubernetes.io/job-completion-index']}": pod["metadata"][
                "uid"
            ]
            for own, pod in labels
            if pod["status"]["phase"] == "Running"
        }

    def first() -> str:
        return next((uid for place, uid in running().items() if place.endswith("-0/0")), "")

    attempt, uid = installed.wait("the pod of the first trial", first, 240), uid_of(installed, name)
    with administrator(installed) as admin, Store(admin) as store:
        job = store.job(uid)
        assert job is not None
        trial, now = plan(validate(dict(job.document), source=name)).trial(0), datetime.now(UTC)
        forged = TrialResult(
            job_uid=uid, index=0, entry=trial.entry, repeat=trial.repeat, seed=trial.seed, trial_id=trial.id,
            attempt=attempt, outcome="Failed", reason="LossNotFinite", message="forged", started_at=now,
            finished_at=now,
        )  # fmt: skip
        reports = [
            ResultReport(result=forged, proof=proof).model_dump_json()
            for proof in (None, report_key(installed, name, 0, group=1), report_key(installed, name, 1))
        ]
        with as_a_runner(installed, name) as client:
            client.rpush(keys.inbox(uid), *reports)
        installed.wait("the forgeries to be judged", lambda: store.waiting([uid]) == {}, 60)
        assert store.counts(uid).rejected == {"UnprovenReport": 3}
    installed.wait("the race's end", lambda: installed.condition(name, "Complete"), 300)
    with administrator(installed) as admin, Store(admin) as store:
        counts = store.counts(uid)
        assert (counts.succeeded, counts.failed, counts.conflicts) == (4, 0, 0)
