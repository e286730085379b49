"""Files that trials keep beside their results: checkpoints to go on from, and what is left of a finished trial."""

from __future__ import annotations

from pydantic import Field

from velodrome.spec.base import Strict
from velodrome.spec.types import Finite, ObjectName


class Artifacts(Strict):
    """Files that each trial keeps, the same for every entry; nothing here changes what a trial computes."""

    claim_name: ObjectName | None = Field(
        default=None,
        description="PersistentVolumeClaim of the job's namespace in which pods keep them; ignored on one machine.",
    )
    checkpoint_seconds: Finite | None = Field(
        default=None,
        ge=0.1,
        le=86_400,
        description="Seconds between two checkpoints, from which a trial goes on whose process was lost; none if "
        "absent.",
    )
    weights: bool = Field(
        default=False, description="Whether each trial keeps its trained weights, whose digest is in its result."
    )
    trace_steps: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Training steps to trace by torch.profiler when everything is measured; no trace if absent.",
    )
