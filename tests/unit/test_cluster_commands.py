"""What making the test cluster says: what it does and how long that takes, who holds apt, and what failed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.build import BuildStep, announcement
from tests.cluster.commands import CommandFailed, apt_get, lock_held, run
from tests.cluster.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
HOLDER = (
    "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
)


class Lists:
    """A folder for apt's lists, whose lock a process holds as apt itself does."""

    def __init__(self, folder: Path) -> None:
        for part in ("lists/partial", "archives/partial"):
            (folder / part).mkdir(parents=True)
        self.options = (
            "-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}",
            "-o", "Dir::Etc::SourceList=/dev/null", "-o", "Dir::Etc::SourceParts=/dev/null",
        )  # fmt: skip
        self.holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, f"{folder}/lists/lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.holder.stdout is not None
        self.holder.stdout.readline()

    def release(self) -> None:
        self.holder.communicate()


@pytest.fixture
def lists(tmp_path: Path) -> Iterator[Lists]:
    if shutil.which("apt-get") is None:
        pytest.skip("there is no apt here")
    made = Lists(tmp_path)
    with made.holder:  # its pipes are closed, and it has ended, where a test failed before it released it too
        yield made
        made.holder.kill()


def test_a_held_lock_is_waited_for_and_named(lists: Lists) -> None:
    reported: list[str] = []

    def say(text: str) -> None:
        reported.append(text)
        lists.release()

    apt_get("update", "-qq", *lists.options, look=0.01, say=say)
    (text,) = reported
    assert text.startswith("apt is busy, this waits up to 15 minutes for it: Could not get lock")
    assert f"It is held by process {lists.holder.pid} (" in text


def test_a_lock_that_stays_held_ends_in_a_sentence(lists: Lists) -> None:
    with pytest.raises(CommandFailed, match=r"apt was busy for 0 s: Could not get lock .* It is held by process \d+"):
        apt_get("update", "-qq", *lists.options, patience=0)
    lists.release()


def test_another_failure_of_apt_is_not_waited_for(lists: Lists) -> None:
    lists.release()
    with pytest.raises(CommandFailed, match=r"`apt-get .*no-such-verb` ended with exit code 100: E: Invalid operation"):
        apt_get(*lists.options, "no-such-verb")


@pytest.mark.parametrize(
    ("words", "held"),
    [
        (
            "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)\nE: Unable to acquire",
            True,
        ),
        ("E: Unable to lock directory /var/lib/apt/lists/", True),
        ("dpkg: error: dpkg frontend lock is locked by another process", True),
        ("E: Unable to locate package kubelet", False),
        ("E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)", False),
        ("", False),
    ],
)
def test_which_words_mean_a_lock(words: str, *, held: bool) -> None:
    assert (lock_held(words) is not None) == held


def test_a_program_that_fails_or_is_missing_is_named() -> None:
    with pytest.raises(CommandFailed, match=r"`false -x` ended with exit code 1"):
        run(["false", "-x"])
    with pytest.raises(CommandFailed, match=r"no-such-program can't be run: No such file or directory"):
        run(["no-such-program"])


def test_a_cold_start_is_announced_and_a_warm_one_says_nothing(tmp_path: Path) -> None:
    at = Layout(tmp_path)
    planned = [BuildStep("etcd", "keeps objects", 1, done=True), BuildStep("kubelet", "runs pods", 2.5, done=False)]
    head, *rows = announcement(at, planned).splitlines()
    assert head.startswith(
        f"This makes a Kubernetes for the tests in {tmp_path}: 1 of 2 parts, about 2 minutes on four"
    )
    assert rows == ["  etcd     there already  keeps objects", "  kubelet  about 2.5 min  runs pods"]
    assert announcement(at, planned[:1]) == ""


def _machine(folder: Path, go: str) -> dict[str, str]:
    """A PATH on which Go does what the script says, and Debian's packages are all there."""
    for name, script in (("go", go), ("dpkg-query", "echo openssl installed")):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "VELODROME_CLUSTER_HOME": str(folder / "home")}


def test_what_fails_while_it_is_made_ends_in_a_sentence(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.cluster", "up", "--api-only"]
    environment = _machine(tmp_path, "echo no space left on device >&2; exit 3")
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "3 of 4 parts" in done.stdout
    assert "kube-apiserver" in done.stdout
    assert "building etcd" in done.stdout
    assert "no space left on device" in done.stderr
    assert "cluster: `" in done.stderr
    assert "ended with exit code 3; its messages stand above" in done.stderr
    assert "Traceback" not in done.stderr
