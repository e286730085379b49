"""What all records have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Data(BaseModel):
    """Frozen. Unknown fields are dropped, so that an older reader can read what a newer writer wrote.

    NaN and infinities are refused: JSON has no form for them, and they are no measurements.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def absent(value: object) -> bool:
    """Whether to leave the field out. So records of older versions are written as they were read."""
    return value is None
