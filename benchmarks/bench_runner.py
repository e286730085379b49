"""Measures training speed, beside a loop written by hand and beside torch's DataLoader. Prints its figures.

    python benchmarks/bench_runner.py [--rounds 15] [--samples 2048] [--threads 1]

All use the same small CNN, optimizer, batch size and images. This benchmark writes the images in CIFAR-10's real shape
and format. Three loops take turns, each timed from its first batch to its last step:

- the runner's own `train`, by its own stopwatch;
- bare: the shortest loop over tensors in memory: shuffle, take, forward, backward, step;
- DataLoader: torchvision's CIFAR10 with PIL's transforms (crop, flip, to tensor, normalize), as tutorials write it.

Against bare, both sides leave out augmentation, so that only the loops are compared. Against DataLoader, both crop and
flip. It runs twice: with images and weights channels last, as the runner has them, so that the ratio is that of the
loops and their inputs; and in torch's own memory format, as tutorials write it. The input is also timed without a
model, because its effect on the whole loop depends on the model's own time. Figures are samples per second of CPU time.
A ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10

from velodrome.plan import TrialConfig, plan
from velodrome.spec import BenchmarkJob, Model
from velodrome_runner import data, models, preprocessing, tasks, threads
from velodrome_runner.training import train

# CPU time of the whole process, because a shared machine distorts it less than wall time.
CLOCK = time.process_time
CPU = torch.device("cpu")
BATCH = 128
SHAPE = (3, 32, 32)
CLASSES = 10
WIDTH = 8
MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.29, 0.29, 0.29)
FOLDER = "cifar-10-batches-py"
TARGET_BARE, TARGET_SAME_FORMAT, TARGET_LOADER = 0.97, 1.0, 2.0


def write_cifar10(folder: Path, samples: int) -> None:
    """Random images in CIFAR-10's files: six pickled batches with rows of 3,072 bytes, and the names of classes.

    There are `samples` images for training, in five files, and a fifth of that for testing.
    """
    generator = np.random.default_rng(0)
    (folder / FOLDER).mkdir()
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name in names:
        count = samples // 5
        rows = generator.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
        batch = {"data": rows, "labels": [number % CLASSES for number in range(count)]}
        (folder / FOLDER / name).write_bytes(pickle.dumps(batch))
    meta = {"label_names": [str(label) for label in range(CLASSES)]}
    (folder / FOLDER / "batches.meta").write_bytes(pickle.dumps(meta))


class Made(CIFAR10):  # type: ignore[misc]
    """torchvision's CIFAR10 over the made files, with their digests, because torchvision checks those."""

    def __init__(self, folder: Path, transform: Any) -> None:
        made = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (folder / FOLDER).iterdir()}  # noqa: S324 - it is torchvision's check
        self.train_list = [[name, made[name]] for name, _ in CIFAR10.train_list]
        self.test_list = [[name, made[name]] for name, _ in CIFAR10.test_list]
        self.meta = {**CIFAR10.meta, "md5": made["batches.meta"]}
        super().__init__(str(folder), train=True, transform=transform)


def configured() -> TrialConfig:
    """One epoch of plain SGD."""
    spec = {
        "dataset": {"name": "digits"},  # the benchmark passes its own images
        "budget": {"maxEpochs": 1},
        "training": {"batchSize": BATCH, "optimizer": {"name": "SGD", "learningRate": 0.01, "momentum": 0.9}},
        "entries": [{"name": "cnn", "model": {"name": "velodrome/cnn", "args": {"width": WIDTH}}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "b"}, "spec": spec}
    return plan(BenchmarkJob.model_validate(document)).trial(0).config


def network(*, channels_last: bool = True) -> nn.Module:
    """The same weights each time, in the runner's memory format or in torch's own."""
    torch.manual_seed(0)
    model = Model.model_validate({"name": "velodrome/cnn", "args": {"width": WIDTH}})
    made = models.build(model, shape=SHAPE, classes=CLASSES, dropout=0.0)
    return made.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def ready(images: torch.Tensor, labels: torch.Tensor, augmentations: list[dict[str, Any]]) -> preprocessing.Prepared:
    """All images for training, in memory, and a few for the evaluation, which is not timed."""
    every, few = data.images(images, labels), data.images(images[:64], labels[:64])
    schema = data.Schema(SHAPE, tuple(map(str, range(CLASSES))))
    contents = data.Contents("images", {"train": every, "validation": few, "test": few}, schema, "sha256:" + "0" * 64)
    config = configured()
    task = tasks.fit(
        "classification",
        contents,
        config.preprocessing.model_validate({"augmentations": augmentations}),
        config.training,
        device=CPU,
        seed=0,
    )
    return preprocessing.prepare(contents, task, in_memory=True)


def runner(config: TrialConfig, prepared: preprocessing.Prepared) -> float:
    """Samples per second of the runner's loop."""
    trained = train(config, prepared, network(), seed=0, device=CPU, clock=CLOCK)
    return trained.samples / trained.seconds


def bare(images: torch.Tensor, labels: torch.Tensor) -> float:
    """Samples per second of the shortest loop. `images` are float32, on the device, channels last."""
    model = network().train()
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    begin = CLOCK()
    for chosen in torch.randperm(len(images)).split(BATCH):
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(images) / (CLOCK() - begin)


def loader(dataset: CIFAR10, *, channels_last: bool) -> float:
    """Samples per second of the usual loop of tutorials, with images and weights in one memory format."""
    model = network(channels_last=channels_last).train()
    kept = torch.channels_last if channels_last else torch.contiguous_format
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
    batches = DataLoader(dataset, BATCH, shuffle=True)
    begin = CLOCK()
    for images, labels in batches:
        loss = F.cross_entropy(model(images.contiguous(memory_format=kept)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(dataset) / (CLOCK() - begin)


def batches(prepared: preprocessing.Prepared) -> float:
    """Samples per second of the runner's input alone."""
    generator = torch.Generator().manual_seed(0)
    begin = CLOCK()
    seen = sum(len(labels) for _, labels in prepared.batches(BATCH, generator))
    return seen / (CLOCK() - begin)


def loaded(dataset: CIFAR10) -> float:
    """Samples per second of the DataLoader's input alone."""
    begin = CLOCK()
    seen = sum(len(labels) for _, labels in DataLoader(dataset, BATCH, shuffle=True))
    return seen / (CLOCK() - begin)


def report(name: str, ours: list[float], theirs: list[float], target: float) -> None:
    """Prints both medians and the median of the rounds' ratios."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"runner {statistics.median(ours):8,.0f} samples/s, {name} {statistics.median(theirs):8,.0f}: "
        f"{statistics.median(ratios):.3f} x (quartiles {low:.3f} to {high:.3f}; target: at least {target:g} x)"
    )


def main() -> None:
    """Runs the loops in turns, and prints their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1, help="with more, CPU time counts each of them")
    arguments = parser.parse_args()
    threads.use(arguments.threads)
    config = configured()
    augmented: list[dict[str, Any]] = [{"name": "RandomCrop", "args": {"padding": 4}}, {"name": "RandomHorizontalFlip"}]
    with tempfile.TemporaryDirectory() as folder:
        write_cifar10(Path(folder), arguments.samples)
        steps = [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, DEVIATION),
        ]
        dataset = Made(Path(folder), transforms.Compose(steps))
        images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
        labels = torch.tensor(dataset.targets)
        plain, augmenting = ready(images, labels, []), ready(images, labels, augmented)
        inputs = plain.task.transform.whole(data.images(images, labels))
        assert isinstance(inputs, torch.Tensor)
        runner(config, plain)  # warm up
        runs = {
            "plain": lambda: runner(config, plain),
            "bare": lambda: bare(inputs, labels),
            "augmenting": lambda: runner(config, augmenting),
            "loader": lambda: loader(dataset, channels_last=True),
            "tutorial": lambda: loader(dataset, channels_last=False),
            "batches": lambda: batches(augmenting),
            "loaded": lambda: loaded(dataset),
        }
        figures: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(arguments.rounds):
            for name in list(runs) if number % 2 else list(reversed(runs)):
                figures[name].append(runs[name]())
    print(f"{arguments.rounds} rounds of {len(images):,} images, {torch.get_num_threads()} threads, batches of {BATCH}")
    report("bare", figures["plain"], figures["bare"], TARGET_BARE)
    report("DataLoader, channels last", figures["augmenting"], figures["loader"], TARGET_SAME_FORMAT)
    report("DataLoader in torch's format", figures["augmenting"], figures["tutorial"], TARGET_LOADER)
    report("DataLoader's input alone", figures["batches"], figures["loaded"], TARGET_LOADER)


if __name__ == "__main__":
    main()
