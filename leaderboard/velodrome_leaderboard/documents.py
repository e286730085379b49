"""Files to download: the BenchmarkJob to run again, and a job's trials as a table. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

import yaml

from velodrome.results.records import JobInfo, TrialRecord
from velodrome.spec.nulls import without_nulls
from velodrome.text import cell, is_clean

_FACTS = ("index", "entry", "repeat", "seed", "outcome", "reason", "epochs", "best_epoch", "stopped_by")
_ATTEMPT = "attempt"
_TIMES = ("started_at", "finished_at", "run_seconds")


def job_yaml(job: JobInfo, entry: str | None = None) -> str:
    """The job as it was run, with all of its entries or only one. Nulls without meaning are left out.

    If a value holds an invisible character, every character outside ASCII is written as a YAML escape.
    """
    document = without_nulls(dict(job.document))
    if entry is not None:
        entries = [item for item in document["spec"]["entries"] if item["name"] == entry]
        document = {**document, "spec": {**document["spec"], "entries": entries}}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    if is_clean(text):
        return text
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=100)


def trials_csv(records: Iterable[TrialRecord]) -> str:
    """One row for each trial: what it is, how it ended, and its metrics, unrounded, in the catalogue's units."""
    rows = [_row(record) for record in records]
    metrics = sorted({name for row in rows for name in row} - {*_FACTS, _ATTEMPT, *_TIMES})
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_FACTS, _ATTEMPT, *_TIMES, *metrics], restval="")
    writer.writerow({name: cell(name) for name in writer.fieldnames})
    writer.writerows(rows)
    return text.getvalue()


def _row(record: TrialRecord) -> dict[str, Any]:
    result = record.result
    return {
        **{name: cell(getattr(result, name)) for name in _FACTS},
        _ATTEMPT: cell(record.shown_attempt),
        "started_at": result.started_at.isoformat(),
        "finished_at": result.finished_at.isoformat(),
        "run_seconds": record.observed.run_seconds,
        **{key: repr(value) for key, value in result.metrics.items()},
    }
