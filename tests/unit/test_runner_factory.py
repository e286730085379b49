"""Data that come from a team's own code."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset, Preprocessing, Training
from velodrome_runner import tasks
from velodrome_runner.data import Contents, Memory, loading, open_contents, whole
from velodrome_runner.data.loading import read
from velodrome_runner.data.report import answer

Install = Callable[[Callable[..., Any]], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a function the factory `team_data:make`."""

    def put(factory: Callable[..., Any]) -> None:
        module = ModuleType("team_data")
        module.make = factory  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "team_data", module)

    return put


def job(**fields: Any) -> Dataset:
    return Dataset.model_validate({"name": "ours", "format": "team_data:make"} | fields)


def contents(**fields: Any) -> Contents:
    return read(job(**fields), Path("/data"))


def refusal(reason: str = "DatasetInvalid", **fields: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        contents(**fields)
    assert caught.value.reason == reason
    return str(caught.value)


LABELS = torch.arange(12) % 3


def images(count: int = 12) -> TensorDataset:
    return TensorDataset(torch.arange(count * 48, dtype=torch.uint8).view(count, 3, 4, 4), LABELS[:count])


def test_images_rows_and_sequences_are_told_by_their_shape(install: Install) -> None:
    install(lambda: {"train": images(), "test": images()})
    found = contents()
    assert (found.kind, found.schema.shape, found.schema.classes) == ("images", (3, 4, 4), ("0", "1", "2"))
    assert isinstance(found.splits["train"], Memory)
    assert torch.equal(whole(found.splits["train"]).inputs["images"], images().tensors[0])
    rows = torch.randn(12, 5)
    install(lambda: (TensorDataset(rows, LABELS), TensorDataset(rows, LABELS)))
    found = contents()
    assert (found.kind, found.schema.shape) == ("table", (5,))
    assert torch.equal(whole(found.splits["test"]).inputs["numeric"], rows.double())
    series = [(torch.ones(2, 3 + number % 4), float(number)) for number in range(12)]
    install(lambda: (series, series[:3], series[:5]))
    found = contents()
    assert (found.kind, found.schema.shape, found.schema.classes) == ("sequences", (2, 6), None)
    assert {name: len(source) for name, source in found.splits.items()} == {"train": 12, "validation": 3, "test": 5}
    samples = whole(found.splits["validation"])
    assert samples.inputs["values"].shape == (3, 2, 5)
    assert samples.inputs["values"].sum((1, 2)).tolist() == [6, 8, 10]
    assert samples.inputs["lengths"].tolist() == [3, 4, 5]
    assert samples.targets.tolist() == [0, 1, 2]


def test_pictures_arrays_and_names_of_classes_are_taken(install: Install) -> None:
    class Pictures:
        classes = ("cat", "dog")

        def __init__(self, mode: str) -> None:
            self.mode = mode

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> tuple[Image.Image, np.int64]:
            return Image.new("RGB", (4, 2), (index, 0, 0)).convert(self.mode), np.int64(index % 2)

    install(lambda: (Pictures("RGB"), Pictures("RGB")))
    found = contents()
    assert (found.schema.shape, found.schema.classes) == ((3, 2, 4), ("cat", "dog"))
    assert whole(found.splits["train"]).inputs["images"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    install(lambda: (Pictures("L"), Pictures("L")))
    assert contents().schema.shape == (1, 2, 4)


def test_the_factory_gets_its_arguments_and_the_folder(install: Install) -> None:
    seen: dict[str, Any] = {}

    def make(count: int, root: str) -> Any:
        seen.update(count=count, root=root)
        return images(count), images(count)

    install(make)
    contents(args={"count": 9}, source={"path": "here"})
    assert seen == {"count": 9, "root": "/data/here"}
    assert "does not take spec.dataset.args" in refusal(args={"size": 9})


def test_one_dataset_is_split_by_fractions(install: Install) -> None:
    rows = torch.arange(200, dtype=torch.float64).view(100, 2)
    install(lambda: TensorDataset(rows, torch.arange(100) % 2))
    splits = {"fractions": {"test": 0.3}}
    first, other = (open_contents(job(splits=splits), folder=Path(), seed=seed) for seed in (0, 1))
    assert torch.equal(
        whole(first.contents.splits["test"]).inputs["numeric"], whole(other.contents.splits["test"]).inputs["numeric"]
    )
    assert 15 < first.facts.test_samples < 45
    assert "or write spec.dataset.splits.fractions" in refusal()


def test_what_does_not_fit_in_memory_is_read_by_index(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(lambda: (images(), images()))
    inside = contents()
    monkeypatch.setattr(loading, "fits", lambda *_: False)
    outside = contents()
    assert not isinstance(outside.splits["train"], Memory)
    assert outside.digest == inside.digest
    taken = outside.splits["train"].take(torch.tensor([3, 1]))
    assert torch.equal(taken.inputs["images"], images().tensors[0][[3, 1]])


def test_the_digest_is_of_inputs_and_targets(install: Install) -> None:
    def digest(change: int, label: int) -> str:
        pixels, labels = images().tensors[0].clone(), LABELS.clone()
        pixels[11, 2, 3, 3] += change
        labels[0] += label
        install(lambda: (TensorDataset(pixels, labels), images()))
        return contents().digest

    assert digest(0, 0) == digest(0, 0)
    assert len({digest(0, 0), digest(1, 0), digest(0, 1)}) == 3
    install(lambda: (images(), images()))
    with pytest.raises(ConfigurationError) as caught:
        open_contents(job(digest="sha256:" + "0" * 64), folder=Path(), seed=0)
    assert caught.value.reason == "DatasetDigestMismatch"


def dataset(*items: Any) -> list[Any]:
    return list(items)


def named(*classes: str) -> TensorDataset:
    found = images()
    found.classes = classes  # type: ignore[attr-defined]
    return found


ROW = torch.zeros(2)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned NoneType: return a torch dataset for each split"),
        ({"train": images(), "valid": images()}, "returned the splits train, valid"),
        ({"train": images(), "test": 5}, "returned int for test"),
        ((images(), []), "the test split of team_data:make is empty"),
        ((dataset(ROW), images()), "item 0 of team_data:make, train is Tensor, and not (input, target)"),
        ((dataset((ROW, "cat")), images()), "the target of item 0 of team_data:make, train is str"),
        ((dataset(("text", 1)), images()), "the input of item 0 of team_data:make, train is str: give a tensor"),
        ((dataset((torch.zeros(2, 2, 2, 2), 1)), images()), "has the shape (2, 2, 2, 2): give an image"),
        ((dataset((torch.zeros(3, 4, 4), 1)), images()), "is torch.float32: give raw pixels as torch.uint8"),
        ((dataset((torch.zeros(1, 1), 1)), images()), "is a sequence of length 1: leave it out"),
        ((dataset((torch.full((1, 3), torch.nan), 1)), images()), "has a value that is missing, infinite or too large"),
        ((dataset((torch.full((4,), 1e39, dtype=torch.float64), 1)), images()), "infinite or too large for float32"),
        ((dataset((ROW, 0), (torch.zeros(3), 1)), images()), "has the shape (3,), and item 0 has (2,)"),
        ((dataset((ROW, 0), (ROW, 0.5)), images()), "give all of them one type"),
        ((dataset((ROW, 0), (ROW, 1)), images()), "gives images for test and table for train"),
        ((images(2), images()), "the labels of the test split of ours go from 0 to 2, for 2 classes"),
        ((dataset((np.array(["a"]), 1)), images()), "is an array of <U1: give numbers"),
        ((dataset((ROW.to(torch.complex64), 1)), images()), "is torch.complex64: give real numbers"),
        ((dataset((torch.zeros(9, 8, 3, dtype=torch.uint8), 1)), images()), "give them first, as (3, 9, 8)"),
        ((dataset((ROW, 2**70)), images()), "is 1180591620717411303424: labels count the classes from 0 on"),
        ((dataset((ROW, 10**9)), dataset((ROW, 0))), "go up to 1000000000, for 1 samples: labels count"),
        ((dataset((ROW, -4)), dataset((ROW, 0))), "go up to -4, for 1 samples: labels count the classes from 0 on"),
        (
            (named("cat", "cat"), images()),
            "train, classes: the class 'cat' is there twice: give each",
        ),
    ],
)
def test_a_factory_that_returns_something_else_is_told_what_to_return(
    install: Install, returned: Any, message: str
) -> None:
    install(lambda: returned)
    assert message in refusal()


@pytest.mark.parametrize("mode", ["P", "1", "CMYK", "RGBA", "I;16"])
def test_pictures_of_another_mode_are_refused(install: Install, mode: str) -> None:
    pictures = [(Image.new(mode, (4, 2)), number % 2) for number in range(4)]
    install(lambda: (pictures, pictures))
    assert f"is of Pillow's mode {mode}: give 'RGB' or 'L'" in refusal()


def test_arrays_and_tensors_of_every_layout_are_taken(install: Install) -> None:
    rows = np.arange(24, dtype=np.float64).reshape(12, 2)
    for given in (rows[:, ::-1], rows.astype(">f8")):
        items = list(zip(given, LABELS.tolist(), strict=True))
        install(lambda items=items: (items, items))
        assert np.array_equal(whole(contents().splits["train"]).inputs["numeric"].numpy(), given)
    learned = torch.ones(12, 2, requires_grad=True)
    install(lambda: (TensorDataset(learned, LABELS), TensorDataset(learned, LABELS)))
    assert whole(contents().splits["train"]).inputs["numeric"].sum() == 24


def test_sequences_of_one_length_are_told_from_others(install: Install) -> None:
    equal = [(torch.ones(2, 5), number % 2) for number in range(4)]
    install(lambda: (equal, equal))
    assert contents().schema.equal
    install(lambda: (equal, [*equal, (torch.ones(2, 4), 0)]))
    assert not contents().schema.equal


def test_splits_of_a_factory_are_not_split_by_fractions(install: Install) -> None:
    install(lambda: (images(), images()))
    assert "leave the fractions out" in refusal(splits={"fractions": {"test": 0.2}})


def test_augmentations_of_data_that_are_no_images_are_refused(install: Install) -> None:
    rows = TensorDataset(torch.randn(12, 5), LABELS)
    install(lambda: (rows, rows))
    flips = Preprocessing.model_validate({"augmentations": [{"name": "RandomHorizontalFlip"}]})
    with pytest.raises(ConfigurationError, match="RandomHorizontalFlip is for images, and these data are a table"):
        tasks.fit("classification", contents(), flips, Training(), device=torch.device("cpu"), seed=0)


def test_a_factory_that_raises_or_is_missing_is_named(install: Install, tmp_path: Path) -> None:
    def broken() -> None:
        raise KeyError("gone")

    install(broken)
    assert refusal("DatasetFactoryFailed") == "team_data:make raised KeyError: 'gone'"
    assert "has no other: check spec.dataset.format" in refusal("DatasetMissing", format="team_data:other")
    assert "there is no module nowhere" in refusal("DatasetMissing", format="nowhere.data:make")

    class Broken(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            raise OSError("no such file")

    install(lambda: (Broken([1]), images()))
    assert "item 0 of team_data:make, train raised OSError: no such file" in refusal("DatasetFactoryFailed")

    class Endless(list[Any]):
        def __len__(self) -> int:
            raise TypeError("unknown")

    install(lambda: (Endless(), images()))
    assert "the length of team_data:make, train, raised TypeError: unknown" in refusal("DatasetFactoryFailed")


def test_what_a_factory_prints_is_no_part_of_the_report(install: Install) -> None:
    def make() -> Any:
        sys.stdout.write("loading")
        return images(), images()

    install(make)
    said = io.StringIO()
    question = {"dataset": job(validationFraction=0).model_dump(mode="json", by_alias=True), "folder": "/data"}
    with contextlib.redirect_stdout(said):
        assert answer(io.StringIO(json.dumps(question)), said) == 0
    assert json.loads(said.getvalue().strip().splitlines()[-1])["kind"] == "images"
