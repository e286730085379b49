"""The instructions of a runner process, all from environment variables. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from velodrome import keys
from velodrome.connections.clients import RedisLogin
from velodrome.errors import ConfigurationError
from velodrome_runner.ranks import ALONE, Ranks, ranks

_DEADLINE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """One trial's instructions, from the environment. `deadline` is in seconds after the end of the trial.

    `index` counts the trials of the entries at the positions `entries`, or of all entries if that is empty, without the
    trials that were `taken_over` (such as `0-3,7`, counted over the whole job), and of these `repeats` alone (such as
    `5-6`) where a race runs in rounds. `ranks` says which of the pods that
    train together this is. `pushgateway` is the URL for live metrics. `login` says who connects to Redis, where the URL
    does not. `report_key` is what reports of this trial must show, or None. With `search`, the index counts search
    trials; in a `lane`, it counts the turns there. Below `artifacts`, each trial keeps its files in a folder.
    """

    spec: Path
    index: int
    job_uid: str
    attempt: str
    redis_url: str | None
    data: Path
    scratch: Path
    concurrent: int
    deadline: float
    entries: tuple[int, ...] = ()
    taken_over: str = ""
    repeats: str = ""
    ranks: Ranks = ALONE
    pushgateway: str | None = None
    login: RedisLogin = field(default_factory=RedisLogin)
    report_key: str | None = None
    search: bool = False
    lane: str = ""
    artifacts: Path | None = None

    def kept(self, index: int) -> Path:
        """The folder for the files that the trial of that index of the plan keeps."""
        folder = self.artifacts or self.scratch / keys.ARTIFACTS
        return folder / (keys.KEPT_SEARCH if self.search else keys.KEPT_TRIALS) / str(index)

    @property
    def spool(self) -> Path:
        """The file that keeps the result until it is delivered. Each attempt has its own."""
        return self.scratch / f"result-{self.index}-{self.attempt}.json"

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Reads the variables of `velodrome.keys`.

        Raises:
            ConfigurationError: one is missing or invalid; the message names it.
        """
        completion = _whole(environ, keys.ENV_INDEX, None, least=0)
        nodes = _whole(environ, keys.ENV_NODES, 1, least=1)
        hosts = _text(environ, keys.ENV_HOSTS, "the names of the pods, with {index} in them") if nodes > 1 else ""
        return cls(
            spec=Path(_text(environ, keys.ENV_SPEC, "the path of the BenchmarkJob as JSON")),
            index=completion // nodes,
            job_uid=_text(environ, keys.ENV_JOB_UID, "the uid of the BenchmarkJob"),
            attempt=_file_name(environ, keys.ENV_ATTEMPT),
            redis_url=environ.get(keys.ENV_REDIS_URL) or None,
            data=Path(environ.get(keys.ENV_DATA) or "."),
            scratch=Path(_text(environ, keys.ENV_SCRATCH, "a folder for files of this trial")),
            concurrent=_whole(environ, keys.ENV_CONCURRENT, 1, least=1),
            deadline=_seconds(environ, keys.ENV_DEADLINE, _DEADLINE_SECONDS),
            entries=_positions(environ, keys.ENV_ENTRIES),
            taken_over=environ.get(keys.ENV_TAKEN_OVER, ""),
            repeats=environ.get(keys.ENV_REPEATS, ""),
            ranks=ranks(completion, nodes, hosts),
            pushgateway=environ.get(keys.ENV_PUSHGATEWAY) or None,
            login=RedisLogin.read(environ),
            report_key=_content(environ, keys.ENV_REPORT_KEY_FILE),
            search=environ.get(keys.ENV_SEARCH) == "1",
            lane=environ.get(keys.ENV_LANE, ""),
            artifacts=Path(kept) if (kept := environ.get(keys.ENV_ARTIFACTS)) else None,
        )


def _text(environ: Mapping[str, str], name: str, what: str) -> str:
    value = environ.get(name)
    if not value:
        raise ConfigurationError(f"{name} is not set: set it to {what}")
    return value


def _content(environ: Mapping[str, str], name: str) -> str | None:
    """What the named file holds; None if none is named."""
    path = environ.get(name)
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"{name}: {path} can't be read ({why})") from error


def _file_name(environ: Mapping[str, str], name: str) -> str:
    """The attempt's name, which becomes part of a file's name."""
    value = _text(environ, name, "a name that no other attempt at this trial has, such as the pod's")
    if "/" in value or "\0" in value or len(value) > 200:
        raise ConfigurationError(f"{name} is {value!r}: use a name without / of 200 characters or fewer")
    return value


def _whole(environ: Mapping[str, str], name: str, default: int | None, *, least: int) -> int:
    text = environ.get(name)
    if not text:
        if default is None:
            raise ConfigurationError(f"{name} is not set: set it to a whole number from {least} on")
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigurationError(f"{name} is {text!r}: set it to a whole number from {least} on")
    return int(text)


def _positions(environ: Mapping[str, str], name: str) -> tuple[int, ...]:
    parts = [part for part in environ.get(name, "").split(",") if part]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigurationError(f"{name} is {environ[name]!r}: set it to positions of entries, such as 0,2")
    return tuple(int(part) for part in parts)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ConfigurationError(f"{name} is {text!r}: set it to a number of seconds, 0 or more")
    return value
