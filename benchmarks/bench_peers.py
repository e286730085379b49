"""Measures training speed on files, tables and sequences, beside the loops that people write for them.

    python benchmarks/bench_peers.py [--case jpeg|table|sequences|documents|text] [--seconds 20] [--workers 2] [--cpu]

Each pass is one epoch of the same model, optimizer, batch size and samples. Passes of all sides take turns: peer, ours,
peer, ours. Making batches is timed, evaluation is not. A ratio is that of the medians, with the quartiles of the ratios
of single rounds. Every case runs until its `--seconds` are used, three rounds at least.

- `jpeg`: JPEGs of about 500 x 375 in folders by class, decoded in every epoch by `--workers` processes. The peers
  are torchvision's ImageFolder and transforms in a DataLoader: with the runner's transforms, and with RandomResizedCrop
  as in torchvision's reference scripts. Measured without a model and with a small CNN. What one process needs for an
  image shows what bounds the figures.
- `table`: 50,000 rows of 30 numbers and 5 categories, and an MLP with embeddings, beside a DataLoader over a
  TensorDataset, and beside a loop that takes rows by a permutation.
- `sequences`: a GRU over sequences of about equal lengths and of very unequal ones, which the runner puts into batches
  by length. The peers shuffle, and pad to the longest of the batch or of the data. A packed one skips padding.
- `documents`: 5,000 texts of 3 to 120 words, one of 10,000, and means of embeddings. The peers are the runner's own
  loop over texts that are kept padded to the longest, and a shuffled loop over the same. It also shows the memory.
- `text`: windows of 128 characters of a made text of `--megabytes`, and a GRU or nothing but the batches. The peers are
  the runner's own loop over tables of all windows, and windows at random places of a memory-mapped file, cut one by one
  with NumPy. It also shows the memory and the time that reading takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from velodrome.plan import TrialConfig, plan
from velodrome.spec import BenchmarkJob, Dataset, Model
from velodrome_runner import data, models, preprocessing, tasks, threads
from velodrome_runner.data.format import contents_of
from velodrome_runner.data.image_files import decoded
from velodrome_runner.data.loading import open_format
from velodrome_runner.inputs.base import PackedInputs, taken, trimmed
from velodrome_runner.training import train
from velodrome_runner.uncompiled import spare_the_compiler

CPU = torch.device("cpu")
CLASSES = 10
LEAST_ROUNDS = 3
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALED, CROPPED = 256, 224
# Other transforms are other work, so there is no target for their ratio.
TARGETS = {"the same transforms": 1.0, "RandomResizedCrop": None}
# One pass: its samples, and the seconds that they took.
Pass = Callable[[], tuple[int, float]]
Clock = Callable[[], float]


def configured(batch: int, **spec: Any) -> TrialConfig:
    """One epoch of SGD with momentum. The benchmark passes its own data and models."""
    document = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "b"},
        "spec": {
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": 1},
            "training": {"batchSize": batch, "optimizer": {"name": "SGD", "learningRate": 0.01, "momentum": 0.9}},
            "entries": [{"name": "one", "model": {"name": "velodrome/cnn"}}],
            **spec,
        },
    }
    return plan(BenchmarkJob.model_validate(document)).trial(0).config


def prepared(contents: data.Contents, config: TrialConfig, **options: Any) -> preprocessing.Prepared:
    """The data for classification, as a trial has them."""
    task = tasks.fit("classification", contents, config.preprocessing, config.training, device=CPU, seed=0)
    return preprocessing.prepare(contents, task, **options)


def network(ready: preprocessing.Prepared, name: str, *, of: data.Kind | None = None, **args: Any) -> nn.Module:
    """The model for these data, which are `of` this kind, with the same weights each time."""
    torch.manual_seed(0)
    told = {"kind": of, **ready.task.told, **ready.task.transform.told}
    model = Model.model_validate({"name": name, "args": args})
    return models.build(model, shape=ready.task.transform.shape, dropout=0.0, **told)


def ours(ready: preprocessing.Prepared, config: TrialConfig, model: Callable[[], nn.Module], clock: Clock) -> Pass:
    """An epoch of the runner's own loop, by its own stopwatch."""

    def run() -> tuple[int, float]:
        made = model().to(memory_format=torch.channels_last)
        trained = train(config, ready.shown_to(made), made, seed=0, device=CPU, clock=clock)
        return trained.samples, trained.seconds

    return run


def theirs(
    batches: Callable[[], Iterable[Any]],
    model: Callable[[], nn.Module],
    call: Callable[[nn.Module, Any], Tensor],
    clock: Clock,
    *,
    fused: bool = False,
) -> Pass:
    """An epoch of a loop as people write it. The targets come last in each batch; `call` gets what is before them."""

    def run() -> tuple[int, float]:
        made, seen = model().train(), 0
        optimizer = SGD(made.parameters(), lr=0.01, momentum=0.9, fused=fused)
        begin = clock()
        for *inputs, targets in batches():
            loss = F.cross_entropy(call(made, inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(targets)
        return seen, clock() - begin

    return run


def alone(batches: Callable[[], Iterable[Any]], clock: Clock) -> Pass:
    """An epoch of batches that no model gets."""

    def run() -> tuple[int, float]:
        begin = clock()
        seen = sum(len(targets) for *_, targets in batches())
        return seen, clock() - begin

    return run


def cpu_seconds() -> float:
    """CPU time of this process and of the workers that run."""
    spent = time.process_time()
    for worker in multiprocessing.active_children():
        fields = Path(f"/proc/{worker.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        spent += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return spent


def race(title: str, own: Pass, peers: Mapping[str, tuple[Pass, float | None]], seconds: float) -> float:
    """Prints our samples a second, and the ratio to each peer with its target. Returns our median."""
    runs: dict[str, Pass] = {name: run for name, (run, _) in peers.items()} | {"": own}
    for run in runs.values():
        run()  # starts workers, fills caches
    rates: dict[str, list[float]] = {name: [] for name in runs}
    end = time.monotonic() + seconds
    while len(rates[""]) < LEAST_ROUNDS or time.monotonic() < end:
        for name, run in runs.items():
            samples, spent = run()
            rates[name].append(samples / spent)
    mine = statistics.median(rates[""])
    print(f"{title}: runner {mine:,.0f} samples/s (n = {len(rates[''])})")
    for name, (_, target) in peers.items():
        other = statistics.median(rates[name])
        low, _, high = statistics.quantiles([a / b for a, b in zip(rates[""], rates[name], strict=True)], n=4)
        goal = "" if target is None else f"; target: at least {target:g} x"
        print(
            f"  {name}: {other:,.0f} samples/s: {mine / other:.2f} x (quartiles {low:.2f} to {high:.2f}{goal})",
            flush=True,
        )
    return mine


# JPEGs


def write_images(folder: Path, count: int) -> None:
    """JPEGs in a folder a class, about as large as ImageNet's: gradients under blurred and fine noise."""
    random = np.random.default_rng(0)
    for split, images in (("train", count), ("test", CLASSES)):
        for number in range(images):
            width, height = (500, int(random.integers(330, 420)))[:: 1 if number % 4 else -1]
            ramps = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 80, width))
            coarse = Image.fromarray(random.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8))
            blurred = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
            fine = random.normal(0, 9, (height, width, 1))
            pixels = (0.5 * ramps[..., None] + 0.5 * blurred + fine).clip(0, 255).astype(np.uint8)
            place = folder / split / f"class{number % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{number}.jpg", quality=90)


def seconds_by_step(files: list[Path], ready: preprocessing.Prepared) -> dict[str, float]:
    """Milliseconds of CPU that one image needs in one process: decoded whole, all of `take`, and all after it."""
    contents = [file.read_bytes() for file in files]
    begin = time.process_time()
    for content in contents:
        Image.open(io.BytesIO(content)).convert("RGB")
    decoding = time.process_time() - begin
    begin = time.process_time()
    pixels = [
        decoded(content, file, (3, SCALED, SCALED), scale=SCALED, convert=False)
        for content, file in zip(contents, files, strict=True)
    ]
    taking = time.process_time() - begin
    samples = data.Samples({"images": torch.from_numpy(np.stack(pixels))}, torch.zeros(len(pixels), dtype=torch.int64))
    generator = torch.Generator().manual_seed(0)
    begin = time.process_time()
    ready.task.augment(ready.task.collate(samples, training=True), generator)
    after = time.process_time() - begin
    return {name: 1000 * value / len(files) for name, value in (("d", decoding), ("t", taking), ("a", after))}


def jpeg(given: argparse.Namespace, clock: Clock) -> None:
    """The runner's stream of image files beside torchvision's."""
    batch, workers = 32, given.workers
    augmentations = [{"name": "RandomCrop", "args": {"size": CROPPED}}, {"name": "RandomHorizontalFlip"}]
    config = configured(batch, preprocessing={"augmentations": augmentations})
    ending = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, DEVIATION)]
    usual = {
        "the same transforms": [v2.Resize(SCALED), v2.CenterCrop(SCALED), v2.RandomCrop(CROPPED)],
        "RandomResizedCrop": [v2.RandomResizedCrop(CROPPED, antialias=True)],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, given.images)
        files = sorted((folder / "train").rglob("*.jpg"))
        dataset = Dataset.model_validate(
            {"name": "made", "format": "ImageFolder", "source": {"path": name}, "imageSize": SCALED}
        )
        ready = prepared(contents_of(open_format(dataset, folder)), config, in_memory=False, cpus=workers)
        loaders = {
            what: DataLoader(
                ImageFolder(str(folder / "train"), v2.Compose([*steps, v2.RandomHorizontalFlip(), *ending])),
                batch,
                shuffle=True,
                num_workers=workers,
                persistent_workers=workers > 0,
            )
            for what, steps in usual.items()
        }
        size = statistics.mean(file.stat().st_size for file in files)
        print(f"{len(files)} JPEGs of {size / 1000:.0f} kB, batches of {batch}, {workers} workers", flush=True)
        generator = torch.Generator().manual_seed(0)
        half = given.seconds / 2
        peers = {what: (alone(partial(iter, each), clock), TARGETS[what]) for what, each in loaders.items()}
        rate = race("the loader alone", alone(partial(ready.batches, batch, generator), clock), peers, half)
        model = partial(network, ready, "velodrome/cnn", width=8)
        shown = partial(theirs, model=lambda: model().to(memory_format=torch.channels_last), call=_first, clock=clock)
        racing = {what: (shown(partial(_channels_last, each)), TARGETS[what]) for what, each in loaders.items()}
        race("with velodrome/cnn", ours(ready, config, model, clock), racing, half)
        cost = seconds_by_step(files[:64], ready)
        print(
            f"  CPU of one image: decode {cost['d']:.1f} ms, scale {cost['t'] - cost['d']:.1f} ms, convert and augment "
            f"{cost['a']:.1f} ms; decoding is {cost['d'] / (cost['t'] + cost['a']):.0%} of it. {workers} workers with "
            f"a core each could read {workers * 1000 / cost['t']:,.0f} images/s, and the loader gave {rate:,.0f}"
        )
        ready.close()


def _first(model: nn.Module, inputs: Any) -> Tensor:
    output: Tensor = model(inputs[0])
    return output


def _channels_last(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    for images, labels in loader:
        yield images.contiguous(memory_format=torch.channels_last), labels


# Tables


def table(given: argparse.Namespace, clock: Clock) -> None:
    """A table in memory."""
    batch, numbers, categories = 256, 30, 5
    config = configured(batch)
    random = np.random.default_rng(0)

    def made(rows: int) -> data.Memory:
        numeric = torch.from_numpy(random.normal(size=(rows, numbers)))
        codes = torch.from_numpy(random.integers(0, 12, (rows, categories)))
        labels = torch.from_numpy(random.integers(0, CLASSES, rows))
        return data.Memory(data.Samples({"numeric": numeric, "categorical": codes}, labels))

    schema = data.Schema(
        (numbers + categories,),
        tuple(map(str, range(CLASSES))),
        tuple(f"x{place}" for place in range(numbers)),
        {f"c{place}": tuple(map(str, range(12))) for place in range(categories)},
    )
    splits = {"train": made(given.rows), "test": made(100)}
    ready = prepared(data.Contents("table", splits, schema, "sha256:" + "0" * 64), config)
    model = partial(network, ready, "velodrome/mlp")
    split = ready.shown_to(model()).train
    assert isinstance(split, preprocessing.ReadySplit)
    assert isinstance(split.inputs, Mapping)
    numeric, categorical = split.inputs["numeric"], split.inputs["categorical"]
    loader = DataLoader(TensorDataset(numeric, categorical, split.targets), batch, shuffle=True)

    def permuted() -> Iterator[tuple[Tensor, ...]]:
        for chosen in torch.randperm(len(split)).split(batch):
            yield numeric[chosen], categorical[chosen], split.targets[chosen]

    shown = partial(theirs, model=model, call=lambda module, inputs: module(*inputs), clock=clock)
    peers = {
        "DataLoader": (shown(partial(iter, loader)), 1.0),
        "permutation": (shown(permuted), None),
        "permutation, fused SGD as in the runner": (shown(permuted, fused=True), None),
    }
    title = f"{given.rows:,} rows, {numbers} numbers, {categories} categories, MLP, batches of {batch}"
    race(title, ours(ready, config, model, clock), peers, given.seconds)


# Sequences


def sequences(given: argparse.Namespace, clock: Clock) -> None:
    """Sequences of about equal, and of very unequal lengths."""
    random = np.random.default_rng(0)
    spreads = {
        "7 to 29 steps, as JapaneseVowels": random.normal(15.7, 3.6, given.series).round().clip(7, 29),
        "10 to 400 steps, lognormal": random.lognormal(4.3, 0.8, given.series).round().clip(10, 400),
    }
    for name, lengths in spreads.items():
        of_lengths(name, torch.from_numpy(lengths).long(), given.seconds / len(spreads), clock)


def of_lengths(name: str, lengths: Tensor, seconds: float, clock: Clock) -> None:
    """Series of noise of these lengths, in 12 channels."""
    batch, channels, longest = 32, 12, int(lengths.max())
    config = configured(batch)
    values = torch.randn(len(lengths), channels, longest) * (torch.arange(longest) < lengths[:, None])[:, None, :]
    labels = torch.randint(0, CLASSES, (len(lengths),))
    every = data.Samples({"values": values, "lengths": lengths}, labels)
    splits = {"train": data.Memory(every), "test": data.Memory(every.take(torch.arange(32)))}
    schema = data.Schema((channels, longest), tuple(map(str, range(CLASSES))), equal=False)
    ready = prepared(data.Contents("sequences", splits, schema, "sha256:" + "0" * 64), config)
    whole = padded_inputs(ready.train)
    # Steps first, as pad_sequence and batch_first take them.
    series = [each[:, :length].T.contiguous() for each, length in zip(whole["values"], lengths, strict=True)]
    items = list(zip(series, labels, strict=True))

    def padded(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        steps, targets = zip(*samples, strict=True)
        each = torch.tensor([len(one) for one in steps])
        return pad_sequence(list(steps), batch_first=True).transpose(1, 2), each, torch.stack(targets)

    by_batch: Any = DataLoader(items, batch, shuffle=True, collate_fn=padded)  # type: ignore[arg-type]
    by_data = DataLoader(TensorDataset(whole["values"], lengths, labels), batch, shuffle=True)
    shown = partial(theirs, model=partial(network, ready, "velodrome/gru", hidden=64), clock=clock)
    peers = {
        "padded to the batch's longest, packed": (shown(partial(iter, by_batch), call=_packed), 1.5),
        "padded to the batch's longest": (shown(partial(iter, by_batch), call=_first), 1.5),
        "padded to the data's longest": (shown(partial(iter, by_data), call=_first), None),
    }
    title = f"{len(lengths):,} series of {name} (mean {lengths.float().mean():.0f}), GRU, batches of {batch}"
    race(title, ours(ready, config, partial(network, ready, "velodrome/gru", hidden=64), clock), peers, seconds)


def _packed(model: nn.Module, inputs: Any) -> Tensor:
    """The same answer as the model's, by a packed sequence."""
    steps, lengths = inputs[0].transpose(1, 2), inputs[1]
    _, state = model.network(pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False))  # type: ignore[operator]
    output: Tensor = model.head(state[-1])  # type: ignore[operator]
    return output


def padded_inputs(split: object) -> Mapping[str, Tensor]:
    """The inputs of a whole split, padded to the longest of them."""
    assert isinstance(split, preprocessing.ReadySplit)
    assert isinstance(split.inputs, PackedInputs)
    found = taken(split.inputs, torch.arange(len(split)))
    assert isinstance(found, Mapping)
    return found


# Texts with labels


def documents(given: argparse.Namespace, clock: Clock) -> None:
    """Short texts and a long one, as the runner keeps them and padded to the longest."""
    batch, longest = 32, 10_000
    random = np.random.default_rng(0)
    lengths = random.integers(3, 120, given.documents)
    lengths[0] = longest
    fields = {"format": "Documents", "text": "text", "target": "label", "splits": {"column": "part"}}
    given_data = {"name": "made", "source": {"path": "texts.jsonl"}, **fields}
    entries = [{"name": "one", "model": {"name": "velodrome/embeddingbag"}}]
    config = configured(batch, dataset=given_data, entries=entries, preprocessing={"maxLength": longest})
    with tempfile.TemporaryDirectory() as name:
        with (Path(name) / "texts.jsonl").open("w", encoding="utf-8") as file:
            for number, length in enumerate(lengths):
                text = " ".join(f"w{word}" for word in random.integers(0, 20_000, length))
                part = "test" if number % 10 == 9 else "train"
                file.write(f"{json.dumps({'text': text, 'label': f'c{number % CLASSES}', 'part': part})}\n")
        contents = contents_of(open_format(Dataset.model_validate(given_data), Path(name)))
    ready = prepared(contents, config, in_memory=True)
    model = partial(network, ready, "velodrome/embeddingbag", of="documents")
    assert isinstance(ready.train, preprocessing.ReadySplit)
    whole, targets = padded_inputs(ready.train), ready.train.targets
    padded = dataclasses.replace(ready, train=preprocessing.ReadySplit(whole, targets))

    def permuted() -> Iterator[tuple[Any, ...]]:
        for chosen in torch.randperm(len(targets)).split(batch):
            inputs = trimmed(whole, whole["lengths"][chosen])
            yield inputs["tokens"][chosen], inputs["lengths"][chosen], targets[chosen]

    call: Any = lambda module, inputs: module(*inputs)  # noqa: E731 - an argument
    peers = {
        "the same loop, texts padded in memory": (ours(padded, config, model, clock), 1.0),
        "shuffled, texts padded in memory": (theirs(permuted, model, call, clock), None),
    }
    title = f"{len(targets):,} texts of 3 to 120 words and one of {longest:,}, embeddings, batches of {batch}"
    race(title, ours(ready, config, model, clock), peers, given.seconds)
    assert isinstance(ready.train.inputs, PackedInputs)
    kept = (contents.splits["train"].nbytes, ready.train.inputs.rows.nbytes)
    before = (len(targets) * (4 * longest + 16), sum(each.nbytes for each in whole.values()))
    for what, now, then in zip(("as read", "as inputs"), kept, before, strict=True):
        print(f"  memory {what}: {now / 2**20:.1f} MiB, padded {then / 2**20:.1f} MiB: {then / now:.0f} x")


# A running text


def text(given: argparse.Namespace, clock: Clock) -> None:
    """A made text of characters, as the runner cuts it, as tables of all windows, and as a memory-mapped file."""
    batch, window = 32, 128
    fields = {"name": "made", "format": "Text", "source": {"path": "text"}, "window": window}
    with tempfile.TemporaryDirectory() as name:
        made_text(Path(name) / "text", given.megabytes)
        contents = timed_reading(Dataset.model_validate(fields), Path(name), clock)
        whole = contents.splits["train"]
        assert isinstance(whole, data.TokenWindows)
        whole.stream.numpy().tofile(Path(name) / "train")
        stored = np.memmap(Path(name) / "train", dtype=whole.stream.numpy().dtype, mode="r")
        # A pass is over a part of the text: a table of all windows of a large one does not fit in memory.
        part = dataclasses.replace(whole, stream=whole.stream[: given.windows * window + 1])
        config = configured(batch)
        task = tasks.fit("language-modelling", contents, config.preprocessing, config.training, device=CPU, seed=0)
        ready = preprocessing.prepare(contents.with_splits(train=part), task)
        every = data.whole(part)
        table_ = preprocessing.ReadySplit(every.inputs["tokens"], every.targets)
        tabled = dataclasses.replace(ready, train=table_)
        mapped = partial(mapped_windows, stored, ready.lengths(batch), window)
        title = f"{len(part):,} windows of {window} characters, batches of {batch}"
        peers = {"tables of windows": (no_model(tabled, batch, clock), None), "mapped": (only(mapped, clock), 1.0)}
        race(f"{title}, no model", no_model(ready, batch, clock), peers, given.seconds / 2)
        model = partial(network, ready, "velodrome/gru", of="text", hidden=96)
        peers = {
            "tables of windows": (ours(tabled, config, model, clock), 1.0),
            "mapped": (theirs(mapped, model, _next_tokens, clock), 1.0),
        }
        race(f"{title}, GRU", ours(ready, config, model, clock), peers, given.seconds / 2)


def timed_reading(dataset: Dataset, folder: Path, clock: Clock) -> data.Contents:
    """The text, and a line about the time and the memory that reading takes."""
    before, begin = memory_peak(), clock()
    contents = contents_of(open_format(dataset, folder))
    seconds, peak = clock() - begin, memory_peak() - before
    splits = [each for each in contents.splits.values() if isinstance(each, data.TokenWindows)]
    count, kept = sum(len(each.stream) for each in splits), sum(each.nbytes for each in splits)
    print(
        f"  {count:,} characters, read in {seconds:.1f} s: {kept / count:.1f} bytes each, and at most "
        f"{peak / count:.1f} while they were read (tables of windows: 16, so {16 * count / kept:.0f} x)",
        flush=True,
    )
    return contents


def mapped_windows(stored: Any, sizes: list[int], window: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of windows at random places of a mapped file, each cut by itself and put into one tensor."""

    def stacked(places: list[int]) -> Tensor:
        return torch.stack([torch.from_numpy(stored[at : at + window].astype(np.int64)) for at in places])

    for size in sizes:
        places = torch.randint(len(stored) - window, (size,)).tolist()
        yield stacked(places), stacked([at + 1 for at in places])


def only(batches: Callable[[], Iterable[Any]], clock: Clock) -> Pass:
    """A pass that does nothing with its batches."""

    def run() -> tuple[int, float]:
        begin = clock()
        seen = sum(len(targets) for _, targets in batches())
        return seen, clock() - begin

    return run


def no_model(ready: preprocessing.Prepared, batch: int, clock: Clock) -> Pass:
    """The runner's batches."""
    return only(lambda: ready.batches(batch, torch.Generator().manual_seed(0)), clock)


def made_text(path: Path, megabytes: int) -> None:
    """Lower-case words, and two with characters beyond ASCII."""
    random = np.random.default_rng(0)
    words = ["".join(map(chr, random.integers(97, 123, length))) for length in random.integers(2, 10, 5000)]
    words += ["\u00e9t\u00e9,", "\U0001d11e"]
    block = " ".join(words[word] for word in random.integers(0, len(words), 200_000)).encode()
    with path.open("wb") as file:
        while file.tell() < megabytes * 10**6:
            file.write(block)


def memory_peak() -> int:
    """The most memory that this process ever had, in bytes, of which mapped files are a part."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _next_tokens(model: nn.Module, inputs: Any) -> Tensor:
    """Logits with the classes where the loss of windows wants them."""
    outputs: Tensor = model(inputs[0])
    return outputs.transpose(1, 2)


CASES = {"jpeg": jpeg, "table": table, "sequences": sequences, "documents": documents, "text": text}


def main() -> None:
    """Runs one case, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("--seconds", type=float, default=20, help="about as long as one case takes")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode images, on both sides")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads in this process")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--series", type=int, default=270)
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--megabytes", type=int, default=20, help="of the running text")
    parser.add_argument("--windows", type=int, default=3000, help="of the running text, in one pass")
    parser.add_argument("--cpu", action="store_true", help="seconds of CPU, of the workers too: for a busy machine")
    given = parser.parse_args()
    threads.use(given.threads)
    spare_the_compiler()  # its import takes longer than a case
    clock, name = (cpu_seconds, "CPU") if given.cpu else (time.perf_counter, "wall")
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} CPUs, {given.threads} threads, {name} time")
    for name, case in CASES.items():
        if given.case in (None, name):
            print(f"{name}:", flush=True)
            case(given, clock)


if __name__ == "__main__":
    main()
