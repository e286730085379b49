"""What ranks on a board after a job's values were deleted: the values of the newest older job that has some. Only
reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from velodrome import keys
from velodrome.results.records import parse_record
from velodrome.store import decoding
from velodrome.store.access import StoreAccess, text_of
from velodrome.store.encoding import row_head, stamp
from velodrome.store.removal import CohortChange, KeptRow

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo

_JOBS_AT_ONCE = 20
_FIELDS_AT_ONCE = 1000

Field = tuple[str, str, str]  # metric key, cohort and entry, which name a job's samples


def cohort_changes(
    redis: StoreAccess, job: JobInfo, ages: Mapping[str, str], older: Sequence[str], fields: Sequence[Field]
) -> list[CohortChange]:
    """How the board's rows of these samples change, if they are from this job. `older` jobs are newest first; `ages`
    has the age of each job by uid.
    """
    age = ages[job.uid].encode()
    places = sorted({(key, cohort) for key, cohort, _ in fields})
    kept = redis.ask_all([("HGETALL", keys.board_rows(job.board, *place)) for place in places])
    ranked = dict(zip(places, kept, strict=True))
    leaving = [one for one in fields if KeptRow(ranked[one[:2]].get(one[2].encode(), b"")).age == age]
    heirs = _heirs(redis, ages, older, leaving)
    changes = []
    for place in places:
        rows = {entry: KeptRow(text) for entry, text in ranked[place].items()}
        changed = [one for one in leaving if one[:2] == place]
        for one in changed:
            rows.pop(one[2].encode())
            if one in heirs:
                rows[one[2].encode()] = KeptRow(heirs[one])
        changes.append(CohortChange(*place, rows, frozenset(entry.encode() for _, _, entry in changed)))
    return [change for change in changes if change.changed]


def entry_heirs(
    redis: StoreAccess,
    job: JobInfo,
    ages: Mapping[str, str],
    older: Sequence[str],
    entries: Sequence[str],
    *,
    inherit: bool = True,
) -> dict[str, bytes | None]:
    """For each of these entries that the board has from this job: age and uid of the newest older job that has it."""
    held = redis.ask("HMGET", keys.board_entries(job.board), *entries)
    own = {
        entry
        for entry, text in zip(entries, held, strict=True)
        if text and text.rpartition(b"\n")[2] == job.uid.encode()
    }
    found: dict[str, bytes | None] = dict.fromkeys(sorted(own))
    for start in range(0, len(older) if inherit else 0, _JOBS_AT_ONCE):
        missing = {entry for entry, heir in found.items() if heir is None}
        if not missing:
            break
        for other in _jobs(redis, older[start : start + _JOBS_AT_ONCE]):
            for entry in missing.intersection(other.entries):
                if found[entry] is None:
                    found[entry] = f"{ages[other.uid]}\n{other.uid}".encode()
    return found


def _jobs(redis: StoreAccess, uids: Sequence[str]) -> Iterator[JobInfo]:
    names = [keys.job(uid, "info") for uid in uids]
    for name, text in zip(names, redis.ask("MGET", *names), strict=True):
        if text is not None:
            yield redis.parsed(decoding.parse_job, text, name)


def _heirs(
    redis: StoreAccess, ages: Mapping[str, str], older: Sequence[str], fields: Sequence[Field]
) -> dict[Field, bytes]:
    """The rows that replace those of these fields, if an older job has values of them."""
    found: dict[Field, tuple[str, bytes]] = {}
    left = list(fields)
    for start in range(0, len(older), _JOBS_AT_ONCE):
        if not left:
            break
        uids = older[start : start + _JOBS_AT_ONCE]
        for uid, samples in zip(uids, _samples(redis, uids, left), strict=True):
            for one, packed in samples.items():
                found.setdefault(one, (uid, packed))
        left = [one for one in left if one not in found]
    rows: dict[Field, bytes] = {}
    for uid in sorted({uid for uid, _ in found.values()}):
        own = {one: packed for one, (giver, packed) in found.items() if giver == uid}
        for job in _jobs(redis, [uid]):
            rows.update(_rows_of(redis, job, ages[uid], own))
    return rows


def _samples(redis: StoreAccess, uids: Sequence[str], fields: Sequence[Field]) -> list[dict[Field, bytes]]:
    """For each job, those of these samples that it has."""
    found: list[dict[Field, bytes]] = [{} for _ in uids]
    for start in range(0, len(fields), _FIELDS_AT_ONCE):
        some = fields[start : start + _FIELDS_AT_ONCE]
        names = ["\n".join(one) for one in some]
        answers = redis.ask_all([("HMGET", keys.job(uid, "samples"), *names) for uid in uids])
        for samples, answer in zip(found, answers, strict=True):
            samples |= {one: packed for one, packed in zip(some, answer, strict=True) if packed}
    return found


def _rows_of(
    redis: StoreAccess, job: JobInfo, age: str, samples: Mapping[Field, bytes]
) -> Iterator[tuple[Field, bytes]]:
    """The job's samples as rows of the board."""
    entries = sorted({entry for _, _, entry in samples})
    names = [f"{kind}:{entry}" for entry in entries for kind in ("id", "mixed")]
    stored = redis.ask("HMGET", keys.job(job.uid, "entries"), *names)
    for entry, identity, mixed in zip(entries, stored[::2], stored[1::2], strict=True):
        head = row_head(job, entry, text_of(identity or b""), mixed=mixed is not None)
        accepted = _accepted(redis, job, entry)
        for one, packed in samples.items():
            if one[2] == entry:
                seeds = redis.parsed(decoding.seeds, packed, keys.job(job.uid, "samples"), "\n".join(one))
                moments = [at for seed, metrics, at in accepted if seed in seeds and one[0] in metrics]
                last = max(moments, default=stamp(job.created_at))
                yield one, f"{age}\n{head}\n{last}".encode() + packed


def _accepted(redis: StoreAccess, job: JobInfo, entry: str) -> list[tuple[int, frozenset[str], str]]:
    """For each of the entry's results: the seed, the metrics with a value, and when it was accepted."""
    where = keys.job(job.uid, "records")
    indices = range(job.entries.index(entry), job.trials, len(job.entries))  # trials interleave entries
    found = []
    for start in range(0, len(indices), _FIELDS_AT_ONCE):
        some = indices[start : start + _FIELDS_AT_ONCE]
        for index, text in zip(some, redis.ask("HMGET", where, *some), strict=True):
            if text is not None:
                record = redis.parsed(parse_record, text, where, index)
                metrics = frozenset(record.result.metrics)
                found.append((record.result.seed, metrics, stamp(record.accepted_at)))
    return found
