"""Rows of unequal lengths without padding: what is taken, their digest, their batches, and their memory."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from velodrome.spec import Dataset, Preprocessing, Training
from velodrome_runner import tasks
from velodrome_runner.data import Contents, Memory, Samples, SampleSource, Schema, Unpadded, contents, part, whole
from velodrome_runner.data import ragged as rows_of
from velodrome_runner.data.format import samples_digest
from velodrome_runner.data.loading import read
from velodrome_runner.data.ragged import Ragged
from velodrome_runner.inputs.base import PackedInputs
from velodrome_runner.preprocessing import Prepared, ReadySplit, prepare

CPU = torch.device("cpu")
LENGTHS = [3, 1, 7, 2, 2, 5]


def rows(shape: tuple[int, ...] = ()) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(1, 99, (length, *shape), generator=generator, dtype=torch.int32) for length in LENGTHS]


def ragged(shape: tuple[int, ...] = ()) -> Ragged:
    return Ragged.joined(torch.cat(rows(shape)).split(4), torch.tensor(LENGTHS))


def naive(each: list[torch.Tensor], longest: int) -> torch.Tensor:
    return torch.stack([nn.functional.pad(row.movedim(0, -1), (0, longest - len(row))) for row in each])


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize("indices", [[0, 1, 2, 3, 4, 5], [3, 1], [2, 2, 0], [4]])
def test_taken_rows_are_padded_to_the_longest_of_them(shape: tuple[int, ...], indices: list[int]) -> None:
    chosen = [rows(shape)[index] for index in indices]
    values, lengths = ragged(shape).padded(torch.tensor(indices))
    assert lengths.tolist() == [len(row) for row in chosen]
    assert torch.equal(values, naive(chosen, max(map(len, chosen))))


@pytest.mark.parametrize("at_once", [1, 3, 2**20])
def test_copies_have_the_rows_that_were_asked_for(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(rows_of, "_AT_ONCE", at_once)
    indices = torch.tensor([5, 0, 2])
    chosen, cut = ragged((2,)).chosen(indices), ragged((2,)).cut(2)
    assert torch.equal(chosen.padded(torch.arange(3))[0], ragged((2,)).padded(indices)[0])
    assert torch.equal(cut.padded(torch.arange(6))[0], naive([row[:2] for row in rows((2,))], 2))
    assert (chosen.steps, cut.lengths.tolist()) == (15, [2, 1, 2, 2, 2, 2])
    assert len(ragged().chosen(torch.tensor([], dtype=torch.int64)).padded(torch.tensor([], dtype=torch.int64))[0]) == 0


def both(values: str, shape: tuple[int, ...]) -> tuple[Memory, Unpadded]:
    """The same samples with padding, and without."""
    lengths, targets = torch.tensor(LENGTHS), torch.arange(len(LENGTHS)) % 2
    source = Unpadded(values, ragged(shape), targets, 9)
    padded = nn.functional.pad(naive(rows(shape), max(LENGTHS)), (0, 9 - max(LENGTHS)))
    return Memory(Samples({values: padded, "lengths": lengths}, targets)), source


@pytest.mark.parametrize("at_once", [1, 20, 2**20])
@pytest.mark.parametrize(("field", "shape"), [("tokens", ()), ("values", (2,))])
def test_the_digest_is_that_of_padded_samples(
    monkeypatch: pytest.MonkeyPatch, field: str, shape: tuple[int, ...], at_once: int
) -> None:
    monkeypatch.setattr(contents, "_DIGESTED", at_once)
    schema = Schema((9,), ("a", "b"))
    parts = [torch.tensor([0, 1, 3]), torch.tensor([2, 4, 5])]
    found = [
        samples_digest("documents", schema, {"train": part(source, parts[0]), "test": part(source, parts[1])})  # type: ignore[dict-item]
        for source in both(field, shape)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_digest_covers_no_padding_where_that_would_be_most_of_its_work(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    values, schema = prod(shape), Schema((9,), ("a", "b"))
    source = both("values", shape)[1]
    monkeypatch.setattr(contents, "_PADDED", 6 * values * 9)
    padded = samples_digest("sequences", schema, {"train": source})
    monkeypatch.setattr(contents, "_PADDED", 6 * values * 9 - 1)
    monkeypatch.setattr(contents, "_DIGESTED", 4)
    monkeypatch.setattr(Ragged, "padded", lambda *_: pytest.fail("something was padded"))
    found = samples_digest("sequences", schema, {"train": source})
    assert found not in (padded, samples_digest("sequences", schema, {"train": replace(source, rows=moved(shape))}))
    about = {"kind": "sequences", "classes": ["a", "b"], "numeric": [], "categorical": {}, "target": ""}
    expected = hashlib.sha256(json.dumps(about, separators=(",", ":")).encode() + b"train")
    for name, tensor in (("lengths", source.lengths), ("values", torch.cat(rows(shape))), ("targets", source.targets)):
        expected.update(name.encode() + np.array(tensor.shape, dtype="<i8").tobytes() + tensor.numpy().tobytes())
    assert found == f"sha256:{expected.hexdigest()}"


def moved(shape: tuple[int, ...]) -> Ragged:
    """The same steps, of which the second sample has one more, and the first has one less."""
    return Ragged.joined([torch.cat(rows(shape))], torch.tensor([2, 2, 7, 2, 2, 5]))


class WithLengths(nn.Module):
    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return tokens.sum(1) + lengths


class Alone(nn.Module):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens


def documents(source: SampleSource) -> Contents:
    schema = Schema((9,), ("a", "b"), equal=False, tokens=tuple(f"w{number:02}" for number in range(99)))
    return Contents("documents", {"train": source, "test": source}, schema, "sha256:" + "0" * 64)


def prepared(source: SampleSource, model: nn.Module, *, in_memory: bool) -> Prepared:
    data = documents(source)
    task = tasks.fit("classification", data, Preprocessing(max_length=6), Training(), device=CPU, seed=0)
    return prepare(data, task, in_memory=in_memory).shown_to(model)


@pytest.mark.parametrize("model", [WithLengths(), Alone()], ids=["lengths", "no lengths"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_batches_are_those_of_padded_samples(model: nn.Module, *, in_memory: bool) -> None:
    seen = []
    for source in both("tokens", ()):
        ready = prepared(source, model, in_memory=in_memory)
        generator = torch.Generator().manual_seed(1)
        batches = [*ready.batches(2, generator), *ready.batches(4, split="test")]
        seen.append([(each.inputs, each.targets) for each in batches])
    for (one, targets), (other, theirs) in zip(*seen, strict=True):
        assert torch.equal(targets, theirs)
        if isinstance(one, torch.Tensor):
            assert one.shape[1] == 6, "nothing else tells this model where a text ends"
            assert torch.equal(one, other)
        else:
            assert one["tokens"].shape[1] == int(one["lengths"].max())
            assert all(torch.equal(one[name], other[name]) for name in one)


def test_one_long_text_costs_no_more_memory_than_its_words(tmp_path: Path) -> None:
    texts = [f"word{number} is short,{'ab'[number % 2]}" for number in range(400)]
    texts[7] = f"{'long ' * 10_000},a"
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *texts]) + "\n")
    given = {"name": "mail", "format": "Documents", "source": {"path": "texts.csv"}, "text": "text", "target": "label"}
    found = read(Dataset.model_validate({**given, "splits": {"fractions": {"test": 0.2}}}), tmp_path)
    words, most = 399 * 3 + 10_000, 2 * 10_000  # a split has room for one more text behind its own
    assert words * 4 < sum(source.nbytes for source in found.splits.values()) < (words + most) * 4 + 400 * 32
    assert found.schema.shape == (10_000,)
    made = tasks.fit("classification", found, Preprocessing(max_length=10_000), Training(), device=CPU, seed=0)
    ready = prepare(found, made, in_memory=True)
    held = [split.inputs for split in (ready.train, ready.test) if isinstance(split, ReadySplit)]
    assert (
        words * 8
        < sum(each.rows.nbytes for each in held if isinstance(each, PackedInputs))
        < (words + most) * 8 + 400 * 32
    )
    assert sum(map(made.transform.nbytes, found.splits.values())) == 8 * words + 400 * 16


def test_a_part_keeps_the_longest_of_the_data() -> None:
    _, source = both("tokens", ())
    few = part(source, torch.tensor([1, 3]))
    assert isinstance(few, Unpadded)
    assert (few.longest, few.lengths.tolist(), few.targets.tolist()) == (9, [1, 2], [1, 1])
    assert torch.equal(whole(few).inputs["tokens"], naive([rows()[1], rows()[3]], 2))
    assert replace(few, longest=2).nbytes == few.nbytes
