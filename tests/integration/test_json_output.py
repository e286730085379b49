"""Every command has `--json`, and writes what docs/reference/json.md and its schema say. A walk visits all commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from tests.integration.conftest import Race, RedisServer, any_redis
from tests.integration.installation import install
from tests.integration.registries import Registry
from tests.scored import scored
from tools.json_output.commands import COMMANDS
from tools.json_output.page import output_schema
from velodrome.cli.app import app
from velodrome.cli.console import JSON_SCHEMA
from velodrome.cli.progress import JsonLines
from velodrome.machine.race import events
from velodrome.plan import plan
from velodrome.results.registration import job_info
from velodrome.spec import read_jobs
from velodrome.store import open_store

pytestmark = pytest.mark.timeout(900)  # the first test waits for all commands
ROOT = Path(__file__).parents[2]
SCHEMA = output_schema()

OWN = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: own}
spec:
  dataset: {name: digits}
  objectives: [{name: accuracy, metric: accuracy}]
  budget: {maxEpochs: 3}
  trials: {repeats: 2}
  entries:
    - name: ours
      command:
        - PYTHON
        - -c
        - |
          from velodrome import report
          trial = report.trial()
          trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
                        shape=[1, 8, 8], classes=["a", "b"])
          for epoch in trial.epochs():
              trial.epoch(epoch, train_loss=1.0, samples=9)
          trial.result({"accuracy": 0.9})
"""
IMAGES = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: pinned}
spec:
  dataset: {name: digits}
  entries: [{name: ours, image: HOST/ours:v1, command: [ours]}]
"""
KUBECTL = """#!{python}
import json, sys
words = [word for word in sys.argv[1:] if not word.startswith("--")]
answers = json.load(open({answers!r}))
if words[0] == "logs":
    print("epoch 1")
elif words[0] == "delete":
    print("deleted")
else:
    found = answers[words[1]]
    print(json.dumps(found if words[2].startswith("-") else found["items"][0]))
"""
# Shapes of events that a short race lacks (test_the_events_of_a_race_are_as_declared), and of one of two like commands.
SEEN_ELSEWHERE = {
    "good data",
    "bad data",
    "`round`",
    "`progress`",
    "`withdrawn`: it has to run again",
    "`waiting`",
    "`resumed`",
    "`note`",
    "`--optuna`",
    "`--mlflow`",
}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command of the application, by its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), command
        return
    for name, one in inner.items():
        yield from leaves(one, (*path, name))


ALL = dict(leaves(typer.main.get_command(app)))


@dataclass
class World:
    """Where commands run: a folder, a Redis with results, a stand-in for kubectl. `written` has what each wrote."""

    folder: Path
    url: str
    written: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def run(self, command: str, *arguments: str, code: int = 0, redis: bool = True) -> list[dict[str, Any]]:
        """The documents that the command wrote, which are kept too."""
        line = [*command.split(), *arguments, "--json", *(["--redis", self.url] if redis else [])]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == code, (line, done.exit_code, done.output, done.exception)
        return self.keep(command, done.stdout)

    def start(self, command: str, *arguments: str, path: str | None = None) -> list[dict[str, Any]]:
        """The same in a process of its own, with another PATH."""
        line = [sys.executable, "-m", "velodrome", *command.split(), *arguments, "--json"]
        environ = {**os.environ, **({} if path is None else {"PATH": path})}
        done = subprocess.run(line, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.returncode, done.stdout, done.stderr)
        return self.keep(command, done.stdout)

    def keep(self, command: str, text: str) -> list[dict[str, Any]]:
        found = documents(text)
        assert found, command
        self.written.setdefault(command, []).extend(found)
        return found


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON objects of an output, one after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def a_cluster(folder: Path, race: Race) -> Path:
    """A folder with a kubectl that knows one race, which is complete, and one pod of it."""
    folder.mkdir()
    raw = json.loads(json.dumps(race.info.document))
    raw["metadata"] |= {"namespace": "default", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    raw["status"] = {"message": "done", "conditions": [{"type": "Complete", "status": "True"}]}
    labels = {"batch.kubernetes.io/job-completion-index": "0"}
    metadata = {"name": "race-0", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels}
    pod = {"metadata": metadata, "spec": {"containers": [{"env": []}]}, "status": {"phase": "Succeeded"}}
    answers = {"benchmarkjobs.velodrome.dev": {"items": [raw]}, "pods": {"items": [pod, of_search(pod)]}}
    kept, program = folder / "answers.json", folder / "kubectl"
    kept.write_text(json.dumps(answers))
    program.write_text(KUBECTL.format(python=sys.executable, answers=str(kept)))
    program.chmod(0o755)
    return folder


def of_search(pod: dict[str, Any]) -> dict[str, Any]:
    """The same pod, if it ran a trial of a search."""
    found: dict[str, Any] = json.loads(json.dumps(pod))
    variables = {"VELODROME_SEARCH": "1", "VELODROME_LANE": "0"}
    found["spec"]["containers"][0]["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    return found


def fill(url: str) -> None:
    """Two jobs of one board with the samples that each trial got right, and a search that has no result yet."""
    (searched,) = read_jobs(ROOT / "deploy/examples/search.yaml")
    with open_store(url) as store:
        store.register(job_info(plan(searched), "searched", datetime(2026, 1, 1, tzinfo=UTC)))
        for number, name in enumerate(("night-1", "night-2")):
            race = Race(uid=name, name=name, created=number * 1000)
            store.register(race.info)
            records = [scored(race.record(index), [index % 3 > 0, *[True] * 20]) for index in range(len(race.plan))]
            store.accept(race.uid, len(records), records)


@contextmanager
def installed(folder: Path) -> Iterator[str]:
    """The PATH of a kubectl that leads to an installation's Redis."""
    folder.mkdir()
    made = install(folder)
    made.start()
    programs = folder / "bin"
    programs.mkdir()
    made.kubectl(programs)
    try:
        yield f"{programs}:{os.environ['PATH']}"
    finally:
        made.kill()


def on_this_machine(world: World) -> None:
    example = str(ROOT / "deploy/examples/digits.yaml")
    (world.folder / "own.yaml").write_text(OWN.replace("PYTHON", sys.executable))
    world.run("init", "job.yaml", redis=False)
    world.run("init", "-", redis=False)
    world.run("init", "--list", redis=False)
    world.run("example", redis=False)
    world.run("example", "numpy", redis=False)
    world.run("example", "numpy", "--to", "numpy", redis=False)
    world.run("schema", redis=False)
    world.run("doctor", redis=False)
    world.run("validate", "job.yaml", redis=False)
    world.run("plan", example)
    world.run("check", example, redis=False)
    world.run("data list", redis=False)
    world.start("run", "own.yaml", "--no-rehearsal", "--redis", world.url)
    (world.folder / "lost.yaml").write_text(
        OWN.replace(
            "name: digits",
            "name: x, format: CSV, source: {path: no.csv}, target: label, splits: {fractions: {test: 0.2}}",
        )
    )
    world.run("data check", example, redis=False)
    world.run("data prepare", "lost.yaml", code=2, redis=False)


def of_results(world: World) -> None:
    world.run("results", "digits")
    world.run("results", "digits", "--cohorts")
    world.run("pairs", "digits", "cnn", "mlp")
    world.run("show", "night-2/cnn/0")
    world.run("show", "night-2/0")
    world.run("regressions", "night-2")
    world.run("noise", "digits")
    world.run("profile", "velodrome/mlp", "--boards", "digits")
    world.run("jobs")
    world.run("compare", "digits", "cnn", "mlp")
    world.run("report", "digits", "-o", "digits.html")
    world.run("hide", "night-2/gru/0", "--reason", "wrong data")
    world.run("unhide", "night-2/gru/0")
    world.run("marks")
    world.run("search", "searched")
    world.run("baseline set", "night-1", "cnn")
    world.run("baseline show")
    world.run("baseline clear", "digits", "cnn")
    world.run("ack", "night-2", "cnn")
    world.run("ack", "night-2", "cnn", "--undo")


def moved(world: World) -> None:
    world.run("export", "all.jsonl")
    world.run("import", "all.jsonl")
    with (world.folder / "all.jsonl").open("a") as lines:
        lines.write("nonsense\n")
    world.run("import", "all.jsonl", code=1)
    world.run("backup", "kept")
    world.run("restore", "kept", "--list")
    world.run("restore", "kept")
    (next((world.folder / "kept").iterdir())).write_bytes(b"damaged")
    world.run("restore", "kept", "--list", code=1)
    world.run("prune", "--keep-jobs", "1", "--dry-run")
    world.run("delete", "entry", "digits", "gru", "--yes", "--export", "gru.jsonl")
    world.run("prune", "--keep-jobs", "1", "--yes")
    world.run("delete", "job", "night-2", "--yes")
    world.run("delete", "board", "digits", "--yes")


def of_a_cluster(world: World) -> None:
    world.run("get", redis=False)
    world.run("status", "race", redis=False)
    world.run("logs", "race", redis=False)
    world.run("logs", "race", "--search", redis=False)
    world.run("wait", "race", redis=False)
    world.run("wait", "race", "--for", "failed", code=4, redis=False)
    world.run("delete", "race", "--yes", redis=False)


def with_images(world: World, registry: Registry) -> None:
    registry.push("ours", "v1")
    (world.folder / "images.yaml").write_text(IMAGES.replace("HOST", registry.host))
    world.run("pin", "images.yaml", "--insecure", "--dry-run", redis=False)
    world.run("pin", "images.yaml", "--insecure", "-o", "-", redis=False)
    world.run("pin", "images.yaml", "--insecure", redis=False)


def in_a_browser(world: World) -> None:
    line = [sys.executable, "-m", "velodrome", "leaderboard", "--json", "--redis", world.url]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        try:
            world.written["leaderboard"] = [json.loads(served.stdout.readline())]
        finally:
            served.terminate()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, list[dict[str, Any]]]]:
    """What each command wrote in one day of a person who uses all of them."""
    folder = tmp_path_factory.mktemp("world")
    with TemporaryDirectory(prefix="vj-") as short, pytest.MonkeyPatch.context() as shell:  # a socket's path is short
        shell.chdir(folder)
        shell.setenv("PATH", f"{a_cluster(folder / 'bin', Race())}:{os.environ['PATH']}")
        shell.setenv("VELODROME_HOME", str(folder / "home"))
        shell.setenv("HOME", str(folder))
        shell.delenv("VELODROME_REDIS_URL", raising=False)
        server = RedisServer(any_redis(), Path(short))
        server.start()
        try:
            yield day(World(folder, server.url))
        finally:
            server.stop()


def day(world: World) -> Mapping[str, list[dict[str, Any]]]:
    """What each command wrote."""
    fill(world.url)
    on_this_machine(world)
    of_results(world)
    in_a_browser(world)
    moved(world)
    of_a_cluster(world)
    registry = Registry(world.folder / "registry")
    registry.start()
    try:
        with_images(world, registry)
    finally:
        registry.stop()
    with installed(world.folder / "installed") as path:
        world.start("rotate", "--cluster", "--no-wait", path=path)
    return world.written


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({"$defs": SCHEMA["$defs"], **schema})


def test_every_command_has_json_and_is_documented() -> None:
    without = [name for name, one in ALL.items() if not any("--json" in option.opts for option in one.params)]
    assert without == []
    assert set(ALL) == set(COMMANDS)


@pytest.mark.parametrize("command", ALL)
def test_a_command_writes_what_is_documented(written: Mapping[str, list[dict[str, Any]]], command: str) -> None:
    found = written[command]
    whole = validator(SCHEMA["commands"][command])
    for document in found:
        assert next(iter(document.items())) == ("schema", JSON_SCHEMA)
        assert not list(whole.iter_errors(document)), (document, [one.message for one in whole.iter_errors(document)])
    for shape, one in zip(COMMANDS[command].shapes, SCHEMA["commands"][command]["anyOf"], strict=True):
        seen = any(validator(one).is_valid(document) for document in found)
        assert seen or shape.options in SEEN_ELSEWHERE, (command, shape.options)


@pytest.mark.parametrize("command", ALL)
def test_a_mistake_is_told_as_json_by_every_command(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--json", "--no-such-option"])
    (document,) = documents(done.stdout)
    assert validator(SCHEMA["error"]).is_valid(document), document
    assert (document["schema"], document["error"]["field"]) == (JSON_SCHEMA, "--no-such-option")
    assert document["error"]["exit_code"] == done.exit_code == 2


def test_the_events_of_a_race_are_as_declared() -> None:
    race = Race(spec={"trials": {"repeats": 2, "until": {"decided": ["accuracy"], "maxRepeats": 4}}})
    seen: list[Mapping[str, object]] = []
    trial, whole = race.plan.trial(0), validator(SCHEMA["commands"]["run"])
    rounds = race.info.rounds
    assert rounds is not None
    write = JsonLines(seen.append, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    for event in (
        events.RoundBegun(rounds, (6, 7), (), 8),
        events.TrialProgressed(trial, race.progress(0)),
        events.TrialWithdrawn(trial),
        events.Waiting("another race runs"),
        events.Resumed(),
        events.Note("the disk is nearly full"),
    ):
        write(event)
        document = json.loads(json.dumps({"schema": JSON_SCHEMA, **seen[-1]}))
        assert not list(whole.iter_errors(document)), document
    assert {document["event"] for document in seen} == {
        *("round", "progress", "withdrawn", "waiting", "resumed", "note"),
    }
