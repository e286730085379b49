"""Every error that Velodrome raises on purpose.

    VelodromeError
    ├── TryAgain                 the same call may succeed later, without anybody's help
    │   └── StoreUnavailable     Redis does not answer
    └── ActionNeeded             the same call fails again until a person acts
        ├── SpecError            the BenchmarkJob is not valid; carries every problem, with its path and line
        ├── NotThere             a person named a board, an objective, a job or an entry that does not exist
        ├── ConfigurationError   this trial can't run as written (no such model, wrong data folder)
        ├── TrialFailed          the trial ran and failed by itself (NaN loss, wrong output shape): its result says so
        ├── StoreRefused         Redis answers and refuses (full, read-only, no permission)
        ├── SchemaUnsupported    a newer Velodrome than this one wrote the record
        ├── ClusterError         the cluster can't be asked, or refuses (no kubectl, no such object, no right to it)
        ├── BridgeFailed         another system, such as MLflow, can't take results: it refuses or does not answer
        ├── LocalError           this machine can't do it (no Redis server, a data folder that can't be written)
        └── OutputLost           a command's output can't be written: its reader stopped, or the disk is full

Components add subclasses under the same two branches. A caller catches `TryAgain`, `ActionNeeded` or, for both,
`VelodromeError`. Each message names the cause and the fix. `reason` is the CamelCase word in status conditions, records
and exit codes.
"""

from __future__ import annotations

from dataclasses import dataclass


class VelodromeError(Exception):
    """The root of all errors. Catch it to show every error of this project to a person. Raise only its subclasses."""

    reason = "Error"


class TryAgain(VelodromeError):
    """It can't be done now. The same call may succeed later, without anybody's help."""

    reason = "TryAgain"


class ActionNeeded(VelodromeError):
    """It can't be done until a person acts; the message says how. Before that, the same call fails again."""

    reason = "ActionNeeded"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a BenchmarkJob.

    `path` is the field as a person writes it (`spec.entries[1].model.name`). `line` counts from 1, and is None if the
    object did not come from a file. `hint` says what to write instead, and may be empty.
    """

    path: str
    message: str
    hint: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.path}: {self.message}{hint}"


class SpecError(ActionNeeded):
    """The BenchmarkJob is not valid. `problems` has every problem, in the order of the file. The text has the first
    hundred.
    """

    reason = "InvalidSpec"

    def __init__(self, problems: tuple[Problem, ...], source: str = "BenchmarkJob") -> None:
        self.problems = problems
        self.source = source
        count = f"{len(problems)} problem" + ("" if len(problems) == 1 else "s")
        lines = [f"  {problem}" for problem in problems[:100]]
        if len(problems) > len(lines):
            lines.append(f"  … and {len(problems) - len(lines)} more")
        super().__init__("\n".join([f"{source}: {count}", *lines]))


class ConfigurationError(ActionNeeded):
    """The trial can't run as it is written. If it runs again, it ends the same way."""

    reason = "InvalidConfiguration"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class NotThere(ActionNeeded):
    """A person named something that does not exist. `field` says what: `board`, `objective`, `job`, `entry` and so on.

    The message says which names there are, or the closest one.
    """

    reason = "NotThere"

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class TrialFailed(ActionNeeded):
    """The trial ran, and failed for a reason of its own, such as `LossNotFinite`."""

    reason = "TrialFailed"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreUnavailable(TryAgain):
    """Redis does not answer for now."""

    reason = "StoreUnavailable"


class StoreRefused(ActionNeeded):
    """Redis answers and refuses: it is full, it is read-only, or this user may not do it."""

    reason = "StoreRefused"


class SchemaUnsupported(ActionNeeded):
    """The record's schema version is newer than this program knows."""

    reason = "SchemaUnsupported"


class BridgeFailed(ActionNeeded):
    """Another system, such as MLflow, can't take results: it refuses, or it does not answer. Nothing is lost."""

    reason = "BridgeFailed"


class LocalError(ActionNeeded):
    """This machine lacks something that a local run needs."""

    reason = "LocalError"


class ClusterError(ActionNeeded):
    """The cluster can't be asked, or refuses. `said` has its words; `fix` says what to do, if that is known."""

    reason = "ClusterError"

    def __init__(self, said: str, fix: str = "") -> None:
        self.said, self.fix = said, fix
        super().__init__(f"{said}\n  fix: {fix}" if fix else said)


class OutputLost(ActionNeeded):
    """Standard output can't be written any more; `cause` is the system's error."""

    reason = "OutputLost"

    def __init__(self, cause: OSError) -> None:
        self.cause = cause
        super().__init__(f"standard output can't be written ({cause.strerror or cause}); what is missing was lost")
