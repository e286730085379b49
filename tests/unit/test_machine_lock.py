"""Locks between processes, and races that take turns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.errors import LocalError
from velodrome.machine.home import Home
from velodrome.machine.processes.lock import FileLock, Track, lock_job


def test_one_holds_it_until_it_lets_go(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire("the first")
    assert first.held
    assert not second.acquire("the second")
    assert second.holder() == "the first"
    first.release()
    assert second.acquire("the second")
    assert first.holder() == "the second"
    second.release()
    second.release()


def test_it_goes_with_its_process_however_that_ends(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from velodrome.machine.processes.lock import FileLock\n"
        "FileLock(Path(sys.argv[1])).acquire('a process'); print('held', flush=True); time.sleep(60)"
    )

    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        lock = FileLock(tmp_path / "lock")
        assert not lock.acquire("me")
        assert lock.holder() == "a process"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert lock.acquire("me")
    lock.release()


def test_a_child_does_not_inherit_it(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire("me")
    with subprocess.Popen(["sleep", "60"]) as child:
        lock.release()
        assert lock.acquire("me again")
        child.kill()
    lock.release()


def test_where_no_file_can_be_made_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="missing"):
        FileLock(tmp_path / "missing" / "lock").acquire("me")


def test_a_second_race_of_one_job_is_refused_with_who_runs_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    lock = lock_job(home, "uid", "digits")
    with pytest.raises(LocalError, match=f"digits is being raced by process {os.getpid()}"):
        lock_job(home, "uid", "digits")
    lock_job(home, "other", "digits").release()
    lock.release()
    lock_job(home, "uid", "digits").release()


def test_races_take_turns_and_who_waited_is_next(tmp_path: Path) -> None:
    one, two = Track(Home(tmp_path), "one"), Track(Home(tmp_path), "two")
    assert one.try_enter()
    assert not one.wanted()
    assert not two.try_enter()
    assert two.occupant() == "one"
    assert one.wanted()
    one.leave()
    assert not one.try_enter()  # two stands in the queue
    assert two.try_enter()
    assert two.held
    assert not one.try_enter()
    two.leave()
    assert not two.try_enter()  # now one does
    assert one.try_enter()
    one.leave()


def test_a_third_race_waits_behind_the_second(tmp_path: Path) -> None:
    one, two, three = (Track(Home(tmp_path), name) for name in ("one", "two", "three"))
    assert one.try_enter()
    assert not two.try_enter()
    assert not three.try_enter()
    one.leave()
    assert not three.try_enter()
    assert two.try_enter()
    assert not three.try_enter()
    two.leave()
    assert three.try_enter()
    three.leave()
