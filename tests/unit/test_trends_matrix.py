"""The values of a board as arrays are those that each entry's history has."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from velodrome.results.records import JobInfo
from velodrome.store.types import EntryFacts, JobSamples
from velodrome.trends.history import BoardHistory
from velodrome.trends.matrix import measured

KEY = "accuracy"


def board(seed: int) -> BoardHistory:
    """Jobs with renamed and missing entries, lost and unmeasurable values, other seeds, cohorts and code."""
    rng = np.random.default_rng(seed)
    entries, jobs, samples, facts = int(rng.integers(1, 7)), [], [], []
    often, cohort = float(rng.choice([0.0, 0.2])), 0
    for job in range(int(rng.integers(1, 9))):
        repeats, cohort = int(rng.choice([3, 5])), cohort + int(rng.random() < often)
        names = [f"e{row}" + ("-old" if rng.random() < often else "") for row in range(entries)]
        here = [row for row in range(entries) if row == 0 or rng.random() >= often]
        found: dict[tuple[str, str], tuple[JobSamples, ...]] = {}
        for row in here:
            seeds = (rng.permutation(repeats) + 10 * int(rng.random() < often)).tolist()
            values = {seed: float(rng.normal()) for seed in seeds if rng.random() >= often}
            if values and rng.random() < often:
                values[next(iter(values))] = float(rng.choice([0.0, 1e-150, 1e150, math.inf]))
            more = (JobSamples(names[row], KEY, "other", {99: 0.5, 98: 0.4}),) if rng.random() < often else ()
            if values or more:
                one = JobSamples(names[row], KEY, f"c{cohort}", values)
                found[names[row], KEY] = (one, *more)
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=job)
        jobs.append(
            JobInfo(
                uid=f"u{job}",
                name=f"n{job}",
                namespace="d",
                board="b",
                created_at=at,
                trials=repeats * len(here),
                repeats=repeats,
                entries=tuple(names[row] for row in here),
                document={},
            )
        )
        samples.append(found)
        mixed = frozenset(names[row] for row in here if rng.random() < often)
        facts.append(EntryFacts({names[row]: f"id{row}" for row in here}, {}, mixed))
    return BoardHistory(tuple(jobs), samples, facts)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_each_row_is_an_entrys_history(seed: int) -> None:
    history = board(seed)
    found = measured(history, KEY)
    places = {job.uid: place for place, job in enumerate(history.jobs)}

    last = history.jobs[-1]
    points = {entry: history.points(entry, KEY) for entry in last.entries}
    assert found.entries == tuple(
        name for name in last.entries if points[name] and points[name][-1].job_uid == last.uid
    )
    for row, entry in enumerate(found.entries):
        of_row = {places[point.job_uid]: point for point in points[entry]}
        assert np.flatnonzero(found.cohorts[row] >= 0).tolist() == sorted(of_row)
        for place, point in of_row.items():
            ordered = [value for _, value in sorted(point.values.items())]
            assert found.values[row, place, : len(ordered)].tolist() == ordered
            assert np.isnan(found.values[row, place, len(ordered) :]).all()
            assert found.count[row, place] == len(ordered)
            assert found.cohort_ids[found.cohorts[row, place]] == point.cohort_id
            assert found.complete[row, place] == point.complete
            assert found.names[place][row] == point.entry
    every = [(row, place) for row in range(len(found.entries)) for place in places.values()]
    seeds = {
        (row, place): tuple(sorted(point.values))
        for row, entry in enumerate(found.entries)
        for place, point in ((places[one.job_uid], one) for one in points[entry])
    }
    for one in every:
        for other in every[:5]:
            if one in seeds and other in seeds:
                assert (found.sets[one] == found.sets[other]) == (seeds[one] == seeds[other])


def test_without_any_value_there_is_no_row() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    job = JobInfo(
        uid="u", name="n", namespace="d", board="b", created_at=at, trials=3, repeats=3, entries=("a",), document={}
    )
    found = measured(BoardHistory((job,), [{}], [EntryFacts({}, {}, frozenset())]), KEY)
    assert found.entries == ()
    assert found.values.shape == (0, 1, 0)


@pytest.mark.parametrize("seeds", [(3, 1, 2), (1, 2, 3)])
def test_values_are_in_the_order_of_their_seeds(seeds: tuple[int, ...]) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    job = JobInfo(
        uid="u", name="n", namespace="d", board="b", created_at=at, trials=3, repeats=3, entries=("a",), document={}
    )
    values = {seed: float(10 * seed) for seed in seeds}
    found = measured(
        BoardHistory((job,), [{("a", KEY): (JobSamples("a", KEY, "c", values),)}], [EntryFacts({}, {}, frozenset())]),
        KEY,
    )
    assert found.values[0, 0].tolist() == [10.0, 20.0, 30.0]
