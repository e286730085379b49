"""A running text: what is read, how it is cut into splits and windows, and texts that can't be used."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset, Preprocessing, Training
from velodrome_runner import evaluation, tasks
from velodrome_runner.data import Contents, Samples, TokenWindows, characters, open_contents, whole
from velodrome_runner.data.loading import read
from velodrome_runner.data.windows import IGNORED, gathered
from velodrome_runner.preprocessing import ReadyWindows, prepare

FRACTIONS = {"fractions": {"validation": 0.2, "test": 0.3}}
CPU = torch.device("cpu")
RHYME = "the bee, the tree: see?\n"


def job(**fields: Any) -> Dataset:
    given = {"name": "ours", "format": "Text", "source": {"path": "text"}, "window": 4, "splits": FRACTIONS}
    return Dataset.model_validate(given | fields)


def stored(folder: Path, content: str | bytes, name: str = "text") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def windows_of(contents: Contents) -> dict[str, TokenWindows]:
    return {name: source for name, source in contents.splits.items() if isinstance(source, TokenWindows)}


def text_of(contents: Contents, split: str) -> str:
    """A split that is not trained on, as its windows have it: the first token, and then each target that counts."""
    samples = whole(contents.splits[split])
    tokens = [int(samples.inputs["tokens"][0, 0]), *samples.targets[samples.targets != IGNORED].tolist()]
    return "".join(contents.schema.tokens[token] for token in tokens)


def test_a_text_is_cut_by_position_and_no_character_is_in_two_splits(tmp_path: Path) -> None:
    text = RHYME * 10
    found = read(job(), stored(tmp_path, text))
    assert (found.kind, found.schema.shape, found.schema.classes) == ("text", (4,), None)
    assert found.schema.tokens == tuple(sorted(set(text)))
    assert [text_of(found, split) for split in ("validation", "test")] == [text[120:168], text[168:]]
    train = whole(found.splits["train"]).inputs["tokens"]
    written = ["".join(found.schema.tokens[token] for token in window) for window in train.tolist()]
    assert "".join(written[:-1]) == text[: 4 * (len(written) - 1)]
    assert written[-1] == text[115:119]


def tabled(stream: torch.Tensor, size: int, *, once: bool) -> Samples:
    """All windows and their targets as two tables, written down at once."""
    last = len(stream) - 1 - size
    starts = [*range(0, last, size), last]
    tokens, targets = (torch.stack([stream[at + on : at + on + size] for at in starts]).long() for on in (0, 1))
    if once and len(starts) > 1:
        targets[-1, : starts[-2] + size - last] = IGNORED
    return Samples({"tokens": tokens}, targets)


@pytest.mark.parametrize("size", range(2, 12))
@pytest.mark.parametrize("length", [12, 13, 24])
def test_each_token_but_the_first_is_predicted_exactly_once(length: int, size: int) -> None:
    stream = torch.arange(length)
    samples = whole(TokenWindows(stream, size, once=True))
    counted = samples.targets != IGNORED
    assert samples.targets[counted].tolist() == list(range(1, length))
    assert torch.equal(samples.inputs["tokens"][counted] + 1, samples.targets[counted])
    training = whole(TokenWindows(stream, size, once=False))
    assert torch.equal(training.inputs["tokens"], samples.inputs["tokens"])
    assert torch.equal(training.targets, training.inputs["tokens"] + 1)
    assert training.targets.unique().tolist() == list(range(1, length))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32])
@pytest.mark.parametrize(("length", "size"), [(3, 2), (97, 8), (96, 8), (105, 8), (104, 8)])
@pytest.mark.parametrize("once", [True, False])
def test_windows_are_cut_as_in_a_table(length: int, size: int, kind: torch.dtype, *, once: bool) -> None:
    stream = torch.randint(0, 128, (length,), generator=torch.Generator().manual_seed(0)).to(kind)
    source, table = TokenWindows(stream, size, once=once), tabled(stream, size, once=once)
    assert len(source) == len(table)
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(1)).repeat(2)
    for found, expected in ((source.take(order), table.take(order)), (whole(source), table)):
        assert torch.equal(found.inputs["tokens"], expected.inputs["tokens"])
        assert torch.equal(found.targets, expected.targets)
        assert found.inputs["tokens"].is_contiguous()
        assert found.targets.is_contiguous()
    assert torch.equal(source.targets, table.targets)
    on_a_gpu = gathered(stream, torch.tensor([1, 0]), size)
    assert torch.equal(on_a_gpu, torch.stack([stream[1 : size + 1], stream[:size]]))


@pytest.mark.parametrize("made", [True, False], ids=["on the device", "read when needed"])
def test_batches_are_those_of_tables_of_windows(tmp_path: Path, *, made: bool) -> None:
    contents = read(job(), stored(tmp_path, "".join(f"{number:b} \u00df " for number in range(300))))
    task = tasks.fit("language-modelling", contents, Preprocessing(), Training(), device=CPU, seed=0)
    splits = {name: tabled(source.stream, 4, once=name != "train") for name, source in windows_of(contents).items()}
    order = torch.randperm(len(splits["train"]), generator=torch.Generator().manual_seed(7))
    ready = prepare(contents, task, in_memory=made)
    batches = list(ready.batches(16, torch.Generator().manual_seed(7)))
    for batch, indices in zip(batches, order.split(ready.lengths(16)), strict=True):
        expected = splits["train"].take(indices)
        assert torch.equal(batch.inputs, expected.inputs["tokens"])
        assert torch.equal(batch.targets, expected.targets)
    tested = list(ready.batches(16, split="test"))
    assert torch.equal(torch.cat([batch.inputs for batch in tested]), splits["test"].inputs["tokens"])
    assert torch.equal(torch.cat([batch.targets for batch in tested]), splits["test"].targets)


@pytest.mark.parametrize(("known", "taken"), [(200, 1), (256, 1), (257, 2), (40_000, 4)])
def test_a_token_takes_one_to_four_bytes_and_nothing_is_kept_twice(tmp_path: Path, known: int, taken: int) -> None:
    text = "".join(chr(0x10000 + number % known) for number in range(3 * known))
    contents = read(job(splits={"fractions": {"validation": 0.1, "test": 0.1}}), stored(tmp_path, text))
    assert len(contents.schema.tokens) == known
    assert sum(source.nbytes for source in contents.splits.values()) == taken * len(text)
    task = tasks.fit("language-modelling", contents, Preprocessing(), Training(), device=CPU, seed=0)
    ready = prepare(contents, task)
    assert isinstance(ready.train, ReadyWindows)
    assert ready.train.windows.stream.data_ptr() == windows_of(contents)["train"].stream.data_ptr()


@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_reading_takes_little_more_than_the_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: str
) -> None:
    monkeypatch.setattr(characters, "AT_ONCE", 2**12)
    text = "".join(f"{number:b} sheep, " for number in range(100_000))
    for part in range(4):
        stored(tmp_path, text, f"text/{part}")
    tracemalloc.start()
    try:
        contents = read(job(tokens=tokens), tmp_path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    table = 4 * 0x110000  # of all characters, while they are numbered
    assert sum(len(source.stream) for source in windows_of(contents).values()) == 4 * len(text)
    assert kept < 1.1 * 4 * len(text)
    assert peak < 1.1 * 4 * len(text) + table


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 64])
def test_pieces_of_any_size_give_the_same_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    text = "\ufeff\ufeff" + "".join(f"{number} \u00df\u8449\U0001d11e " for number in range(40))
    folder = stored(tmp_path, text)
    monkeypatch.setattr(characters, "AT_ONCE", at_once)
    found = read(job(), folder)
    length = len(text) - 1
    last = length - round(0.3 * length)
    first = last - round(0.2 / (1 - 0.3) * last)
    train, validation, test = text[1:][:first], text[1:][first:last], text[1:][last:]
    assert (text_of(found, "validation"), text_of(found, "test")) == (validation, test)
    expected = hashlib.sha256(json.dumps({"kind": "text", "tokens": "characters"}).encode())
    for name, part in (("train", train), ("validation", validation), ("test", test)):
        expected.update(name.encode() + len(part).to_bytes(8, "little") + part.encode("utf-32-le"))
    assert found.digest == f"sha256:{expected.hexdigest()}"
    begins = r"byte {} \({}\) begins no character"
    for wrong, at, words in (
        (b"\xff", 1, begins.format("{}", "0xff")),
        (b"\xe8\x91a", 1, begins.format("{}", "0xe8")),
        (b"\xf0\x9d\x84", 1, begins.format("{}", "0xf0")),
        (b"a\0", 2, r"U\+0000, at byte {},"),
    ):
        stored(tmp_path, text.encode() + wrong)
        with pytest.raises(ConfigurationError, match=words.format(len(text.encode()) + at)):
            read(job(), folder)


def test_a_file_of_bytes_that_does_not_fit_stays_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path, bytes(range(256)) * 40)
    held = open_contents(job(tokens="bytes"), folder=folder, seed=0)
    monkeypatch.setattr(characters, "fits", lambda size, device: size < 10_240 and device.type == "cpu")
    found = open_contents(job(tokens="bytes"), folder=folder, seed=0)
    assert held.facts.reading is None
    assert found.facts == held.facts.model_copy(update={"reading": "from files, when it is needed"})
    task = tasks.fit("language-modelling", found.contents, Preprocessing(), Training(), device=CPU, seed=0)
    ours, theirs = (prepare(each.contents, task).batches(8, torch.Generator().manual_seed(0)) for each in (found, held))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets, other.targets)
    assert all(source.mapped for source in windows_of(found.contents).values())


def test_the_validation_split_is_the_end_of_the_training_part_whatever_the_seed(tmp_path: Path) -> None:
    text = "".join(f"{number} sheep, " for number in range(200))
    dataset = job(splits={"fractions": {"test": 0.5}}, validationFraction=0.1)
    folder = stored(tmp_path, text)
    opened = [open_contents(dataset, folder=folder, seed=seed) for seed in (0, 1)]
    first, second = ([whole(one.contents.splits[name]).targets for name in ("train", "validation")] for one in opened)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    half = len(text) - round(0.5 * len(text))
    assert text_of(opened[0].contents, "validation") == text[half - round(0.1 * half) : half]
    none = open_contents(dataset.model_copy(update={"validation_fraction": 0.0}), folder=folder, seed=0)
    assert none.facts.validation_samples == 0


def test_files_of_a_folder_are_one_text_in_the_order_of_their_paths(tmp_path: Path) -> None:
    stored(tmp_path, "\ufeff" + RHYME * 4, "text/a.txt")
    stored(tmp_path, RHYME.upper() * 2, "text/b/c.txt")
    stored(tmp_path, b"\xff", "text/.hidden")
    found = read(job(splits={"fractions": {"test": 0.1}}, validationFraction=0.1), tmp_path)
    assert text_of(found, "test") == (RHYME * 4 + RHYME.upper() * 2)[-14:]


def test_each_split_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    for name, count in (("train", 8), ("test", 2)):
        stored(tmp_path, RHYME * count, f"text/{name}.txt")
    files = {"files": {"train": "train.txt", "test": "test.txt"}}
    found = read(job(splits=files, validationFraction=0.25), tmp_path)
    assert (text_of(found, "validation"), text_of(found, "test")) == (RHYME * 2, RHYME * 2)
    stored(tmp_path, RHYME * 3, "text/check.txt")
    both = read(job(splits={"files": files["files"] | {"validation": "check.txt"}}), tmp_path)
    assert text_of(both, "validation") == RHYME * 3


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"train": "a.txt", "test": "./a.txt"},
            r"files has a\.txt for train and \./a\.txt for test, which are the same",
        ),
        ({"train": "a.txt", "test": "c.txt", "validation": "c.txt"}, "has c.txt for validation and c.txt for test, wh"),
        ({"train": "a.txt", "test": "link.txt"}, "link.txt for test, which are the same: a model would be judged by"),
        (
            {"train": ".", "test": "c.txt"},
            r"has \. for train and c\.txt for test, which is in the other: ",
        ),
        (
            {"train": "a.txt", "test": "b.txt"},
            r"a\.txt and .*b\.txt \(train, test\) have the same text: a model",
        ),
    ],
)
@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_one_text_in_two_splits_is_refused(tmp_path: Path, files: dict[str, str], words: str, tokens: str) -> None:
    for name, text in (("a", RHYME * 9), ("b", RHYME * 9), ("c", RHYME * 2)):
        stored(tmp_path, text, f"text/{name}.txt")
    (tmp_path / "text/link.txt").symlink_to("a.txt")
    with pytest.raises(ConfigurationError, match=words):
        read(job(splits={"files": files}, tokens=tokens), tmp_path)


def test_bytes_need_no_vocabulary_and_no_encoding(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4
    found = read(job(tokens="bytes"), stored(tmp_path, content))
    assert len(found.schema.tokens) == 256
    samples = whole(found.splits["test"])
    assert samples.inputs["tokens"][0].tolist() == list(content[-307:-303])


def test_the_digest_is_of_the_text_and_its_splits_and_not_of_the_windows(tmp_path: Path) -> None:
    folder = stored(tmp_path, RHYME * 10)
    digest = read(job(), folder).digest
    assert read(job(window=9), folder).digest == digest
    assert read(job(tokens="bytes"), folder).digest != digest
    assert read(job(splits={"fractions": {"validation": 0.2, "test": 0.2}}), folder).digest != digest
    assert read(job(), stored(tmp_path, RHYME * 9 + RHYME.replace("bee", "eeb"))).digest != digest


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        ("", {}, "text is empty: write a text into it, or remove it"),
        (b"fine \xff\xfe", {}, r"text is no UTF-8: byte 6 \(0xff\) begins no .* write spec.dataset.tokens: bytes"),
        (RHYME.encode("utf-16-le"), {}, r"text has the character U\+0000, at byte 2, as files of UTF-16 have: convert"),
        (b"half \xed\xa0\x80", {}, r"text is no UTF-8: byte 6 \(0xed\) begins no character"),
        (gzip.compress(RHYME.encode() * 9), {}, "text is compressed: unpack it"),
        (lzma.compress(RHYME.encode() * 9), {}, "text is compressed: unpack it"),
        (RHYME, {"window": 64}, r"the test split of .*text has 7 characters, and a window of 64 needs 65: .* smaller"),
        (RHYME * 9, {"splits": {"fractions": {"test": 0.001}}}, "the test split of .*text has no text, and a window"),
        ("a" * 70, {}, "has only the character 'a': a model has to choose"),
        (
            RHYME * 9 + "ß§ß",
            {},
            r"the test split of .*text has, as its character 64, 'ß' \(U\+00DF and 1 other\), which",
        ),
        (RHYME * 9, {"source": {"path": "nothing"}}, "there is no .*nothing: correct spec.dataset.source"),
    ],
    ids=[
        "empty",
        "no UTF-8",
        "UTF-16",
        "half a character",
        "gzip",
        "xz",
        "short",
        "empty split",
        "one character",
        "unseen",
        "missing",
    ],
)
def test_a_text_that_cant_be_used_is_refused_with_the_fix(
    tmp_path: Path, content: str | bytes, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        read(job(**fields), stored(tmp_path, content))
    assert refused.value.reason in ("DatasetInvalid", "DatasetMissing")


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    with pytest.raises(ConfigurationError, match=r"there are no files in .*: put a text there"):
        read(job(), tmp_path)


def test_a_folder_that_cant_be_read_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "closed/b", ".hidden/c"):
        stored(tmp_path, RHYME * 9, f"text/{name}")
    scandir, closed = os.scandir, ["closed", ".hidden"]

    def guarded(path: str) -> Any:  # this test may run as root, who may read everything
        if Path(path).name in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(
        ConfigurationError, match=r"closed can't be read \(Permission denied\): correct its name or its"
    ):
        read(job(), tmp_path)
    closed.remove("closed")
    assert len(read(job(), tmp_path).splits) == 3


def test_a_pipe_is_no_text_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "text")
    with pytest.raises(ConfigurationError, match=r"there is no .*text: correct spec.dataset.source"):
        read(job(), tmp_path)


def test_a_character_that_training_lacks_is_fine_as_bytes(tmp_path: Path) -> None:
    found = read(job(tokens="bytes"), stored(tmp_path, RHYME * 9 + "ß§ß"))
    assert len(found.splits["test"]) > 1


def test_pythons_reference_needs_no_files_and_has_no_character_in_test_alone(tmp_path: Path) -> None:
    found = open_contents(Dataset(name="pydoc"), folder=tmp_path, seed=0)
    assert found.facts.shape == (128,)
    assert found.facts.train_samples > 8 * found.facts.test_samples > 8 * 200
    assert found.facts.validation_samples > 200


class Unigram(nn.Module):
    """The same logits at each place."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*tokens.shape, -1)


@pytest.mark.parametrize("batch_size", [64, 100, 1000])
@pytest.mark.parametrize("made", [True, False], ids=["in memory", "read when needed"])
def test_a_split_is_scored_over_all_of_its_characters(tmp_path: Path, batch_size: int, *, made: bool) -> None:
    """Of a model that only counts characters, the perplexity is known without windows and batches."""
    contents = read(job(), stored(tmp_path, "".join(f"{number:b} ß " for number in range(300))))
    task = tasks.fit("language-modelling", contents, Preprocessing(), Training(), device=CPU, seed=0)
    logits = torch.arange(float(len(contents.schema.tokens)))
    meter = evaluation.of_split(
        prepare(contents, task, in_memory=made), "test", Unigram(logits), batch_size,
        keys=["perplexity", "bits_per_byte"],
    )  # fmt: skip
    text = text_of(contents, "test")[1:]
    nats = -sum(float(logits.double().log_softmax(0)[contents.schema.tokens.index(each)]) for each in text)
    found = meter.read().values
    assert found["perplexity"] == pytest.approx(math.exp(nats / len(text)), rel=1e-12)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / len(text.encode()), rel=1e-12)
