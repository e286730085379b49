"""What a CronJob makes of a file of BenchmarkJobs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from velodrome.errors import SpecError
from velodrome_operator.cluster import Cluster
from velodrome_operator.submit import documents, main, submit

RACE = (Path(__file__).resolve().parents[2] / "deploy/nightly/race.yaml").read_text(encoding="utf-8")


class Taken(Cluster):
    """An API server that has these names, and makes up a name where one is to be generated."""

    def __init__(self, *names: str) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # nothing is called
        self.made: list[Mapping[str, Any]] = []
        self.names = set(names)

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
        metadata = manifest["metadata"]
        name = metadata.get("name") or f"{metadata['generateName']}x{len(self.made)}"
        if name in self.names:
            return None
        self.made.append(manifest)
        return {**manifest, "metadata": {**metadata, "name": name}}


def test_a_name_is_left_to_the_api_server() -> None:
    (job,) = documents(RACE, "team")
    assert job["metadata"] == {"namespace": "team", "generateName": "nightly-"}
    cluster, told = Taken(), list[str]()
    asyncio.run(submit(cluster, [job, job], told.append))
    assert told == ["team/nightly-x0 made", "team/nightly-x1 made"]


def test_a_namespace_of_its_own_and_a_taken_name_stay() -> None:
    (job,) = documents(RACE.replace("{generateName: nightly-}", "{name: one, namespace: other}"), "team")
    assert job["metadata"]["namespace"] == "other"
    told = list[str]()
    asyncio.run(submit(Taken("one"), [job], told.append))
    assert told == ["other/one is there already, and stays as it is"]


def test_a_file_that_is_wrong_makes_nothing() -> None:
    with pytest.raises(SpecError, match="repeats"):
        documents(RACE.replace("{repeats: 5}", "{repeats: -5}"), "team")


def test_outside_of_a_pod_it_asks_for_a_namespace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "race.yaml")])
    assert "name a namespace" in capsys.readouterr().err
    assert main([str(tmp_path / "race.yaml"), "--namespace", "team"]) == 1
    assert "race.yaml" in capsys.readouterr().err
