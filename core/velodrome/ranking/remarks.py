"""What a reader should know of an entry's values: why there are no more, and which conditions did not hold. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import write_spans
from velodrome.results.records import JobInfo
from velodrome.results.rounds import stop_note
from velodrome.results.searches import UNTUNED, is_tuned, tuned_note
from velodrome.spec.raw import as_list, as_mapping, as_text
from velodrome.stats.groups import two_groups
from velodrome.store.types import Row, TrialSummary

Trials = Mapping[str, Iterable[TrialSummary]]


def remarks(
    key: MetricKey, rows: Iterable[Row], trials: Trials, jobs: Mapping[str, JobInfo | None] | None = None
) -> dict[tuple[str, str], str]:
    """By job uid and entry, what to know of a row: why its entry got no more seeds, how it was tuned, which seeds came
    after the others were known, whether its values lie in two groups, whether a variant trained other weights than its
    base, whether test samples train too, and which conditions of its trials did not hold. `trials` has those of each
    job, and `jobs` each job, by uid.

    A deterministic metric depends on no seed and on no neighbour: of these remarks, it has how entries were tuned.
    """
    rows, known = list(rows), jobs or {}
    tuning = _tuning([(row, known.get(row.job_uid)) for row in rows])
    if key.metric.deterministic:
        return {where: text for where, text in tuning.items() if text}
    by_entry = _by_entry(trials)
    bases = {uid: {} if job is None else _bases(job.document) for uid, job in known.items()}
    found = {}
    for row in rows:
        job, base = known.get(row.job_uid), bases.get(row.job_uid, {}).get(row.entry)
        own = [one for one in by_entry[row.job_uid, row.entry] if one.seed in row.samples]
        all_ = (
            "" if job is None else stop_note(job.rounds, row.entry),
            tuning[row.job_uid, row.entry],
            _added(own),
            _grouped(key, row),
            _start(own),
            "" if base is None else _other_weights(own, by_entry[row.job_uid, base], base),
            _shared(own) if key.metric.kind == "quality" else "",
            _disturbed(own) if depends_on_speed(key) else "",
        )
        said = [text for text in all_ if text]
        if said:
            found[row.job_uid, row.entry] = "; ".join(said)
    return found


def _tuning(rows: Sequence[tuple[Row, JobInfo | None]]) -> dict[tuple[str, str], str]:
    """How each row's entry was tuned. Beside one that was, each other one is untuned, also if its job has no search."""
    searched = {(row.job_uid, row.entry): None if job is None else job.searched for row, job in rows}
    notes = {where: tuned_note(found, where[1]) for where, found in searched.items()}
    if any(is_tuned(found, entry) for (_, entry), found in searched.items()):
        return {where: text or UNTUNED for where, text in notes.items()}
    return notes


def depends_on_speed(key: MetricKey) -> bool:
    """Whether the metric's values change with the machine's speed, and so with what disturbs it."""
    return "hardware" in key.metric.depends_on


def _added(trials: list[TrialSummary]) -> str:
    """Whether seeds were measured after a person could see what those before them gave. The tests count on the
    opposite: that how many seeds there are does not depend on what they gave.
    """
    known = [one.seed for one in trials if one.taken_over]
    added = sorted(one.seed for one in trials if known and one.seed > max(known))
    if not added:
        return ""
    which = f"seed {added[0]} was" if len(added) == 1 else f"seeds {write_spans(added)} were"
    return f"{which} added when the others were known, so its ranks may be wrong more often than in 5 % of races"


def _grouped(key: MetricKey, row: Row) -> str:
    """Whether the values lie in two groups. Then a few seeds may split cleanly between two entries by chance."""
    values = list(row.samples.values())
    logs = key.metric.scale == "ratio" and min(values, default=0.0) > 0
    groups = two_groups([math.log(value) for value in values] if logs else values)
    if groups is None:
        return ""
    return (
        f"its values lie in two groups, {groups[0]} low and {groups[1]} high ones: two entries that each lie in "
        f"one group may be equal, so they are told apart only where chance is unlikely to have split them"
    )


def _start(trials: list[TrialSummary]) -> str:
    """Whether seeds started from equal weights. Then they differ by less than new weights would make them differ."""
    known = [one.initial_weights for one in trials if one.initial_weights is not None]
    alike = max((known.count(weights) for weights in set(known)), default=0)
    if alike < 2:
        return ""
    which = f"all {alike}" if alike == len(trials) else f"{alike} of {len(trials)}"
    if any(one.pretrained for one in trials):
        return f"{which} seeds started from the same pretrained weights, and the interval holds for these"
    return f"{which} seeds started from the same weights: if its code sets a seed, the interval is too narrow"


def _by_entry(trials: Trials) -> defaultdict[tuple[str, str], list[TrialSummary]]:
    """By job uid and entry, its trials."""
    found: defaultdict[tuple[str, str], list[TrialSummary]] = defaultdict(list)
    for uid, of_job in trials.items():
        for one in of_job:
            found[uid, one.entry].append(one)
    return found


def _bases(document: Mapping[str, Any]) -> dict[str, str]:
    """By variant, the entry that it is a variant of, as the job's document has it."""
    entries = map(as_mapping, as_list(as_mapping(document.get("spec")).get("entries")))
    found = ((as_text(one.get("name")), as_text(one.get("variantOf"))) for one in entries)
    return {name: base for name, base in found if base}


def _other_weights(own: list[TrialSummary], of_base: Iterable[TrialSummary], base: str) -> str:
    """Whether seeds of a variant trained other weights than its base, as another machine or a time limit may cause."""
    trained = {one.seed: one.trained_weights for one in of_base if one.trained_weights is not None}
    differ = sorted(
        one.seed
        for one in own
        if one.trained_weights is not None and trained.get(one.seed, one.trained_weights) != one.trained_weights
    )
    if not differ:
        return ""
    which = f"seed {differ[0]}" if len(differ) == 1 else f"seeds {write_spans(differ)}"
    return f"{which} trained other weights than those of {base}, so more than its optimize makes it differ"


def _shared(trials: list[TrialSummary]) -> str:
    """Whether test samples were found in the training split. The most of all trials, which have one data set."""
    most = max((one.shared_samples for one in trials), default=0)
    if not most:
        return ""
    which = "1 test sample trains" if most == 1 else f"{most:,} test samples train"
    return f"{which} too, so a model may remember the answers: remove them from a split"


def _disturbed(trials: list[TrialSummary]) -> str:
    said = [one.disturbed for one in trials if one.disturbed]
    if not said:
        return ""
    return f"{len(said)} of {len(trials)} trials were disturbed while they were measured: {said[0]}"
