"""The folder in which Velodrome keeps everything that it writes on this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from velodrome.errors import LocalError

ENV_HOME = "VELODROME_HOME"
# Redis refuses every write when its append-only file is on a full disk, so no race starts on a nearly full disk.
LEAST_FREE_BYTES = 50 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Home:
    """The data folder and the paths in it. Only its owner may enter it."""

    folder: Path

    @property
    def redis(self) -> Path:
        """Velodrome's own Redis: its data, configuration, socket and log."""
        return self.folder / "redis"

    @property
    def track(self) -> Path:
        """The folder of the locks by which the races of this data folder take turns."""
        return self.folder / "track"

    @property
    def data(self) -> Path:
        """Where data sets are looked up and downloaded to, unless --data names another folder."""
        return self.folder / "data"

    def job(self, uid: str) -> Path:
        """The folder of what a race needs besides its results: its lock, its spec, spool files and logs."""
        return self.folder / "jobs" / uid

    def make(self, folder: Path) -> Path:
        """Makes a folder below the data folder, if it is missing.

        Raises:
            LocalError: the folder can't be made.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        return folder


def locate_home(environ: Mapping[str, str] = os.environ) -> Home:
    """$VELODROME_HOME, else the platform's folder for this user's data. Changes nothing on the disk.

    Raises:
        LocalError: both are missing.
    """
    chosen = environ.get(ENV_HOME)
    try:
        if chosen:
            return Home(Path(chosen).expanduser().absolute())
        import platformdirs

        return Home(Path(platformdirs.user_data_dir("velodrome", appauthor=False)))
    except RuntimeError as error:
        raise LocalError(
            f"this user has no home folder to keep results in: set {ENV_HOME} to a folder that can be written"
        ) from error


def open_home(environ: Mapping[str, str] = os.environ, *, writes: bool = True) -> Home:
    """The data folder. Makes it if it is missing; if the caller `writes` results, checks that the folder takes them.

    A caller that only reads needs no room: people can show and export results when the disk is full.

    Raises:
        LocalError: the folder can't be made; or, for a caller that writes, it can't be written or its disk is nearly
            full.
    """
    home = locate_home(environ)
    home.make(home.folder)
    if not writes:
        return home
    try:
        with tempfile.TemporaryFile(dir=home.folder) as probe:
            probe.write(b"velodrome")
            probe.flush()
    except OSError as error:
        raise cannot_write(home.folder, error) from error
    require_room(home.folder)
    return home


def require_room(folder: Path) -> None:
    """Returns if the folder's disk has room for results.

    Raises:
        LocalError: the disk has too little room.
    """
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise LocalError(
            f"{folder}: its disk has {free / 2**20:.0f} MiB left and results need "
            f"{LEAST_FREE_BYTES / 2**20:.0f}: free some, or choose another folder with {ENV_HOME}=FOLDER"
        )


def cannot_write(path: Path, error: OSError) -> LocalError:
    """The error that reports a path below the data folder that can't be made or written."""
    return LocalError(
        f"{path}: can't be written ({error.strerror or error}): "
        f"choose a folder that can with {ENV_HOME}=FOLDER, or make room in this one"
    )
