"""Turns a comparison of entries into the document that `compare --json` writes, and the API answers with. Pure."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import BaseModel, ConfigDict

from velodrome.board.comparing import ComparedEntries, ComparedObjective
from velodrome.board.parameters import Setting
from velodrome.ranking.places import RankedRow


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ComparedEntryDocument(_Document):
    """An entry, the job that its values are of, and its parameters."""

    entry: str
    job: str
    job_uid: str
    parameters: dict[str, Setting]


class PairDocument(_Document):
    """`a` against `b`: a minus b in the objective's unit, or with `logs` the factor a / b less 1.

    `better` is the entry that is significantly better by the tests of the ranking, or None. `low` and `high` exclude 0
    exactly if the two are told apart; they are None without spread. `paired` says that common seeds were compared.
    """

    a: str
    b: str
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    paired: bool
    logs: bool
    better: str | None


class ComparedObjectiveDocument(_Document):
    """One objective: the mean of each entry (None if it is not ranked), and all pairs of ranked entries."""

    name: str
    metric: str
    unit: str
    means: dict[str, float | None]
    pairs: tuple[PairDocument, ...]


class ComparisonDocument(_Document):
    """Entries of a board, side by side, with the parameters and the facts of their environments that differ."""

    board: str
    entries: tuple[ComparedEntryDocument, ...]
    objectives: tuple[ComparedObjectiveDocument, ...]
    differing_parameters: tuple[str, ...]
    differing_environments: dict[str, tuple[str, ...]]


def comparison_document(found: ComparedEntries) -> ComparisonDocument:
    """The comparison as a document."""
    return ComparisonDocument(
        board=found.board,
        entries=tuple(
            ComparedEntryDocument(entry=one.entry, job=one.job.name, job_uid=one.job.uid, parameters=dict(one.settings))
            for one in found.entries
        ),
        objectives=tuple(map(_objective, found.objectives)),
        differing_parameters=found.settings,
        differing_environments=dict(found.environments),
    )


def _objective(one: ComparedObjective) -> ComparedObjectiveDocument:
    means = {name: row.interval.mean if isinstance(row, RankedRow) else None for name, row in one.rows.items()}
    return ComparedObjectiveDocument(
        name=one.reading.objective.name,
        metric=str(one.reading.ranking.key),
        unit=one.reading.ranking.unit,
        means=means,
        pairs=tuple(PairDocument(**asdict(pair)) for pair in one.pairs),
    )
