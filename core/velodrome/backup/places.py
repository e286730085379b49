"""Where backups are: a folder, or a bucket. In both a backup is there as a whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

from velodrome.backup.names import PART_PREFIX, PART_SUFFIX, backups_in
from velodrome.errors import ActionNeeded, TryAgain

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore

Written = TypeVar("Written")
_STALE_SECONDS = 86_400  # a part that nobody wrote to for so long is of a process that was killed
_REFUSED = re.compile(r"status code: 40[0134]")
_SCHEMES = ("s3", "gs", "az")


class PlaceUnavailable(TryAgain):
    """The bucket does not answer for now."""

    reason = "BackupPlaceUnavailable"


class PlaceRefused(ActionNeeded):
    """The folder or the bucket can't be used as it is."""

    reason = "BackupPlaceRefused"


class BackupPlace(Protocol):
    """Backups by name. Every method raises PlaceUnavailable or PlaceRefused."""

    def names(self) -> list[str]:
        """The names of all backups, oldest first. What is only half there, or no backup, is not among them."""

    def put(self, name: str, write: Callable[[IO[bytes]], Written]) -> Written:
        """Stores what `write` writes under this name, as a whole or not at all. Returns what `write` returns."""

    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """The backup's content, for a `with` block."""

    def size(self, name: str) -> int:
        """How many bytes the backup has."""

    def remove(self, name: str) -> None:
        """Removes a backup."""


def place_at(where: str, *, make: bool = False) -> BackupPlace:
    """The place with this address: s3://BUCKET/PREFIX, gs://…, az://…, or a folder. With `make` a folder is made.

    Raises:
        PlaceRefused: it can be no such place.
    """
    if "://" not in where:
        return FolderPlace(Path(where), make=make)
    scheme = urlsplit(where).scheme
    if scheme not in _SCHEMES:
        raise PlaceRefused(f"{where} is no place for backups: write a folder, or a bucket such as s3://BUCKET/PREFIX")
    return BucketPlace(where)


class FolderPlace:
    """A folder. A backup is written beside its place, synced to the disk, and then renamed."""

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        self.folder = folder
        with self._told():
            if make:
                folder.mkdir(parents=True, exist_ok=True)
            if not folder.is_dir():
                raise PlaceRefused(f"{folder} is no folder: write one that is there, or s3://BUCKET/PREFIX")

    def names(self) -> list[str]:
        with self._told():
            return backups_in(path.name for path in self.folder.iterdir() if path.is_file())

    def put(self, name: str, write: Callable[[IO[bytes]], Written]) -> Written:
        with self._told():
            self._sweep()
            part = self.folder / f"{PART_PREFIX}{os.getpid()}-{time.monotonic_ns()}{PART_SUFFIX}"
            try:
                with part.open("x+b") as stream:
                    found = write(stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                part.rename(self.folder / name)
            finally:
                part.unlink(missing_ok=True)
            self._sync()
            return found

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        with self._told(), (self.folder / name).open("rb") as stream:
            yield stream

    def size(self, name: str) -> int:
        with self._told():
            return (self.folder / name).stat().st_size

    def remove(self, name: str) -> None:
        with self._told():
            (self.folder / name).unlink(missing_ok=True)
            self._sync()

    def _sweep(self) -> None:
        """Removes what killed processes left."""
        for path in self.folder.glob(f"{PART_PREFIX}*{PART_SUFFIX}"):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink(missing_ok=True)

    def _sync(self) -> None:
        """Has the disk keep the folder's list of names."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PlaceRefused(
                f"{error.filename or self.folder} can't be used for backups ({error.strerror or error}): free space, "
                "give this user the right to write there, or choose another place"
            ) from error


class BucketPlace:
    """A bucket of an object store. An upload that was cut off leaves no object behind.

    The usual environment variables hold the credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and
    AWS_ENDPOINT_URL for a store that is not Amazon's.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        with self._told():
            self._store = _bucket(url)

    def names(self) -> list[str]:
        import obstore

        with self._told():
            found = obstore.list_with_delimiter(self._store)["objects"]
        return backups_in(item["path"].rpartition("/")[2] for item in found)

    def put(self, name: str, write: Callable[[IO[bytes]], Written]) -> Written:
        import obstore

        with self._told(), tempfile.TemporaryFile() as stream:
            found = write(stream)
            stream.seek(0)
            obstore.put(self._store, name, stream)
            return found

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        import obstore

        with self._told(), tempfile.TemporaryFile() as stream:
            for chunk in obstore.get(self._store, name):
                stream.write(chunk)
            stream.seek(0)
            yield stream

    def size(self, name: str) -> int:
        import obstore

        with self._told():
            return int(obstore.head(self._store, name)["size"])

    def remove(self, name: str) -> None:
        import obstore

        with self._told():
            obstore.delete(self._store, name)

    @contextmanager
    def _told(self) -> Iterator[None]:
        from obstore import exceptions

        try:
            yield
        except (OSError, exceptions.BaseError) as error:
            said = " ".join(str(error).split())[:300]
            if isinstance(error, OSError) or _REFUSED.search(said):
                raise PlaceRefused(
                    f"{self.url} can't be used for backups ({said}): check the bucket's name, the credentials in "
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and what they may do, and the room in /tmp"
                ) from error
            raise PlaceUnavailable(
                f"{self.url} does not answer ({said}): is AWS_ENDPOINT_URL right, and is the store up?"
            ) from error


def _bucket(url: str) -> ObjectStore:
    """The client of a bucket.

    Raises:
        PlaceRefused: the library for buckets is not installed, or this is no bucket's URL.
    """
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise PlaceRefused(
            f"{url}: backups in a bucket need a library that is not installed: pip install 'velodrome[backup]'"
        ) from error
    if not urlsplit(url).netloc:
        raise PlaceRefused(f"{url} names no bucket: write s3://BUCKET/PREFIX")
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    client: ClientConfig = {"allow_http": plain, "connect_timeout": "10s", "timeout": "5m"}
    return from_url(url, client_options=client, retry_config={"max_retries": 3})
