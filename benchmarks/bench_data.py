"""Measures training batches a second, beside a torch DataLoader over torchvision's CIFAR10 with PIL transforms.

Both pad by 4, crop, flip and normalise the same files: random images in CIFAR-10's real format (five pickled batches),
made here in a temporary folder. Passes over the training split take turns, so that other load of the machine affects
both. The ratio is that of the medians. Reading the files is not timed. Torch has one thread, so that the figures are
for one core: if more threads than cores are busy, they mostly wait for each other.

    python benchmarks/bench_data.py [--rounds 5] [--samples 10000] [--workers 0,2] [--threads 1]
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

from velodrome.spec import Dataset, Preprocessing, Training
from velodrome_runner import tasks
from velodrome_runner.data import open_contents
from velodrome_runner.preprocessing import Prepared, prepare

BATCH = 128
AUGMENTATIONS = [{"name": "RandomCrop", "args": {"padding": 4}}, {"name": "RandomHorizontalFlip"}]


def write_files(root: Path, samples: int) -> None:
    """Random images in CIFAR-10's files. torchvision's class gets their checksums; otherwise it would refuse them."""
    kind: Any = datasets.CIFAR10
    random = np.random.default_rng(0)
    folder = root / kind.base_folder
    folder.mkdir()

    def write(name: str, content: dict[str, Any]) -> str:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    def batch(count: int) -> dict[str, Any]:
        images = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        return {"data": images, "labels": [place % 10 for place in range(count)]}

    kind.train_list = [[name, write(name, batch(samples // 5))] for name, _ in kind.train_list]
    kind.test_list = [[name, write(name, batch(100))] for name, _ in kind.test_list]
    names = {"label_names": [f"class {place}" for place in range(10)]}
    kind.meta = {**kind.meta, "md5": write(kind.meta["filename"], names)}


def loader(root: Path, prepared: Prepared, samples: int, workers: int) -> DataLoader[Any]:
    """The usual loader, over as many samples as Velodrome's training split has."""
    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25]),
        ]
    )
    data: Any = datasets.CIFAR10(root, train=True, transform=transform)
    assert len(data) == samples
    chosen = torch.utils.data.Subset(data, range(len(prepared.train)))
    return DataLoader(chosen, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def rate(batches: Callable[[], Iterable[Any]]) -> float:
    """Samples per second in one pass."""
    started = time.perf_counter()
    samples = sum(len(labels) for _, labels in batches())
    return samples / (time.perf_counter() - started)


def main() -> None:
    """Prints a line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=10_000, help="size of the training files")
    parser.add_argument("--workers", default="0,2", help="worker processes of the DataLoader, with commas between")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads in this process")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_files(root, given.samples)
        dataset = Dataset.model_validate({"name": "CIFAR10", "source": {"path": folder}})
        preprocessing = Preprocessing.model_validate({"augmentations": AUGMENTATIONS})
        contents = open_contents(dataset, folder=root, seed=0).contents
        device = torch.device("cpu")
        task = tasks.fit("classification", contents, preprocessing, Training(), device=device, seed=0)
        prepared = prepare(contents, task, in_memory=True)
        generator = torch.Generator().manual_seed(0)
        passes: dict[str, Callable[[], Iterable[Any]]] = {"Velodrome": lambda: prepared.batches(BATCH, generator)}
        for workers in given.workers.split(","):
            theirs = loader(root, prepared, given.samples, int(workers))
            passes[f"DataLoader, {workers} workers"] = partial(iter, theirs)
        for each in passes.values():
            rate(each)  # starts the workers and fills caches
        rates: dict[str, list[float]] = {name: [] for name in passes}
        for _ in range(given.rounds):
            for name, each in passes.items():
                rates[name].append(rate(each))
    ours = statistics.median(rates.pop("Velodrome"))
    print(
        f"{len(prepared.train):,} images of 3x32x32, crop, flip and normalise, batches of {BATCH}, "
        f"threads: {torch.get_num_threads()}, median of {given.rounds}: Velodrome {ours:,.0f} samples/s"
    )
    for name, values in rates.items():
        other = statistics.median(values)
        print(f"{name}: {other:,.0f} samples/s: {ours / other:.1f} x (target: 2 x)")


if __name__ == "__main__":
    main()
