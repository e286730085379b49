"""Whether declared splits share samples: a model is then judged by what it has learned."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from velodrome.spec import Dataset
from velodrome_runner.data.contents import Contents, Unpadded
from velodrome_runner.data.format import invalid

APART = "a model would be judged by what it has learned; give each split samples of its own"


def refuse_shared_files(dataset: Dataset, place: Path) -> None:
    """Refuses `splits.files` that name a file or a folder twice, or a folder of texts and what is in it.

    Raises:
        ConfigurationError: DatasetInvalid.
    """
    if dataset.splits is None or dataset.splits.files is None:
        return
    named = dataset.splits.files.model_dump(exclude_none=True)
    for one, other in combinations(named, 2):
        first, second = ((place / named[each]).resolve() for each in (one, other))
        inside = dataset.format == "Text" and (first.is_relative_to(second) or second.is_relative_to(first))
        if first == second or inside:
            raise invalid(
                f"spec.dataset.splits.files has {named[one]} for {one} and {named[other]} for {other}, which "
                f"{'are the same' if first == second else 'is in the other'}: {APART}"
            )


def shared_samples(contents: Contents) -> int | None:
    """How many test samples are also training samples, whatever their labels; None if none is, or nobody looked.

    Looked at are texts with labels. Equal rows of a table are usual, and equal images are another file's.
    """
    train, test = contents.splits["train"], contents.splits["test"]
    if contents.kind != "documents" or not isinstance(train, Unpadded) or not isinstance(test, Unpadded):
        return None
    tested: dict[bytes, int] = {}
    for each in _identities(test):
        tested[each] = tested.get(each, 0) + 1
    return sum(tested.pop(each, 0) for each in _identities(train)) or None


def _identities(source: Unpadded) -> Iterator[bytes]:
    steps, ends = source.rows.flat.numpy(), (source.rows.starts + source.rows.lengths).tolist()
    for start, end in zip(source.rows.starts.tolist(), ends, strict=True):
        yield hashlib.blake2b(steps[start:end].data, digest_size=16).digest()
