"""Small files in the real formats: IDX for MNIST, pickled batches for CIFAR."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision import datasets

from tests.loopback import LoopbackServer
from tests.prepared import Splits, load
from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.spec import Dataset
from velodrome_runner.data import whole
from velodrome_runner.data.loading import read

IDX = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def idx(values: Bytes) -> bytes:
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def idx_contents(train: int = 120, test: int = 20, size: int = 28) -> dict[str, bytes]:
    random = np.random.default_rng(0)
    contents = {}
    for kind, count in (("train", train), ("t10k", test)):
        contents[f"{kind}-images-idx3-ubyte"] = idx(random.integers(0, 256, (count, size, size), dtype=np.uint8))
        contents[f"{kind}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 10)
    return contents


def write_mnist(root: Path, name: str = "MNIST", *, packed: bool = False) -> Path:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for file, content in idx_contents().items():
        (raw / (file + ".gz" if packed else file)).write_bytes(gzip.compress(content) if packed else content)
    return raw


def write_cifar(root: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The class's own file list with small files, whose checksums it then gets."""
    random = np.random.default_rng(1)
    folder: Path = root / kind.base_folder
    folder.mkdir(parents=True)
    hundred = kind is datasets.CIFAR100
    labels, names, classes = ("fine_labels", "fine_label_names", 100) if hundred else ("labels", "label_names", 10)

    def write(name: str, content: dict[str, Any]) -> str:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    def batch(count: int) -> dict[str, Any]:
        data = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        return {"data": data, labels: [i % classes for i in range(count)]}

    for attribute in ("train_list", "test_list"):
        listed = [[name, write(name, batch(2 * classes))] for name, _ in getattr(kind, attribute)]
        monkeypatch.setattr(kind, attribute, listed)
    meta = {**kind.meta, "md5": write(kind.meta["filename"], {names: [f"class {i}" for i in range(classes)]})}
    monkeypatch.setattr(kind, "meta", meta)
    return folder


def dataset(name: str, **source: object) -> Dataset:
    return Dataset.model_validate({"name": name, "source": {"path": "here", **source}})


def reads(folder: Path, name: str = "MNIST", **source: object) -> Splits:
    return load(dataset(name, **source), folder=folder, seed=0)


def refusal(folder: Path, name: str = "MNIST") -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        reads(folder, name)
    return caught.value


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_idx_files_read_as_torchvision_reads_them(tmp_path: Path, name: str) -> None:
    write_mnist(tmp_path / "here", name)
    contents = read(dataset(name), tmp_path)
    for part, train in (("train", True), ("test", False)):
        split = whole(contents.splits[part])
        theirs = getattr(datasets, name)(tmp_path / "here", train=train)
        assert torch.equal(split.inputs["images"], theirs.data.unsqueeze(1))
        assert torch.equal(split.targets, theirs.targets)
        assert contents.schema.classes == tuple(theirs.classes)
    assert contents.schema.peak == 255


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_pickled_batches_read_as_torchvision_reads_them(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = getattr(datasets, name)
    write_cifar(tmp_path / "here", kind, monkeypatch)
    contents = read(dataset(name), tmp_path)
    for part, train in (("train", True), ("test", False)):
        split = whole(contents.splits[part])
        theirs = kind(tmp_path / "here", train=train)
        assert torch.equal(split.inputs["images"], torch.from_numpy(theirs.data).permute(0, 3, 1, 2))
        assert split.inputs["images"].is_contiguous()
        assert split.targets.tolist() == theirs.targets
        assert contents.schema.classes == tuple(theirs.classes)


def test_packing_and_place_do_not_change_the_digest(tmp_path: Path) -> None:
    write_mnist(tmp_path / "a" / "here")
    write_mnist(tmp_path / "b" / "here", packed=True)
    plain, packed = (read(dataset("MNIST"), tmp_path / part).digest for part in ("a", "b"))
    assert plain == packed


def test_a_missing_folder_is_reported_with_the_files_and_the_way_to_get_them(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.reason == "DatasetMissing"
    assert str(tmp_path / "here" / "MNIST" / "raw" / IDX[0]) in str(error)
    assert "source.download: true" in str(error)
    assert "is no folder" in str(error)


def test_one_missing_file_is_named_alone(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path / "here")
    (raw / IDX[3]).unlink()
    error = refusal(tmp_path)
    assert error.reason == "DatasetMissing"
    assert IDX[3] in str(error)
    assert IDX[0] not in str(error)
    assert "holds MNIST" in str(error)


def test_a_missing_batch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_cifar(tmp_path / "here", datasets.CIFAR10, monkeypatch)
    (folder / "data_batch_3").unlink()
    error = refusal(tmp_path, "CIFAR10")
    assert error.reason == "DatasetMissing"
    assert str(folder / "data_batch_3") in str(error)


CORRUPTIONS: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "truncated images": (IDX[0], lambda content: content[:-1], "120 x 28 x 28, 94096 bytes, but it has 94095"),
    "truncated labels": (IDX[1], lambda content: content[:-7], "but it has 121"),
    "a longer file": (IDX[2], lambda content: content + b"\0", "20 x 28 x 28"),
    "a header cut short": (IDX[0], lambda content: content[:9], "inside its header"),
    "an empty file": (IDX[0], lambda _: b"", "begins with nothing"),
    "garbage": (IDX[0], lambda _: b"<html>404</html>" * 2000, "begins with 3c 68 74 6d"),
    "labels for images": (IDX[0], lambda _: idx_contents()[IDX[1]], "00 00 08 01 instead of 00 00 08 03"),
    "floats": (IDX[0], lambda content: b"\0\0\x0d\x03" + content[4:], "00 00 0d 03"),
    "fewer labels": (IDX[1], lambda _: idx(np.zeros(119, np.uint8)), "120 images and 119 labels"),
    "a class too many": (IDX[1], lambda _: idx(np.full(120, 10, np.uint8)), "from 10 to 10, for 10 classes"),
    "no samples": (IDX[2], lambda _: idx(np.zeros((0, 28, 28), np.uint8)), "0 images and 20 labels"),
    "another size": (IDX[2], lambda _: idx_contents(size=27)[IDX[2]], "(1, 27, 27)"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("fault", CORRUPTIONS)
def test_a_corrupt_idx_file_is_named(tmp_path: Path, fault: str, *, packed: bool) -> None:
    raw = write_mnist(tmp_path / "here", packed=packed)
    name, corrupt, problem = CORRUPTIONS[fault]
    content = corrupt(idx_contents()[name])
    (raw / (name + ".gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    error = refusal(tmp_path)
    assert error.reason == "DatasetCorrupt"
    assert problem in str(error)
    assert str(tmp_path / "here") in str(error)


@pytest.mark.parametrize("cut", [5, 200, -4])
def test_a_truncated_gzip_file_is_named(tmp_path: Path, cut: int) -> None:
    raw = write_mnist(tmp_path / "here", packed=True)
    file = raw / f"{IDX[0]}.gz"
    file.write_bytes(file.read_bytes()[:cut])
    error = refusal(tmp_path)
    assert error.reason == "DatasetCorrupt"
    assert str(file) in str(error)


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path / "here", packed=True)
    file = raw / f"{IDX[0]}.gz"
    content = bytearray(file.read_bytes())
    content[5000] ^= 0xFF
    file.write_bytes(content)
    assert refusal(tmp_path).reason == "DatasetCorrupt"


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_a_truncated_batch_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_cifar(tmp_path / "here", datasets.CIFAR10, monkeypatch)
    (folder / name).write_bytes((folder / name).read_bytes()[:-10])
    error = refusal(tmp_path, "CIFAR10")
    assert error.reason == "DatasetCorrupt"
    assert str(folder / name) in str(error)


class Hostile:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["data_batch_5", "test_batch", "batches.meta"])
def test_a_file_that_is_not_the_official_one_is_never_unpickled(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_cifar(tmp_path / "here", datasets.CIFAR10, monkeypatch)
    trap = tmp_path / "trap"
    content = pickle.dumps(Hostile(trap))
    (folder / name).write_bytes(content)
    assert refusal(tmp_path, "CIFAR10").reason == "DatasetCorrupt"
    assert not trap.exists()
    pickle.loads(content)  # noqa: S301 - shows that the trap would have worked
    assert trap.exists()


def test_labels_without_a_class_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_cifar(tmp_path / "here", datasets.CIFAR10, monkeypatch)
    data = pickle.dumps({"label_names": ["only one"]})
    (folder / "batches.meta").write_bytes(data)
    meta = {**datasets.CIFAR10.meta, "md5": hashlib.md5(data, usedforsecurity=False).hexdigest()}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    error = refusal(tmp_path, "CIFAR10")
    assert error.reason == "DatasetCorrupt"
    assert "from 0 to 9, for 1 classes" in str(error)


class Mirror(LoopbackServer):
    """Serves files on the loopback interface and remembers what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                name = handler.path.lstrip("/")
                self.asked.append(name)
                content = self.files.get(name)
                handler.send_response(404 if content is None else 200)
                handler.send_header("Content-Length", str(len(content or b"")))
                handler.end_headers()
                handler.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)
        self.url += "/"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    packed = {f"{name}.gz": gzip.compress(content) for name, content in idx_contents().items()}
    mirror = Mirror(packed)
    checksums = [(f"{name}.gz", hashlib.md5(packed[f"{name}.gz"], usedforsecurity=False).hexdigest()) for name in IDX]
    monkeypatch.setattr(datasets.MNIST, "resources", checksums)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [mirror.url])
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")  # a proxy can't reach this machine's loopback interface
    yield mirror
    mirror.close()


def test_files_are_downloaded_where_that_is_asked_for(tmp_path: Path, mirror: Mirror) -> None:
    assert refusal(tmp_path).reason == "DatasetMissing"
    assert not mirror.asked
    first = reads(tmp_path, download=True)
    assert set(mirror.asked) == set(mirror.files)
    mirror.asked.clear()
    assert reads(tmp_path, download=True).facts == reads(tmp_path).facts == first.facts
    assert not mirror.asked
    raw = tmp_path / "here" / "MNIST" / "raw"
    assert {file.name for file in raw.iterdir()} == {*IDX, *mirror.files}


def test_an_archive_is_downloaded_and_each_file_of_it_gets_its_place(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_cifar(tmp_path / "here", datasets.CIFAR10, monkeypatch)
    expected = reads(tmp_path, "CIFAR10").facts
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as packed:
        packed.add(folder, folder.name)
    content = (tmp_path / "packed.tar.gz").read_bytes()
    mirror.files["cifar.tar.gz"] = content
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{mirror.url}cifar.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(content, usedforsecurity=False).hexdigest())
    for lost in (["data_batch_3"], [file.name for file in folder.iterdir()]):
        for name in lost:
            (folder / name).unlink()
        assert reads(tmp_path, "CIFAR10", download=True).facts == expected
    assert mirror.asked == ["cifar.tar.gz"], "the archive is kept"
    names = {entry.name for entry in (tmp_path / "here").iterdir()}
    assert names == {folder.name, datasets.CIFAR10.filename, ".velodrome-download.lock"}


def test_the_files_of_svhn_are_downloaded(tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {}
    for split in ("train", "test"):
        file = tmp_path / f"{split}.mat"
        savemat(file, {"X": np.zeros((32, 32, 3, 200), dtype=np.uint8), "y": np.arange(200).reshape(-1, 1) % 10 + 1})
        mirror.files[file.name] = file.read_bytes()
        md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        listed[split] = [f"{mirror.url}{file.name}", f"{split}_32x32.mat", md5]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    assert reads(tmp_path, "SVHN", download=True).facts.test_samples == 200
    assert sorted(mirror.asked) == ["test.mat", "train.mat"]


def test_trials_that_start_together_download_once(tmp_path: Path, mirror: Mirror) -> None:
    alone = reads(tmp_path / "alone", download=True).facts
    asked = sorted(mirror.asked)
    mirror.asked.clear()
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda _: reads(tmp_path / "together", download=True), range(4))
        assert [splits.facts for splits in together] == [alone] * 4
    assert sorted(mirror.asked) == asked


@pytest.mark.parametrize("fault", ["unreachable", "altered"])
def test_a_download_that_fails_can_be_tried_again(
    tmp_path: Path, mirror: Mirror, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{IDX[2]}.gz"
    whole = mirror.files[name]
    with monkeypatch.context() as patch:
        if fault == "altered":
            mirror.files[name] = whole[:-20]
        else:
            patch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
        with pytest.raises(TrialFailed) as caught:
            reads(tmp_path, download=True)
    assert caught.value.reason == "DatasetDownloadFailed"
    assert str(tmp_path / "here") in str(caught.value)
    mirror.files[name] = whole
    assert reads(tmp_path, download=True).facts.test_samples == 20


def test_a_download_into_a_folder_that_cannot_be_made_is_reported(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "here").write_text("a file where the folder should be")
    with pytest.raises(TrialFailed, match="permissions") as caught:
        reads(tmp_path, download=True)
    assert caught.value.reason == "DatasetDownloadFailed"
