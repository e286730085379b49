"""A BenchmarkJob's object as it was last seen."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import from_json, to_json

from velodrome.spec.job import board_of
from velodrome.trends.verdicts import AWAITING_CONFIRMATION
from velodrome_operator import shapes
from velodrome_operator.observation import OddObject, version_of
from velodrome_operator.regressed import confirms

Raw = Mapping[str, Any]


@dataclass(slots=True)
class ParentObject:
    """One version of the object, and what every pass needs of it.

    The object is kept as `text`, which takes a tenth of the memory. `managedFields` are left out, since a write of the
    status needs none of them. `ended` is whether its status says that the race is over. `state` is one of
    `telemetry.RACE_STATES`. `counts` is how many trials its status reports: in all, succeeded and failed. `confirms` is
    the uid of the race that this one was made to confirm. `awaiting` says that it waits for a race that confirms it.
    """

    text: bytes
    version: int
    generation: int
    created_at: datetime
    deleting: bool
    ended: bool
    board: str
    state: str
    counts: tuple[int, int, int]
    confirms: str | None
    awaiting: bool
    _held: bool = False
    _unfolded: dict[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def read(cls, raw: Raw) -> ParentObject:
        """Reads the object from an event or a listing.

        Raises:
            OddObject: it does not say when it was made.
        """
        metadata = {key: one for key, one in shapes.mapping(raw.get("metadata")).items() if key != "managedFields"}
        created_at = shapes.moment(metadata.get("creationTimestamp"))
        if created_at is None:
            name = shapes.text(metadata.get("name"))
            raise OddObject(f"BenchmarkJob {name}: metadata.creationTimestamp is no time")
        spec, status = shapes.mapping(raw.get("spec")), shapes.status(raw.get("status"))
        board = shapes.text(spec.get("board")) or board_of(shapes.text(shapes.at(spec, "dataset", "name")))
        conditions = shapes.by_type(status.get("conditions"))
        held = shapes.held(conditions)
        end = next((kind for kind in ("Complete", "Failed") if kind in held), None)
        total, succeeded, failed = (
            shapes.count(shapes.at(status, "trials", name)) for name in ("total", "succeeded", "failed")
        )
        return cls(
            text=to_json({**raw, "metadata": metadata}),
            version=version_of(raw),
            generation=shapes.count(metadata.get("generation"), 1, most=2**63),
            created_at=created_at,
            deleting="deletionTimestamp" in metadata,
            ended=end is not None,
            board=sys.intern(board),
            state=end or ("Suspended" if shapes.flag(spec.get("suspend")) else "Running"),
            counts=(total, succeeded, failed),
            confirms=confirms(shapes.mapping(metadata.get("annotations"))),
            awaiting=conditions.get("Regressed", {}).get("reason") == AWAITING_CONFIRMATION,
        )

    @property
    def raw(self) -> dict[str, Any]:
        """The object, which nobody may change. Outside of `parsed` each call parses it again."""
        found: dict[str, Any] = self._unfolded or from_json(self.text)
        if self._held:
            self._unfolded = found
        return found

    @property
    def status(self) -> dict[str, Any]:
        """The readable parts of the object's status. It is empty at first."""
        return shapes.status(self.raw.get("status"))

    @contextmanager
    def parsed(self) -> Iterator[None]:
        """For one pass: parses the object once at most, and keeps it until this context ends."""
        self._held = True
        try:
            yield
        finally:
            self._held, self._unfolded = False, None
