"""Names that are left to be made."""

from __future__ import annotations

import re
from typing import Any

import pytest

from velodrome.errors import SpecError
from velodrome.spec import BenchmarkJob, parse_jobs, validate
from velodrome.spec.generated import is_generated


def job(repeats: int = 5, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": metadata,
        "spec": {
            "dataset": {"name": "digits"},
            "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
            "trials": {"repeats": repeats},
        },
    }


def name_of(made: BenchmarkJob) -> str:
    return made.metadata.name


@pytest.mark.parametrize("prefix", ["nightly-", "nightly", "n", "a" * 58, "a" * 70, "a" * 57 + "--"])
def test_a_name_is_made_of_what_generates_it(prefix: str) -> None:
    made = name_of(validate(job(generateName=prefix)))
    assert re.fullmatch(rf"{prefix[:58]}[a-z0-9]{{5}}", made)


@pytest.mark.parametrize("name", [None, ""])
def test_a_name_that_is_none_counts_as_none(name: str | None) -> None:
    assert name_of(validate(job(name=name, generateName="n-"))).startswith("n-")


def test_a_name_that_is_written_wins() -> None:
    assert name_of(validate(job(name="mine", generateName="N_"))) == "mine"


def test_the_same_file_is_the_same_job_and_another_spec_is_another() -> None:
    one, same, other = (name_of(validate(job(repeats, generateName="n-"))) for repeats in (5, 5, 6))
    assert one == same != other


@pytest.mark.parametrize("prefix", ["Nightly-", "-n", "n.x-", "n_"])
def test_what_no_name_can_begin_with_is_refused_where_it_stands(prefix: str) -> None:
    with pytest.raises(SpecError, match=r"metadata\.generateName: .*characters"):
        validate(job(generateName=prefix))


@pytest.mark.parametrize("metadata", [{}, {"generateName": ""}, {"generateName": None}])
def test_a_job_without_either_is_refused(metadata: dict[str, Any]) -> None:
    assert not is_generated(job(**metadata))
    with pytest.raises(SpecError, match=r"metadata\.name: is missing"):
        validate(job(**metadata))


def test_a_file_may_hold_several() -> None:
    import yaml

    jobs = parse_jobs(yaml.safe_dump_all([job(5, generateName="n-"), job(6, generateName="n-")]))
    assert len({name_of(made) for made in jobs}) == 2
