"""Sounds in a folder for each class, as Google's Speech Commands lay them out.

A file is 16-bit PCM in a WAV file, with one channel (P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary
Speech Recognition", 2018). `validation_list.txt` and `testing_list.txt` name the files of two splits, and all others
train. The noises of `_background_noise_` are of no class. In `WORD/SPEAKER_nohash_2.wav`, what is before `_nohash_` is
the speaker, whose recordings stay in one split wherever fractions or the trial's seed decide.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from velodrome.spec import Dataset
from velodrome.spec.sound import samples_of
from velodrome.vocabulary import SAMPLE_RATE, SECONDS
from velodrome_runner.data.class_folders import Files, classes_below, files_by_split
from velodrome_runner.data.contents import Samples, Schema
from velodrome_runner.data.format import Description, corrupt, divided, invalid, missing
from velodrome_runner.data.listed import Folders, ListedFiles, digests_of, encoded, entries_of
from velodrome_runner.data.manifest import kept_manifest
from velodrome_runner.data.wav import decoded

_SOUNDS = Files("sound", (".wav",), without=("_background_noise_",))
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_MARK = "_nohash_"


@dataclass(frozen=True)
class SoundFiles(ListedFiles):
    """A source of sounds: `length` samples from -1 to 1. Silence is put behind a shorter one; a longer one is cut."""

    rate: int
    length: int

    @property
    def lengths(self) -> Tensor:
        """All clips have one length."""
        return torch.full((len(self),), self.length)

    @property
    def nbytes(self) -> int:
        """Bytes of all sounds, lengths and labels in memory."""
        return len(self) * (4 * self.length + 16)

    def take(self, indices: Tensor) -> Samples:
        """Reads and decodes the sounds at those indices.

        Raises:
            ConfigurationError: DatasetCorrupt or DatasetInvalid, by file.
        """
        values = torch.zeros((len(indices), 1, self.length))
        for row, index in enumerate(indices.tolist()):
            path, content = self.read(index)
            found = decoded(content, path, self.rate)[: self.length]
            values[row, 0, : len(found)] = torch.from_numpy(found)
        return Samples({"values": values, "lengths": torch.full_like(indices, self.length)}, self.labels[indices])


@dataclass(frozen=True)
class SoundFolders(Folders):
    """A data set of sounds, opened. Recordings of a speaker have one number in `groups` or `test_groups`."""

    groups: Tensor | None = None
    test_groups: Tensor | None = None

    def describe(self) -> Description:
        """Sequences of one channel, by class."""
        return Description("sequences", self.schema, self.groups, self.test_groups)


def read_speech_commands(dataset: Dataset, place: Path) -> SoundFolders:
    """A folder a class and the lists of the splits; or split as `spec.dataset.splits` says.

    Raises:
        ConfigurationError: DatasetMissing, DatasetInvalid or DatasetCorrupt; the message names the folder or the file.
    """
    listed, rate = _listed(dataset, place), dataset.sample_rate or SAMPLE_RATE
    length = samples_of(dataset.seconds or SECONDS, rate)
    names = [name for files in listed.values() for name, _ in files]
    assigned = [split for split, files in listed.items() for _ in files]
    classes = tuple(sorted({label for files in listed.values() for _, label in files}))
    position = {label: at for at, label in enumerate(classes)}
    labels = torch.tensor([position[label] for files in listed.values() for _, label in files])
    kept = kept_manifest(place, names)
    source = SoundFiles(place, encoded(names), labels, rate, length, sha256=digests_of(kept))
    return SoundFolders(
        Schema((1, length), classes, target="class", rate=rate),
        divided(source, assigned),
        place,
        entries_of(place, names, assigned, kept),
        *_numbered_speakers(names, assigned),
    )


def speaker_of(name: str) -> str:
    """Who speaks, by the name of the file; the path itself where the name doesn't say it."""
    speaker, mark, _ = name.rpartition("/")[2].partition(_MARK)
    return speaker if mark else name


def _listed(dataset: Dataset, place: Path) -> Mapping[str, Sequence[tuple[str, str]]]:
    """The path and the class of each file, by split."""
    if dataset.splits is None:
        return _by_lists(place)
    return files_by_split(dataset, place, _SOUNDS, speaker_of)


def _by_lists(place: Path) -> Mapping[str, Sequence[tuple[str, str]]]:
    """What the two lists name validates and tests, and all other sounds train. Only the list of the test is needed."""
    classes = dict(classes_below(place, _SOUNDS))
    split_of: dict[str, str] = {}
    for split, file in _LISTS.items():
        if split == "test" or (place / file).exists():
            for at, name in enumerate(_lines(place / file), start=1):
                where = f"line {at} of {place / file}"
                if name and name not in classes:
                    raise missing(
                        f"{where} names {name!r}, and there is no such sound: add the file, or remove the line"
                    )
                if name in split_of:
                    first = _LISTS[split_of[name]]
                    raise invalid(f"{where} names {name}, which is already in {first}: list each sound once")
                if name:
                    split_of[name] = split
    found: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for name, label in classes.items():
        found[split_of.get(name, "train")].append((name, label))
    return found


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").replace("\\", "/").splitlines()
        return [posixpath.normpath(line.strip()) if line.strip() else "" for line in lines]
    except FileNotFoundError as error:
        raise missing(
            f"there is no {path}: put the list of the sounds that test there, or write spec.dataset.splits, such as "
            "{fractions: {validation: 0.1, test: 0.1}}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise corrupt(f"{path} can't be read ({error}): write the path of a sound on each line, as UTF-8") from error


def _numbered_speakers(names: Sequence[str], assigned: Sequence[str]) -> tuple[Tensor | None, Tensor | None]:
    """A number for the speaker of each training sound (n,) and of each test sound; None where no name says it."""
    if not any(_MARK in name for name in names):
        return None, None
    numbers: dict[str, int] = {}
    found = torch.tensor([numbers.setdefault(speaker_of(name), len(numbers)) for name in names])
    train, test = (found[torch.tensor([split == wanted for split in assigned])] for wanted in ("train", "test"))
    return train, test
