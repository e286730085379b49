"""`velodrome logs --search` in front of a kubectl that has the pods and the logs of a raised search."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.integration.test_race_search import document
from velodrome.cli.app import app
from velodrome.plan import plan
from velodrome.search.trials import search_seed
from velodrome.spec import validate

KUBECTL = """#!{python}
import json, sys
answers = json.load(open({answers!r}))
if sys.argv[1] == "logs":
    for text in answers["logs"][sys.argv[2]]:
        print(text)
else:
    found = answers[sys.argv[2]]
    print(json.dumps(found if sys.argv[3].startswith("-") else found["items"][0]))
"""
# Each pod by the run, the lane as its Job knows it, its completion index there, and the trial that it runs.
PODS = {
    "late": ("u.2", "0", 0, ("a", 12)),
    "raised": ("u", "0-8", 1, ("b", 4)),
    "tenth": ("u", "10", 0, ("b", 0)),
    "first": ("u", "0", 0, ("a", 0)),
    "waits": ("u", "0", 7, None),
}


@pytest.fixture(autouse=True)
def _cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = document()
    job = plan(validate(written)).job

    def pod(name: str, uid: str, lane: str, index: int) -> dict[str, Any]:
        variables = {"VELODROME_SEARCH": "1", "VELODROME_LANE": lane, "VELODROME_JOB_UID": f"{uid}.search"}
        labels = {"batch.kubernetes.io/job-completion-index": str(index)}
        env = [{"name": key, "value": value} for key, value in variables.items()]
        return {
            "metadata": {"name": name, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"env": env}]},
            "status": {"phase": "Running"},
        }

    logs = {
        name: ["pulled"] + ([] if of is None else [f"Starting: {of[0]}, seed {search_seed(job, of[1])}", "epoch 1"])
        for name, (*_, of) in PODS.items()
    }
    pods = [pod(name, uid, lane, index) for name, (uid, lane, index, _) in PODS.items()]
    raw = {**written, "metadata": {**written["metadata"], "namespace": "default", "uid": "u"}}
    answers = {"benchmarkjobs.velodrome.dev": {"items": [raw]}, "pods": {"items": pods}, "logs": logs}
    kept, program = tmp_path / "answers.json", tmp_path / "kubectl"
    kept.write_text(json.dumps(answers))
    program.write_text(KUBECTL.format(python=sys.executable, answers=str(kept)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def logs(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["logs", "search", *arguments])
    assert done.exit_code == code, done.output
    return f"{done.output}{done.exception or ''}"


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("== ")]


def test_each_log_says_its_run_lane_turn_and_trial_and_they_are_in_order() -> None:
    assert headings(logs("--search")) == [
        "== run 1, lane 0, turn 0, trial a/0  pod first  Running",
        "== run 1, lane 0, turn 7  pod waits  Running",
        "== run 1, lane 0, turn 9, trial b/4  pod raised  Running",
        "== run 1, lane 10, turn 0, trial b/0  pod tenth  Running",
        "== run 2, lane 0, turn 0, trial a/12  pod late  Running",
    ]


@pytest.mark.parametrize(
    ("arguments", "pods"),
    [
        (("a",), ["first", "late"]), (("a/12",), ["late"]), (("b/4",), ["raised"]), (("--run", "2"), ["late"]),
        (("--lane", "10"), ["tenth"]), (("b", "--lane", "0"), ["raised"]), (("a/12", "--follow"), ["late"]),
    ],
)  # fmt: skip
def test_a_trial_a_lane_or_a_run_can_be_chosen(arguments: tuple[str, ...], pods: list[str]) -> None:
    found = logs("--search", *arguments)
    assert [line.split("pod ")[1].split()[0] for line in headings(found)] == pods
    assert found.count("epoch 1") == len(pods)


def test_each_line_in_json_says_which_trial_it_is_of() -> None:
    written = [json.loads(line) for line in logs("--search", "b/4", "--json").splitlines()]
    assert [one["text"] for one in written][-1] == "epoch 1"
    (facts,) = {
        json.dumps({key: value for key, value in one.items() if key not in ("text", "schema")}) for one in written
    }
    assert json.loads(facts) == {
        "run": 1, "lane": "0", "turn": 9, "entry": "b", "trial": 4, "pod": "raised", "phase": "Running",
    }  # fmt: skip


def test_what_is_not_there_is_said_with_the_command_that_shows_the_others() -> None:
    assert "velodrome logs search --search" in logs("--search", "a/3", code=1)
    assert "velodrome logs search --search" in logs(code=1)
    assert "write --search too" in logs("--run", "2", code=2)
    assert "no entry c" in logs("c", "--search", code=2)
