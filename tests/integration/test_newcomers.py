"""What newcomers type wrongly, on the command line and in YAML: each mistake is named once, with its place and its fix.

One process has imported the command line, and forks for each mistake: a start takes longer than all that is looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.timeout(600)
DRIVER = """
import json, os, sys
import velodrome.cli.app
from velodrome.__main__ import main
for line in sys.stdin:
    folder, arguments, said = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0), os.dup2(file, 1), os.dup2(file, 2)
        sys.argv = ["velodrome", *arguments]
        main()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
JOB: Final = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata:
  name: first-race
spec:
  objectives:
    - {name: accuracy, metric: accuracy}
    - {name: speed, metric: latency_p50_seconds, batchSize: 1}
  dataset: {name: digits}
  budget: {maxEpochs: 15}
  training:
    optimizer: {name: AdamW, learningRate: 0.003}
    regularization: {l2: 0.01, dropout: 0.1}
  entries:
    - {name: cnn, model: {name: velodrome/cnn}}
    - {name: mlp, model: {name: velodrome/mlp}}
  trials: {repeats: 5}
"""


class Driver:
    """Says what a command says, and how it ends."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "said"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VELODROME_")}
        # No kubectl: most newcomers have none.
        environ |= {"VELODROME_HOME": str(folder / "home"), "PATH": str(folder), "COLUMNS": "100"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )

    def velodrome(self, folder: Path, *arguments: str) -> tuple[int, str]:
        """Both outputs, as one text without line breaks, since these depend on the width."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), arguments, str(self._said)]) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, " ".join(self._said.read_text(encoding="utf-8").split())

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    found = Driver(tmp_path_factory.mktemp("driver"))
    yield found
    found.close()


IN_YAML: Final[dict[str, tuple[str, str, int, str]]] = {
    # what it is: (what stands there, what is written, the line of the mistake, the fix)
    "another tool's name of a field": ("learningRate", "lr", 12, 'did you mean "learningRate"?'),
    "a field in another style": ("learningRate", "learning_rate", 12, 'did you mean "learningRate"?'),
    "a misspelt section": ("  entries:", "  entrys:", 14, 'did you mean "entries"?'),
    "a field without its end": ("maxEpochs", "epochs", 10, 'did you mean "maxEpochs"?'),
    "a number of seeds": ("repeats: 5", "seeds: 5", 17, 'did you mean "repeats"?'),
    "a number in words": ("maxEpochs: 15", "maxEpochs: fifteen", 10, "must be a whole number"),
    "half an epoch": ("maxEpochs: 15", "maxEpochs: 1.5", 10, "must be a whole number, not 1.5"),
    "a number in quotes": ("maxEpochs: 15", 'maxEpochs: "15"', 10, "numbers stand without quotes: 15"),
    "a time with a unit": ("maxEpochs: 15", "maxSeconds: 10m", 10, "Largest training time in seconds"),
    "a share in percent": ("dropout: 0.1", "dropout: 10", 13, "must be less than 1, not 10"),
    "no seeds at all": ("repeats: 5", "repeats: 0", 17, "must be at least 1, not 0"),
    "a tab": ("  budget:", "\tbudget:", 10, "indent with spaces"),
    "a line that is indented too little": ("  trials:", " trials:", 17, "begin in the same column"),
    "a line that is indented too far": ("  budget:", "    budget:", 10, "begin in the same column"),
    "a text with a colon": ("first-race", "first: race", 4, "lacks its quotes"),
    "a colon without a space": ("maxEpochs: 15", "maxEpochs:15", 10, 'did you mean "maxEpochs"?'),
    "a bracket that stays open": ("{name: digits}", "{name: digits", 10, "that begins in line 9 is not closed"),
    "a short name of a metric": ("metric: accuracy", "metric: acc", 7, 'did you mean "accuracy"?'),
    "a metric without its statistic": ("latency_p50_seconds", "latency", 8, 'did you mean "latency_p50_seconds"?'),
    "a model without its library": ("velodrome/cnn", "resnet18", 15, 'did you mean "torchvision/resnet18"?'),
    "a model in capitals": ("velodrome/cnn", "velodrome/CNN", 15, 'did you mean "velodrome/cnn"?'),
    "a bare model": ("{name: velodrome/cnn}", "velodrome/cnn", 15, "write {name: velodrome/cnn}"),
    "a bare entry": ("{name: cnn, model: {name: velodrome/cnn}}", "velodrome/cnn", 15, "write {name: cnn, model:"),
    "a bare objective": ("{name: accuracy, metric: accuracy}", "accuracy", 7, "write {name: accuracy, metric: accur"),
    "a bare optimizer": ("{name: AdamW, learningRate: 0.003}", "AdamW", 12, "write {name: AdamW}"),
    "an optimizer in small letters": ("AdamW", "adamw", 12, 'did you mean "AdamW"?'),
    "another spelling of the data": ("digits", "cifar-10", 9, 'did you mean "CIFAR10"?'),
    "data without a format": ("{name: digits}", "{name: mine, path: x.csv}", 9, "it belongs in source"),
    "a setting on an entry": (
        "name: velodrome/mlp}", "name: velodrome/mlp}, learningRate: 0.1", 16, "it belongs in training.optimizer",
    ),
    "a condition on an entry": ("name: velodrome/mlp}", "name: velodrome/mlp}, budget: {maxEpochs: 3}", 16,
                                "set spec.budget"),
    "two entries of one name": ("name: mlp,", "name: cnn,", 16, "names are unique"),
    "a section that stands twice": ("  trials:", "  budget: {maxEpochs: 3}\n  trials:", 17, "is written twice"),
    "a name with capitals": ("first-race", "First_Race", 4, "lower-case letters, digits and -"),
    "another version": ("v1alpha1", "v1", 1, 'did you mean "velodrome.dev/v1alpha1"?'),
}  # fmt: skip


@pytest.mark.parametrize("mistake", IN_YAML)
def test_a_mistake_in_the_file_is_named_with_its_line_and_its_fix(driver: Driver, tmp_path: Path, mistake: str) -> None:
    there, written, line, fix = IN_YAML[mistake]
    assert JOB.count(there) >= 1
    (tmp_path / "race.yaml").write_text(JOB.replace(there, written, 1), encoding="utf-8")
    code, said = driver.velodrome(tmp_path, "validate", "race.yaml")
    assert code == 2
    assert said.startswith("race.yaml: ")
    assert fix in said.partition(f" line {line}: ")[2], said
    assert "Traceback" not in said


def test_the_file_itself_is_right(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "race.yaml").write_text(JOB, encoding="utf-8")
    assert driver.velodrome(tmp_path, "validate", "race.yaml")[0] == 0


TYPED: Final[dict[str, tuple[int, str]]] = {
    "run race.yml": (2, 'did you mean "race.yaml"?'),
    "run": (2, "Missing argument 'FILE'"),
    "run race.yaml other.yaml": (2, "unexpected extra argument"),
    "rnu race.yaml": (2, "Did you mean 'run'?"),
    "help": (2, "Try 'velodrome -h' for help"),
    "run race.yaml --parrallel 2": (2, "--parallel"),
    "run race.yaml --parallel two": (2, "'--parallel'"),
    "run race.yaml --parallel 0": (2, "greater than or equal to 1"),
    "run race.yaml --seeds 3": (2, "trials.repeats"),
    "run race.yaml --port 9000": (2, "--serve"),
    "run race.yaml --redis localhost:6379": (2, "it has no scheme; write redis://"),
    "--redis redis://127.0.0.1:1 results": (2, "stands behind its name: velodrome COMMAND --redis"),
    "validate .": (2, "Is a directory"),
    "results": (2, "Nothing has been raced here yet. Try: velodrome init"),
    "results digits": (2, "Nothing has been raced here yet"),
    "show": (2, "Missing argument 'RUN'"),
    "compare digits": (2, "Missing argument"),
    "delete board digits": (2, "nothing has been raced"),
    "delete digits": (3, "delete job digits"),
    "import race.yaml": (2, "is no export of Velodrome"),
    "import results.jsonl": (2, "can't be read: No such file"),
    "plan race.yaml --detect accuracy": (2, "accuracy=0.005"),
    "plan race.yaml --detect acc=0.01": (2, "accuracy"),
    "prune": (2, "--keep-jobs"),
    "prune --older-than 90": (2, "90d"),
    "hide digits/cnn/0": (2, "--reason"),
    "leaderboard --port 99999": (2, "65535"),
    "status digits": (3, "kubectl"),
    "data chek race.yaml": (2, "Did you mean 'check'?"),
    "init race.yaml": (2, "add --force"),
}


@pytest.mark.parametrize("typed", TYPED)
def test_a_mistake_in_a_command_is_named_with_its_fix(driver: Driver, tmp_path: Path, typed: str) -> None:
    code, fix = TYPED[typed]
    (tmp_path / "race.yaml").write_text(JOB, encoding="utf-8")
    found, said = driver.velodrome(tmp_path, *typed.split())
    assert (found, fix.casefold() in said.casefold()) == (code, True), f"{found}: {said}"
    assert "Traceback" not in said
