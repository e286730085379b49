"""The examples with a team's own data: each raced in a small form, on real files in the format that it names."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.sounds import speech_commands

pytestmark = pytest.mark.timeout(400)  # each races several networks: a minute and more where a machine is busy

ROOT = Path(__file__).parents[2]
SMALL = {"repeats": 2, "baseSeed": 0}  # one trial of an entry has no rank


def vowels(folder: Path) -> None:
    """The files of the UCR/UEA archive that aeon ships."""
    aeon = find_spec("aeon")  # its modules need more than is installed: only its files are wanted
    assert aeon is not None
    assert aeon.origin is not None
    found = Path(aeon.origin).parent / "datasets/data/JapaneseVowels"
    (folder / "JapaneseVowels").mkdir()
    for name in ("JapaneseVowels_TRAIN.ts", "JapaneseVowels_TEST.ts"):
        shutil.copy(found / name, folder / "JapaneseVowels" / name)


def messages(folder: Path) -> None:
    """Messages of made words, in which some are more frequent where the label is spam."""
    noise = np.random.default_rng(9)
    rows = []
    for index in range(240):
        spam = index % 3 == 0
        words = noise.integers(0, 60, int(noise.integers(3, 15))).tolist()
        hints = noise.integers(60, 65, 4).tolist() if spam else noise.integers(65, 70, 4).tolist()
        said = " ".join(f"w{word}" for word in noise.permutation([*words, *hints]).tolist())
        rows.append(f'"{said.capitalize()}!",{"spam" if spam else "ham"}')
    (folder / "messages.csv").write_text("\n".join(["text,label", *rows]) + "\n")


def said(folder: Path) -> None:
    """Words that are tones, in the layout of Google's set."""
    speech_commands(folder / "speech_commands_v0.02")


def picture(path: Path, colour: int, noise: np.random.Generator, size: tuple[int, int] = (80, 64)) -> None:
    """A JPEG of one colour with noise: classes differ by their colour."""
    pixels = noise.integers(0, 90, (size[1], size[0], 3))
    pixels[..., colour] += 150
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)


def pictures(folder: Path) -> None:
    noise = np.random.default_rng(7)
    for part, count in (("train", 20), ("test", 6)):
        for colour, name in enumerate(("red", "green", "blue")):
            for index in range(count):
                picture(folder / "pictures" / part / name / f"{index}.jpg", colour, noise)


def imagenet(folder: Path) -> None:
    """ILSVRC2012 as torchvision lays it out: class folders by WordNet ids, and the meta file of the devkit."""
    noise = np.random.default_rng(8)
    ids = ("n01440764", "n01443537", "n01484850")
    for part, count in (("train", 20), ("val", 6)):
        for colour, name in enumerate(ids):
            for index in range(count):
                picture(folder / "imagenet" / part / name / f"{name}_{index}.JPEG", colour, noise)
    names = {name: (title,) for name, title in zip(ids, ("tench", "goldfish", "great white shark"), strict=True)}
    torch.save((names, []), folder / "imagenet" / "meta.bin")


def shapes(folder: Path) -> None:
    """The pictures of the example's own script, and fewer of them."""
    counts = ["--train", "240", "--val", "20", "--test", "40"]
    line = [sys.executable, str(ROOT / "deploy/examples/shapes/make.py"), str(folder), *counts]
    subprocess.run(line, check=True)


def shape_masks(folder: Path) -> None:
    """The same pictures with masks."""
    counts = ["--masks", "--train", "240", "--val", "20", "--test", "40"]
    line = [sys.executable, str(ROOT / "deploy/examples/shapes/make.py"), str(folder), *counts]
    subprocess.run(line, check=True)
    with Image.open(folder / "shape-masks" / "SegmentationClass" / "train00001.png") as mask:
        assert 255 in np.asarray(mask), "the borders of its shapes are void"


def nothing(_: Path) -> None:
    """The data ship with a library."""


EXAMPLES: dict[str, tuple[Callable[[Path], None], dict[str, Any], float]] = {
    "tabular": (nothing, {"budget": {"maxEpochs": 15}}, 0.9),
    "documents": (messages, {"budget": {"maxEpochs": 6}}, 0.9),
    "language": (nothing, {"budget": {"maxEpochs": 1}}, 0.0),
    "detection": (shapes, {"budget": {"maxEpochs": 6}}, 0.2),
    "segmentation": (shape_masks, {"budget": {"maxEpochs": 8}}, 0.32),  # the background alone is worth 0.25
    "sequences": (vowels, {"budget": {"maxEpochs": 3}}, 0.6),
    "audio": (said, {"budget": {"maxEpochs": 4}}, 0.9),
    "imagefolder": (pictures, {"budget": {"maxEpochs": 4}}, 0.5),
    "imagenet": (imagenet, {"budget": {"maxEpochs": 3}}, 0.3),
}
# Data that are smaller than those of the example, and are learned from in fewer steps or cheaper ones.
DATASETS: dict[str, dict[str, Any]] = {"segmentation": {"imageSize": 32}, "language": {"window": 64}}
# Networks that two cores train in seconds, in place of those that need a GPU or a download.
ENTRIES: dict[str, Sequence[Any]] = {
    "artifacts": ["cnn", "mlp"],
    "imagefolder": ["cnn", "resnet9"],
    "detection": ["fcos"],
    "segmentation": ["unet"],
    "language": [
        {"name": "gru", "model": {"name": "velodrome/gru", "args": {"hidden": 48}}},
        {"name": "transformer", "model": {"name": "velodrome/transformer", "args": {"width": 32, "layers": 1}}},
    ],
    "imagenet": [
        {"name": "cnn", "model": {"name": "velodrome/cnn"}, "training": {"optimizer": {"learningRate": 0.02}}}
    ],
}


def small(example: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The example with few epochs, two seeds, and networks for a CPU."""
    document: dict[str, Any] = yaml.safe_load((ROOT / f"deploy/examples/{example}.yaml").read_text(encoding="utf-8"))
    spec = document["spec"]
    spec |= {"trials": SMALL} | changes
    spec["training"].pop("precision", None)
    spec["training"]["batchSize"] = min(spec["training"]["batchSize"], 16)
    spec["evaluation"]["inference"] = {
        "batchSizes": spec["evaluation"]["inference"]["batchSizes"],
        "minRunSeconds": 0.01,
    }
    spec["dataset"] |= DATASETS.get(example, {})
    if example == "imagenet":
        spec["dataset"] |= {"imageSize": 32, "validationFraction": 0.1}
        spec["preprocessing"]["augmentations"][0]["args"] = {"padding": 4}
        spec["evaluation"]["metrics"] = ["accuracy", "loss"]
    wanted = ENTRIES.get(example)
    if wanted is not None:
        named = {entry["name"]: entry for entry in spec["entries"]}
        spec["entries"] = [named[entry] if isinstance(entry, str) else entry for entry in wanted]
    return document


def velodrome(folder: Path, *words: str) -> str:
    """What a command prints, with its home in the folder."""
    environ = os.environ | {"VELODROME_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "velodrome", *words]
    done = subprocess.run(line, env=environ, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def race(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The results of a race whose data are in the folder."""
    path = folder / "race.yaml"
    path.write_text(yaml.safe_dump(document))
    velodrome(folder, "run", str(path), "--data", str(folder))
    found: dict[str, Any] = json.loads(velodrome(folder, "results", "--json"))
    return found


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_races_on_data_in_its_format(example: str, tmp_path: Path) -> None:
    make, changes, least = EXAMPLES[example]
    make(tmp_path)
    document = small(example, changes)
    found = race(document, tmp_path)
    assert [part["name"] for part in found["objectives"]] == [each["name"] for each in document["spec"]["objectives"]]
    for part in found["objectives"]:
        assert not part["unranked"], part
    if example == "language":
        (coding,) = [part for part in found["objectives"] if part["name"] == "coding"]
        # Characters alone, each by how often it occurs in the text, need 4.68 bits.
        assert all(1.5 < row["mean"] < 3.6 for row in coding["ranked"]), "it learned what follows what"
        return
    quality = {"detection": "boxes", "segmentation": "overlap"}.get(example, "accuracy")
    (accuracy,) = [part for part in found["objectives"] if part["name"] == quality]
    assert {row["entry"] for row in accuracy["ranked"]} == {entry["name"] for entry in document["spec"]["entries"]}
    assert max(row["mean"] for row in accuracy["ranked"]) >= least, "it learned something"


def test_the_example_of_files_that_trials_keep_leaves_weights_and_traces(tmp_path: Path) -> None:
    document = small("artifacts", {"budget": {"maxEpochs": 3}, "trials": {"repeats": 1}})
    document["spec"]["artifacts"]["checkpointSeconds"] = 0.1
    race(document, tmp_path)
    for entry in document["spec"]["entries"]:
        result = json.loads(velodrome(tmp_path, "show", f"artifacts/{entry['name']}/0", "--json"))["record"]["result"]
        (folder,) = (tmp_path / "home").glob(f"jobs/*/artifacts/trials/{result['index']}")
        assert {file.name for file in folder.iterdir()} == {"weights.pt", "trace.json.gz"}, "and no checkpoint"
        for kept in result["artifacts"]:
            assert hashlib.sha256((folder / kept["name"]).read_bytes()).hexdigest() == kept["sha256"]
        weights = torch.load(folder / "weights.pt", weights_only=True)
        assert sum(each.numel() for each in weights.values()) >= result["metrics"]["parameters"] > 0
        traced = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
        assert traced["traceEvents"]
