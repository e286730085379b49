"""From races in a store to verdicts: which job is compared with which, and what is said of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import fmean, geometric_mean
from typing import TYPE_CHECKING

import pytest

from velodrome.board.latest import latest
from velodrome.board.sparks import read_sparks
from velodrome.ranking.places import rank_objective
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.store import Store, export_lines, import_lines, open_store
from velodrome.trends.regressions import Comparison, judge
from velodrome.trends.timeline import timeline

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

ACCURACY, LATENCY = "accuracy", "latency_p50_seconds{batch_size=1}"
Run = Callable[..., "Race"]


def of(store: Store, race: Race, entry: str = "cnn", objective: str = "speed") -> Comparison:
    return next(one for one in judge(store, race.uid) if (one.entry, one.objective) == (entry, objective))


def test_the_first_job_is_what_later_ones_are_compared_with(store: Store, run: Run) -> None:
    first = run({"cnn": (0.9, 0.010)})

    found = judge(store, first.uid)

    assert [(one.entry, one.objective) for one in found] == [("cnn", "accuracy"), ("cnn", "speed")]
    assert {(one.verdict, one.reason) for one in found} == {("Unknown", "NoBaseline")}


def test_a_slower_entry_regressed_and_the_others_did_not(store: Store, run: Run) -> None:
    first = run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.002)})
    second = run({"cnn": (0.9, 0.012), "mlp": (0.8, 0.002)})

    worse = of(store, second)

    assert (worse.verdict, worse.reason) == ("Regressed", "SignificantlyWorse")
    assert worse.baseline_uid == first.uid
    assert worse.relative_change == pytest.approx(0.2, abs=0.03)
    assert worse.low is not None
    assert worse.high is not None
    assert worse.low < 0.2 < worse.high
    assert (worse.samples, worse.baseline_samples) == (5, 5)
    assert "worse" in worse.sentence
    assert "night-1" in worse.sentence
    assert "cnn, speed: worse: 10.08 ms in job night-1, now 11.93 ms (+18 %, 99 % interval" in worse.sentence
    others = [one for one in judge(store, second.uid) if one != worse]
    assert len(others) == 3
    assert {one.verdict for one in others} == {"Unchanged"}


def test_faster_is_improved_and_less_accurate_is_regressed(store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    second = run({"cnn": (0.7, 0.008)})
    assert of(store, second).verdict == "Improved"
    assert of(store, second, objective="accuracy").verdict == "Regressed"


def test_a_small_change_does_not_matter_however_sure_it_is(store: Store, run: Run) -> None:
    for _ in range(4):
        run({"cnn": (0.9, 0.010)}, spread=0.0001)
    found = of(store, run({"cnn": (0.9, 0.01018)}, spread=0.0001))
    assert found.verdict == "Unchanged"
    assert found.relative_change == pytest.approx(0.018, abs=0.001)


def test_a_bad_level_does_not_become_normal_by_lasting(store: Store, run: Run) -> None:
    first = run({"cnn": (0.9, 0.010)})
    run({"cnn": (0.9, 0.012)})
    third = run({"cnn": (0.9, 0.012)})
    assert of(store, third).verdict == "Regressed"
    assert of(store, third).baseline_uid == first.uid


def test_an_accepted_change_is_the_new_baseline(store: Store, run: Run, redis_server: RedisServer) -> None:
    run({"cnn": (0.9, 0.010)})
    second = run({"cnn": (0.9, 0.012)})
    third = run({"cnn": (0.9, 0.012)})
    mark = Acknowledgement(
        board="digits", entry="cnn", metric_key=LATENCY, job_uid=second.uid, at=second.info.created_at
    )
    store.mark(mark)

    assert of(store, second).acknowledged
    assert of(store, second).verdict == "Regressed"
    assert (of(store, third).verdict, of(store, third).baseline_uid) == ("Unchanged", second.uid)

    lines = list(export_lines(store))
    with redis_server.client(1) as other:
        other.flushdb()
    with open_store(f"{redis_server.url}?db=1") as copy:
        import_lines(copy, lines)
        assert copy.acknowledgements("digits") == [mark]
        assert judge(copy, third.uid) == judge(store, third.uid)
        assert import_lines(copy, lines).imported == 0


def test_a_new_cohort_starts_a_new_baseline_and_says_what_is_new(store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    second = run({"cnn": (0.9, 0.020)}, cpu="Xeon")
    third = run({"cnn": (0.9, 0.020)}, cpu="Xeon")

    found = of(store, second)

    assert (found.verdict, found.reason) == ("Unknown", "NewCohort")
    assert "CPU differs: Xeon here, Ryzen there" in found.sentence
    assert of(store, second, objective="accuracy").verdict == "Unchanged"  # quality compares across machines
    assert (of(store, third).verdict, of(store, third).baseline_uid) == ("Unchanged", second.uid)


def test_too_few_trials_and_failed_ones_say_nothing(store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010), "mlp": (0.9, 0.010)})
    few = run({"cnn": (0.9, 0.020)}, repeats=2)
    failed = run({"cnn": (0.9, 0.020), "mlp": (0.9, 0.010)}, failed="cnn")
    assert of(store, few).reason == "TooFewSamples"
    assert of(store, failed).reason == "Incomplete"
    assert of(store, failed, "mlp").verdict == "Unchanged"


def test_pinned_baselines_go_before_the_newest_and_the_specs_before_those(store: Store, run: Run) -> None:
    first = run({"cnn": (0.9, 0.010)})
    second = run({"cnn": (0.9, 0.0080)})
    third = run({"cnn": (0.9, 0.0100)})
    assert of(store, second).verdict == "Improved"
    assert of(store, third).baseline_uid == first.uid, "one good night is no level"
    assert of(store, third).verdict == "Unchanged"

    pin = Baseline(board="digits", entry="cnn", job_uid=second.uid, at=second.info.created_at)
    store.mark(pin)
    assert of(store, third).baseline_uid == second.uid
    assert of(store, third).baseline_jobs == 1
    assert of(store, third).verdict == "Regressed"

    fourth = run({"cnn": (0.9, 0.0100)}, baseline="night-1")
    assert of(store, fourth).baseline_uid == first.uid
    assert store.unmark(pin)
    assert not store.unmark(pin)
    assert of(store, third).baseline_uid == first.uid


def test_a_pinned_job_that_is_gone_is_reported_and_not_passed_over(store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    second = run({"cnn": (0.9, 0.020)}, baseline="nowhere")
    assert of(store, second).reason == "BaselineMissing"


def test_an_entry_under_a_new_name_is_found_by_what_it_is(store: Store, run: Run) -> None:
    first = run({"cnn": (0.9, 0.010)})
    second = run({"convnet": (0.9, 0.020)})
    found = of(store, second, "convnet")
    assert (found.verdict, found.baseline_uid) == ("Regressed", first.uid)


def test_jobs_that_differ_by_themselves_raise_the_noise_floor(store: Store, run: Run) -> None:
    for latency in (0.0100, 0.0106, 0.0100, 0.0095, 0.0103, 0.0097):
        run({"cnn": (0.9, latency)}, spread=0.002)
    last = run({"cnn": (0.9, 0.0100)}, spread=0.002)
    drifted = run({"cnn": (0.9, 0.0105)}, spread=0.002)
    broken = run({"cnn": (0.9, 0.0150)}, spread=0.002)
    assert of(store, drifted).baseline_uid == last.uid
    assert of(store, drifted).verdict == "Unchanged"
    assert of(store, drifted).baseline_jobs == 7
    assert "over 7 jobs up to night-7" in of(store, drifted).sentence
    assert of(store, broken).verdict == "Regressed"


def test_a_regression_may_have_to_be_confirmed(store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010)}, confirm=True)
    second = run({"cnn": (0.9, 0.012)}, confirm=True)
    assert (of(store, second).verdict, of(store, second).reason) == ("Unknown", "AwaitingConfirmation")
    run({"cnn": (0.9, 0.020)}, confirm=True, failed="cnn")
    run({"cnn": (0.9, 0.020)}, confirm=True, repeats=2)
    for _ in range(2):
        run({"cnn": (0.9, 0.020)}, confirm=True, cpu="Xeon")
    assert of(store, second).reason == "AwaitingConfirmation", "none of them has anything to say of it"
    third = run({"cnn": (0.9, 0.012)}, confirm=True, base_seed=5)
    assert of(store, third).verdict == "Regressed"
    assert (of(store, second).verdict, of(store, second).reason) == ("Regressed", "SignificantlyWorse")
    assert f"cnn, speed: worse, as job {third.info.name} confirmed: 9.9" in of(store, second).sentence


def test_a_regression_that_the_next_job_does_not_show_was_none(store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010)}, confirm=True)
    second = run({"cnn": (0.9, 0.012)}, confirm=True)
    third = run({"cnn": (0.9, 0.010)}, confirm=True, base_seed=5)
    assert of(store, third).verdict == "Unchanged"
    assert (of(store, second).verdict, of(store, second).reason) == ("Unchanged", "NotConfirmed")
    assert "looked worse, which job night-3 did not confirm" in of(store, second).sentence


def test_an_older_job_is_judged_by_what_was_known_then(store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    second = run({"cnn": (0.9, 0.012)})
    before = judge(store, second.uid)
    run({"cnn": (0.9, 0.030)})
    assert judge(store, second.uid) == before


@pytest.mark.parametrize("repeats", [5, 12])
def test_the_mean_that_is_judged_is_shown_everywhere(store: Store, run: Run, repeats: int) -> None:
    """A scattered latency has a geometric mean, and an accuracy a plain one. Rankings trim, from ten trials on."""
    run({"cnn": (0.9, 0.010)}, repeats=repeats, spread=0.3)
    last = run({"cnn": (0.9, 0.010)}, repeats=repeats, spread=0.3)
    for key, objective in ((LATENCY, "speed"), (ACCURACY, "accuracy")):
        (cohort,) = store.cohorts("digits", key)
        values = [record.result.metrics[key] for record in store.records(last.uid, 0, repeats)]
        right = geometric_mean(values) if key == LATENCY else fmean(values)
        assert key == ACCURACY or abs(right / fmean(values) - 1) > 0.01, "the two means must differ here"

        moment = timeline(store, "digits", "cnn", key).moments[-1]
        newest = next(one for one in latest(store, "digits") if one.objective == objective)
        spark = read_sparks(store, "digits", key, cohort.cohort_id, ["cnn"])["cnn"][-1]
        judged = of(store, last, objective=objective)
        assert [moment.interval.mean, newest.interval.mean, spark, judged.mean] == pytest.approx([right] * 4)

        (ranked,) = rank_objective(key, store.ranking_rows("digits", key, cohort.cohort_id)).ranked
        assert moment.interval == newest.interval
        assert (moment.interval == ranked.interval) == (repeats < 10 or key == ACCURACY)


def test_an_unknown_job_has_no_verdicts(store: Store) -> None:
    assert judge(store, "nowhere") == ()


def test_a_long_history_leads_to_the_same_baseline_with_and_without_its_quiet_part(store: Store, run: Run) -> None:
    """What spares tests on the way must not change the answer."""
    luck = random.Random(5)  # noqa: S311 - it opens nothing
    last = run({"cnn": (0.9, 0.010)}, spread=0.002)
    for _ in range(25):
        last = run({"cnn": (0.9, 0.010 * (1 + 0.02 * luck.gauss(0, 1)))}, spread=0.002)
        found = of(store, last)
        shown = timeline(store, "digits", "cnn", LATENCY).moments[-1]
        assert shown.baseline_uid == found.baseline_uid


def test_a_timeline_marks_a_new_level_and_keeps_cohorts_apart(store: Store, run: Run) -> None:
    for night in range(40):
        run({"cnn": (0.9, 0.010 if night < 24 else 0.013)}, cpu="Xeon" if night < 10 else "Ryzen")
    found = timeline(store, "digits", "cnn", LATENCY)
    assert len(found.moments) == 40
    assert len(found.cohorts) == 2
    ((uid, change),) = found.changes.items()
    assert uid == "job-25"
    assert change.relative == pytest.approx(0.3, abs=0.05)
    assert [moment.reason for moment in found.moments if moment.verdict == "Unknown"] == ["NoBaseline", "NewCohort"]
    assert {moment.verdict for moment in found.moments[24:]} == {"Regressed"}
    assert timeline(store, "digits", "nobody", LATENCY).moments == ()


def test_errors_that_double_are_a_regression(store: Store, run: Run) -> None:
    """From 99 to 98 % is 1 % less right, and twice as much wrong."""
    for _ in range(3):
        run({"cnn": (0.99, 0.010)}, spread=0.002)
    found = of(store, run({"cnn": (0.98, 0.010)}, spread=0.002), objective="accuracy")
    assert (found.verdict, found.relative_to) == ("Regressed", "errors")
    assert found.relative_change == pytest.approx(-1.0, abs=0.03)
    assert "now 98." in found.sentence
    assert "(errors +100 %" in found.sentence or "(errors +9" in found.sentence or "(errors +10" in found.sentence


def test_an_objective_may_have_a_smallest_change_of_its_own(store: Store, run: Run) -> None:
    absolute = {"objectives": [{"name": "accuracy", "minAbsoluteChange": 0.02}]}
    relative = {"objectives": [{"name": "accuracy", "minRelativeChange": 1.5}]}
    for _ in range(3):
        run({"cnn": (0.99, 0.010)}, spread=0.002)
    for rules in (absolute, relative):
        found = of(store, run({"cnn": (0.98, 0.012)}, spread=0.002, **rules), objective="accuracy")
        assert found.verdict == "Unchanged"
        assert of(store, run({"cnn": (0.99, 0.012)}, spread=0.002, **rules)).verdict == "Regressed", "the default stays"
    assert of(store, run({"cnn": (0.85, 0.010)}, spread=0.002, **absolute), objective="accuracy").verdict == "Regressed"


def test_drift_is_told_with_since_when(store: Store, run: Run) -> None:
    found = None
    for night in range(30):
        found = of(store, run({"cnn": (0.9, 0.010 * 1.019 ** max(0, night - 8))}, spread=0.002))
        if found.verdict == "Regressed":
            break
    assert found is not None
    assert night <= 15
    history = timeline(store, "digits", "cnn", LATENCY)
    assert history.moments[-1].verdict == "Regressed"


def test_every_quiet_verdict_says_what_it_would_have_seen(store: Store, run: Run) -> None:
    last = [run({"cnn": (0.9, 0.010)}) for _ in range(6)][-1]
    found = of(store, last)
    assert found.verdict == "Unchanged"
    assert found.visible is not None
    assert 0.02 < found.visible < 0.15
    assert f"A rise of {100 * found.visible:.2g} % would have been seen." in found.sentence
    worse = of(store, run({"cnn": (0.9, 0.010 * (1 + 1.3 * found.visible))}))
    assert worse.verdict == "Regressed"
    assert "would have been seen" not in worse.sentence
    assert "more errors would have been seen" in of(store, last, objective="accuracy").sentence


def test_what_all_entries_have_in_common_is_said_once(store: Store, run: Run) -> None:
    levels = {"a": 0.010, "b": 0.002, "c": 0.030, "d": 0.005}
    for _ in range(5):
        run({name: (0.9, latency) for name, latency in levels.items()})
    slower = {name: (0.9, 1.2 * latency) for name, latency in levels.items()} | {"d": (0.9, 0.005 * 1.6)}
    last = run(slower)
    found = {one.entry: one for one in judge(store, last.uid) if one.objective == "speed"}
    assert {name: (one.verdict, one.reason) for name, one in found.items()} == {
        **dict.fromkeys("abc", ("Regressed", "MovedTogether")), "d": ("Regressed", "SignificantlyWorse"),
    }  # fmt: skip
    (words,) = {one.together for one in found.values() if one.together}
    assert words.startswith("speed: 3 of 4 entries became worse together, by about +")
    assert found["a"].common == pytest.approx(0.2, abs=0.03)
    assert found["d"].common is None
    assert {one.verdict for one in judge(store, last.uid) if one.objective == "accuracy"} == {"Unchanged"}


def test_a_common_change_of_quality_names_what_else_is_new(store: Store, run: Run) -> None:
    """Accuracies compare across machines, so another machine is no new cohort, and may be the cause."""
    names = "abcd"
    for _ in range(5):
        run(dict.fromkeys(names, (0.9, 0.010)))
    last = run(dict.fromkeys(names, (0.8, 0.010)), cpu="Xeon")
    found = [one for one in judge(store, last.uid) if one.objective == "accuracy"]
    assert {one.reason for one in found} == {"MovedTogether"}
    (words,) = {one.together for one in found}
    assert "all 4 entries became worse together" in words
    assert "CPU Xeon, before Ryzen" in words
