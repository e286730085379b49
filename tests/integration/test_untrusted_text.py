"""Every command over a store, a file and a cluster full of hostile text: raw bytes of a terminal and of a pipe."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import pytest

from tests.integration.conftest import any_redis
from velodrome.plan import Trial
from velodrome.results.marks import Baseline
from velodrome.results.records import TrialRecord
from velodrome.store import open_store

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))

from tools.sample_results import CLEAR, DIGITS_FACTS, Race, accept, race  # noqa: E402

AT = datetime(2026, 1, 1, tzinfo=UTC)

# A window's title, a cleared screen, a link, colours, C1, NUL, backspaces, reversed and hidden text, rich's markup.
HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31mOWNED\x1b]8;;http://evil.example\x1b\\x\x9b1A\x00\b\b\x7f"
    "\u202egnp\u2066\u200b\U000e0041[red]RICH[/red][link=http://evil.example]y[/link]:skull:\r\n"
    "\u2028FORGED line Z\u0301\u0301\u0301\u0301\u0301\u0301\u0301"
)
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\U000e0000-\U000e0fff]"
)
STYLES = re.compile(r"\x1b\[[0-9;]*m")  # what rich and click write by themselves

# Runs every command in one process: importing takes longer than running.
DRIVER = """
import json, sys
from velodrome.__main__ import main
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    for stream in (sys.stdout, sys.stderr):
        print("##", len(arguments), file=stream, flush=True)
    try:
        main()
    except SystemExit:
        pass
    except Exception:
        sys.excepthook(*sys.exc_info())
"""

Commands = list[list[str]]


class Server(Protocol):
    @property
    def url(self) -> str: ...


def hostile_race() -> Race:
    """A race whose name, board, entries, objectives, messages and logs are hostile; the third entry fails."""
    made = race("sample-hostile", AT, riders=CLEAR)
    names = {entry: f"{entry}{HOSTILE}" for entry in made.info.entries}
    document = json.loads(json.dumps(made.info.document))
    for entry in document["spec"]["entries"]:
        entry["name"] = names[entry["name"]]
    for objective in document["spec"]["objectives"]:
        objective["name"] += HOSTILE
    update = {"name": HOSTILE, "entries": tuple(names.values()), "document": document}
    return Race(made.plan, made.info.model_copy(update=update), made.riders)


def hostile_record(made: Race, trial: Trial, attempt: str = "") -> TrialRecord:
    """What an entry may report of a trial."""
    failed = ("LossNotFinite", HOSTILE) if trial.entry == "middle" else None
    record = made.record(trial, failed)
    result = record.result.model_copy(
        update={
            "entry": f"{trial.entry}{HOSTILE}",
            "log_tail": f"Traceback\n  {HOSTILE}\nend" if failed else None,
            "unavailable": {"energy_joules": HOSTILE},
            "dataset": DIGITS_FACTS.model_copy(update={"classes": tuple(f"{HOSTILE}{label}" for label in range(10))}),
            "attempt": f"{attempt}{HOSTILE}",
            "stopped_by": None,
        }
    )
    observed = record.observed.model_copy(update={"node": HOSTILE, "pod": HOSTILE})
    return record.model_copy(update={"result": result, "observed": observed})


def fill(url: str) -> None:
    made = hostile_race()
    names = {entry: f"{entry}{HOSTILE}" for entry in CLEAR}
    with open_store(url) as store:
        with patch("velodrome.store.encoding.check_names"):  # as a store that let it in has it
            store.register(made.info)
        accept(store, made, [hostile_record(made, trial) for trial in made.trials])
        accept(store, made, [hostile_record(made, made.trials[-1], "another")])
        store.mark(
            Baseline(
                board="digits",
                entry=names["slow"].replace("\n", ""),
                metric_key="",
                job_uid="sample-hostile",
                at=AT,
                note=HOSTILE,
            )
        )


def on_a_pipe(commands: Commands, environment: Mapping[str, str]) -> str:
    line = [sys.executable, "-c", DRIVER, json.dumps(commands)]
    done = subprocess.run(line, env={**os.environ, **environment}, capture_output=True, check=False, timeout=110)
    return (done.stdout + done.stderr).decode("utf-8", "surrogateescape")


def on_a_terminal(commands: Commands, environment: Mapping[str, str]) -> str:
    """What a terminal gets, but for the styles, and the carriage returns that the terminal's own driver adds."""
    ours, theirs = pty.openpty()
    settings = {**os.environ, **environment, "TERM": "xterm-256color", "COLUMNS": "120"}
    line = [sys.executable, "-c", DRIVER, json.dumps(commands)]
    with subprocess.Popen(line, env=settings, stdout=theirs, stderr=theirs, stdin=theirs) as running:
        os.close(theirs)
        got = b""
        try:
            while part := os.read(ours, 65536):
                got += part
        except OSError:  # the other end is closed
            pass
        running.wait(timeout=110)
    os.close(ours)
    raw = got.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    assert "\x1b[31mOWNED" not in raw
    return STYLES.sub("", raw)


WAYS = {"pipe": on_a_pipe, "terminal": on_a_terminal}
Way = Callable[[Commands, Mapping[str, str]], str]


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """One kind of Redis is enough here: how kinds differ is the store's affair, and tested there."""
    return any_redis()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


def assert_harmless(shown: str) -> None:
    found = FORBIDDEN.search(shown)
    assert found is None, ascii(shown[max(0, found.start() - 200) : found.end() + 80])
    assert not [line for line in shown.splitlines() if line.startswith("FORGED")]


def test_commands_over_results(way: Way, redis_server: Server, tmp_path: Path) -> None:
    fill(redis_server.url)
    uid, slow, middle = "sample-hostile", f"slow{HOSTILE}".replace("\0", ""), "middle"
    commands = [
        ["jobs"], ["jobs", "--json"], ["results"], ["results", "--json"], ["results", "--csv"],
        ["results", "--cohorts"],
        ["results", "--cohorts", "--json"], ["results", "--objective", "nothing"], ["results", "nothing"],
        ["show", f"{uid}/2"], ["show", f"{uid}/2", "--json"], ["show", f"{uid}/{middle}/0"], ["show", f"{uid}/14"],
        ["show", "nothing/0"], ["show", slow], ["regressions"], ["regressions", "--json"], ["regressions", uid],
        ["baseline", "show"], ["baseline", "show", "--json"], ["baseline", "set", uid, slow], ["ack", uid, slow],
        ["baseline", "clear", slow, slow], ["export"], ["export", str(tmp_path / "out.jsonl")],
        ["import", str(tmp_path / "out.jsonl")],
    ]  # fmt: skip
    shown = way(commands, {"VELODROME_REDIS_URL": redis_server.url})
    assert_harmless(shown)
    assert shown.count("##") == 2 * len(commands)
    assert "\\x1b]0;owned\\x07" in shown
    assert "[red]RICH[/red]" in shown
    assert "Traceback (most recent call last)" not in shown
    assert "already there" in shown
    assert_harmless((tmp_path / "out.jsonl").read_text())


def test_commands_over_files(way: Way, tmp_path: Path) -> None:
    job = (ROOT / "deploy/examples/digits.yaml").read_text()
    files = {
        "bad\x1b]0;owned\x07.yaml": "kind: Nothing\n",
        "name.yaml": job.replace("name: digits", f"name: {json.dumps(HOSTILE)}", 1),
        "field.yaml": job.replace("spec:", f"spec:\n  {json.dumps(HOSTILE)}: 1", 1),
        "broken.yaml": "a: [\x1b]0;owned\x07\u202e\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / name) for name in files]
    commands = [["validate", *paths], *(["plan", path] for path in paths), ["plan", *paths], ["validate", HOSTILE[:9]]]
    shown = way(commands, {})
    assert_harmless(shown)
    assert "\\x1b]0;owned" in shown


KUBECTL = """#!{python}
import json, sys
words = [word for word in sys.argv[1:] if not word.startswith("--")]
answers = json.load(open({answers!r}))
if words[0] == "logs":
    sys.stdout.buffer.write(answers["log"].encode() + b"\\xff\\xfe" + b"x" * 200_000 + b"\\nlast line\\n")
    sys.stderr.write("error: " + answers["log"])
    sys.exit(1)
if words[0] == "delete":
    sys.stderr.write("Error from server (Forbidden): " + answers["log"])
    sys.exit(1)
found = answers[words[1]]
print(json.dumps(found if words[2].startswith("-") else found["items"][-1]))
"""


def _cluster(tmp_path: Path) -> Path:
    """A kubectl of a cluster where another team wrote every text; its own one passes logs on as they are."""
    raw: dict[str, Any] = json.loads(json.dumps(race("x", AT, riders=CLEAR).info.document))
    moment = "2026-01-01T00:00:00Z"
    raw["metadata"] |= {"namespace": "default", "uid": "u", "creationTimestamp": moment}
    raw["status"] = {
        "message": HOSTILE, "leader": HOSTILE, "trials": {"total": 15, "done": HOSTILE, "succeeded": 1, "failed": 1},
        "conditions": [{"type": "Complete", "status": "True", "reason": HOSTILE, "message": HOSTILE},
                       {"type": "Regressed", "status": "True", "reason": HOSTILE, "message": HOSTILE}],
    }  # fmt: skip
    pod = {
        "metadata": {"name": HOSTILE.replace("\0", ""), "creationTimestamp": moment,
                     "labels": {"batch.kubernetes.io/job-completion-index": "0"}},
        "spec": {"containers": [{"env": []}]}, "status": {"phase": HOSTILE},
    }  # fmt: skip
    event = {"metadata": {"creationTimestamp": moment}, "regarding": {"uid": "u"}, "type": HOSTILE, "reason": HOSTILE,
             "note": HOSTILE}  # fmt: skip
    elsewhere = {**raw["metadata"], "namespace": HOSTILE, "name": HOSTILE}
    answers = {
        "log": f"epoch 1\n{HOSTILE}\n", "benchmarkjobs.velodrome.dev": {"items": [{**raw, "metadata": elsewhere}, raw]},
        "pods": {"items": [pod]}, "events.events.k8s.io": {"items": [event]},
    }  # fmt: skip
    kept, program = tmp_path / "answers.json", tmp_path / "kubectl"
    kept.write_text(json.dumps(answers))
    program.write_text(KUBECTL.format(python=sys.executable, answers=str(kept)))
    program.chmod(0o755)
    return tmp_path


def test_commands_over_a_cluster(way: Way, tmp_path: Path) -> None:
    path = f"{_cluster(tmp_path)}:{os.environ['PATH']}"
    commands = [["get"], ["get", "-A"], ["get", "--json"],
                ["status", "digits"], ["status", "digits", "--json"],
                ["logs", "digits"], ["logs", "digits", "nobody"], ["wait", "digits"],
                ["wait", "digits", "--for", "failed"],
                ["delete", "digits", "--yes"]]  # fmt: skip
    shown = way(commands, {"PATH": path})
    assert_harmless(shown)
    assert "epoch 1\n\\x1b]0;owned" in shown
    assert "last line\n" in shown
    assert "is Complete: \\x1b]0;owned" in shown
    assert re.search(r"\\xff\\xfex{1000}", shown)


def test_a_terminal_of_another_encoding_gets_escapes_not_an_error(redis_server: Server) -> None:
    fill(redis_server.url)
    environment = {"VELODROME_REDIS_URL": redis_server.url, "PYTHONIOENCODING": "latin-1"}
    shown = on_a_pipe([["jobs"], ["show", "sample-hostile/2"], ["results"]], environment)
    assert "UnicodeEncodeError" not in shown
    assert "end of the log" in shown
    assert "Holds for" in shown
