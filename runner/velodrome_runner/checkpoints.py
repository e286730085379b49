"""Checkpoints of a trial: saved whole or not at all, and read back only by the trial that they are of.

A trial has a folder of its own. `checkpoint.json` there says what the last checkpoint is of, at which step it was made,
and which file has it, with the file's digest. It is replaced last, so a process that is killed at any moment leaves the
last checkpoint as it was. `progress` says how far training has come since, so that what is lost can be told.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, TypeAdapter

from velodrome import keys
from velodrome.results.records import Checkpointing, Resumption
from velodrome_runner.artifacts import digest_of, write_torch
from velodrome_runner.log import complain, first_line, say
from velodrome_runner.publish import write_durably

# A change of what a checkpoint holds makes older ones unreadable.
FORMAT = 2
_PROGRESS = struct.Struct("<Qd")
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# A step takes microseconds in small models, and writing takes one: progress is noted no more often than this.
_NOTE_SECONDS = 0.05
_MOST_RESUMPTIONS = 1000
_MOST_STEPS = 2**53
_MOST_MANIFEST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What `checkpoint.json` holds. `file` is empty until the first checkpoint of a trial is saved."""

    identity: Mapping[str, str]
    machine: str
    attempt: str
    steps: NonNegativeInt = 0
    seconds: _Seconds = 0.0
    file: str = ""
    sha256: str = ""
    saved: NonNegativeInt = 0
    saving: _Seconds = 0.0
    moved: bool = False
    resumed: tuple[Resumption, ...] = ()

    def text(self) -> str:
        """As executors read it: they look at `keys.CHECKPOINT_STEPS`."""
        return _MANIFEST.dump_json(self).decode()

    @classmethod
    def read(cls, path: Path) -> _Manifest | None:
        """The manifest there; None where there is none.

        Raises:
            ValueError, OSError: it can't be read, or is no manifest.
        """
        try:
            with path.open("rb") as file:
                manifest = _MANIFEST.validate_json(file.read(_MOST_MANIFEST_BYTES))
        except FileNotFoundError:
            return None
        if Path(manifest.file).name != manifest.file:
            raise ValueError("it names a file of another folder")
        return manifest


_MANIFEST = TypeAdapter(_Manifest)


class _DamagedError(Exception):
    """Why a checkpoint can't be used."""


@dataclass(slots=True)
class Checkpoints:
    """The checkpoints of one trial, in a folder of its own. Without a folder, nothing is saved and nothing found.

    `identity` says what a checkpoint must be of: the trial, its code and data, the versions. `machine` is a digest of
    what speed depends on. Nothing here raises: training goes on without checkpoints where they can't be saved, and
    starts again where none can be used. `problem` says so.
    """

    folder: Path | None = None
    every: float = float("inf")
    identity: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    attempt: str = ""
    clock: Callable[[], float] = time.monotonic
    problem: str = ""
    _manifest: _Manifest | None = None
    _progress: int | None = None
    _last: float = 0.0
    _noted: float = 0.0
    _proven: bool = False

    def restored(self) -> dict[str, Any] | None:
        """What the last checkpoint holds, on the CPU; None where training starts at its beginning.

        Whatever another process of this trial did before is noted as lost, and its unfinished files are removed.
        """
        if self.folder is None:
            return None
        fresh = _Manifest({**self.identity, "format": str(FORMAT)}, self.machine, self.attempt)
        self._last, self._manifest = self.clock(), fresh
        state: dict[str, Any] | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = self._found(fresh)
            lost = self._lost()
            if found is not None:
                try:
                    state = self._read(found)
                except _DamagedError as error:
                    self._say(f"the checkpoint can't be used, so training starts again: {error}")
                    found = replace(found, steps=0, seconds=0.0, file="", sha256="")
                fresh = self._going_on(found, lost)
            self._manifest = fresh
            write_durably(self.folder / keys.CHECKPOINT_FILE, fresh.text())
            self._sweep()
            self._begin_noting()
        except OSError as error:  # a disk may be full for a while, so the next checkpoint is tried nevertheless
            self._say(f"checkpoints can't be kept in {self.folder}: {error.strerror or error}")
        return state

    def due(self, steps: int, seconds: float) -> bool:
        """Whether a checkpoint is to be saved now. Notes how far training has come. Call it after each step."""
        if self.folder is None:
            return False
        now = self.clock()
        if self._progress is not None and now - self._noted >= _NOTE_SECONDS:
            self._noted = now
            self._note(steps, seconds)
        return now - self._last >= self.every

    def save(self, steps: int, seconds: float, state: Mapping[str, Any]) -> None:
        """Saves what training needs to go on from here: tensors, numbers and texts, in dicts, lists and tuples."""
        manifest = self._manifest
        if self.folder is None or manifest is None:
            return
        begin = self.clock()
        name = f"checkpoint-{steps}-{self.attempt[-40:]}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            sha256, _ = write_torch(self.folder / name, dict(state))
            self._prove(self.folder / name)
            made = replace(manifest, steps=steps, seconds=seconds, file=name, sha256=sha256, saved=manifest.saved + 1)
            made = replace(made, machine=self.machine, saving=manifest.saving + self.clock() - begin)
            write_durably(self.folder / keys.CHECKPOINT_FILE, made.text())
        except _DamagedError as error:
            self._say(f"no checkpoints are saved: {error}")
            self._remove(name)
            self.folder = None
            return
        # A disk may be full for a while. A model may say what it holds with code of its own, which may raise anything.
        except Exception as error:
            why = (error.strerror or str(error)) if isinstance(error, OSError) else first_line(error)
            self._say(f"the checkpoint of step {steps} could not be saved: {why}")
            self._remove(name)
            self._last = self.clock()
            return
        self._manifest = made
        if manifest.file and manifest.file != name:
            self._remove(manifest.file)
        if self._progress is None:
            self._begin_noting()
        self._note(steps, seconds)
        self._last = self.clock()

    @property
    def resumed(self) -> bool:
        """Whether steps of an earlier process count in this trial."""
        return self._manifest is not None and any(each.step for each in self._manifest.resumed)

    @property
    def moved(self) -> bool:
        """Whether such steps were made on another machine, with other software or with another share of it."""
        return self._manifest is not None and self._manifest.moved

    def told(self) -> Checkpointing | None:
        """What the result says about checkpoints; None where none were wanted."""
        if self._manifest is None and not self.problem:
            return None
        manifest = self._manifest or _Manifest({}, "", "")
        return Checkpointing(
            saved=manifest.saved,
            seconds=manifest.saving,
            resumed=manifest.resumed[-_MOST_RESUMPTIONS:],
            problem=self.problem[:500] or None,
        )

    def _found(self, fresh: _Manifest) -> _Manifest | None:
        assert self.folder is not None
        try:
            found = _Manifest.read(self.folder / keys.CHECKPOINT_FILE)
        except ValueError:
            self._say(f"{keys.CHECKPOINT_FILE} is cut or damaged, so training starts again")
            return None
        if found is None or dict(found.identity) == dict(fresh.identity):
            return found
        differing = [name for name, value in fresh.identity.items() if found.identity.get(name) != value]
        self._say(f"the checkpoint is of another {' and another '.join(differing)}, so training starts again")
        return None

    def _read(self, found: _Manifest) -> dict[str, Any] | None:
        """What the checkpoint's file holds; None where none was saved yet."""
        assert self.folder is not None
        if not found.file:
            return None
        path = self.folder / found.file
        try:
            if digest_of(path) != found.sha256:
                raise _DamagedError(
                    "its file is cut or damaged: its digest differs from the one that was saved with it"
                )
            return _loaded(path)
        except OSError as error:
            raise _DamagedError(f"{found.file}: {error.strerror or error}") from error

    def _prove(self, path: Path) -> None:
        """Reads the first checkpoint of this process back, so that none is relied on that can't be read."""
        if not self._proven:
            _loaded(path)
            self._proven = True

    def _going_on(self, found: _Manifest, lost: tuple[int, float]) -> _Manifest:
        """The manifest of a process that goes on from `found`. `lost` is how far the process before it came."""
        steps, seconds = max(0, lost[0] - found.steps), max(0.0, lost[1] - found.seconds)
        if found.file:
            say(f"goes on from its checkpoint of step {found.steps}, after {found.attempt} was lost with {steps} steps")
        then = Resumption(attempt=found.attempt[:200], step=found.steps, repeated_steps=steps, lost_seconds=seconds)
        moved = bool(found.file) and (found.moved or found.machine != self.machine)
        return replace(found, attempt=self.attempt, moved=moved, resumed=(*found.resumed, then))

    def _lost(self) -> tuple[int, float]:
        assert self.folder is not None
        try:
            steps, seconds = _PROGRESS.unpack((self.folder / "progress").read_bytes()[: _PROGRESS.size])
        except (OSError, struct.error):
            return 0, 0.0
        return (steps, seconds) if steps < _MOST_STEPS and math.isfinite(seconds) else (0, 0.0)

    def _begin_noting(self) -> None:
        assert self.folder is not None
        assert self._manifest is not None
        with contextlib.suppress(OSError):
            self._progress = os.open(self.folder / "progress", os.O_WRONLY | os.O_CREAT, 0o600)
        self._note(self._manifest.steps, self._manifest.seconds)

    def _note(self, steps: int, seconds: float) -> None:
        if self._progress is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._progress, _PROGRESS.pack(steps, seconds), 0)

    def _sweep(self) -> None:
        """Removes checkpoints that no manifest names: their processes were lost while they saved them."""
        assert self.folder is not None
        assert self._manifest is not None
        for path in (*self.folder.glob("checkpoint-*.pt"), *self.folder.glob(".checkpoint-*.part")):
            if path.name != self._manifest.file:
                self._remove(path.name)

    def _remove(self, name: str) -> None:
        assert self.folder is not None
        with contextlib.suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            complain(problem)
        self.problem = problem


def _loaded(path: Path) -> dict[str, Any]:
    """The checkpoint in that file. No code in it runs."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    # torch's reader raises errors of many kinds for a file that it can't read as plain weights.
    except Exception as error:
        raise _DamagedError(f"it holds more than tensors, numbers and texts ({first_line(error)})") from error
    if not isinstance(found, dict):
        raise _DamagedError("it holds no state of a training")
    return found


def forget(folder: Path) -> None:
    """Removes the checkpoint of a trial that has a result, and the folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        for path in (folder / keys.CHECKPOINT_FILE, folder / "progress", *folder.glob("checkpoint-*.pt")):
            path.unlink(missing_ok=True)
        folder.rmdir()
