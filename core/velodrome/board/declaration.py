"""What a profile is made of: boards, an objective, and how values become scores. People declare that."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from velodrome.errors import Problem, SpecError
from velodrome.metrics.catalogue import Metric
from velodrome.spec.document import parse
from velodrome.spec.wording import dotted


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeclaredBoard(_Declared):
    """A board that counts. `worst` and `best` are the values that get the scores 0 and 1, if ranges make the scores."""

    name: str = Field(min_length=1)
    worst: FiniteFloat | None = None
    best: FiniteFloat | None = None

    @model_validator(mode="after")
    def _range_is_whole(self) -> Self:
        if (self.worst is None) != (self.best is None):
            raise ValueError("write both worst and best, or neither")
        if self.worst is not None and self.worst == self.best:
            raise ValueError(f"worst and best are both {self.worst:g}: they need to differ")
        return self

    def share(self, value: float) -> float:
        """Where a value lies from worst (0) to best (1); the value itself without a range."""
        return value if self.worst is None or self.best is None else (value - self.worst) / (self.best - self.worst)


def _named(board: Any) -> Any:
    return {"name": board} if isinstance(board, str) else board


class Declaration(_Declared):
    """The boards of a profile, the objective by its name or metric key, and how values become scores.

    With `reference`, the name of an entry, a score is relative to its mean on the same board. With ranges it is the
    place between worst and best. With neither, it is the value itself, which has to be a share of which more is better.
    """

    objective: str = "accuracy"
    boards: tuple[Annotated[DeclaredBoard, BeforeValidator(_named)], ...] = Field(min_length=1, max_length=100)
    reference: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _scores_are_made_in_one_way(self) -> Self:
        names = [board.name for board in self.boards]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"board {doubled[0]} is there twice: leave one out")
        ranges = sum(board.best is not None for board in self.boards)
        if ranges not in (0, len(names)):
            raise ValueError("some boards have worst and best, and others don't: write them for all boards or for none")
        if ranges and self.reference is not None:
            raise ValueError("write either a reference, or worst and best of each board: each makes the scores")
        return self

    @property
    def ranged(self) -> bool:
        """Whether ranges make the scores."""
        return self.boards[0].best is not None

    def unscored(self, metric: Metric) -> str | None:
        """Why this makes no scores of a metric, and what to write; None if it does."""
        if self.ranged or self.reference is not None:
            return None
        if metric.unit == "ratio" and metric.direction == "higher":
            return None
        return (
            f"values of {metric.name} are no scores of which more is better: name an entry that they are relative to "
            "(reference), or the worst and the best value of each board"
        )

    def words(self, metric: Metric) -> str:
        """How values became scores, in a sentence."""
        if self.reference is not None:
            how = "the value divided by the mean" if metric.direction == "higher" else "the mean divided by the value"
            return f"Score: {how} of {self.reference}, both of the same board, so more is better and 1 is as good."
        if self.ranged:
            each = "; ".join(f"{board.name}: {board.worst:g} to {board.best:g}" for board in self.boards)
            return f"Score: 0 at the worst value that was declared, 1 at the best ({each})."
        return "Score: the value itself."


def read_declaration(text: str, source: str) -> Declaration:
    """The declaration in a YAML or JSON text.

    Raises:
        SpecError: with each problem, its line and its field.
    """
    documents, problems = parse(text)
    if not problems and len(documents) != 1:
        problems = [Problem("file", f"holds {len(documents)} documents", "write one, with boards and objective")]
    if problems:
        raise SpecError(tuple(problems), source)
    try:
        return Declaration.model_validate(documents[0].value)
    except ValidationError as error:
        raise SpecError(tuple(_problem(one, documents[0].lines) for one in error.errors()), source) from error


def _problem(error: Any, lines: Any) -> Problem:
    location = tuple(error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem(dotted(location) if location else "profile", message, line=lines.get(location) or lines.get(()))
