"""Files that a trial keeps: written whole or not at all, with their digests."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome.results.records import KeptFile
from velodrome_runner.log import complain, first_line
from velodrome_runner.publish import flush_folder

WEIGHTS = "weights.pt"
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def write_torch(path: Path, value: Any) -> tuple[str, int]:
    """Writes a value as torch does, whole or not at all, even after a loss of power. Returns its SHA-256 and its bytes.

    Raises:
        OSError: the folder can't be written, or the disk is full; no file is left behind.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            hashed = _Hashed(file)
            torch.save(value, cast("IO[bytes]", hashed))  # of which torch needs no more
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise
    flushed(partial, path)
    return hashed.sha256.hexdigest(), hashed.bytes


def check_writable(folder: Path) -> None:
    """Makes a folder for files, and writes into it. A full disk passes, because it may have room later.

    Raises:
        ConfigurationError: the rights or the file system forbid it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in _FORBIDDEN:
            return
        who = f"user {os.geteuid()} or group {os.getegid()}"
        raise ConfigurationError(
            f"spec.artifacts: files can't be kept in {folder} ({error.strerror}): let {who} write there; on a cluster, "
            "to the volume of spec.artifacts.claimName",
            "ArtifactsUnwritable",
        ) from error


def keep_weights(model: nn.Module, folder: Path) -> KeptFile:
    """Keeps the state dict of a model in a folder, on the CPU. Says why if that is not possible."""

    def write() -> tuple[str, int]:
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: value.cpu() if isinstance(value, Tensor) else value for name, value in model.state_dict().items()
        }
        return write_torch(folder / WEIGHTS, state)

    return kept(WEIGHTS, folder, write)


def kept(name: str, folder: Path, write: Callable[[], tuple[str, int]]) -> KeptFile:
    """The file of that name, which `write` writes and gives the digest and the size of; or why it could not."""
    try:
        sha256, size = write()
    # To write it, code of the model runs, which may raise anything.
    except Exception as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else first_line(error)
        complain(f"{name} could not be kept in {folder}: {why}")
        return KeptFile(name=name, problem=f"it could not be written: {why}"[:500])
    return KeptFile(name=name, sha256=sha256, bytes=size)


def flushed(partial: Path, path: Path) -> None:
    """Gives a file that is on the disk its name, so that a loss of power leaves all of it or nothing."""
    partial.replace(path)
    flush_folder(path.parent)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Hashed:
    """A file that is written from its beginning to its end. torch gives the same value the same bytes in it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
