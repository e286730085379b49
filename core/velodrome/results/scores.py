"""What a trial kept of each test sample: whether the model was right, and how large its loss was. Pure.

A sample is known by its place in the test split, from 0. What is kept is small: a bit for right or wrong, 2 bytes for a
loss, 4 for an error; compressed by zlib, and written as base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import from_json

from velodrome.canonical import digest
from velodrome.results.base import Data, absent
from velodrome.tasks import TASKS
from velodrome.vocabulary import Keeping

# The most test samples of which anything is kept.
MOST_SCORED = 100_000
# The most characters that one result may take for it: a report also has curves, and 1 MiB at most.
MOST_CHARACTERS = 512 * 1024
# The largest loss that 2 bytes hold.
LARGEST_LOSS = 65504.0

_LARGEST_ERROR = 3.4e38
_LEVEL = 9

Packed = Annotated[str, Field(max_length=MOST_CHARACTERS)]


class SampleSet(Data):
    """The test split of a trial: which samples, in which order.

    `dataset` is the digest of the data, and `targets` one of the test samples' targets in their order: together with
    the number they say whether two trials were tested on the same samples.
    """

    dataset: str = Field(pattern=r"^sha256:[a-f0-9]{64}$")
    samples: int = Field(ge=1, le=MOST_SCORED)
    targets: str = Field(pattern=r"^[a-f0-9]{64}$", description="`labels_digest` or `values_digest`.")
    labels: Packed | None = Field(
        default=None, exclude_if=absent, description="The right class of each sample, 16 bits; None in regression."
    )
    groups: Packed | None = Field(
        default=None, exclude_if=absent, description="A number for the group of each sample, 32 bits."
    )

    @property
    def identity(self) -> str:
        """Equal for trials that were tested on the same samples in the same order."""
        return digest([self.dataset, self.samples, self.targets], 16)

    @property
    def content(self) -> str:
        """A digest of everything that is said of the split."""
        return digest(self.model_dump(mode="json"), 32)

    def class_of_each(self) -> tuple[int, ...] | None:
        """The right class of each sample, or None.

        Raises:
            ValueError: what is stored can't be read.
        """
        return None if self.labels is None else _numbers("labels", self.labels, "H", self.samples)

    def group_of_each(self) -> tuple[int, ...] | None:
        """The number of each sample's group, or None. Raises as `class_of_each` does."""
        return None if self.groups is None else _numbers("groups", self.groups, "I", self.samples)


class SampleScores(Data):
    """What a trial's model did on each sample of the set.

    In classification `right` has a bit for each sample, and `losses` may have its cross-entropy in nats. In regression
    `errors` has the size of each error, in the target's unit.
    """

    of: SampleSet
    right: Packed | None = Field(default=None, exclude_if=absent, description="Bits, the first sample first.")
    losses: Packed | None = Field(default=None, exclude_if=absent, description="Half-precision numbers.")
    errors: Packed | None = Field(default=None, exclude_if=absent, description="Single-precision numbers.")

    @property
    def characters(self) -> int:
        """How many characters all of it takes."""
        parts = (self.right, self.losses, self.errors, self.of.labels, self.of.groups)
        return sum(len(part) for part in parts if part is not None)

    def right_bits(self) -> bytes | None:
        """The bits, the first sample in the highest bit of the first byte; or None.

        Raises:
            ValueError: what is stored can't be read.
        """
        if self.right is None:
            return None
        found = _unpacked("right", self.right, -(-self.of.samples // 8))
        if int.from_bytes(found, "big") & ((1 << (-self.of.samples % 8)) - 1):
            raise ValueError(f"right: it has bits beyond its {self.of.samples} samples")
        return found

    def loss_of_each(self) -> tuple[float, ...] | None:
        """The losses, or None. Raises as `right_bits` does."""
        return None if self.losses is None else _numbers("losses", self.losses, "e", self.of.samples)

    def error_of_each(self) -> tuple[float, ...] | None:
        """The sizes of the errors, or None. Raises as `right_bits` does."""
        return None if self.errors is None else _numbers("errors", self.errors, "f", self.of.samples)


def sample_set(dataset: str, targets: Sequence[float], groups: Sequence[int] | None, *, labelled: bool) -> SampleSet:
    """The set of these test samples. `labelled` targets are classes, and others are numbers."""
    labels = [int(target) for target in targets] if labelled else None
    return SampleSet(
        dataset=dataset,
        samples=len(targets),
        targets=values_digest(targets) if labels is None else labels_digest(labels),
        labels=None if labels is None else packed_labels(labels),
        groups=None if groups is None else packed_groups(groups),
    )


def keeping(task: str, asked: Keeping | None, samples: int) -> Keeping:
    """What a trial with so many test samples keeps of each: what its job asks for, or else its task's default."""
    return asked or TASKS[task].keeps[0] if samples <= MOST_SCORED else "none"


def within_a_report(scores: SampleScores) -> SampleScores | None:
    """The scores as far as a report has room for them: without losses, then without groups, and else None."""
    bare = scores.of.model_copy(update={"groups": None})
    for smaller in (
        scores,
        scores.model_copy(update={"losses": None}),
        scores.model_copy(update={"losses": None, "of": bare}),
    ):
        if smaller.characters <= MOST_CHARACTERS:
            return smaller
    return None


def labels_digest(labels: Sequence[int]) -> str:
    """The SHA-256 of labels in their order, as little-endian 64-bit integers."""
    return hashlib.sha256(struct.pack(f"<{len(labels)}q", *labels)).hexdigest()


def values_digest(values: Sequence[float]) -> str:
    """The SHA-256 of values to predict in their order, as little-endian doubles."""
    return hashlib.sha256(struct.pack(f"<{len(values)}d", *values)).hexdigest()


def packed_bits(right: Iterable[bool]) -> str:
    """A bit for each sample, as `SampleScores.right` has them."""
    bits = "".join("1" if each else "0" for each in right)
    size = -(-len(bits) // 8)
    return _packed(int(bits.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big"))


def packed_labels(labels: Sequence[int]) -> str:
    """The classes of the samples, as `SampleSet.labels` has them."""
    return _packed_numbers("H", labels)


def packed_groups(groups: Sequence[int]) -> str:
    """The groups of the samples, numbered anew in the order in which they appear, as `SampleSet.groups` has them."""
    numbers: dict[int, int] = {}
    return _packed_numbers("I", [numbers.setdefault(group, len(numbers)) for group in groups])


def packed_losses(losses: Sequence[float]) -> str:
    """Losses, as `SampleScores.losses` has them. What is larger than 65,504 becomes that."""
    return _packed_numbers("e", [min(loss, LARGEST_LOSS) for loss in losses])


def packed_errors(errors: Sequence[float]) -> str:
    """Sizes of errors, as `SampleScores.errors` has them. What is larger than 3.4e38 becomes that."""
    return _packed_numbers("f", [min(error, _LARGEST_ERROR) for error in errors])


def _packed_numbers(letter: str, numbers: Sequence[float]) -> str:
    """The numbers in little-endian order: first the lowest bytes of all of them, and so on, which compresses better."""
    octets, width = struct.pack(f"<{len(numbers)}{letter}", *numbers), struct.calcsize(f"<{letter}")
    return _packed(b"".join(octets[place::width] for place in range(width)))


def _packed(octets: bytes) -> str:
    return base64.b64encode(zlib.compress(octets, _LEVEL)).decode("ascii")


def _unpacked(field: str, text: str, size: int) -> bytes:
    """The bytes, of which there must be so many. At most one more is ever unpacked, whatever somebody packed.

    Raises:
        ValueError: the text is not what this module writes; the message starts with `field`.
    """
    try:
        octets = base64.b64decode(text, validate=True)
        reading = zlib.decompressobj()
        found = reading.decompress(octets, size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"{field}: it can't be unpacked ({error})") from None
    if len(found) != size or not reading.eof or reading.unused_data:
        raise ValueError(f"{field}: it holds other than {size} bytes")
    return found


def _numbers(field: str, text: str, letter: str, samples: int) -> tuple[Any, ...]:
    """What `_packed_numbers` packed. Raises as `_unpacked` does."""
    width = struct.calcsize(f"<{letter}")
    found, octets = _unpacked(field, text, samples * width), bytearray(samples * width)
    for place in range(width):
        octets[place::width] = found[place * samples : (place + 1) * samples]
    return struct.unpack(f"<{samples}{letter}", octets)


def write_scores(scores: SampleScores | None) -> tuple[str, str, str]:
    """The scores as JSON without their set, the digest of the set, and the set as JSON; empty texts if there are none.

    All trials of a job have one set, which is stored once.
    """
    if scores is None:
        return "", "", ""
    content = scores.of.content
    rest = scores.model_dump(mode="json", exclude={"of"})
    return json.dumps({"of": content, **rest}), content, scores.of.model_dump_json()


def set_of(text: bytes) -> str | None:
    """The digest of the set that stored scores are of; None if the text is none that `write_scores` wrote."""
    try:
        document = from_json(text)
    except ValueError:
        return None
    of = document.get("of") if isinstance(document, dict) else None
    return of if isinstance(of, str) else None


def parse_scores(text: bytes, split: bytes | None) -> SampleScores:
    """The scores that `write_scores` wrote, with their set.

    Raises:
        ValueError: it wrote no such text, or the set is missing.
    """
    document = from_json(text)
    if not isinstance(document, dict) or split is None:
        raise ValueError("it holds no scores of test samples, or their test split is missing")
    return SampleScores.model_validate({**document, "of": from_json(split)})
