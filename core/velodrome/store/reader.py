"""The reading half of the store: jobs, boards, the state of trials, and the values that are ranked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from types import TracebackType
from typing import Any, Self, TypeVar

import redis
from pydantic_core import from_json

from velodrome import keys
from velodrome.errors import StoreUnavailable
from velodrome.results.marks import Acknowledgement, Baseline, Deed, Hiding
from velodrome.results.records import EpochPoint, JobInfo, Progress, TrialRecord, parse_record
from velodrome.results.scores import SampleScores, set_of
from velodrome.results.searches import Suggestion
from velodrome.store import decoding, readings
from velodrome.store.access import Argument, StoreAccess, text_of
from velodrome.store.markers import Marker
from velodrome.store.readings import KeptReading
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

_NAMES = attrgetter("entry", "metric_key", "cohort_id")

Said = TypeVar("Said", Baseline, Acknowledgement, Deed)

_EVERY_JOB = 2**31
_RECORDS_AT_ONCE = 1000
_READS_AGAIN = 100
_JOBS_AT_ONCE = 10  # what their values take is held until they are parsed


def _fixed(answer: Any) -> Any:
    """The answer as a value that nobody can change."""
    return tuple(map(_fixed, answer)) if isinstance(answer, list) else answer


class Reader:
    """The half of the store that changes nothing. It works on a replica, and for a user who may only read: the commands
    and keys of `velodrome.store.roles`, or +@read.

    Its methods raise as those of `velodrome.store.Store` do. If an item of a list can't be read, only this item is left
    out, and `left_out` says so.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._redis = StoreAccess(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. The next call opens them again."""
        self._redis.close()

    @property
    def address(self) -> str:
        """Where Redis is, without the password."""
        return self._redis.address

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was left out of lists so far because it can't be read: one sentence for each item, with the key."""
        return tuple(self._redis.left_out.values())

    def ping(self) -> None:
        """Returns if Redis answers. Otherwise it raises as every method does."""
        self._redis.ask("PING")

    # Jobs

    def job(self, uid: str) -> JobInfo | None:
        """A job as it was registered."""
        return self._jobs_of([uid])[0]

    def jobs(self, board: str | None = None, limit: int = 50, offset: int = 0) -> list[JobInfo]:
        """Up to `limit` readable jobs of one board, or of all boards, from place `offset` on. Newest first."""
        return self._readable_jobs(self._newest(board, limit, offset))

    def each_job(self, board: str | None = None, at_once: int = 100) -> Iterator[JobInfo]:
        """Every job that one board, or all, have now, newest first. Those deleted meanwhile may be left out."""
        uids = self._newest(board, _EVERY_JOB, 0)
        for first in range(0, len(uids), at_once):
            yield from self._readable_jobs(uids[first : first + at_once])

    def places(self, uids: Sequence[str]) -> dict[str, int]:
        """Numbers that order these jobs: a newer job has a larger number. Unknown jobs are left out."""
        scores = self._redis.ask_all([("ZSCORE", keys.JOBS, uid) for uid in uids])
        return {uid: int(score) for uid, score in zip(uids, scores, strict=True) if score is not None}

    def placed_from(self, place: int) -> list[str]:
        """The uids of the jobs from this place on, oldest first."""
        return [text_of(uid) for uid in self._redis.ask("ZRANGEBYSCORE", keys.JOBS, place, "+inf")]

    def boards(self) -> list[Board]:
        """All boards, the one with the newest job or result first."""
        names = [text_of(name) for name in self._redis.ask("ZREVRANGE", keys.BOARDS, 0, -1)]
        questions: list[tuple[Argument, ...]] = []
        for name in names:
            questions += (
                ("ZCARD", keys.board_jobs(name)),
                ("HLEN", keys.board_entries(name)),
                ("ZSCORE", keys.BOARDS, name),
                ("HGET", keys.BOARD_TIMES, name),
            )
        numbers = self._redis.ask_all(questions)
        kept = zip(names, *(numbers[start::4] for start in range(4)), strict=True)
        there = [one for one in kept if one[3] is not None]
        return self._redis.readable(decoding.parse_board, there, keys.BOARD_TIMES, [one[0] for one in there])

    def owners(self) -> dict[str, str]:
        """By board, the namespace to which it belongs. Boards that only an older Velodrome wrote to may be absent."""
        return {text_of(board): text_of(owner) for board, owner in self._redis.fields(keys.BOARD_OWNERS).items()}

    def owner(self, board: str) -> str | None:
        """The namespace to which a board belongs, if that is known."""
        found = self._redis.ask("HGET", keys.BOARD_OWNERS, board)
        return None if found is None else text_of(found)

    def changes(self) -> dict[str, Changes]:
        """How often each board changed, in one round trip. A board without results and marks may be absent."""
        found = self._redis.fields(keys.CHANGES)
        return self._redis.parsed(decoding.parse_changes, found, keys.CHANGES)

    # One job's results

    def trial(self, uid: str, index: int) -> TrialRecord | None:
        """A trial's result, without its curves."""
        text = self._redis.ask("HGET", keys.job(uid, "records"), index)
        return None if text is None else self._redis.parsed(parse_record, text, keys.job(uid, "records"), index)

    def records(self, uid: str, start: int = 0, count: int = 100) -> list[TrialRecord]:
        """The readable results of the `count` trials from index `start` on, with their curves and scores. Trials
        without a result are left out.
        """
        key = keys.job(uid, "records")
        found: list[TrialRecord] = []
        for first in range(start, start + count, _RECORDS_AT_ONCE):
            indices = range(first, min(first + _RECORDS_AT_ONCE, start + count))
            records, curves, scores = self._whole(uid, indices)
            splits = self._splits(uid, scores)
            kept = zip(indices, zip(records, curves, scores, splits, strict=True), strict=True)
            there = {index: parts for index, parts in kept if parts[0] is not None}
            found += self._redis.readable(decoding.parse_whole, list(there.values()), key, list(there))
        return found

    def scores(self, uid: str, indices: Sequence[int]) -> dict[int, SampleScores]:
        """What the models of these trials did on each test sample, by index, as far as it was kept and can be read."""
        key = keys.job(uid, "scores")
        texts = self._redis.ask("HMGET", key, *indices) if indices else []
        kept = zip(indices, texts, self._splits(uid, texts), strict=True)
        there = {index: (text, split) for index, text, split in kept if text is not None}
        found = self._redis.readable(decoding.parse_numbered_scores, list(there.items()), key, list(there))
        return dict(found)

    def _splits(self, uid: str, scores: Sequence[bytes | None]) -> list[bytes | None]:
        """The test split that each of these stored scores is of."""
        key = keys.job(uid, "scores")
        of = [None if text is None else set_of(text) for text in scores]
        names = sorted({one for one in of if one is not None})
        fields = [f"set:{name}" for name in names]
        texts = dict(zip(names, self._redis.ask("HMGET", key, *fields) if fields else [], strict=True))
        return [None if one is None else texts[one] for one in of]

    def _whole(self, uid: str, indices: Sequence[int]) -> tuple[list[Any], list[Any], list[Any]]:
        """The stored records, curves and scores of these trials, as they were at one moment.

        A result that replaces another one changes all, and what decides about the trial. So they belong together if
        that did not change from before they were read until after. This needs no script and no transaction: a full
        Redis refuses the latter, and a user who may only read should run no script.
        """
        parts: tuple[keys.JobPart, ...] = ("trials", "records", "curves", "scores")
        questions: list[tuple[Argument, ...]] = [("HMGET", keys.job(uid, part), *indices) for part in parts]
        for _ in range(_READS_AGAIN):
            before, found, points, scores, after = self._redis.ask_all([*questions, questions[0]])
            if before == after:
                return found, points, scores
        raise StoreUnavailable(f"the results of job {uid} change all the time: read them again later")

    def trials(self, uid: str) -> dict[int, TrialSummary]:
        """All results of a job in short, by index."""
        return self._redis.by_index(keys.job(uid, "trials"), decoding.parse_trial)

    def result_counts(self, uids: Sequence[str]) -> list[int]:
        """How many trials of each job have a result, in one round trip."""
        return self._redis.ask_all([("HLEN", keys.job(uid, "trials")) for uid in uids])

    def curves(self, uid: str, index: int) -> tuple[EpochPoint, ...]:
        """A trial's curves. While an attempt runs, they are what it reported and what is still kept of that. Otherwise
        they are the result's.
        """
        live, accepted = keys.job(uid, "live"), keys.job(uid, "curves")
        running, result = self._redis.ask_all((("HGET", live, index), ("HGET", accepted, index)))
        if running is not None:
            return self._redis.parsed(decoding.parse_live, running, live, index)
        return () if result is None else self._redis.parsed(decoding.parse_curves, result, accepted, index)

    def suggestions(self, uid: str) -> dict[int, Suggestion]:
        """What a search has suggested so far, by index. `uid` is that of its trials (`keys.search_uid`)."""
        return self._redis.by_index(keys.job(uid, "suggestions"), decoding.parse_suggestion)

    def suggestion(self, uid: str, index: int) -> Suggestion | None:
        """What a search has suggested for one trial; None if nothing yet."""
        key = keys.job(uid, "suggestions")
        text = self._redis.ask("HGET", key, index)
        return None if text is None else self._redis.parsed(Suggestion.model_validate_json, text, key, index)

    def turns(self, uid: str) -> dict[str, tuple[int, ...]]:
        """The search trials of each lane, by index, in the order of their turns."""
        key = keys.job(uid, "turns")
        return self._redis.parsed(decoding.parse_turns, self._redis.fields(key), key)

    def running(self, uid: str, indices: Sequence[int]) -> dict[int, tuple[str, tuple[EpochPoint, ...]]]:
        """The newest attempt at each of these trials that has no result yet, with what it reported, by index. One that
        has not reported yet is left out. It takes one round trip.
        """
        live = keys.job(uid, "live")
        texts = self._redis.ask("HMGET", live, *indices) if indices else []
        return {
            index: (text.partition(b"\n")[0].decode(), self._redis.parsed(decoding.parse_live, text, live, index))
            for index, text in zip(indices, texts, strict=True)
            if text is not None
        }

    def progress(self, uid: str) -> dict[int, Progress]:
        """The newest progress of each trial that reported some and got no result since then, by index."""
        return self._redis.by_index(keys.job(uid, "progress"), decoding.parse_progress)

    def conflicts(self, uid: str) -> list[TrialRecord]:
        """Results that differ from the accepted result of their trial, with curves."""
        key = keys.job(uid, "conflicts")
        kept = self._redis.fields(key)
        found = self._redis.readable(decoding.parse_conflict, list(kept.values()), key, list(kept))
        return sorted(found, key=lambda record: (record.result.index, record.accepted_at))

    def counts(self, uid: str) -> Counts:
        """Counts of the job's trials by outcome, of its conflicts, and of its rejected reports by reason."""
        key = keys.job(uid, "entries")
        entries, conflicts, rejected = self._redis.ask_all(
            (("HGETALL", key), ("HLEN", keys.job(uid, "conflicts")), ("HGETALL", keys.job(uid, "rejected")))
        )
        return self._redis.parsed(partial(decoding.counts, conflicts=conflicts, rejected=rejected), entries, key)

    def rejections(self, uid: str) -> list[Rejection]:
        """The last rejections, newest first. Older ones are dropped; `counts` has the number of all."""
        key = keys.job(uid, "rejections")
        texts = self._redis.ask("LRANGE", key, 0, -1)
        return self._redis.readable(decoding.parse_rejection, texts, key)

    def entries(self, uid: str) -> dict[str, EntryState]:
        """The state of each entry of a job, in the order of the job. Empty for an unknown job."""
        job = self.job(uid)
        return {} if job is None else self._entries(job)

    def _entries(self, job: JobInfo) -> dict[str, EntryState]:
        key, out = keys.job(job.uid, "entries"), keys.job(job.uid, "hidden")
        questions = (("HGETALL", key), ("HKEYS", keys.job(job.uid, "progress")), ("HGETALL", out))
        fields, running, hidden = self._redis.ask_all(questions)
        runs = self._hidings(out, hidden)
        return self._redis.parsed(partial(decoding.entry_states, job, running=running, hidden=runs), fields, key)

    # Rankings

    def board_entries(self, board: str) -> list[tuple[JobInfo, EntryState]]:
        """For each entry name of a board, the newest job that has it and its state there. Sorted by entry name."""
        newest = {
            text_of(entry): text_of(text.rpartition(b"\n")[2])
            for entry, text in sorted(self._redis.fields(keys.board_entries(board)).items())
        }
        jobs = {job.uid: job for job in self._readable_jobs(sorted(set(newest.values())))}
        states = {uid: self._entries(job) for uid, job in jobs.items()}
        return [(jobs[uid], states[uid][entry]) for entry, uid in newest.items() if entry in states.get(uid, {})]

    def cohorts(self, board: str, key: str) -> list[CohortSummary]:
        """The cohorts in which a board has values of a metric key, the one of the newest job first."""
        where = keys.board_cohorts(board, key)
        fields = self._redis.fields(where)
        ids = self._redis.parsed(decoding.cohort_ids, fields, where)
        if not ids:
            return []
        rows = [("HLEN", keys.board_rows(board, key, cohort_id)) for cohort_id in ids]
        conditions, *entries = self._redis.ask_all([("HMGET", keys.COHORTS, *ids), *rows])
        kept = list(zip(ids, conditions, entries, strict=True))
        found = self._redis.readable(partial(decoding.parse_cohort, fields=fields), kept, where, ids)
        return sorted(found, key=lambda one: (decoding.place_of(fields, one), one.last_at), reverse=True)

    def ranking_rows(self, board: str, key: str, cohort_id: str) -> list[Row]:
        """The values of a ranking: for each entry name, those of the newest job that has some. Sorted by entry name.

        The values of hidden runs are left out. An entry of which all are hidden has a row without values.
        """
        where = keys.board_rows(board, key, cohort_id)
        rows = self._redis.readable(decoding.parse_row, self._redis.ask("HVALS", where), where)
        hidden = self.hidden(list(dict.fromkeys(row.job_uid for row in rows)))
        return sorted(decoding.seen_rows(rows, hidden), key=attrgetter("entry"))

    # Boards as they were read

    def board_version(self, board: str) -> str:
        """A text that changes with everything on which the board's rankings and verdicts depend. Only compare it."""
        return readings.version(self._redis.ask_all(readings.questions(board)))

    def answers(self, markers: Sequence[Marker]) -> dict[Marker, tuple[Any, ...]]:
        """What each marker says now, in one round trip."""
        found = iter(self._redis.ask_all([question for marker in markers for question in marker.questions]))
        return {marker: tuple(_fixed(next(found)) for _ in marker.questions) for marker in markers}

    def kept_reading(self, board: str, fields: Sequence[str]) -> KeptReading:
        """Parts of the board's stored reading, with its version then and now, in one round trip."""
        wanted = ("HMGET", keys.board_reading(board), readings.VERSION, *fields)
        (of, *parts), *numbers = self._redis.ask_all([wanted, *readings.questions(board)])
        version, entries = readings.version(numbers), readings.entries(numbers)
        return KeptReading(None if of is None else text_of(of), version, tuple(parts), entries)

    def some_trials(self, uid: str, indices: Sequence[int]) -> list[TrialRecord | None]:
        """The results of these trials of a job, without curves, in one round trip."""
        key = keys.job(uid, "records")
        texts = self._redis.ask("HMGET", key, *indices) if indices else []
        return [
            None if text is None else self._redis.parsed(parse_record, text, key, index)
            for index, text in zip(indices, texts, strict=True)
        ]

    def some_samples(self, wanted: Mapping[str, Sequence[tuple[str, str, str]]]) -> dict[str, tuple[JobSamples, ...]]:
        """By job uid, the job's values of these metric keys, cohorts and entries, without those of hidden runs. It
        takes one round trip.
        """
        asked = {uid: ["\n".join(place) for place in places] for uid, places in wanted.items() if places}
        values: list[tuple[Argument, ...]] = [
            ("HMGET", keys.job(uid, "samples"), *names) for uid, names in asked.items()
        ]
        hidden = [("HGETALL", keys.job(uid, "hidden")) for uid in asked]
        answers = self._redis.ask_all([*values, *hidden])
        found = {}
        for (uid, names), texts, out in zip(asked.items(), answers, answers[len(asked) :], strict=False):
            fields = {name.encode(): text for name, text in zip(names, texts, strict=True) if text is not None}
            runs = self._hidings(keys.job(uid, "hidden"), out)
            found[uid] = tuple(decoding.seen_samples(self._samples_in(keys.job(uid, "samples"), fields), runs))
        return found

    # Regressions

    def samples(self, uids: Sequence[str], metric_keys: Collection[str] | None = None) -> list[tuple[JobSamples, ...]]:
        """The values of each of these jobs, of all metrics or of these, without those of hidden runs. Newer jobs don't
        change them. Empty for an unknown job.
        """
        found: list[tuple[JobSamples, ...]] = []
        for first in range(0, len(uids), _JOBS_AT_ONCE):
            some = uids[first : first + _JOBS_AT_ONCE]
            names, out = [keys.job(uid, "samples") for uid in some], [keys.job(uid, "hidden") for uid in some]
            answers = self._redis.ask_all([("HGETALL", name) for name in (*names, *out)])
            for name, fields, where, hidden in zip(names, answers, out, answers[len(names) :], strict=False):
                own = self._samples_in(name, decoding.of_metrics(fields, metric_keys))
                found.append(tuple(decoding.seen_samples(own, self._hidings(where, hidden))))
        return found

    def job_cohorts(self, uid: str) -> list[str]:
        """The ids of the cohorts in which the job has values, of any metric. Those of its first entry come first."""
        name = keys.job(uid, "samples")
        fields = self._redis.readable(decoding.samples_field, self._redis.ask("HKEYS", name), name)
        return list(dict.fromkeys(cohort_id for _, _, cohort_id in sorted(fields)))

    def measured(self, uid: str) -> tuple[JobSamples, ...]:
        """All values of the job, those of hidden runs too: what a race goes by. What people say of results changes no
        race.
        """
        name = keys.job(uid, "samples")
        return self._samples_in(name, self._redis.fields(name))

    def _samples_in(self, name: str, fields: Mapping[bytes, bytes]) -> tuple[JobSamples, ...]:
        """Those of a hash's fields that can be read, in order."""
        found = self._redis.readable(decoding.parse_samples, list(fields.items()), name, list(fields))
        return tuple(sorted(found, key=_NAMES))

    def entry_facts(self, uids: Sequence[str]) -> list[EntryFacts]:
        """For each of these jobs, the identities of its entries that have a result, and which code they ran. None of
        a job's facts are there if one can't be read.
        """
        names = [keys.job(uid, "entries") for uid in uids]
        answers = zip(names, self._redis.ask_all([("HGETALL", name) for name in names]), strict=True)
        found = [self._redis.readable(decoding.entry_facts, [fields], name) for name, fields in answers]
        return [facts[0] if facts else EntryFacts({}, {}, frozenset()) for facts in found]

    def conditions(self, cohort_id: str) -> Mapping[str, Any]:
        """The conditions of a cohort. Empty for an unknown cohort."""
        text = self._redis.ask("HGET", keys.COHORTS, cohort_id)
        return {} if text is None else self._redis.parsed(from_json, text, keys.COHORTS, cohort_id)

    def baselines(self, board: str) -> list[Baseline]:
        """The pins on this board, by entry and metric."""
        return self._marks(keys.board_baselines(board), Baseline)

    def acknowledgements(self, board: str) -> list[Acknowledgement]:
        """The acceptances on this board."""
        return self._marks(keys.board_acknowledgements(board), Acknowledgement)

    def hidden(self, uids: Sequence[str]) -> dict[str, list[Hiding]]:
        """The hidden runs of these jobs, by uid and then index, in one round trip. A job without any is left out."""
        names = [keys.job(uid, "hidden") for uid in uids]
        answers = self._redis.ask_all([("HGETALL", name) for name in names]) if names else []
        kept = zip(uids, names, answers, strict=True)
        return {uid: found for uid, name, fields in kept if (found := self._hidings(name, fields))}

    def _hidings(self, name: str, fields: Mapping[bytes, bytes]) -> list[Hiding]:
        found = self._redis.readable(decoding.parse_hiding, list(fields.values()), name, list(fields)) if fields else []
        return sorted(found, key=attrgetter("index"))

    def marks_changed(self, board: str) -> int:
        """How often the board's marks changed."""
        number = self._redis.ask("HGET", keys.CHANGES, f"marks:{board}")
        return 0 if number is None else self._redis.parsed(int, number, keys.CHANGES, f"marks:{board}")

    def log(self, board: str) -> list[Deed]:
        """What people did to the board's marks, newest first."""
        return self._marks(keys.board_log(board), Deed)[::-1]

    def _marks(self, where: str, kind: type[Said]) -> list[Said]:
        kept = dict(sorted(self._redis.fields(where).items()))
        return self._redis.readable(kind.model_validate_json, list(kept.values()), where, list(kept))

    def _jobs_of(self, uids: Sequence[str]) -> list[JobInfo | None]:
        names = [keys.job(uid, "info") for uid in uids]
        texts = self._redis.ask("MGET", *names) if names else []
        return [
            None if text is None else self._redis.parsed(decoding.parse_job, text, name)
            for name, text in zip(names, texts, strict=True)
        ]

    def _newest(self, board: str | None, limit: int, offset: int) -> list[str]:
        key = keys.JOBS if board is None else keys.board_jobs(board)
        uids = self._redis.ask("ZREVRANGE", key, offset, offset + limit - 1) if limit > 0 else []
        return [text_of(uid) for uid in uids]

    def _readable_jobs(self, uids: Sequence[str]) -> list[JobInfo]:
        names = [keys.job(uid, "info") for uid in uids]
        kept = zip(names, self._redis.ask("MGET", *names) if names else [], strict=True)
        there = {name: text for name, text in kept if text is not None}
        return self._redis.readable(decoding.parse_job, list(there.values()), list(there))
