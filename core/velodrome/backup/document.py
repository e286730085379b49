"""One backup: the lines of an export, compressed, and a last line that seals them.

    {"type": "end", "lines": 1234, "sha256": "…", "jobs": 12, "results": 1200}

The last line has the number of the lines before it and their digest. A file without it, or with others, is no backup:
it was cut off, or changed. So a file says itself whether it is whole, wherever it was copied.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from velodrome.errors import ActionNeeded, TryAgain
from velodrome.keys import race_uid
from velodrome.store import export_lines
from velodrome.text import escaped_json

if TYPE_CHECKING:
    from velodrome.store import Reader

# Results may be deleted while they are exported. Then the export is made again, up to this often.
TRIES = 5
_LEVEL = 6


class BackupDamaged(ActionNeeded):
    """The file is no whole backup."""

    reason = "BackupDamaged"


class ResultsDeleted(TryAgain):
    """Results were deleted while they were exported, each time."""

    reason = "ResultsDeleted"


@dataclass(frozen=True, slots=True)
class BackupContents:
    """What a backup holds: its jobs, its results, and all of its lines."""

    jobs: int
    results: int
    lines: int


def write_backup(reader: Reader, stream: IO[bytes]) -> BackupContents:
    """Writes everything that the store holds to the stream, sealed.

    The backup is of one state: everything that was there when it began is in it, and what came later may be. What is
    deleted meanwhile would be in it by half. Then this begins again.

    Raises:
        ResultsDeleted: that happened each time.
        TryAgain, ActionNeeded: as the store.
    """
    for _ in range(TRIES):
        stream.seek(0)
        stream.truncate()
        contents, results = _write(reader, stream)
        if _still_there(reader, results):
            return contents
    raise ResultsDeleted(f"results were deleted during each of {TRIES} exports: try again when that has ended")


def _write(reader: Reader, stream: IO[bytes]) -> tuple[BackupContents, Counter[str]]:
    """Returns what was written, and the number of results by job."""
    digest, kinds, results = hashlib.sha256(), Counter[str](), Counter[str]()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=_LEVEL, filename="", mtime=0) as packed:
        uid = ""
        for line in export_lines(reader):
            text = f"{escaped_json(line)}\n".encode()
            kind = _kind(line)
            if kind in ("job", "search"):
                uid = json.loads(line)["job"]["uid"]
                results[uid] = 0
            results[uid] += kind == "record"
            kinds[kind] += 1
            digest.update(text)
            packed.write(text)
        contents = BackupContents(kinds["job"], kinds["record"], kinds.total())
        end = {"type": "end", "lines": contents.lines, "sha256": digest.hexdigest()}
        packed.write(json.dumps(end | {"jobs": contents.jobs, "results": contents.results}).encode() + b"\n")
    return contents, results


def _still_there(reader: Reader, written: Counter[str]) -> bool:
    """Whether every job and result that was written is there still."""
    uids = list(written)
    counts = zip(uids, reader.result_counts(uids), strict=True)
    races = {race_uid(uid) for uid in uids}  # search trials are in no list of jobs
    return set(reader.placed_from(0)) >= races and all(count >= written[uid] for uid, count in counts)


def read_backup(stream: IO[bytes], name: str) -> Iterator[str]:
    """The lines of a backup, without its last one and without line ends.

    The last check comes after the last line: who must not act on a part of a damaged file calls `check_backup` before.

    Raises:
        BackupDamaged: it is not whole.
    """
    digest, count, end = hashlib.sha256(), 0, b""
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as packed:
            for line in packed:
                if end:
                    raise _damaged(name, "lines follow the last line")
                if _kind(line.decode("utf-8", "replace")) == "end":
                    end = line
                    continue
                digest.update(line)
                count += 1
                yield line.decode().rstrip("\n")
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise _damaged(name, f"it can't be unpacked: {error}") from error
    if not end:
        raise _damaged(name, "its last line is missing, so it was cut off, or is no backup")
    _compare(name, end, count, digest.hexdigest())


def check_backup(stream: IO[bytes], name: str) -> BackupContents:
    """What a backup holds, after it was read to its end.

    Raises:
        BackupDamaged: it is not whole.
    """
    kinds = Counter(map(_kind, read_backup(stream, name)))
    return BackupContents(kinds["job"], kinds["record"], kinds.total())


def _compare(name: str, end: bytes, lines: int, digest: str) -> None:
    try:
        said = json.loads(end)
        wanted = said["lines"], said["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(name, f"its last line can't be read: {error}") from error
    if wanted != (lines, digest):
        raise _damaged(name, f"its {lines} lines are not the {wanted[0]} that were written")


def _kind(line: str) -> str:
    """The type of an exported line: the first thing that each of them says."""
    head = line[:64].replace(" ", "")
    return head.partition('{"type":"')[2].partition('"')[0] if head.startswith('{"type":"') else ""


def _damaged(name: str, why: str) -> BackupDamaged:
    return BackupDamaged(f"backup {name} is damaged ({why}): restore another one (velodrome restore --list checks all)")
