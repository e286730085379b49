"""What a result may say of each test sample: packing, and everything that a collector rejects."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_impossible_values import AT, PLAN, SEEN, document
from velodrome.collector import Accept, Reject, judge
from velodrome.plan import plan
from velodrome.results.records import TrialResult
from velodrome.results.scores import (
    LARGEST_LOSS,
    MOST_CHARACTERS,
    MOST_SCORED,
    SampleScores,
    SampleSet,
    keeping,
    labels_digest,
    packed_bits,
    packed_errors,
    packed_groups,
    packed_labels,
    packed_losses,
    parse_scores,
    set_of,
    values_digest,
    within_a_report,
    write_scores,
)
from velodrome.spec import BenchmarkJob

DATA = "sha256:" + "0" * 64
LABELS = (4, 4, 7, 0, 9, 2, 2, 2, 1, 1)
RIGHT = (True,) * 9 + (False,)


def set_of_labels(labels: tuple[int, ...] = LABELS, /, **change: Any) -> SampleSet:
    made = SampleSet(dataset=DATA, samples=len(labels), targets=labels_digest(labels), labels=packed_labels(labels))
    return made.model_copy(update=change)


def scores(right: tuple[bool, ...] = RIGHT, of: SampleSet | None = None, /, **change: Any) -> SampleScores:
    return SampleScores(of=of or set_of_labels(), right=packed_bits(right)).model_copy(update=change)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9999), st.integers(0, 2**40)), min_size=1, max_size=300))
def test_what_is_packed_comes_back(samples: list[tuple[bool, int, int]]) -> None:
    right, labels, groups = zip(*samples, strict=True)
    losses = [label / 8 for label in labels]
    of = SampleSet(
        dataset=DATA,
        samples=len(samples),
        targets=labels_digest(labels),
        labels=packed_labels(labels),
        groups=packed_groups(groups),
    )
    kept = SampleScores(
        of=of, right=packed_bits(right), losses=packed_losses([min(one, 2000) for one in losses]),
        errors=packed_errors(losses),
    )  # fmt: skip
    bits = kept.right_bits()
    assert bits is not None
    assert [bool(bits[at // 8] >> (7 - at % 8) & 1) for at in range(len(right))] == list(right)
    assert of.class_of_each() == labels
    first = {group: place for place, group in reversed(list(enumerate(groups)))}
    again = of.group_of_each()
    assert again is not None
    assert [again[first[group]] for group in groups] == list(again)
    assert len(set(again)) == len(set(groups))
    assert kept.error_of_each() == tuple(losses)
    assert kept.loss_of_each() == pytest.approx([min(one, 2000) for one in losses], rel=1e-3)
    text, content, split = write_scores(kept)
    assert set_of(text.encode()) == content == of.content
    assert parse_scores(text.encode(), split.encode()) == kept


def test_bits_are_small_and_labels_are_stored_once() -> None:
    many = scores((True,) * 9999 + (False,), set_of_labels(tuple(at % 10 for at in range(10_000))))
    text, _, split = write_scores(many)
    assert len(text) < 200
    assert len(split) < 400


def test_what_is_too_large_for_its_type_is_the_largest() -> None:
    of = SampleSet(dataset=DATA, samples=2, targets=values_digest([1.0, 2.0]))
    assert SampleScores(of=of, losses=packed_losses([1e9, math.inf])).loss_of_each() == (LARGEST_LOSS, LARGEST_LOSS)
    errors = SampleScores(of=of, errors=packed_errors([1e300, 1.0])).error_of_each()
    assert errors is not None
    assert errors == pytest.approx((3.4e38, 1.0))


def test_the_same_samples_have_one_identity_whatever_else_is_known_of_them() -> None:
    assert set_of_labels().identity == set_of_labels(groups=packed_groups(range(10))).identity
    assert set_of_labels().content != set_of_labels(groups=packed_groups(range(10))).content
    assert set_of_labels().identity != set_of_labels(LABELS[::-1]).identity
    assert set_of_labels().identity != set_of_labels(dataset="sha256:" + "1" * 64).identity


@pytest.mark.parametrize(
    ("task", "asked", "samples", "kept"),
    [
        ("classification", None, MOST_SCORED, "correct"),
        ("classification", None, MOST_SCORED + 1, "none"),
        ("classification", "losses", 10, "losses"),
        ("classification", "losses", MOST_SCORED + 1, "none"),
        ("classification", "none", 10, "none"),
        ("regression", None, 10, "none"),
        ("regression", "losses", 10, "losses"),
    ],
)
def test_what_is_kept(task: str, asked: Any, samples: int, kept: str) -> None:
    assert keeping(task, asked, samples) == kept


def test_a_report_has_room_for_some_of_it() -> None:
    half, most = "x" * (MOST_CHARACTERS // 2), "x" * MOST_CHARACTERS
    of = SampleSet(dataset=DATA, samples=9, targets="0" * 64)
    grouped = of.model_copy(update={"groups": half})
    assert within_a_report(SampleScores(of=grouped, right=half)) == SampleScores(of=grouped, right=half)
    without_losses = within_a_report(SampleScores(of=grouped, right=half, losses=half))
    assert without_losses == SampleScores(of=grouped, right=half)
    assert within_a_report(SampleScores(of=grouped, errors=most)) == SampleScores(of=of, errors=most)
    assert within_a_report(SampleScores(of=of, right=half, errors=most)) is None


def judged(kept: SampleScores | Mapping[str, Any], the_plan: Any = PLAN, **change: Any) -> Accept | Reject:
    body = kept.model_dump(mode="json") if isinstance(kept, SampleScores) else dict(kept)
    made = document(**{"dataset.test_samples": 10, "scores": body, **change})
    made["trial_id"] = the_plan.trial(0).id
    found = judge(json.dumps({"type": "result", "result": made}).encode(), the_plan, "uid", lambda _, __: SEEN, AT)
    assert isinstance(found, Accept | Reject)
    return found


def why(found: Accept | Reject) -> str:
    assert isinstance(found, Reject)
    assert found.reason == "ImpossibleValue"
    return found.message


def test_honest_scores_are_accepted_and_kept() -> None:
    found = judged(scores(losses=packed_losses([0.5] * 10)), **{"metrics.loss": 0.5})
    assert isinstance(found, Accept)
    assert found.record.result.scores == scores(losses=packed_losses([0.5] * 10))


def other(octets: bytes) -> str:
    return base64.b64encode(zlib.compress(octets)).decode()


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (scores(RIGHT[1:]), "8 of 10 samples are right"),
        (scores((*RIGHT, True)), "it has bits beyond its 10 samples"),
        (scores((False, *RIGHT[:-1])), None),
        (scores(right=packed_bits((True,) * 17)), "scores.right: it holds other than 2 bytes"),
        (scores(right=other(b"\0" * 10_000_000)), "scores.right: it holds other than 2 bytes"),
        (scores(right="no base64!"), "scores.right: it can't be unpacked"),
        (scores(right=base64.b64encode(b"no zlib").decode()), "scores.right: it can't be unpacked"),
        (scores(right=base64.b64encode(zlib.compress(b"\xff\x80") + b"more").decode()), "it holds other than 2 bytes"),
        (scores((True,) * 10), "which is an accuracy of 1.0, and metrics.accuracy is 0.9"),
        (scores(right=None), "in classification it has right and of.labels"),
        (scores(errors=packed_errors([0.0] * 10)), "in classification it has right and of.labels, and no errors"),
        (scores(of=set_of_labels(LABELS[:-1])), "scores.of.samples: 9, and dataset.test_samples is 10"),
        (scores(of=set_of_labels(dataset="sha256:" + "1" * 64)), "scores.of.dataset: sha256:1"),
        (scores(of=set_of_labels((*LABELS[:-1], 10))), "there is a class 10: classes are 0 to 9"),
        (scores(of=set_of_labels(targets="0" * 64)), "scores.of.targets: it is not the digest of the labels"),
        (scores(of=set_of_labels(labels=packed_labels(LABELS[:-1]))), "scores.labels: it holds other than 20 bytes"),
        (scores(of=set_of_labels(groups=packed_groups(range(9)))), "scores.groups: it holds other than 40 bytes"),
        (scores(losses=packed_losses([0.5] * 9)), "scores.losses: it holds other than 20 bytes"),
        (scores(losses=packed_losses([0.5] * 9 + [math.nan])), "scores.losses: that of sample 9 is nan"),
        (scores(losses=packed_losses([0.5, -1.0] + [0.5] * 8)), "scores.losses: that of sample 1 is -1.0"),
        (scores(losses=packed_losses([0.9] * 10)), "scores.losses: their mean is 0.899902, and metrics.loss is 0.5"),
    ],
)  # fmt: skip
def test_scores_that_no_trial_can_have_are_rejected_by_their_field(kept: SampleScores, says: str | None) -> None:
    found = judged(kept, **{"metrics.loss": 0.5})
    if says is None:
        assert isinstance(found, Accept), "which samples are right is the trial's affair"
        return
    assert says in why(found)


def test_an_infinite_loss_is_refused() -> None:
    octets = b"\0" * 10 + b"\x7c" * 10  # the low bytes, then the high ones, of ten infinities
    assert "scores.losses: that of sample 0 is inf" in why(judged(scores(losses=other(octets))))


def test_scores_agree_with_the_confusion_matrix() -> None:
    rows = [[0] * 10 for _ in range(10)]
    for label, right in zip(LABELS, RIGHT, strict=True):
        rows[label][label if right else 5] += 1
    assert isinstance(judged(scores(), confusion=rows), Accept)
    moved = scores((False, *RIGHT[1:-1], True))
    said = "scores.right: 2 of 2 samples of class 1 are right, and confusion has 1 of 2"
    assert said in why(judged(moved, confusion=rows))


def test_a_failed_trial_has_none() -> None:
    failed = {"outcome": "Failed", "reason": "LossNotFinite", "metrics": {}}
    assert "scores: a trial that failed has none" in why(judged(scores(), **failed))


@pytest.mark.parametrize("change", [{"of": None}, {"right": 7}, {"of.samples": 0}, {"of.samples": MOST_SCORED + 1}])
def test_scores_of_another_shape_are_no_report(change: dict[str, Any]) -> None:
    body = scores().model_dump(mode="json")
    for path, value in change.items():
        place, _, last = path.rpartition(".")
        (body[place] if place else body)[last] = value
    found = judged(body)
    assert isinstance(found, Reject)
    assert found.reason == "InvalidReport"


HOUSES = plan(
    BenchmarkJob.model_validate(
        {
            "apiVersion": "velodrome.dev/v1alpha1",
            "kind": "BenchmarkJob",
            "metadata": {"name": "race"},
            "spec": {
                "dataset": {"name": "diabetes"},
                "budget": {"maxEpochs": 5},
                "evaluation": {"keepSamples": "losses"},
                "entries": [{"name": "cnn", "model": {"name": "velodrome/mlp"}}],
            },
        }
    )
)
VALUES = [float(at) for at in range(10)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"right": packed_bits(RIGHT)}, "in regression it has errors alone"),
        ({"errors": None}, "in regression it has errors alone"),
        ({"errors": packed_errors([1.0] * 9)}, "scores.errors: it holds other than 40 bytes"),
        ({"errors": packed_errors([1.0] * 9 + [-2.0])}, "scores.errors: that of sample 9 is -2.0"),
        ({"errors": packed_errors([3.0] * 10)}, "scores.errors: their mean is 3, and metrics.mae is 2"),
    ],
)
def test_errors_of_a_regression(change: dict[str, Any], says: str | None) -> None:
    of = SampleSet(dataset=DATA, samples=10, targets=values_digest(VALUES))
    kept = SampleScores(of=of, errors=packed_errors([2.0] * 10)).model_copy(update=change)
    found = judged(kept, HOUSES, **{"dataset.classes": [], "metrics": {"rmse": 2.0, "mae": 2.0}})
    if says is None:
        assert isinstance(found, Accept)
    else:
        assert says in why(found)


def test_a_result_without_scores_is_written_as_before() -> None:
    result = TrialResult.model_validate(document())
    assert result.scores is None
    assert "scores" not in json.loads(result.model_dump_json())
    with_scores = result.model_copy(update={"scores": scores()})
    assert with_scores.content != result.content
    assert TrialResult.model_validate_json(with_scores.model_dump_json()).content == with_scores.content
