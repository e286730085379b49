"""Processes below a process are found and ended, also those that tried to get away. All of them are real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.kernel.descendants import Found, descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")

# Starts processes in the ways that matter, says their numbers, and ends what is below itself. It is a process of its
# own because a process that adopts orphans does so for ever.
KEEPER = """
import json, os, subprocess, sys, time
from velodrome.kernel.descendants import adopt, descendants, end_below

SLEEP = "import signal, time; {0}; print(1, flush=True); time.sleep(600)"
adopt()

def start(before="0", **options):
    process = subprocess.Popen([sys.executable, "-c", SLEEP.format(before)], stdout=subprocess.PIPE, **options)
    process.stdout.readline()
    return process.pid

def daemon():
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(start()).encode())
            time.sleep(600)
        os._exit(0)
    os.wait()
    return int(os.read(read, 20))

spared = start()
started = [start(), start(start_new_session=True), start("signal.signal(signal.SIGTERM, signal.SIG_IGN)"), daemon()]
before = {process.pid for process in descendants(os.getpid())}
ended = {process.pid for process in end_below(os.getpid(), grace_seconds=0.2, without=[spared])}
after = [process.pid for process in descendants(os.getpid())]
os.kill(spared, 9)
os.wait()
print(json.dumps([spared, started, sorted(before), sorted(ended), after]))
"""


def test_all_that_was_started_ends_and_what_is_spared_stays() -> None:
    ran = subprocess.run([sys.executable, "-c", KEEPER], capture_output=True, text=True, timeout=60, check=True)
    spared, started, before, ended, after = json.loads(ran.stdout)
    assert {spared, *started} <= set(before)
    assert set(started) <= set(ended)
    assert after == [spared]


def test_names_may_hold_anything_and_the_ended_do_not_run(tmp_path: Path) -> None:
    for pid, stat in {
        2: "2 (sh) S 1 2 2",
        3: "3 (a ) b (c)) R 2 2 2",
        4: "4 (gone) Z 2 2 2",
        5: "5 (below) S 4 2 2",
        6: "6 (elsewhere) S 1 6 6",
        7: "not as it should be",
    }.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(stat)
    (tmp_path / "8").mkdir()  # it ended between two looks
    found = descendants(2, proc=tmp_path)
    assert sorted(found, key=lambda each: each.pid) == [Found(3, "a ) b (c)"), Found(5, "below")]
    assert descendants(2, without=[4], proc=tmp_path) == [Found(3, "a ) b (c)")]
    assert str(Found(3, "sh")) == "sh (process 3)"
    assert descendants(99, proc=tmp_path) == []
