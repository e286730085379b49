"""Sets of the UCR/UEA archive, which the wheel of aeon carries, and files that can't be used."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset
from velodrome_runner.data import Contents, open_contents, whole
from velodrome_runner.data.loading import read

SPEC = find_spec("aeon")
assert SPEC is not None
assert SPEC.submodule_search_locations is not None
ARCHIVE = Path(SPEC.submodule_search_locations[0]) / "datasets" / "data"


def job(name: str, **fields: Any) -> Dataset:
    return Dataset.model_validate({"name": name, "format": "TimeSeries", "source": {"path": name}} | fields)


@pytest.mark.parametrize(
    ("name", "train", "test", "shape", "classes", "equal"),
    [
        ("GunPoint", 50, 150, (1, 150), 2, True),
        ("ItalyPowerDemand", 67, 1029, (1, 24), 2, True),
        ("JapaneseVowels", 270, 370, (12, 29), 9, False),
        ("BasicMotions", 40, 40, (6, 100), 4, True),
    ],
)  # the sizes that the archive publishes
def test_sets_of_the_archive_are_read_whole(
    name: str, train: int, test: int, shape: tuple[int, int], classes: int, *, equal: bool
) -> None:
    found = read(job(name), ARCHIVE)
    assert (found.kind, found.schema.shape, found.schema.equal) == ("sequences", shape, equal)
    assert (len(found.splits["train"]), len(found.splits["test"])) == (train, test)
    assert found.schema.classes is not None
    assert len(found.schema.classes) == classes
    for split, ending in (("train", "TRAIN"), ("test", "TEST")):
        samples = whole(found.splits[split])
        text = (ARCHIVE / name / f"{name}_{ending}.ts").read_text(encoding="utf-8")
        lines = text.lower().partition("@data")[2].split()
        for row in (0, len(lines) // 2, len(lines) - 1):
            *dimensions, label = lines[row].split(":")
            expected = np.array([each.split(",") for each in dimensions], dtype=np.float32)
            length = int(samples.inputs["lengths"][row])
            assert length == expected.shape[1]
            assert torch.equal(samples.inputs["values"][row, :, :length], torch.from_numpy(expected))
            assert not samples.inputs["values"][row, :, length:].any()
            assert found.schema.classes[int(samples.targets[row])].lower() == label


def test_unequal_lengths_are_told(tmp_path: Path) -> None:
    lengths = whole(read(job("JapaneseVowels"), ARCHIVE).splits["train"]).inputs["lengths"]
    assert (int(lengths.min()), int(lengths.max())) == (7, 26)


HEADER = "@problemName own\n@timeStamps false\n@univariate true\n@classLabel true up down\n@data\n"


def write(folder: Path, train: str, test: str | None = None) -> Contents:
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "own_TRAIN.ts").write_text(train, encoding="utf-8")
    (folder / "own" / "own_TEST.ts").write_text(train if test is None else test, encoding="utf-8")
    return read(job("own"), folder)


GOOD = "1,2,3:up\n3,2,1:down\n2,3:up\n"


def test_a_set_of_ones_own_is_padded_with_zeros(tmp_path: Path) -> None:
    found = write(tmp_path, "\ufeff# by us\n" + HEADER + GOOD)
    samples = whole(found.splits["train"])
    assert samples.inputs["values"].tolist() == [[[1, 2, 3]], [[3, 2, 1]], [[2, 3, 0]]]
    assert samples.inputs["lengths"].tolist() == [3, 3, 2]
    assert samples.targets.tolist() == [0, 1, 0]


def test_values_to_predict_are_numbers(tmp_path: Path) -> None:
    found = write(tmp_path, HEADER.replace("@classLabel true up down", "@targetlabel true") + "1,2:0.5\n2,3:-4\n")
    assert found.schema.classes is None
    assert whole(found.splits["train"]).targets.tolist() == [0.5, -4]


def test_one_file_is_split_by_fractions(tmp_path: Path) -> None:
    lines = "".join(f"{n},{n % 7},{n % 3}:{'up' if n % 2 else 'down'}\n" for n in range(100))
    (tmp_path / "all.ts").write_text(HEADER + lines, encoding="utf-8")
    fields = {"source": {"path": "all.ts"}, "splits": {"fractions": {"test": 0.3, "validation": 0.2}}}
    first, other = (open_contents(job("own", **fields), folder=tmp_path, seed=seed) for seed in (1, 2))
    assert first.facts == other.facts
    assert first.facts.train_samples + first.facts.validation_samples + first.facts.test_samples == 100
    assert torch.equal(whole(first.contents.splits["test"]).targets, whole(other.contents.splits["test"]).targets)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + GOOD + ":up\n", "line 9 of"),
        (HEADER + GOOD + ":up\n", "is a series of length 0"),
        (HEADER + GOOD + "4:up\n", "is a series of length 1: remove it"),
        (HEADER + GOOD + "4,?:up\n", "has a missing value: fill it in"),
        (HEADER + GOOD + "4,NaN:up\n", "has a value that is missing, infinite or too large for float32"),
        (HEADER + GOOD + "4,x:up\n", "has 'x', which is no number"),
        (HEADER + GOOD + "4,5:left\n", "is of the class 'left', and @classLabel has up, down"),
        (HEADER + GOOD + "4,5\n", "has no colon between its values and its class"),
        (HEADER + GOOD + "1,2:3,4:up\n", "has 2 dimensions, and the first series has 1"),
        (HEADER + "1,2:3:up\n", "has dimensions of the lengths [1, 2]"),
        (HEADER, "has no series after @data"),
        (GOOD, "has no line @data"),
        (GOOD + HEADER, "line 1 of"),
        (HEADER.replace("@timeStamps false", "@timeStamps true") + GOOD, "has time stamps"),
        (HEADER.replace("@classLabel true up down", "@classLabel false") + GOOD, "names no classes"),
        (HEADER.replace("@timeStamps false", "@timeStamps").replace("@data", "@data\n4:up"), "is a series of length 1"),
        (HEADER.replace("@classLabel true up down", "@classLabel") + GOOD, "names no classes"),
        (HEADER.replace("@data", "@equalLength true\n@data") + GOOD, "line 9 of"),
        (
            HEADER.replace("@data", "@equalLength true\n@data") + GOOD,
            "has 2 steps, the first series has 3, and the head",
        ),
        (HEADER + "1,2:up\n2,1:up\n", "are of the class up: give it samples of a second class"),
    ],
)
def test_a_series_that_can_not_be_used_is_refused_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        write(tmp_path, text)
    assert message in str(caught.value)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="declares other classes"):
        write(tmp_path, HEADER + GOOD, HEADER.replace("down", "left down") + GOOD)
    with pytest.raises(ConfigurationError, match="has 2 dimensions, the first file 1"):
        write(tmp_path, HEADER + GOOD, HEADER + "1,2:1,2:up\n")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no .*own_TRAIN\.ts") as caught:
        read(job("own"), tmp_path)
    assert caught.value.reason == "DatasetMissing"


def test_series_that_changed_under_a_pinned_digest_fail(tmp_path: Path) -> None:
    pinned = write(tmp_path, HEADER + GOOD).digest
    open_contents(job("own", digest=pinned, validationFraction=0), folder=tmp_path, seed=0)
    write(tmp_path, HEADER + GOOD.replace("3,2,1", "3,2,0"))
    with pytest.raises(ConfigurationError) as caught:
        open_contents(job("own", digest=pinned, validationFraction=0), folder=tmp_path, seed=0)
    assert caught.value.reason == "DatasetDigestMismatch"
