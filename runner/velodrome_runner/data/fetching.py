"""Downloads a file, and goes on where an earlier attempt was broken off. The MD5 of the whole file decides.

What has arrived is kept beside the file, as NAME.part. NAME.part.from keeps the validator (RFC 9110, 8.8) of what the
server sent: its strong ETag, or else its Last-Modified. The next attempt asks for the rest by Range and If-Range. A
server whose file has changed since then sends all of it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, build_opener

from velodrome import keys
from velodrome.connections.direct import is_loopback, open_directly
from velodrome_runner.log import complain

_TIMEOUT_SECONDS = 60.0  # without a byte
_PIECE = 2**18  # bytes that are read at once
_TRIES = 5  # at one address, if each of them brings something
_SECONDS_BETWEEN_LINES = 5.0
FULL = (errno.ENOSPC, errno.EDQUOT)
Tell = Callable[[str], None]


class _Broken(Exception):
    """The server or the way to it failed, after `received` bytes of this answer."""

    def __init__(self, what: str, received: int = 0) -> None:
        super().__init__(what)
        self.received = received


def fetch(
    urls: Iterable[str],
    target: Path,
    md5: str,
    *,
    tell: Tell = complain,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Downloads `target` from the first of these addresses that has it, unless it is there with that MD5 already.

    The file gets its name when all of it has arrived. One process at a time may fetch a file. `tell` gets lines about
    the progress, which begin with `keys.DOWNLOADING`.

    Raises:
        OSError: the disk refuses.
        RuntimeError: no address gives the file; the message says why, for each of them.
    """
    if target.is_file() and file_md5(target) == md5:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.from"))
    failures = []
    if not (part.size and part.is_whole(md5)):
        for url in urls:
            try:
                _from(url, part, md5, _Progress(target.name, tell, clock))
                break
            except _Broken as error:
                failures.append(str(error))
        else:
            raise RuntimeError("; ".join(failures) or f"no address of {target.name} is known")
    part.become(target)


def file_md5(path: Path) -> str:
    """The MD5 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@dataclass(frozen=True)
class _Part:
    """What has arrived of a file, and the file with its validator."""

    file: Path
    note: Path

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    @property
    def validator(self) -> str:
        """Of the answer that the bytes are from; empty where they can't be completed."""
        return self.note.read_text(encoding="latin-1") if self.size and self.note.exists() else ""

    def is_whole(self, md5: str) -> bool:
        return file_md5(self.file) == md5

    def begin(self, validator: str) -> None:
        """Makes room for another answer. Bytes of an earlier one never stand beside the validator of a later one."""
        self.file.write_bytes(b"")
        self.note.write_text(validator, encoding="latin-1")

    def discard(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        """Gives the bytes their name, once they are on the disk."""
        with self.file.open("rb") as file:
            os.fsync(file.fileno())
        self.file.replace(target)
        self.note.unlink(missing_ok=True)


class _Progress:
    """Says at most every few seconds how much of a file has arrived."""

    def __init__(self, name: str, tell: Tell, clock: Callable[[], float]) -> None:
        self.name, self.tell, self.clock = name, tell, clock
        self.next = -float("inf")

    def at(self, found: int, whole: int | None, *, last: bool = False) -> None:
        if last or self.clock() >= self.next:
            self.next = self.clock() + _SECONDS_BETWEEN_LINES
            share = f" of {_mebibytes(whole)} MiB ({found / whole:.0%})" if whole else " MiB"
            self.tell(f"{keys.DOWNLOADING}{self.name}: {_mebibytes(found)}{share}")


def _from(url: str, part: _Part, md5: str, progress: _Progress) -> None:
    """Leaves the whole file of that MD5 in `part`. Raises _Broken, or OSError of the disk."""
    for attempt in range(1, _TRIES + 1):
        try:
            resumed = _receive(url, part, progress)
        except _Broken as error:
            if error.received and attempt < _TRIES:
                continue
            raise
        if part.is_whole(md5):
            return
        part.discard()
        if not resumed:
            raise _Broken(f"{url} does not have the MD5 {md5} that is published for it")
    raise _Broken(f"{url} did not give a file of the MD5 {md5} in {_TRIES} attempts")


def _receive(url: str, part: _Part, progress: _Progress) -> bool:
    """Completes `part` by one answer, and returns whether that went on with bytes from before."""
    have, validator = part.size, part.validator
    going_on = {"Range": f"bytes={have}-", "If-Range": validator} if validator else {}
    request = Request(url, headers={"User-Agent": "velodrome"} | going_on)  # noqa: S310 - published addresses
    try:
        answer = _opened(request)
    except HTTPError as error:
        error.close()
        if going_on and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.discard()
            return _receive(url, part, progress)
        raise _Broken(f"{url} answered {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise _Broken(f"{url} gave no answer ({error})") from error
    with answer:
        resumed = answer.status == HTTPStatus.PARTIAL_CONTENT
        if resumed and (not going_on or not _goes_on(answer, have, validator)):
            part.discard()
            if not going_on:
                raise _Broken(f"{url} answered with a part of the file, and was asked for all of it")
        else:
            if not resumed:
                part.begin(_validator(answer))
            _write(answer, part, url, progress, have if resumed else 0)
            return resumed
    return _receive(url, part, progress)


def _opened(request: Request) -> HTTPResponse:
    """By the proxy that the environment names, unless the server is on this machine."""
    if is_loopback(request.full_url):
        return open_directly(request, _TIMEOUT_SECONDS)
    found: HTTPResponse = build_opener().open(request, timeout=_TIMEOUT_SECONDS)
    return found


def _goes_on(answer: HTTPResponse, have: int, validator: str) -> bool:
    """Whether the bytes follow those that are there, and are of the same file."""
    start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return start is not None and int(start[1]) == have and _validator(answer) in ("", validator)


def _validator(answer: HTTPResponse) -> str:
    """A weak ETag can't be used with If-Range (RFC 9110, 13.1.5)."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _write(answer: HTTPResponse, part: _Part, url: str, progress: _Progress, have: int) -> None:
    whole = None if answer.length is None else have + answer.length
    found = have
    with part.file.open("ab") as file:
        progress.at(found, whole)
        while True:
            try:
                piece = answer.read(_PIECE)
            except (OSError, HTTPException) as error:
                raise _Broken(f"{url} ended after {found} bytes ({error})", found - have) from error
            if not piece:
                break
            file.write(piece)
            found += len(piece)
            progress.at(found, whole)
    if whole is not None and found < whole:
        raise _Broken(f"{url} ended after {found} of {whole} bytes", found - have)
    progress.at(found, whole, last=True)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f}"
