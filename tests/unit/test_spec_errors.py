"""What a person reads when a BenchmarkJob is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from velodrome.errors import SpecError
from velodrome.spec import parse_jobs, read_jobs

BAD = Path(__file__).parents[1] / "bad"
FILES = sorted(BAD.glob("*.yaml"))


def complaint(path: Path) -> str:
    """The whole error of a file, without the folder that it lies in."""
    with pytest.raises(SpecError) as caught:
        read_jobs(path)
    return f"{caught.value}\n".replace(f"{path.parent}/", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_this_text(path: Path, golden: Callable[[str, str], None]) -> None:
    golden(f"bad/{path.stem}.txt", complaint(path))


def test_there_is_no_text_without_its_file() -> None:
    texts = (Path(__file__).parent / "golden" / "bad").glob("*.txt")
    assert [path.stem for path in FILES] == sorted(path.stem for path in texts)


def test_a_flood_of_problems_is_shown_in_part_and_kept_whole() -> None:
    job = (BAD / "misspelt-metadata.yaml").read_text(encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        parse_jobs("---\n".join([job] * 150))
    assert len(caught.value.problems) == 300
    assert str(caught.value).count("\n") == 101
    assert str(caught.value).endswith("\n  … and 200 more")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_problem_names_its_line_and_speaks_no_pydantic(path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_jobs(path)
    for problem in caught.value.problems:
        assert problem.line is not None or path.stem == "empty"
        assert "Input should" not in problem.message


TINY = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: tiny}
spec:
  dataset: {name: digits}
  entries: [{name: a, model: {name: velodrome/mlp}}]
  trials: {repeats: null}
"""
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n"


def listed(*objects: str) -> str:
    """A List of objects, as kubectl writes it."""
    items = ["- " + text.rstrip().replace("\n", "\n  ") for text in objects]
    return "\n".join(["apiVersion: v1", "kind: List", "items:", *items, ""])


@pytest.mark.parametrize(
    "text",
    [
        f"{NAMESPACE}---\n{TINY}",
        f"{TINY}---\n{NAMESPACE}",
        listed(TINY),
        listed(NAMESPACE, TINY),
        listed(listed(TINY), NAMESPACE),
        TINY.replace("{repeats: null}", ""),
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(NAMESPACE), yaml.safe_load(TINY)]}),
    ],
    ids=["behind-a-namespace", "before-one", "list", "list-with-a-namespace", "lists", "empty-trials", "json"],
)
def test_a_file_that_kubectl_takes_is_taken(text: str) -> None:
    assert parse_jobs(text) == parse_jobs(TINY)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (listed(NAMESPACE, TINY.replace("null", "many")), "line 13: spec.trials.repeats: must be a whole number"),
        (listed(TINY, TINY), "metadata.name: another document is called tiny too"),
        (NAMESPACE, 'kind: "Namespace" is another kind of object'),
        (listed(NAMESPACE), 'line 5: kind: "Namespace" is another kind of object'),
        ("apiVersion: v1\nkind: List\nitems: []\n", "holds no BenchmarkJob"),
        (
            f"{NAMESPACE}---\n{TINY.replace('BenchmarkJob', 'BenchmarkJobs')}",
            'kind: "BenchmarkJobs" is not allowed here',
        ),
        (f"{NAMESPACE}---\n{TINY.replace('v1alpha1', 'v9')}", 'apiVersion: "velodrome.dev/v9" is not allowed here'),
    ],
)
def test_what_is_wrong_beside_other_objects_is_reported_with_its_line(text: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_jobs(text)
    assert says in str(caught.value)
