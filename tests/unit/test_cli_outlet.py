"""Output that can't be written, and characters that a terminal can't show: exit codes of their own, no traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.cli.exit_codes import BAD_INPUT, EXIT_CODES, FAILED, INTERRUPTED, OK, READER_GONE, UNWRITABLE, final_code
from velodrome.cli.outlet import Outlet
from velodrome.errors import OutputLost

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "deploy/examples/digits.yaml")
GONE = OSError(errno.EPIPE, os.strerror(errno.EPIPE))
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
NARROW = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
# Each writes in another way: click's help, an eager option, a table by rich, JSON, words.
WAYS = [["--help"], ["--version"], ["plan", EXAMPLE], ["plan", EXAMPLE, "--json"], ["validate", EXAMPLE]]


def shell(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash, in which `velodrome` is the command."""
    prelude = f'set -o pipefail; velodrome() {{ "{sys.executable}" -m velodrome "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", prelude + script],
        env={**os.environ, **environ},
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("arguments", WAYS, ids=" ".join)
def test_a_full_disk_has_an_exit_code_and_a_sentence(arguments: list[str]) -> None:
    done = shell(f"velodrome {' '.join(arguments)} > /dev/full")
    assert done.returncode == UNWRITABLE
    assert done.stderr == (
        "velodrome: standard output can't be written (No space left on device); what is missing was lost\n"
    )


@pytest.mark.parametrize("arguments", WAYS, ids=" ".join)
def test_a_reader_that_went_away_gets_nothing_more(arguments: list[str]) -> None:
    done = shell(f"velodrome {' '.join(arguments)} | true")
    assert (done.returncode, done.stderr) == (READER_GONE, "")


def test_a_stream_that_was_never_open_ends_no_command_with_a_traceback() -> None:
    closed = shell(f"velodrome plan {EXAMPLE} >&-")
    assert closed.returncode == UNWRITABLE
    assert "Bad file descriptor" in closed.stderr
    assert shell("velodrome plan missing.yaml >&- 2>&-").returncode == BAD_INPUT
    assert shell(f"velodrome validate {EXAMPLE} 2>&-").returncode == OK


def test_words_beside_the_answer_that_can_not_be_written_change_nothing() -> None:
    assert shell("velodrome plan missing.yaml 2> /dev/full").returncode == BAD_INPUT
    assert shell(f"velodrome plan {EXAMPLE} > /dev/full 2> /dev/full").returncode == UNWRITABLE


def test_what_everybody_reads_ends_as_it_would() -> None:
    done = shell(f"velodrome plan {EXAMPLE} --json | cat")
    assert (done.returncode, done.stderr) == (OK, "")
    assert json.loads(done.stdout)


@pytest.mark.parametrize(
    ("code", "lost", "final"),
    [
        (OK, None, OK),
        (FAILED, None, FAILED),
        (OK, GONE, READER_GONE),
        (FAILED, GONE, READER_GONE),
        (FAILED, FULL, UNWRITABLE),
        (BAD_INPUT, FULL, BAD_INPUT),
        (INTERRUPTED, GONE, INTERRUPTED),
    ],
)
def test_a_lost_answer_is_never_1(code: int, lost: OSError | None, final: int) -> None:
    assert final_code(code, lost) == final
    assert final in EXIT_CODES


def test_an_outlet_fails_once_and_a_patient_one_never() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        strict, patient = Outlet(full, patient=False), Outlet(full, patient=True)
        with pytest.raises(OutputLost, match="No space left on device"):
            strict.write(b"answer")
        assert strict.write(b"more") == 4
        assert patient.write(b"answer") == 6
        assert patient.lost is not None
        assert patient.lost.errno == errno.ENOSPC
    finally:
        os.close(full)


def test_a_pipe_that_somebody_made_not_to_block_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen(["wc", "-c"], stdin=reader, stdout=subprocess.PIPE, text=True) as counting:
        os.close(reader)
        assert Outlet(writer, patient=False).write(b"x" * 1_000_000) == 1_000_000
        os.close(writer)
        assert counting.communicate(timeout=60)[0].strip() == "1000000"


@pytest.mark.parametrize("environ", NARROW.values(), ids=NARROW)
def test_a_terminal_that_lacks_characters_ends_no_command(environ: dict[str, str], tmp_path: Path) -> None:
    every = " && ".join(f"velodrome {' '.join(arguments)}" for arguments in WAYS)
    done = shell(every, **environ, VELODROME_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (OK, "")


@pytest.mark.parametrize("environ", NARROW.values(), ids=NARROW)
def test_what_is_wrong_is_said_with_escapes_for_what_can_not_be_shown(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("apiVersion: velodrome.dev/v1alpha1\nkind: BenchmarkJob\nmetadata: {name: 猫}\n", encoding="utf-8")
    done = shell(f"velodrome validate {path}; velodrome validate - < {path}", **environ)
    assert done.returncode == BAD_INPUT
    assert done.stderr.count("metadata.name") == 2
    assert done.stderr.count("\\u732b") == 2
    assert "Traceback" not in done.stderr
