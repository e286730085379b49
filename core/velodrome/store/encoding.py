"""Turns jobs and records into the arguments of the store's scripts. Pure: no I/O here.

The scripts compare times and ages as text, so both have a fixed number of hexadecimal digits. Measured values are
packed as IEEE doubles. Everything else is JSON, which the scripts store unchanged: a number loses digits if Lua reads
and writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from velodrome import keys
from velodrome.plan import entry_id
from velodrome.results.names import check_document, check_names
from velodrome.results.records import JobInfo, Progress, Rounds, TrialRecord, write_curves
from velodrome.results.scores import write_scores
from velodrome.store.access import Argument
from velodrome.store.rankings import Rankings, Shapes
from velodrome.store.types import Rejection

# About the largest size of a trial's live curve. When it is full, the older half is dropped. The accepted result has
# the whole curve.
LIVE_BYTES = 128 * 1024
REJECTIONS_KEPT = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PART_OF_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_LARGEST_SEED = 2**63 - 1
_LARGEST_NUMBER = 10**15 - 1  # Lua counts up to this exactly, and no inbox gets so many reports


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, exactly. An earlier moment counts as 1970."""
    return max(0, (moment - _EPOCH) // _MICROSECOND)


def stamp(moment: datetime) -> str:
    """A moment as text that sorts by time."""
    return f"{microseconds(moment):016x}"


def age(place: int, uid: str) -> str:
    """A text that sorts jobs from old to new, as the scripts do. It sorts jobs with the same place by uid, so that one
    of them is newer.
    """
    return f"{place:016x}{uid.encode().hex()}"


@dataclass(frozen=True)
class RegisteredJob:
    """What is needed to know of a job to accept its records."""

    info: JobInfo

    @cached_property
    def entries(self) -> frozenset[str]:
        return frozenset(self.info.entries)


def check_job(job: JobInfo) -> None:
    """Checks the job for everything that the keys in Redis and all readers rely on.

    Raises:
        ValueError: the job breaks a rule; the message names the field.
    """
    if not _PART_OF_KEY.fullmatch(job.uid):
        raise ValueError(f"the job's uid {job.uid!r} must be letters, digits, dots, dashes and underscores")
    check_document(job)
    check_names(job)
    if not job.entries or len(set(job.entries)) != len(job.entries):
        raise ValueError(f"the job {job.uid} must have entries, each with a name of its own")
    if job.trials != job.repeats * len(job.entries):
        raise ValueError(f"the job {job.uid} has {job.trials} trials, but {len(job.entries)} entries x {job.repeats}")
    if job.rounds is not None:
        check_rounds(job, job.rounds)


def check_rounds(job: JobInfo, rounds: Rounds) -> None:
    """Checks that the job's rounds can be of it.

    Raises:
        ValueError: they can't.
    """
    if rounds.repeats.keys() != set(job.entries) or not rounds.stopped.keys() <= rounds.repeats.keys():
        raise ValueError(f"the rounds of job {job.uid} must be of its entries: {', '.join(job.entries)}")
    if not all(1 <= repeats <= job.repeats for repeats in rounds.repeats.values()):
        raise ValueError(f"the rounds of job {job.uid} must ask for 1 to {job.repeats} trials of each entry")


def check_record(job: RegisteredJob, record: TrialRecord) -> None:
    """Checks that a record belongs to its job.

    Raises:
        ValueError: it does not; the message names the field.
    """
    result, info = record.result, job.info
    if result.job_uid != info.uid:
        raise ValueError(f"the record is of job {result.job_uid!r}, not of {info.uid!r}")
    if result.entry not in job.entries:
        raise ValueError(f"the job {info.uid} has no entry {result.entry!r}")
    if result.index >= info.trials:
        raise ValueError(f"the job {info.uid} has trials 0 to {info.trials - 1}, not {result.index}")
    if result.seed > _LARGEST_SEED:
        raise ValueError(f"the seed {result.seed} is larger than {_LARGEST_SEED}")
    if result.outcome == "Failed" and result.reason is None:
        raise ValueError(f"trial {result.index} failed, but has no reason")


def check_number(number: int) -> int:
    """Returns the number, if it can be a count of collected reports.

    Raises:
        ValueError: it can't.
    """
    if not 0 <= number <= _LARGEST_NUMBER:
        raise ValueError(f"{number!r} is no count of reports: it must be from 0 to {_LARGEST_NUMBER}")
    return number


@dataclass(frozen=True, slots=True)
class Item:
    """A record that is to be accepted: the record without its curves and scores, and its stored form as JSON.

    The curves are kept only as text, because thousands of epochs as objects cost more than the rest of a batch. So are
    the scores, apart from the test split that they are of: `split` is its JSON, and `split_id` its digest.
    `content` is the digest of the result with its curves. `aside` marks a record that was a conflict in an export.
    `retries` is the number of retries in the export.
    """

    record: TrialRecord
    text: str
    curves: bytes
    content: str
    retries: int = 0
    aside: bool = False
    scores: str = ""
    split_id: str = ""
    split: str = ""

    @property
    def size(self) -> int:
        """About how many bytes it takes on the way to Redis."""
        return len(self.text) + len(self.curves) + len(self.scores) + len(self.split)

    @classmethod
    def of(cls, record: TrialRecord, retries: int = 0, *, aside: bool = False) -> Item:
        """The item of a record."""
        curves = write_curves(record.result.curves)
        content = record.reported.content_given(curves)
        bare = record.model_copy(update={"result": record.result.model_copy(update={"curves": (), "scores": None})})
        kept = write_scores(record.result.scores)
        return cls(bare, bare.model_dump_json(), curves, content, retries, aside, *kept)


# The keys of every batch, in the order of the accepting script. The keys of rankings follow them.
_PARTS: tuple[keys.JobPart, ...] = (
    "info", "position", "trials", "records", "curves", "conflicts", "failures", "progress", "live", "entries",
    "rejected", "rejections",
)  # fmt: skip


def encode(
    job: RegisteredJob,
    position: int,
    items: Sequence[Item],
    progress: Sequence[Progress],
    rejected: Sequence[Rejection],
    shapes: Shapes,
    *,
    imported: bool = False,
) -> tuple[list[str], list[Argument]]:
    """The keys and arguments of the accepting script.

    The first argument is a JSON object: facts of the job, the numbers of results, progress reports and rejections, the
    rankings of the values, and test splits by digest. Then come fourteen arguments for each result, the values of each
    group, four arguments for each progress report and three for each rejection.

    Raises:
        ValueError: a record does not belong to the job, or a number is no count of reports.
    """
    info = job.info
    names = [*(keys.job(info.uid, part) for part in _PARTS), keys.inbox(info.uid), keys.BOARDS, keys.COHORTS]
    names += [keys.job(info.uid, "samples"), keys.CHANGES, keys.JOBS, keys.BOARD_TIMES]
    names.append(keys.job(info.uid, "scores"))
    rankings = Rankings(info.board, names)
    arguments: list[Argument] = [""]
    ids: dict[str, str] = {}
    with_code = sorted({item.record.result.entry for item in items if item.record.result.code is not None})
    for number, item in enumerate(items, start=1):
        check_record(job, item.record)
        entry = item.record.result.entry
        if entry not in ids:
            ids[entry] = entry_id(item.record.config)
        if info.search_of is None:  # what a search tried ranks nowhere
            rankings.add(number, item.record.result, shapes.of(item.record))
        arguments += _result(item)
    arguments += rankings.values()
    for report in progress:
        arguments += _progress(report)
    for rejection in rejected:
        arguments += (check_number(int(rejection.id)), rejection.reason, _rejection(rejection))
    head = {
        "board": info.board,
        "uid": info.uid,
        "imported": imported,
        "ranks": info.search_of is None,
        "position": check_number(position),
        "results": len(items),
        "progress": len(progress),
        "rejections": len(rejected),
        "ids": ids,
        "heads": {entry: row_head(info, entry, identity) for entry, identity in ids.items()},
        "mixed_heads": {entry: row_head(info, entry, ids[entry], mixed=True) for entry in with_code},
        "shapes": rankings.shapes(),
        "groups": rankings.groups(),
        "cohorts": rankings.conditions,
        "sets": {item.split_id: item.split for item in items if item.split_id},
        "live_bytes": LIVE_BYTES,
        "rejections_kept": REJECTIONS_KEPT,
    }
    arguments[0] = json.dumps(head)
    return names, arguments


def _result(item: Item) -> tuple[Argument, ...]:
    record, result = item.record, item.record.result
    return (
        result.outcome[0] + ("!" if item.aside else ""),
        result.index,
        stamp(result.finished_at) + item.content,
        result.attempt,
        result.entry,
        result.reason or "",
        item.retries,
        stamp(record.accepted_at),
        item.text,
        item.curves,
        _summary(record),
        result.code or "",
        item.scores,
        item.split_id,
    )


def _summary(record: TrialRecord) -> str:
    """What a list of trials shows, as JSON: entry, seed, reason, and run time in seconds.

    As far as there is something to say, these follow: whether it was taken over, and how its conditions held.
    """
    result, seconds = record.result, record.observed.run_seconds
    if seconds is None:
        seconds = max(0.0, (result.finished_at - result.started_at).total_seconds())
    held, facts = result.held, result.dataset
    found: dict[str, object] = {"shared": None if facts is None else facts.shared_samples}
    if held is not None:
        found |= {
            "weights": held.initial_weights,
            "pretrained": held.pretrained,
            "trained": held.trained_weights,
            "disturbed": held.disturbed,
        }
    known = {name: value for name, value in found.items() if value}
    more: list[object] = [] if record.taken_from is None else [True]
    if held is not None or known:
        more = [record.taken_from is not None, known]
    return json.dumps([result.entry, result.seed, result.reason or "", seconds, *more])


def row_head(job: JobInfo, entry: str, identity: str, *, mixed: bool = False) -> str:
    """The part of a ranking row before its values: JSON without a line end. `mixed`: the trials ran different code."""
    return json.dumps([entry, identity, job.uid, job.name, job.planned(entry), *([True] if mixed else [])])


def _rejection(rejection: Rejection) -> str:
    """The stored rejection, as JSON. If the sender of the report is known, its index and attempt come last."""
    sender = [] if rejection.attempt is None else [rejection.index, rejection.attempt]
    return json.dumps([rejection.id, rejection.reason, rejection.message, *sender])


def _progress(report: Progress) -> tuple[Argument, ...]:
    point = report.point.model_dump_json() if report.point is not None else ""
    return report.index, report.attempt, report.model_dump_json(exclude={"point"}), point
