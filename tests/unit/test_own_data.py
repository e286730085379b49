"""The page about own data: each of its jobs reads data made as it says. And what `velodrome data` tells."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner, Result

from tests.sounds import speech_commands
from velodrome import keys
from velodrome.cli.app import app
from velodrome.spec import Dataset, read_jobs, validate
from velodrome.vocabulary import DATASETS, FORMATS
from velodrome_runner.data import open_contents
from velodrome_runner.data.manifest import MANIFEST
from velodrome_runner.data.report import answer

PAGE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
SNIPPETS = [yaml.safe_load(text)["dataset"] for text in re.findall(r"```yaml\n(dataset:.*?)```", PAGE, flags=re.DOTALL)]
BY_NAME = {snippet["name"]: snippet for snippet in SNIPPETS}
KINDS = "(images|scenes|masks|table|sequences|text|documents)"
WITHOUT_EMPTY_BOXES, LABELS_OF_COLOURS, TEAM_DATA, *_ = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def make_flowers(folder: Path) -> None:
    for split in ("train", "test"):
        for number, label in enumerate(("rose", "tulip")):
            (folder / "flowers" / split / label).mkdir(parents=True)
            for index in range(10):
                pixels = np.full((8, 8, 3), 10 * index + number, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "flowers" / split / label / f"{index}.png")


def make_street(folder: Path) -> None:
    """COCO's files: two classes, a box in each image but one, and boxes without area in the training split."""
    categories = [{"id": 3, "name": "car"}, {"id": 7, "name": "bus"}]
    (folder / "street" / "annotations").mkdir(parents=True)
    for split, count in (("train2017", 30), ("val2017", 6)):
        (folder / "street" / split).mkdir()
        images = [{"id": at, "file_name": f"{at}.png", "width": 40, "height": 30} for at in range(count)]
        for one in images:
            pixels = np.full((30, 40, 3), 5 * int(str(one["id"])), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "street" / split / str(one["file_name"]))
        boxes = [
            {"id": at, "image_id": at, "category_id": (3, 7)[at % 2], "bbox": [2.0, 3.0, 0.0 if at == 5 else 9.0, 8.0]}
            for at in range(1, count)
            if split == "train2017" or at != 5
        ]
        document = {"images": images, "categories": categories, "annotations": boxes}
        (folder / "street" / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def make_yard(folder: Path) -> None:
    """VOC's files, with masks in colours, as some tools paint them: a cat and a dog in each image, in a grey border."""
    root = folder / "yard"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True)
    for split, count in (("train", 20), ("val", 4)):
        names = [f"{split}{at}" for at in range(count)]
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names))
        for at, name in enumerate(names):
            Image.fromarray(np.full((30, 40, 3), 9 * at, dtype=np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
            painted = np.zeros((30, 40, 3), dtype=np.uint8)
            for left, colour in ((3, (128, 0, 0)), (20, (0, 128, 0))):
                painted[4:16, left : left + 12] = (200, 200, 200)
                painted[5:15, left + 1 : left + 11] = colour
            Image.fromarray(painted).save(root / "SegmentationClass" / f"{name}.png")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data for each of the page's jobs, and the page's code as the module `team_data`."""
    make_flowers(tmp_path)
    make_street(tmp_path)
    make_yard(tmp_path)
    with contextlib.chdir(tmp_path):
        exec(WITHOUT_EMPTY_BOXES, {})  # noqa: S102 - the page's own code
        exec(LABELS_OF_COLOURS, {})  # noqa: S102 - the page's own code
    rows = [f"{number % 90},{'web' if number % 3 else 'shop'},{'yes' if number % 4 else 'no'}" for number in range(200)]
    (tmp_path / "customers.csv").write_text("\n".join(["age,channel,churned", *rows]), encoding="utf-8")
    columns = {
        "id": list(range(200)),
        "patient": [f"p{number // 5}" for number in range(200)],
        "ward": [number % 4 for number in range(200)],
        "age": [number % 90 for number in range(200)],
        "minutes": [number / 7 for number in range(200)],
    }
    parquet.write_table(pa.table(columns), tmp_path / "visits.parquet")
    steps = [
        f"w{number},{step / 10},m{number // 5},{('Ann', 'Bob')[number % 2]},{step * number % 7},{number},"
        f"{('none', 'outer')[number % 2]}"
        for number in range(100)
        for step in range(3 + number % 4)
    ]
    columns_of_steps = "window,second,machine,operator,acceleration,temperature,fault"
    assert f"    {columns_of_steps}\n" in PAGE
    (tmp_path / "bearings.csv").write_text("\n".join([columns_of_steps, *steps]), encoding="utf-8")
    aeon = find_spec("aeon")
    assert aeon is not None
    assert aeon.submodule_search_locations is not None
    archive = Path(aeon.submodule_search_locations[0]) / "datasets" / "data"
    shutil.copytree(archive / "GunPoint", tmp_path / "GunPoint")
    speech_commands(tmp_path / "speech_commands")
    (tmp_path / "tales").write_text("".join(f"the {number} tales " for number in range(500)), encoding="utf-8")
    said = [f"message {number} says {number % 7},{('ham', 'spam')[number % 2]}" for number in range(200)]
    (tmp_path / "messages.csv").write_text("\n".join(["text,label", *said]), encoding="utf-8")
    module = ModuleType("team_data")
    exec(TEAM_DATA, module.__dict__)  # noqa: S102 - the page's own code
    monkeypatch.setitem(sys.modules, "team_data", module)
    return tmp_path


def job(dataset: dict[str, Any]) -> dict[str, Any]:
    networks = {"Text": "gru", "Documents": "gru", "COCO": "fcos", "VOCSegmentation": "unet"}
    model = f"velodrome/{networks.get(dataset.get('format', ''), 'mlp')}"
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "race"},
        "spec": {"dataset": dataset, "entries": [{"name": "a", "model": {"name": model}}]},
    }


@pytest.mark.parametrize("dataset", SNIPPETS, ids=lambda dataset: dataset["name"])
def test_each_job_of_the_page_reads_such_data(folder: Path, dataset: dict[str, Any]) -> None:
    spec = validate(job(dataset)).spec.dataset
    opened = open_contents(spec, folder=folder, seed=0)
    assert min(opened.facts.train_samples, opened.facts.validation_samples, opened.facts.test_samples) > 1
    assert set(opened.contents.schema.categorical) <= {"channel", "ward"}


def test_the_page_shows_a_folder_of_images_and_a_table_in_a_few_lines() -> None:
    names = [
        "flowers",
        "street",
        "yard",
        "customers",
        "visits",
        "GunPoint",
        "bearings",
        "commands",
        "tales",
        "messages",
        "ours",
    ]
    assert [dataset["name"] for dataset in SNIPPETS] == names
    assert len(BY_NAME["flowers"]) == 3
    assert len(BY_NAME["customers"]) == 5
    assert all(name in PAGE for name in FORMATS)


def test_colours_become_labels_as_the_page_does_it(folder: Path) -> None:
    train = open_contents(Dataset.model_validate(BY_NAME["yard"]), folder=folder, seed=0).contents.splits["train"]
    shares = np.bincount(np.asarray(Image.open(folder / "yard" / "SegmentationClass" / "train3.png")).ravel())
    assert {label: int(share) for label, share in enumerate(shares) if share} == {0: 912, 1: 100, 2: 100, 255: 88}
    assert set(train.targets.unique().tolist()) == {0, 1, 2, 255}


@pytest.mark.parametrize(
    "words",
    [
        ("--images", "flowers"),
        ("--images", "street"),
        ("--sound", "speech_commands"),
        ("--text", "tales"),
        ("--text", "messages.csv", "--target", "label"),
        ("--series", "GunPoint"),
        ("--csv", "customers.csv", "--target", "churned"),
    ],
    ids=lambda words: words[1],
)
def test_what_init_writes_of_such_data_reads_them(folder: Path, words: tuple[str, ...]) -> None:
    option, path, *more = words
    done = CliRunner().invoke(app, ["init", str(folder / "job.yaml"), option, str(folder / path), *more])
    assert done.exit_code == 0, done.output
    (written,) = read_jobs(folder / "job.yaml")
    opened = open_contents(written.spec.dataset, folder=folder, seed=0, task=written.spec.task)
    assert min(opened.facts.train_samples, opened.facts.validation_samples, opened.facts.test_samples) > 1


def asked(folder: Path, *, prepare: bool = False, **dataset: Any) -> tuple[int, dict[str, Any]]:
    given = {"dataset": Dataset.model_validate(dataset).model_dump(mode="json", by_alias=True), "folder": str(folder)}
    said = io.StringIO()
    code = answer(io.StringIO(json.dumps(given | {"prepare": prepare})), said)
    return code, json.loads(said.getvalue())


def test_a_report_tells_what_is_there(folder: Path) -> None:
    code, found = asked(folder, **BY_NAME["visits"])
    assert code == keys.EXIT_OK
    assert (found["kind"], found["classes"], sum(found["splits"].values())) == ("table", None, 200)
    assert found["columns"] == {"age": "numeric", "ward": "categorical, 4 categories"}
    assert (
        found["digest"] == open_contents(Dataset.model_validate(BY_NAME["visits"]), folder=folder, seed=3).facts.digest
    )


def test_a_report_names_the_channels_of_sequences(folder: Path) -> None:
    dataset = next(snippet for snippet in SNIPPETS if snippet["format"] == "SequenceCSV")
    code, found = asked(folder, **dataset)
    assert code == keys.EXIT_OK
    assert (found["kind"], found["shape"], found["classes"]) == ("sequences", [2, 6], ["none", "outer"])
    assert found["columns"] == {"acceleration": "channel", "temperature": "channel"}


def test_a_report_says_what_a_trial_would_say(folder: Path) -> None:
    code, found = asked(folder, **BY_NAME["customers"] | {"target": "left"})
    assert code == keys.EXIT_CONFIGURATION
    assert found["reason"] == "DatasetInvalid"
    assert "has no column 'left'" in found["message"]


def test_preparing_a_folder_writes_its_manifest_anew(folder: Path) -> None:
    _, checked = asked(folder, **BY_NAME["flowers"])
    manifest = folder / "flowers" / MANIFEST
    assert not manifest.exists()
    _, prepared = asked(folder, prepare=True, **BY_NAME["flowers"])
    assert prepared["manifest"] == str(manifest)
    assert prepared["digest"] == checked["digest"]
    assert len(manifest.read_text(encoding="utf-8").splitlines()) == 40
    (folder / "flowers" / "train" / "rose" / "0.png").unlink()
    assert asked(folder, **BY_NAME["flowers"])[0] == keys.EXIT_CONFIGURATION
    code, again = asked(folder, prepare=True, **BY_NAME["flowers"])
    assert code == keys.EXIT_OK
    assert again["digest"] != checked["digest"]


def test_the_list_has_every_data_set_and_format() -> None:
    shown = CliRunner().invoke(app, ["data", "list"])
    assert shown.exit_code == 0
    assert all(re.search(rf"^  {name} +{KINDS} ", shown.output, re.MULTILINE) for name in DATASETS)
    assert all(re.search(rf"^  {name} +{KINDS} ", shown.output, re.MULTILINE) for name in FORMATS)
    document = json.loads(CliRunner().invoke(app, ["data", "list", "--json"]).output)
    assert document["formats"] == dict(FORMATS)


def test_the_commands_ask_a_runner_and_tell_its_answer(folder: Path) -> None:
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(job(BY_NAME["flowers"])), encoding="utf-8")
    tell = CliRunner()
    checked = tell.invoke(app, ["data", "check", str(file), "--data", str(folder)])
    assert checked.exit_code == 0
    assert "race: flowers can be read" in checked.output
    assert "samples    train 20, test 20 (2 of train for validation)" in checked.output
    assert "target     2 classes: rose, tulip" in checked.output
    assert not (folder / "flowers" / MANIFEST).exists()
    shutil.rmtree(folder / "flowers" / "test")
    refused = tell.invoke(app, ["data", "check", str(file), "--data", str(folder)])
    assert refused.exit_code == 2
    assert "race: flowers: DatasetMissing" in refused.output


FETCHING = """
import hashlib, os
from pathlib import Path
from velodrome_runner.data.fetching import fetch
from flowers_of_one_pixel import flowers

def make(root, url, md5):
    print("a library's words")
    fetch([url], Path(root) / "fetched", md5)
    return flowers

def lost():
    os.write(2, b"out of memory\\n")
    os._exit(9)
"""
FLOWERS = """
import numpy as np
flowers = {split: [(np.full((1, 2, 2), at, dtype=np.uint8), at % 2) for at in range(40)] for split in ("train", "test")}
"""


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def test_the_progress_of_a_download_is_told_apart_from_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "fetching_team.py").write_text(FETCHING, encoding="utf-8")
    (tmp_path / "code" / "flowers_of_one_pixel.py").write_text(FLOWERS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    (tmp_path / "published").write_bytes(b"petals" * 2**18)
    md5 = hashlib.md5(b"petals" * 2**18, usedforsecurity=False).hexdigest()
    file = tmp_path / "job.yaml"

    def told(name: str, **args: str) -> Result:
        dataset = {"name": "own", "format": f"fetching_team:{name}", "source": {"path": "."}, "args": args}
        file.write_text(yaml.safe_dump(job(dataset)), encoding="utf-8")
        return CliRunner().invoke(app, ["data", "prepare", str(file), "--data", str(tmp_path), "--json"])

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        prepared = told("make", url=f"http://127.0.0.1:{server.server_port}/published", md5=md5)
        server.shutdown()
        thread.join()
    assert "splits" in prepared.stdout, prepared.output
    assert json.loads(prepared.stdout)["splits"] == {"train": 40, "test": 40}
    assert prepared.stderr.splitlines()[-1] == "downloading fetched: 1.5 of 1.5 MiB (100%)"
    assert "a library's words" not in prepared.output
    assert "out of memory" in str(told("lost").exception)
