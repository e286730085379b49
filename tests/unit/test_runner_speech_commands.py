"""Sounds in the layout of Google's Speech Commands: what is read, who is in which split, and files that are refused."""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.sounds import WORDS, speech_commands, tone, write_wav
from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset
from velodrome_runner.data import Contents, open_contents, whole
from velodrome_runner.data.listed import Folders
from velodrome_runner.data.loading import open_format, read
from velodrome_runner.data.manifest import MANIFEST
from velodrome_runner.data.report import answer
from velodrome_runner.data.speech_commands import speaker_of
from velodrome_runner.data.wav import decoded

FRACTIONS = {"fractions": {"validation": 0.2, "test": 0.3}}


def job(**fields: Any) -> Dataset:
    return Dataset.model_validate({"name": "words", "format": "SpeechCommands", "source": {"path": "words"}} | fields)


def found(folder: Path, **fields: Any) -> Contents:
    return read(job(**fields), folder)


def names(folder: Path, **fields: Any) -> dict[str, list[str]]:
    """The paths of each split."""
    opened = open_format(job(**fields), folder)
    assert isinstance(opened, Folders)
    return {split: [entry.name for entry in entries] for split, entries in opened.entries().items()}


def refusal(folder: Path, **fields: Any) -> tuple[str, str]:
    """The reason and the message, after all samples were read, however they are kept."""
    with pytest.raises(ConfigurationError) as refused:
        [whole(source) for source in found(folder, **fields).splits.values()]
    return refused.value.reason, str(refused.value)


def test_the_lists_name_two_splits_and_all_other_sounds_train(tmp_path: Path) -> None:
    speech_commands(tmp_path / "words")
    contents = found(tmp_path)
    assert (contents.kind, contents.schema.shape, contents.schema.rate) == ("sequences", (1, 16_000), 16_000)
    assert contents.schema.classes == tuple(WORDS), "noises are no class"
    listed = names(tmp_path)
    for split, file in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        assert sorted(listed[split]) == sorted((tmp_path / "words" / file).read_text().split())
    assert {split: len(source) for split, source in contents.splits.items()} == {
        "train": 36,
        "validation": 12,
        "test": 12,
    }
    assert not set(listed["train"]) & {*listed["validation"], *listed["test"]}
    for split, source in contents.splits.items():
        assert [tuple(WORDS)[label] for label in source.targets.tolist()] == [
            name.partition("/")[0] for name in listed[split]
        ]


@pytest.mark.parametrize(("before", "between", "end"), [("./", "/", "\n"), (".\\", "\\", "\r\n"), ("", "//", "\n\n")])
def test_lists_may_name_files_as_other_programs_do(tmp_path: Path, before: str, between: str, end: str) -> None:
    speech_commands(tmp_path / "words", 10)
    usual = names(tmp_path)
    for path in (tmp_path / "words").glob("*_list.txt"):
        given = path.read_text().splitlines()
        path.write_bytes("".join(f"{before}{line.replace('/', between)}{end}" for line in given).encode())
    assert names(tmp_path) == usual


def test_samples_are_those_of_the_file_with_silence_behind_them_or_cut(tmp_path: Path) -> None:
    speech_commands(tmp_path / "words", 10)
    short, long = tone(500, seconds=0.25), tone(700, seconds=1.5)
    write_wav(tmp_path / "words/up/00000002_nohash_0.wav", short)
    write_wav(tmp_path / "words/up/00000003_nohash_0.wav", long)
    contents = found(tmp_path)
    at = {name: place for place, name in enumerate(names(tmp_path)["test"])}
    samples = whole(contents.splits["test"])
    values = samples.inputs["values"][:, 0]
    assert samples.inputs["lengths"].tolist() == [16_000] * 6, "silence is part of a clip"
    padded, cut = values[at["up/00000002_nohash_0.wav"]], values[at["up/00000003_nohash_0.wav"]]
    np.testing.assert_allclose(padded[:4_000], short, atol=1e-4)
    assert not padded[4_000:].any()
    np.testing.assert_allclose(cut, long[:16_000], atol=1e-4)


def test_full_scale_is_one_and_a_declared_rate_and_length_count(tmp_path: Path) -> None:
    speech_commands(tmp_path / "words", 10, rate=8_000)
    write_wav(tmp_path / "words/up/00000002_nohash_0.wav", np.array([0.0, 1.0, -1.0, 0.5] * 500), rate=8_000)
    contents = found(tmp_path, sampleRate=8000, seconds=0.5)
    assert contents.schema.shape == (1, 4_000)
    at = names(tmp_path, sampleRate=8000)["test"].index("up/00000002_nohash_0.wav")
    values = whole(contents.splits["test"]).inputs["values"][at, 0, :4].tolist()
    assert values == pytest.approx([0.0, 1.0, -1.0, 0.5], abs=1e-4)


@pytest.mark.parametrize("before", [b"", b"JUNK\x03\x00\x00\x00fmt\x00"])
def test_the_extensible_form_of_pcm_is_read_like_the_plain_one(tmp_path: Path, before: bytes) -> None:
    write_wav(tmp_path / "a.wav", tone(440.0))
    plain = (tmp_path / "a.wav").read_bytes()
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    form = b"\xfe\xff" + plain[22:36] + struct.pack("<HHI", 22, 16, 4) + guid
    chunks = b"WAVE" + before + b"fmt " + struct.pack("<I", len(form)) + form + plain[36:]
    content = b"RIFF" + struct.pack("<I", len(chunks)) + chunks
    assert np.array_equal(decoded(content, Path("a.wav"), 16_000), decoded(plain, Path("a.wav"), 16_000))
    with pytest.raises(ConfigurationError, match=r"a\.wav is a WAV file that can't be read"):
        decoded(content.replace(guid, b"\x03" + guid[1:]), Path("a.wav"), 16_000)  # floats


@pytest.mark.parametrize("before", [b"", b"LIST\x04\0\0\0INFO"], ids=["plain", "with a list before"])
@pytest.mark.parametrize(("whole", "samples"), [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000)])
def test_a_file_that_went_through_a_pipe_has_samples_up_to_its_end(whole: int, samples: int, before: bytes) -> None:
    values = np.arange(-400, 400, 2, dtype=np.int16)

    def piped(of_file: int, of_samples: int, end: bytes = b"") -> bytes:
        head = header()
        sizes = (struct.pack("<I", size) for size in (of_file, of_samples))
        return head[:4] + next(sizes) + head[8:36] + before + b"data" + next(sizes) + values.tobytes() + end

    found = decoded(piped(whole, samples), Path("a.wav"), 16_000)
    assert np.array_equal(found * 32_768, values)
    for torn, words in (
        (piped(whole, samples, b"\1"), "ends in the middle of a sample"),
        (piped(36 + len(before), samples), "has no samples" if samples == 0 else "ends after"),
        (piped(whole, 1000), "ends after|get it again"),
        (piped(whole, samples)[: -values.nbytes], "has no samples"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            decoded(torn, Path("a.wav"), 16_000)


def test_fractions_keep_all_recordings_of_a_speaker_in_one_split(tmp_path: Path) -> None:
    speech_commands(tmp_path / "words", 60, lists=False)
    write_wav(tmp_path / "words/up/00000001_nohash_1.wav", tone(2000))
    listed = names(tmp_path, splits=FRACTIONS)
    speakers = {split: {speaker_of(name) for name in each} for split, each in listed.items()}
    assert all(
        len(each) == 3 * len(speakers[split]) + ("00000001" in speakers[split]) for split, each in listed.items()
    )
    assert sum(map(len, speakers.values())) == len(set().union(*speakers.values())) == 60
    assert 8 <= len(speakers["test"]) <= 28
    write_wav(tmp_path / "words/up/0000ffff_nohash_0.wav", tone(2000))
    later = names(tmp_path, splits=FRACTIONS)
    assert all(set(listed[split]) <= set(later[split]) for split in listed), "a new sound moves no other"


def test_the_validation_split_that_a_seed_draws_tears_no_speaker_apart(tmp_path: Path) -> None:
    for speaker in range(30):  # whose sounds have one value, which tells who it is
        for word in WORDS:
            said = np.full(800, speaker / 100)
            write_wav(tmp_path / "words" / word / f"{speaker:08x}_nohash_0.wav", said)
    (tmp_path / "words/testing_list.txt").write_text("".join(f"{word}/0000000a_nohash_0.wav\n" for word in WORDS))
    drawn = []
    for seed in range(3):
        splits = open_contents(job(validationFraction=0.25), folder=tmp_path, seed=seed).contents.splits
        train, validation = (
            {round(100 * value) for value in whole(splits[split]).inputs["values"][:, 0, 0].tolist()}
            for split in ("train", "validation")
        )
        assert not train & validation
        assert train | validation == set(range(30)) - {10}
        drawn.append(frozenset(validation))
    assert len(set(drawn)) == 3


def test_names_that_say_no_speaker_are_drawn_one_by_one_by_their_path(tmp_path: Path) -> None:
    for word, hertz in WORDS.items():
        for at in range(30):
            write_wav(tmp_path / "words" / word / f"{at}.wav", tone(hertz + at))
    listed = names(tmp_path, splits=FRACTIONS)
    tests = {word: {name.partition("/")[2] for name in listed["test"] if name.startswith(word)} for word in WORDS}
    assert len({frozenset(each) for each in tests.values()}) == 3
    assert found(tmp_path, splits=FRACTIONS).groups is None


def test_a_folder_for_each_split_is_named_in_the_job(tmp_path: Path) -> None:
    for part, speakers in (("learn", 10), ("try", 5)):
        speech_commands(tmp_path / "words" / part, speakers, lists=False)
    contents = found(tmp_path, splits={"files": {"train": "learn", "test": "try"}})
    assert {split: len(source) for split, source in contents.splits.items()} == {"train": 30, "test": 15}


def test_the_digest_is_of_the_files_and_their_splits(tmp_path: Path) -> None:
    speech_commands(tmp_path / "words")
    digest = found(tmp_path).digest
    assert found(tmp_path, seconds=0.5).digest == digest
    (tmp_path / "words/README.md").write_text("Another.\n")
    assert found(tmp_path).digest == digest
    assert found(tmp_path, splits=FRACTIONS).digest != digest
    write_wav(tmp_path / "words/up/00000001_nohash_0.wav", tone(2000))
    assert found(tmp_path).digest != digest


def test_a_manifest_gives_the_same_digest_and_finds_a_changed_sound(tmp_path: Path) -> None:
    speech_commands(tmp_path / "words")
    digest = found(tmp_path).digest
    question = {"dataset": job().model_dump(mode="json", by_alias=True), "folder": str(tmp_path), "prepare": True}
    said = io.StringIO()
    assert answer(io.StringIO(json.dumps(question)), said) == 0
    told = json.loads(said.getvalue())
    assert (told["kind"], told["shape"], told["digest"]) == ("sequences", [1, 16_000], digest)
    assert told["manifest"] == str(tmp_path / "words" / MANIFEST)
    path = tmp_path / "words/up/00000001_nohash_0.wav"
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"zz")
    assert refusal(tmp_path)[1].startswith(f"{path} is not the file that")


@pytest.mark.parametrize("stream", [False, True])
def test_sounds_are_the_same_from_files_and_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stream: bool
) -> None:
    speech_commands(tmp_path / "words", 10)
    expected = whole(found(tmp_path).splits["train"])
    monkeypatch.setattr("velodrome_runner.data.loading.fits", lambda *_: not stream)
    source = found(tmp_path).splits["train"]
    assert source.nbytes == expected.nbytes
    assert source.lengths is not None
    assert source.lengths.tolist() == expected.inputs["lengths"].tolist()
    some = source.take(torch.tensor([5, 0, 3]))
    assert torch.equal(some.inputs["values"], expected.inputs["values"][[5, 0, 3]])
    assert torch.equal(some.targets, expected.targets[[5, 0, 3]])


def test_fractions_of_folders_that_are_splits_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        speech_commands(tmp_path / "words" / split, 5)
    reason, message = refusal(tmp_path, splits=FRACTIONS)
    assert reason == "DatasetInvalid"
    assert message.startswith(f"the folders of {tmp_path / 'words'} are splits, and not classes: leave out")


# What can't be used. Each entry spoils one file of the test split.

PATH = "up/00000002_nohash_0.wav"


def header(**fields: int) -> bytes:
    """The first 44 bytes of a WAV file."""
    given = {"format": 1, "channels": 1, "rate": 16_000, "width": 2, "bytes": 32_000} | fields
    frame = given["channels"] * given["width"]
    return (
        b"RIFF" + struct.pack("<I", 36 + given["bytes"]) + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, given["format"], given["channels"], given["rate"],
                      given["rate"] * frame, frame, 8 * given["width"])
        + b"data" + struct.pack("<I", given["bytes"])
    )  # fmt: skip


def spoilt(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "an empty file": (spoilt(b""), "DatasetCorrupt", "is empty: get it again, or remove it"),
    "no WAV": (spoilt(b"ID3\x04" + bytes(500)), "DatasetCorrupt", "is no WAV file: replace or remove it"),
    "no WAV, and short": (spoilt(b"abc"), "DatasetCorrupt", "is no WAV file: replace or remove it"),
    "a cut header": (spoilt(header()[:30]), "DatasetCorrupt", "is cut off in its header: get it again"),
    "cut samples": (spoilt(header() + bytes(999)), "DatasetCorrupt", "ends after 499 of its 16,000 samples"),
    "no samples": (spoilt(header(bytes=0)), "DatasetInvalid", "has no samples: record it again"),
    "stereo": (
        lambda path: write_wav(path, tone(500), channels=2),
        "DatasetInvalid", "has 2 channels, and a sound has one: convert it to 16-bit PCM with one channel",
    ),
    "8 bits": (
        lambda path: write_wav(path, tone(500), width=1), "DatasetInvalid", "has 8 bits a sample, and a sound has 16",
    ),
    "24 bits": (
        lambda path: write_wav(path, tone(500), width=3), "DatasetInvalid", "has 24 bits a sample, and a sound has 16",
    ),
    "floating-point numbers": (
        spoilt(header(format=3, width=4, bytes=64_000) + bytes(64_000)),
        "DatasetInvalid", "is a WAV file that can't be read (unknown format: 3): convert it to 16-bit PCM",
    ),
    "another rate": (
        lambda path: write_wav(path, tone(500, rate=44_100), rate=44_100),
        "DatasetInvalid", "has 44,100 samples a second, and the data have 16,000: write spec.dataset.sampleRate if all",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("stream", [False, True])
def test_a_file_that_can_not_be_used_is_named_with_the_reason_and_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, stream: bool
) -> None:
    spoil, reason, words = BAD[name]
    speech_commands(tmp_path / "words", 10)
    spoil(tmp_path / "words" / PATH)
    monkeypatch.setattr("velodrome_runner.data.loading.fits", lambda *_: not stream)
    found_reason, message = refusal(tmp_path)
    assert found_reason == reason
    assert message.startswith(f"{tmp_path / 'words' / PATH} ")
    assert words in message


@given(st.binary(max_size=80), st.integers(0, 44), st.integers(0, 44))
def test_no_content_of_a_file_is_met_with_another_error(noise: bytes, start: int, end: int) -> None:
    whole_file = header(bytes=20) + bytes(20)
    for content in (noise, whole_file[:start] + noise + whole_file[end:], whole_file[: start + end]):
        with contextlib.suppress(ConfigurationError):
            assert decoded(content, Path("a.wav"), 16_000).dtype == np.float32


def lines(folder: Path, file: str, *more: str) -> None:
    path = folder / "words" / file
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in more))


LAYOUTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a list names a missing file": (
        lambda folder: lines(folder, "testing_list.txt", "", "up/gone.wav"),
        "DatasetMissing",
        "line 8 of {words}/testing_list.txt names 'up/gone.wav', and there is no such sound: add the file, or remove",
    ),
    "a list names a noise": (
        lambda folder: lines(folder, "validation_list.txt", "_background_noise_/pink_noise.wav"),
        "DatasetMissing",
        "line 7 of {words}/validation_list.txt names '_background_noise_/pink_noise.wav', and there is no such sound",
    ),
    "a file in both lists": (
        lambda folder: lines(folder, "testing_list.txt", "down/00000000_nohash_0.wav"),
        "DatasetInvalid",
        "names down/00000000_nohash_0.wav, which is already in validation_list.txt: list each sound once",
    ),
    "a file twice in a list": (
        lambda folder: lines(folder, "testing_list.txt", PATH),
        "DatasetInvalid",
        f"names {PATH}, which is already in testing_list.txt",
    ),
    "no list": (
        lambda folder: (folder / "words/testing_list.txt").unlink(),
        "DatasetMissing",
        "there is no {words}/testing_list.txt: put the list of the sounds that test there, or write spec.dataset",
    ),
    "a list that is no text": (
        lambda folder: (folder / "words/testing_list.txt").write_bytes(b"\xff\xfe\x00"),
        "DatasetCorrupt",
        "testing_list.txt can't be read",
    ),
    "an empty list": (
        lambda folder: (folder / "words/testing_list.txt").write_text(""),
        "DatasetInvalid",
        "the test split of words is empty",
    ),
    "an empty folder of a class": (
        lambda folder: (folder / "words/left").mkdir(),
        "DatasetInvalid",
        "the folder of the class left, {words}/left, has no sound (.wav): add some, or remove the folder",
    ),
    "no folder": (
        lambda folder: (folder / "words").rename(folder / "others"),
        "DatasetMissing",
        "there is no folder {words}: make it, with a folder a class in it",
    ),
    "a class that nobody trains": (
        lambda folder: lines(
            folder, "testing_list.txt", *(f"up/{at:08x}_nohash_0.wav" for at in range(4, 10))
        ),
        "DatasetInvalid",
        "has the class up, of which the training split has no sample",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_that_can_not_be_used_is_refused_with_the_fix(tmp_path: Path, name: str) -> None:
    spoil, reason, words = LAYOUTS[name]
    speech_commands(tmp_path / "words", 10)
    spoil(tmp_path)
    found_reason, message = refusal(tmp_path)
    assert found_reason == reason
    assert words.replace("{words}", str(tmp_path / "words")) in message
