"""Reads what two entries of a board kept of each test sample, and compares them sample by sample. Only reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from velodrome.errors import ActionNeeded
from velodrome.ranking.pairs import Measure, Pairing, paired
from velodrome.results.records import JobInfo
from velodrome.results.scores import SampleScores
from velodrome.stats.persample import EntryScores
from velodrome.stats.samples import Floats
from velodrome.store import Reader
from velodrome.text import counted

# Trials of one side that are compared: the first ones, where there are more.
MOST_TRIALS = 100


class NotPaired(ActionNeeded):
    """The two entries can't be compared sample by sample. The message says why, and what to do."""

    reason = "NotPaired"


@dataclass(frozen=True, slots=True)
class PairSide:
    """One side of a comparison: an entry in a job, and how many of its trials have scores, of those planned."""

    entry: str
    job: JobInfo
    scored: int

    @property
    def title(self) -> str:
        """The entry with its job, in words."""
        return f"{self.entry} (job {self.job.name})"


@dataclass(frozen=True, slots=True)
class PairedEntries:
    """Two entries of a board, compared by what they did on each test sample."""

    a: PairSide
    b: PairSide
    pairing: Pairing


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a side's trials kept, by seed."""

    side: PairSide
    by_seed: Mapping[int, SampleScores]

    @property
    def first(self) -> SampleScores:
        return next(iter(self.by_seed.values()))


def read_pairing(reader: Reader, board: str, a: str, b: str, measure: Measure | None = None) -> PairedEntries:
    """The comparison of two entries of the board, each given as ENTRY (in its newest job) or JOB/ENTRY.

    `measure` is accuracy or, in regression, mae, if it is None.

    Raises:
        NotPaired: there is no such entry, it kept nothing of its samples, or both were tested on different samples.
        As the store does.
    """
    sought = [_found(reader, board, name) for name in (a, b)]
    if sought[0][0].uid == sought[1][0].uid and sought[0][1] == sought[1][1]:
        raise NotPaired(f"{a} and {b} are the same trials: name two entries, or one entry in two jobs (JOB/ENTRY)")
    kept = [_kept(reader, job, entry) for job, entry in sought]
    _same_samples(*kept)
    chosen = measure or ("accuracy" if kept[0].first.right is not None else "mae")
    try:
        sides = [
            EntryScores(name, {seed: _values(one, chosen, side.side) for seed, one in side.by_seed.items()})
            for name, side in zip(_names(*kept), kept, strict=True)
        ]
        of = kept[0].first.of
        found = paired(
            sides[0],
            sides[1],
            chosen,
            of.class_of_each(),
            _classes(reader, kept[0].side, kept[0].by_seed),
            _groups(*kept),
        )
    except ValueError as error:
        raise NotPaired(f"what {a} or {b} kept of its samples can't be read ({error}): race again") from error
    return PairedEntries(kept[0].side, kept[1].side, found)


def paired_entries(reader: Reader, board: str) -> list[str]:
    """The entries of the board's newest job that has a trial with scores, in the order of the job; else none."""
    for job in reader.jobs(board, limit=5):
        scored = reader.scores(job.uid, range(min(_LOOKED_AT, job.trials)))
        found = {index % len(job.entries) for index in scored}
        if found:
            return [entry for place, entry in enumerate(job.entries) if place in found]
    return []


_LOOKED_AT = 200


def _found(reader: Reader, board: str, name: str) -> tuple[JobInfo, str]:
    """The job and the entry that a person means."""
    newest = {state.entry: job for job, state in reader.board_entries(board)}
    if name in newest:
        return newest[name], name
    wanted, _, entry = name.rpartition("/")
    for job in reader.each_job(board) if wanted else ():
        if wanted in (job.uid, job.name):
            if entry in job.entries:
                return job, entry
            raise NotPaired(f"job {wanted} has no entry {entry!r}; it has: {_listed(list(job.entries))}")
    if wanted:
        raise NotPaired(f"board {board} has no job {wanted!r}: `velodrome jobs --board {board}` lists them")
    raise NotPaired(f"board {board} has no entry {name!r}; it has: {_listed(sorted(newest))}")


def _listed(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "none"


def _kept(reader: Reader, job: JobInfo, entry: str) -> _Kept:
    summaries = reader.trials(job.uid)
    position = job.entries.index(entry)
    hidden = {one.index for one in reader.hidden([job.uid]).get(job.uid, ())}
    own = [index for index in summaries if index % len(job.entries) == position]
    indices = [index for index in own if index not in hidden][:MOST_TRIALS]
    scores = reader.scores(job.uid, indices)
    side = PairSide(entry, job, len(scores))
    if not scores:
        done = "none of its trials has a result yet" if not indices else "its trials kept nothing of their test samples"
        raise NotPaired(
            f"{side.title}: {done}. In spec.evaluation write keepSamples: correct, or losses in regression, and race "
            "it again; a program of your own calls trial.predictions(…)"
        )
    identities = {one.of.identity for one in scores.values()}
    if len(identities) > 1:
        raise NotPaired(f"{side.title}: its trials were tested on different samples, or in different orders")
    return _Kept(side, {summaries[index].seed: one for index, one in scores.items()})


def _same_samples(a: _Kept, b: _Kept) -> None:
    ours, theirs = a.first.of, b.first.of
    if ours.identity == theirs.identity:
        return
    both = f"{a.side.title} and {b.side.title}"
    if ours.dataset != theirs.dataset:
        raise NotPaired(
            f"{both} were tested on different data, {ours.dataset[:15]}… and {theirs.dataset[:15]}…: race both on the "
            "same data"
        )
    if ours.samples != theirs.samples:
        raise NotPaired(f"{both} were tested on {ours.samples} and on {theirs.samples} samples of the same data")
    raise NotPaired(f"{both} were tested on the same data in different orders: keep the order of the test split")


def _names(a: _Kept, b: _Kept) -> tuple[str, str]:
    if a.side.entry != b.side.entry:
        return a.side.entry, b.side.entry
    if a.side.job.name != b.side.job.name:
        return a.side.title, b.side.title
    return f"{a.side.entry} ({a.side.job.uid})", f"{b.side.entry} ({b.side.job.uid})"


def _values(scores: SampleScores, measure: Measure, side: PairSide) -> Floats:
    """A number for each sample. Raises ValueError if it can't be read, and NotPaired if it was not kept."""
    if measure == "accuracy":
        bits = scores.right_bits()
        if bits is not None:
            return np.unpackbits(np.frombuffer(bits, np.uint8))[: scores.of.samples].astype(np.float64)
    elif measure == "loss":
        losses = scores.loss_of_each()
        if losses is not None:
            return np.array(losses)
    else:
        errors = scores.error_of_each()
        if errors is not None:
            return np.array(errors) ** (2 if measure == "mse" else 1)
    what = {"accuracy": "which samples were right", "loss": "losses"}.get(measure, "errors")
    raise NotPaired(
        f"{side.title} did not keep {what}: choose another measure, or write keepSamples: losses in spec.evaluation "
        "and race it again"
    )


def _groups(a: _Kept, b: _Kept) -> tuple[int, ...] | None:
    ours, theirs = a.first.of.group_of_each(), b.first.of.group_of_each()
    if ours is not None and theirs is not None and ours != theirs:
        raise NotPaired(f"{a.side.title} and {b.side.title} have the same samples in different groups")
    return ours if theirs is None else theirs


def _classes(reader: Reader, side: PairSide, by_seed: Mapping[int, SampleScores]) -> tuple[str, ...]:
    """The names of the classes, from a trial's record; empty if that can't be read."""
    indices = [index for index, one in reader.trials(side.job.uid).items() if one.seed in by_seed]
    own = [index for index in indices if side.job.entries[index % len(side.job.entries)] == side.entry]
    record = reader.trial(side.job.uid, own[0]) if own else None
    facts = None if record is None else record.result.dataset
    return () if facts is None else facts.classes


def missing_words(side: PairSide) -> str:
    """Which trials of a side are not in the comparison, in words; empty if all are."""
    if side.scored >= side.job.repeats:
        return ""
    return f"{side.title}: {side.scored} of {counted(side.job.repeats, 'trial')} have scores and are compared"
