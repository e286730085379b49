"""The manifest of a folder: the name, the size and the SHA-256 of each file.

`velodrome data prepare` writes it beside the files. Then a trial compares names and sizes before it trains, and each
file's SHA-256 when it reads the file. Without it, a trial reads every file once before it trains.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from velodrome.kernel.limits import cpu_limit
from velodrome_runner.data.format import corrupt, invalid, missing

MANIFEST = ".velodrome-manifest"
_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64}) (?P<size>\d{1,18}) (?P<name>.+)")


@dataclass(frozen=True)
class ListedFile:
    """One line of a manifest: the file's path below the folder, its size in bytes and its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


def hashed(root: Path, names: Iterable[str]) -> Iterator[ListedFile]:
    """The manifest's entry of each file, in the same order, read by as many threads as there are CPUs."""

    def entry(name: str) -> ListedFile:
        content = read_bytes(root / name)
        return ListedFile(name, len(content), hashlib.sha256(content).hexdigest())

    with ThreadPoolExecutor(cpu_limit()) as pool:
        yield from pool.map(entry, names)


def write_manifest(root: Path, entries: Iterable[ListedFile]) -> Path:
    """Writes the manifest beside the folders, from which trials then take each file's size and SHA-256."""
    path = root / MANIFEST
    lines = [f"{entry.sha256} {entry.size} {entry.name}\n" for entry in sorted(entries, key=lambda entry: entry.name)]
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_text("".join(lines), encoding="utf-8")
    unfinished.replace(path)
    return path


def kept_manifest(root: Path, names: Sequence[str]) -> list[ListedFile] | None:
    """The entries of these files in a manifest that was written before; None if there is none.

    Raises:
        ConfigurationError: DatasetInvalid or DatasetMissing, a file is new, is gone or has another size.
    """
    path = root / MANIFEST
    if not path.is_file():
        return None
    known = {entry.name: entry for entry in _listed(path)}
    fix = "run `velodrome data prepare` again if the change is meant"
    for name in names:
        entry, size = known.get(name), (root / name).stat().st_size
        if entry is None or entry.size != size:
            what = "is not in" if entry is None else f"has {size} bytes, and {entry.size} in"
            raise invalid(f"{root / name} {what} the manifest {path}: {fix}")
    gone = sorted(set(known) - set(names))
    if gone:
        raise missing(f"{root / gone[0]} is in the manifest {path}, and is not there: {fix}")
    return [known[name] for name in names]


def _listed(path: Path) -> Iterator[ListedFile]:
    """The lines of a manifest."""
    for at, line in enumerate(read_bytes(path).splitlines(), start=1):
        found = _LINE.fullmatch(line.decode(errors="replace"))
        if found is None:
            raise corrupt(f"line {at} of {path} is damaged: run `velodrome data prepare` again, or remove the file")
        yield ListedFile(found["name"], int(found["size"]), found["sha256"])


def read_bytes(path: Path) -> bytes:
    """A file's content. Raises ConfigurationError: DatasetCorrupt, it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise corrupt(f"{path} can't be read ({error.strerror}): replace or remove it") from error
