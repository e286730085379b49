"""Turns a comparison of entries into the document that `compare --json` writes, and the API answers with. Pure."""

from __future__ import annotations

from velodrome.board.comparing import ComparedEntries, ComparedObjective, PairDifference
from velodrome.board.document import DocumentModel
from velodrome.board.parameters import Setting
from velodrome.ranking.places import RankedRow


class ComparedEntryDocument(DocumentModel):
    """An entry, the job that its values are of, and its parameters."""

    entry: str
    job: str
    job_uid: str
    parameters: dict[str, Setting]


class ComparedObjectiveDocument(DocumentModel):
    """One objective: the mean of each entry (None if it is not ranked), and all pairs of ranked entries."""

    name: str
    metric: str
    unit: str
    means: dict[str, float | None]
    pairs: tuple[PairDifference, ...]


class ComparisonDocument(DocumentModel):
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
        pairs=one.pairs,
    )
