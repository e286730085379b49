"""The store against a plain model of it: whatever comes in whichever order, both say the same.

The model keeps what was sent and looks everything up by scanning it, as slowly as it likes; the store keeps aggregates.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.cohorts import cohort_of
from velodrome.results.records import TrialRecord
from velodrome.store import Acceptance, Store, export_lines, import_lines, open_store

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

Ranked = tuple[str, dict[int, float], datetime]
KEYS = ("accuracy", "latency_p50_seconds{batch_size=1}")


@dataclass
class Trial:
    """What the model keeps of one trial."""

    standing: TrialRecord | None = None
    retries: int = 0
    failures: dict[str, TrialRecord] = field(default_factory=dict)  # by attempt
    conflicts: list[TrialRecord] = field(default_factory=list)

    def accept(self, record: TrialRecord) -> Acceptance:
        result, standing = record.result, self.standing
        if standing is not None and standing.result == result:
            return "duplicate"
        if result.outcome == "Succeeded":
            if standing is not None and standing.result.outcome == "Succeeded":
                return self._conflict(record)
            return self._stand(record)
        if standing is not None and standing.result.outcome == "Succeeded":
            return "superseded"
        if result.attempt in self.failures:
            known = self.failures[result.attempt].result == result
            return "duplicate" if known else self._conflict(record)
        self.failures[result.attempt] = record
        if standing is None or self._newer(record, standing):
            return self._stand(record)
        self.retries += 1
        return "superseded"

    def _stand(self, record: TrialRecord) -> Acceptance:
        self.retries += self.standing is not None
        self.standing = record
        return "accepted"

    def _conflict(self, record: TrialRecord) -> Acceptance:
        if any(other.result == record.result for other in self.conflicts):
            return "duplicate"
        self.conflicts.append(record)
        return "conflict"

    @staticmethod
    def _newer(record: TrialRecord, standing: TrialRecord) -> bool:
        one, other = record.result, standing.result
        return (one.finished_at, one.content) > (other.finished_at, other.content)


class StoreMachine(RuleBasedStateMachine):
    """Three jobs share a board, of which two are of one moment; they are registered in any order.

    Results come early, late, twice and contradictory.
    """

    server: RedisServer
    make_race: type[Race]

    def __init__(self) -> None:
        super().__init__()
        self.client = self.server.client()
        self.client.flushall()
        self.store = open_store(self.server.url)
        self.races = [
            self.make_race(uid="m", entries=("cnn", "mlp"), created=5),
            self.make_race(uid="a", entries=("mlp", "gru"), created=5),
            self.make_race(uid="z", entries=("cnn", "mlp"), created=1),
        ]
        self.trials: dict[str, list[Trial]] = {}

    def teardown(self) -> None:
        self.store.close()
        self.client.close()

    @initialize(first=st.sampled_from(range(3)))
    def register_one(self, first: int) -> None:
        self.register(first)

    @rule(which=st.sampled_from(range(3)))
    def register(self, which: int) -> None:
        race = self.races[which]
        self.store.register(race.info)
        self.trials.setdefault(race.uid, [Trial() for _ in range(race.info.trials)])

    @rule(
        which=st.sampled_from(range(3)),
        batch=st.lists(
            st.tuples(
                st.integers(0, 3),  # index
                st.sampled_from(["a1", "a2", "a3"]),  # attempt
                st.sampled_from([None, None, "OutOfMemory", "LossNotFinite"]),  # reason of failure
                st.sampled_from(["Ryzen", "Xeon"]),  # where
                st.integers(1, 3),  # finished
                st.integers(1, 9),  # accepted
            ),
            max_size=6,
        ),
    )
    def accept(self, which: int, batch: list[tuple[int, str, str | None, str, int, int]]) -> None:
        race = self.races[which]
        if race.uid not in self.trials:
            return
        records = [
            race.record(index, attempt=attempt, failed=failed, cpu=cpu, finished=finished, accepted=accepted)
            for index, attempt, failed, cpu, finished, accepted in batch
        ]

        verdicts = self.store.accept(race.uid, 0, records)

        assert verdicts == [self.trials[race.uid][record.result.index].accept(record) for record in records]

    @rule()
    def import_what_was_exported(self) -> None:
        report = import_lines(self.store, export_lines(self.store))
        assert (report.imported, report.rejected_count) == (0, 0)

    @rule()
    def move_to_another_database(self) -> None:
        url = f"{self.server.url}?db=1"
        with open_store(url) as other, closing(redis.Redis.from_url(url)) as client:
            client.flushdb()
            report = import_lines(other, export_lines(self.store))
            assert (report.duplicates, report.superseded, report.rejected_count) == (0, 0, 0)
            assert sorted(export_lines(other)) == sorted(export_lines(self.store))
            for key in KEYS:
                assert self.rankings(other, key) == self.rankings(self.store, key)

    @invariant()
    def trials_agree(self) -> None:
        for uid, trials in self.trials.items():
            standing = [trial.standing for trial in trials if trial.standing is not None]
            conflicts = [record for trial in trials for record in trial.conflicts]
            assert self.store.records(uid) == standing
            assert [summary.retries for summary in self.store.trials(uid).values()] == [
                trial.retries for trial in trials if trial.standing is not None
            ]
            kept = self.store.conflicts(uid)
            assert len(kept) == len(conflicts)
            assert all(record in conflicts for record in kept)

    @invariant()
    def counters_agree(self) -> None:
        for race in self.races:
            outcomes = [
                (record.result.entry, record.result.reason) for owner, record in self.standing() if owner is race
            ]
            for entry, state in self.store.entries(race.uid).items():
                reasons = Counter(reason for name, reason in outcomes if name == entry)
                assert state.succeeded == reasons.pop(None, 0)
                assert state.failed == reasons.total()
                assert state.reasons == reasons

    @invariant()
    def rankings_agree(self) -> None:
        for key in KEYS:
            assert self.rankings(self.store, key) == self.expected_rankings(key)

    def standing(self) -> list[tuple[Race, TrialRecord]]:
        return [
            (race, trial.standing)
            for race in self.races
            for trial in self.trials.get(race.uid, [])
            if trial.standing is not None
        ]

    @staticmethod
    def rankings(store: Store, key: str) -> dict[str, tuple[int, int, datetime, dict[str, Ranked]]]:
        """By cohort: how many entries and values, when the last came, and by entry its job and values."""
        return {
            cohort.cohort_id: (
                cohort.entries,
                cohort.samples,
                cohort.last_at,
                {
                    row.entry: (row.job_uid, dict(row.samples), row.last_at)
                    for row in store.ranking_rows("digits", key, cohort.cohort_id)
                },
            )
            for cohort in store.cohorts("digits", key)
        }

    def expected_rankings(self, key: str) -> dict[str, tuple[int, int, datetime, dict[str, Ranked]]]:
        values: dict[str, dict[str, dict[str, list[TrialRecord]]]] = {}  # cohort -> entry -> uid -> records
        for race, record in self.standing():
            cohort = cohort_of(record, MetricKey.parse(key))
            if record.result.outcome == "Succeeded" and cohort is not None:
                by_entry = values.setdefault(cohort.id, {})
                by_entry.setdefault(record.result.entry, {}).setdefault(race.uid, []).append(record)
        registered = {uid: number for number, uid in enumerate(self.trials)}
        expected = {}
        for cohort_id, by_entry in values.items():
            rows: dict[str, Ranked] = {}
            for entry, by_uid in by_entry.items():
                newest = max(by_uid, key=registered.__getitem__)
                samples = {record.result.seed: record.result.metrics[key] for record in by_uid[newest]}
                rows[entry] = (newest, samples, max(record.accepted_at for record in by_uid[newest]))
            last = max(r.accepted_at for by_uid in by_entry.values() for records in by_uid.values() for r in records)
            expected[cohort_id] = (len(rows), sum(len(samples) for _, samples, _ in rows.values()), last, rows)
        return expected


def test_the_store_agrees_with_the_model(redis_server: RedisServer, make_race: type[Race]) -> None:
    machine = type("Machine", (StoreMachine,), {"server": redis_server, "make_race": make_race})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=60, stateful_step_count=20, deadline=None, print_blob=False)
    )
