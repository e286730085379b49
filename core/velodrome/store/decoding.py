"""Turns what Redis holds into values. Pure: no I/O here.

Every function raises ValueError if Velodrome did not write the bytes, and `SchemaUnsupported` if a newer Velodrome
wrote them.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from pydantic_core import from_json

from velodrome.results import records
from velodrome.results.cohorts import Cohort
from velodrome.results.marks import Hiding, hidden_words
from velodrome.results.names import check_document
from velodrome.results.records import CURVES, EpochPoint, JobInfo, Outcome, Progress, TrialRecord, parse_record
from velodrome.results.scores import SampleScores, parse_scores
from velodrome.results.searches import Suggestion
from velodrome.store.types import (
    Board,
    Changes,
    CohortSummary,
    Counts,
    EntryFacts,
    EntryState,
    JobSamples,
    Rejection,
    Row,
    TrialSummary,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_LAST_MICROSECOND = (_LAST - _EPOCH) // timedelta(0, 0, 1)
_SAMPLE = struct.Struct("<qd")
# A kept trial: outcome (1 character), when it finished (16), digest (32), retries (6), then the summary.
_RETRIES, _SUMMARY = slice(49, 55), slice(55, None)
_STAMP = 16
_ROW_REMEMBERED = 2048  # bytes; rows of more than about a hundred values are parsed each time
_JOB_REMEMBERED = 8192  # bytes; jobs of more than about twenty entries are parsed each time
_OUTCOMES: Mapping[bytes, Outcome] = {b"S": "Succeeded", b"F": "Failed"}


def moment(microseconds: float) -> datetime:
    """Microseconds since 1970 as a time. A number beyond the last possible time, as rounding may give, is that time."""
    return _EPOCH + timedelta(0, 0, microseconds) if microseconds < _LAST_MICROSECOND else _LAST


def parse_conflict(text: bytes) -> TrialRecord:
    """A result that was set aside, with its curves and scores."""
    record, curves, *scores = from_json(text)
    found = with_curves(parse_record(json.dumps(record)), parse_curves(json.dumps(curves).encode()))
    return with_scores(found, parse_scores(*(json.dumps(part).encode() for part in scores))) if scores else found


def parse_whole(kept: tuple[bytes, bytes, bytes | None, bytes | None]) -> TrialRecord:
    """An accepted result, from its record, its curves, and its scores with their test split, if there are some."""
    record, curves, scores, split = kept
    found = with_curves(parse_record(record), parse_curves(curves))
    return found if scores is None else with_scores(found, parse_scores(scores, split))


def with_curves(record: TrialRecord, curves: tuple[EpochPoint, ...]) -> TrialRecord:
    """The record with its curves, which are stored apart from it."""
    return record.model_copy(update={"result": record.result.model_copy(update={"curves": curves})})


def with_scores(record: TrialRecord, scores: SampleScores) -> TrialRecord:
    """The record with its scores, which are stored apart from it."""
    return record.model_copy(update={"result": record.result.model_copy(update={"scores": scores})})


def parse_numbered_scores(kept: tuple[int, tuple[bytes, bytes | None]]) -> tuple[int, SampleScores]:
    """The index of a trial, and its scores from their text and the test split that they are of."""
    index, (scores, split) = kept
    return index, parse_scores(scores, split)


def parse_curves(text: bytes) -> tuple[EpochPoint, ...]:
    """An accepted result's curves."""
    return CURVES.validate_json(text)


def parse_live(text: bytes) -> tuple[EpochPoint, ...]:
    """A running attempt's curves, sorted by epoch. An epoch that was reported twice is there once."""
    points = (EpochPoint.model_validate_json(line) for line in text.split(b"\n")[1:])
    return tuple(point for _, point in sorted({point.epoch: point for point in points}.items()))


def parse_progress(index: int, text: bytes) -> Progress:
    """A running trial's newest progress, without the epoch's point."""
    progress = Progress.model_validate_json(text)
    if progress.index != index:
        raise ValueError(f"it is the progress of trial {progress.index}")
    return progress


def parse_trial(index: int, text: bytes) -> TrialSummary:
    """A trial in short."""
    entry, seed, reason, seconds, *more = from_json(text[_SUMMARY])
    held = more[1] if len(more) > 1 else {}
    retries = int(text[_RETRIES])
    return TrialSummary(
        index,
        entry,
        seed,
        _OUTCOMES[text[:1]],
        reason or None,
        seconds,
        retries,
        taken_over=bool(more and more[0]),
        initial_weights=held.get("weights"),
        pretrained=bool(held.get("pretrained")),
        trained_weights=held.get("trained"),
        disturbed=held.get("disturbed", ""),
        shared_samples=held.get("shared", 0),
    )


def parse_board(kept: tuple[str, int, int, float, bytes | None]) -> Board:
    """A board, from its name, numbers of jobs and entries, place, and the time of its last job or result. Version
    0.1.0 did not write that time.
    """
    name, jobs, entries, place, last = kept
    return Board(name, jobs, entries, moment(place if last is None else int(last)))


def parse_changes(fields: Mapping[bytes, bytes]) -> dict[str, Changes]:
    """By board, how often its results and its marks changed."""
    numbers = {field.decode(): int(number) for field, number in fields.items()}
    boards = {field.partition(":")[2] for field in numbers}
    return {
        board: Changes(numbers.get(f"results:{board}", 0), numbers.get(f"marks:{board}", 0)) for board in sorted(boards)
    }


def parse_job(text: bytes) -> JobInfo:
    """A job as it was registered. Don't change it: several callers may get the same object."""
    return _remembered_job(text) if len(text) <= _JOB_REMEMBERED else _job(text)


def _job(text: bytes) -> JobInfo:
    job = records.parse_job(text)
    check_document(job)
    return job


# Each ended race is compared with the same older jobs of its board, and equal bytes are an equal job. About 10 MB.
_remembered_job = lru_cache(maxsize=256)(_job)


def parse_rejection(text: bytes) -> Rejection:
    """A rejected report."""
    return Rejection(*from_json(text))


def parse_row(text: bytes) -> Row:
    """A ranking row. Don't change it: several callers may get the same object."""
    return _remembered_row(text) if len(text) <= _ROW_REMEMBERED else _row(text)


def _row(text: bytes) -> Row:
    """The parts of the text: the job's age, the row's head, when the last value was accepted, and the values."""
    _, head, kept = text.split(b"\n", 2)
    entry, identity, uid, name, planned, *mixed = from_json(head)
    samples = dict(_SAMPLE.iter_unpack(kept[_STAMP:]))
    return Row(entry, identity, uid, name, planned, samples, moment(int(kept[:_STAMP], 16)), bool(mixed))


# A page is drawn many times while few rows change, and equal bytes are an equal row. About 25 MB at most.
_remembered_row = lru_cache(maxsize=4096)(_row)


def forget() -> None:
    """Empties the caches of `parse_row` and `parse_job`, so that their time can be measured."""
    _remembered_row.cache_clear()
    _remembered_job.cache_clear()


def parse_samples(item: tuple[bytes, bytes]) -> JobSamples:
    """Values of a job, from the field that names them and the packed values."""
    field, packed = item
    return JobSamples(*samples_field(field), dict(_SAMPLE.iter_unpack(packed)))


def of_metrics(fields: Mapping[bytes, bytes], metric_keys: Collection[str] | None) -> Mapping[bytes, bytes]:
    """The fields of a job's samples that are of these metric keys; all without `metric_keys`."""
    if metric_keys is None:
        return fields
    wanted = frozenset(key.encode() for key in metric_keys)
    return {field: packed for field, packed in fields.items() if field.partition(b"\n")[0] in wanted}


def samples_field(field: bytes) -> tuple[str, str, str]:
    """Entry, metric key and cohort that a field of a job's samples names."""
    key, cohort_id, entry = field.decode().split("\n", 2)
    return entry, key, cohort_id


def seeds(packed: bytes) -> frozenset[int]:
    """The seeds of packed samples."""
    return frozenset(seed for seed, _ in _SAMPLE.iter_unpack(packed))


def parse_cohort(kept: tuple[str, bytes, int], fields: Mapping[bytes, bytes]) -> CohortSummary:
    """A metric key's cohort, from its id, conditions and number of ranking rows, and the hash of the key's cohorts."""
    cohort_id, conditions, entries = kept
    cohort = Cohort(cohort_id, from_json(conditions))
    if not isinstance(cohort.conditions, dict):
        raise TypeError(f"the conditions of cohort {cohort_id} are no object")
    samples, last = fields[b"samples:" + cohort_id.encode()], fields[b"last:" + cohort_id.encode()]
    return CohortSummary(cohort_id, cohort.conditions, cohort.words, entries, int(samples), moment(int(last, 16)))


def place_of(fields: Mapping[bytes, bytes], cohort: CohortSummary) -> str:
    """What sorts the cohorts of a metric key: the place of the cohort's newest job, in hexadecimal. In what version
    0.1.0 wrote, it is the time of the newest value.
    """
    own = cohort.cohort_id.encode()
    return fields.get(b"order:" + own, fields[b"last:" + own]).decode(errors="replace")


def cohort_ids(fields: Iterable[bytes]) -> list[str]:
    """The ids of the cohorts in a metric key's hash."""
    return [field.removeprefix(b"last:").decode() for field in fields if field.startswith(b"last:")]


def parse_hiding(text: bytes) -> Hiding:
    """A hidden run."""
    return Hiding.model_validate_json(text)


def seen_rows(rows: Iterable[Row], hidden: Mapping[str, Iterable[Hiding]]) -> Iterator[Row]:
    """The rows without the values of hidden runs. `hidden` has the hidden runs of each job, by uid."""
    words = {uid: hidden_words(runs) for uid, runs in hidden.items()}
    for row in rows:
        said = words.get(row.job_uid, {}).get(row.entry, "")
        if said:
            out = {run.seed for run in hidden[row.job_uid] if run.entry == row.entry}
            left = {seed: value for seed, value in row.samples.items() if seed not in out}
            yield row._replace(samples=left, hidden=said)
        else:
            yield row


def seen_samples(samples: Iterable[JobSamples], hidden: Iterable[Hiding]) -> Iterator[JobSamples]:
    """A job's values without those of its hidden runs."""
    out = {(run.entry, run.seed) for run in hidden}
    for one in samples:
        left = {seed: value for seed, value in one.values.items() if (one.entry, seed) not in out}
        if left:
            yield one if len(left) == len(one.values) else replace(one, values=left)


def entry_states(
    job: JobInfo, fields: Mapping[bytes, bytes], running: Iterable[bytes], hidden: Iterable[Hiding] = ()
) -> dict[str, EntryState]:
    """The state of each entry, from the counters, the indices of the running trials, and the hidden runs."""
    said = hidden_words(hidden)
    numbers: dict[str, dict[str, int]] = {"succeeded": {}, "failed": {}}
    reasons: dict[str, dict[str, int]] = {}
    identities: dict[str, str] = {}
    codes: dict[str, str] = {}
    mixed: set[str] = set()
    for field, value in fields.items():
        kind, _, rest = field.decode().partition(":")
        if kind == "reason":
            reason, _, entry = rest.partition(":")
            reasons.setdefault(entry, {})[reason] = int(value)
        elif kind == "id":
            identities[rest] = value.decode()
        elif kind == "code":
            codes[rest] = value.decode()
        elif kind == "mixed":
            mixed.add(rest)
        else:
            numbers[kind][rest] = int(value)
    # Trials interleave entries: see velodrome.plan.
    at_work = Counter(job.entries[int(index) % len(job.entries)] for index in running)
    return {
        entry: EntryState(
            entry,
            identities.get(entry),
            job.planned(entry),
            numbers["succeeded"].get(entry, 0),
            numbers["failed"].get(entry, 0),
            at_work[entry],
            dict(sorted(reasons.get(entry, {}).items())),
            codes.get(entry),
            mixed_code=entry in mixed,
            hidden=said.get(entry, ""),
        )
        for entry in job.entries
    }


def entry_facts(fields: Mapping[bytes, bytes]) -> EntryFacts:
    """The facts of the entries, from the fields beside their counters."""
    found: dict[str, dict[str, str]] = {"id": {}, "code": {}, "mixed": {}}
    for field, value in fields.items():
        kind, _, entry = field.decode().partition(":")
        if kind in found:
            found[kind][entry] = value.decode()
    return EntryFacts(found["id"], found["code"], frozenset(found["mixed"]))


def counts(fields: Mapping[bytes, bytes], conflicts: int, rejected: Mapping[bytes, bytes]) -> Counts:
    """The counts of a job's trials, from its counters."""
    total = {
        kind: sum(int(value) for field, value in fields.items() if field.startswith(kind))
        for kind in (b"succeeded:", b"failed:")
    }
    by_reason = {reason.decode(): int(number) for reason, number in sorted(rejected.items())}
    return Counts(total[b"succeeded:"], total[b"failed:"], conflicts, by_reason)


def parse_suggestion(_index: int, text: bytes) -> Suggestion:
    """A stored suggestion of a search."""
    return Suggestion.model_validate_json(text)


def parse_turns(fields: Mapping[bytes, bytes]) -> dict[str, tuple[int, ...]]:
    """The search trials of each lane, by index, in the order of their turns."""
    found: dict[str, dict[int, int]] = {}
    for field, text in fields.items():
        if field.isdigit():
            lane, _, number = text.decode().rpartition(":")
            found.setdefault(lane, {})[int(number)] = int(field)
    return {lane: tuple(turns[number] for number in sorted(turns)) for lane, turns in found.items()}
