"""What goes with a task: the defaults of a job, and what the spec refuses by name."""

from __future__ import annotations

from typing import Any

import pytest

from velodrome.errors import SpecError
from velodrome.plan import plan
from velodrome.results.records import parse_result
from velodrome.results.registration import stored_document
from velodrome.spec import BenchmarkJob, validate
from velodrome.tasks import TASKS

CSV = {
    "name": "houses",
    "format": "CSV",
    "source": {"path": "."},
    "target": "price",
    "splits": {"fractions": {"test": 0.2}},
}
TEXT = {"name": "tales", "format": "Text", "source": {"path": "tales"}, "splits": {"fractions": {"test": 0.2}}}
BOXES = {"name": "street", "format": "COCO", "source": {"path": "street"}}
MASKS = {"name": "street", "format": "VOCSegmentation", "source": {"path": "street"}}
UNET = [{"name": "unet", "model": {"name": "velodrome/unet"}}]
WORDS = {"name": "words", "format": "SpeechCommands", "source": {"path": "words"}}
FCOS = [{"name": "fcos", "model": {"name": "velodrome/fcos"}}]
GRU = [{"name": "gru", "model": {"name": "velodrome/gru"}}]
BANDS = {"logMel": {"bins": 40}}
MLP = [{"name": "mlp", "model": {"name": "velodrome/mlp"}}]


def job(dataset: Any = "digits", **spec: Any) -> BenchmarkJob:
    named = {"name": dataset} if isinstance(dataset, str) else dataset
    document = {
        "apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "race"},
        "spec": {"dataset": named, "entries": MLP, **spec},
    }  # fmt: skip
    return validate(document)


def problems(dataset: Any = "digits", **spec: Any) -> str:
    with pytest.raises(SpecError) as refused:
        job(dataset, **spec)
    return "\n".join(map(str, refused.value.problems))


@pytest.mark.parametrize(
    ("dataset", "task", "expected"),
    [
        ("digits", None, "classification"),
        ("iris", None, "classification"),
        ("diabetes", None, "regression"),
        ("diabetes", "regression", "regression"),
        (CSV, None, "classification"),
        (CSV, "regression", "regression"),
        ("pydoc", None, "language-modelling"),
        (TEXT, None, "language-modelling"),
        (TEXT, "language-modelling", "language-modelling"),
        (BOXES, None, "detection"),
        (BOXES | {"format": "VOC"}, "detection", "detection"),
        (MASKS, None, "segmentation"),
        (MASKS, "segmentation", "segmentation"),
        (WORDS, None, "classification"),
    ],
)
def test_the_task_is_as_written_or_as_the_data_have_it(dataset: Any, task: str | None, expected: str) -> None:
    entries = {"language-modelling": GRU, "detection": FCOS, "segmentation": UNET}.get(expected, MLP)
    made = job(dataset, entries=entries, **({"task": task} if task else {}))
    assert made.spec.task_name == expected
    row = TASKS[expected]
    assert [objective.metric for objective in made.spec.objectives] == [row.objective]
    assert made.spec.evaluation.metrics == row.metrics
    config = plan(made).trial(0).config
    assert config.task_name == expected
    assert set(row.metrics) <= set(config.quality)


def test_what_an_api_server_writes_as_defaults_becomes_the_tasks_own() -> None:
    defaults = job("digits").spec
    filled = {
        "objectives": [{"name": "accuracy", "metric": "accuracy"}],
        "evaluation": {"metrics": list(defaults.evaluation.metrics)},
    }
    made = job("diabetes", **filled)
    assert made.spec.objectives == job("diabetes").spec.objectives
    assert made.spec.evaluation.metrics == ("rmse", "mae", "r2")


def test_a_stored_job_is_read_as_the_same_job() -> None:
    for made in (job("diabetes"), job(CSV, task="regression")):
        again = validate(stored_document(made))
        assert again.spec == made.spec


def test_a_task_that_the_data_imply_changes_no_identity() -> None:
    implied, written = job("digits"), job("digits", task="classification")
    assert plan(implied).trial(0).id == plan(written).trial(0).id
    assert plan(implied).trial(0).config.task is None


@pytest.mark.parametrize(
    ("dataset", "spec", "says"),
    [
        ("digits", {"task": "clasification"}, 'did you mean "classification"?'),
        ("digits", {"task": "regression"}, "regression is of sequences or a table, and digits is images"),
        ("iris", {"task": "regression"}, "iris is for classification, not for regression"),
        ("diabetes", {"task": "classification"}, "diabetes is for regression, not for classification"),
        (
            "diabetes",
            {"objectives": [{"name": "quality", "metric": "accuracy"}]},
            "spec.objectives[0].metric: accuracy is no metric of regression",
        ),
        (
            "digits",
            {"evaluation": {"metrics": ["rmse"]}},
            "spec.evaluation.metrics[0]: rmse is no metric of classification",
        ),
        (CSV, {"evaluation": {"metrics": ["rmse"]}}, "or write task: regression"),
        ("pydoc", {"task": "classification"}, "and pydoc is a running text (write task: language-modelling)"),
        ("digits", {"task": "language-modelling"}, "language-modelling is of a running text, and digits is images"),
        ("pydoc", {}, "velodrome/mlp takes images or sequences or a table, and pydoc is a running text"),
        (
            TEXT,
            {"evaluation": {"metrics": ["accuracy"]}},
            "accuracy is no metric of language-modelling (one of: loss, validation_loss, perplexity, bits_per_byte",
        ),
        (BOXES, {"task": "classification"}, "and COCO is images with boxes (write task: detection)"),
        ("digits", {"task": "detection"}, "detection is of images with boxes, and digits is images"),
        (BOXES, {}, "velodrome/mlp takes images or sequences or a table, and COCO is images with boxes"),
        (
            BOXES,
            {"entries": FCOS, "evaluation": {"metrics": ["accuracy"]}},
            "one of: box_map, box_map_50, box_map_small",
        ),
        (BOXES, {"entries": FCOS, "evaluation": {"keepSamples": "correct"}}, "a trial of detection can't keep correct"),
        (
            BOXES,
            {"entries": FCOS, "preprocessing": {"augmentations": [{"name": "RandAugment"}]}},
            "RandAugment moves pixels, and leaves boxes where they were (write its changes one by one",
        ),
        (
            BOXES,
            {"entries": FCOS, "preprocessing": {"augmentations": [{"name": "RandomCrop", "args": {"size": 9}}]}},
            "augmentations[0].args.size: a detector is tested on whole images",
        ),
        (
            BOXES,
            {"entries": FCOS, "preprocessing": {"augmentations": [{"name": "MixUp"}]}},
            "MixUp mixes the classes of whole images, and detection has none",
        ),
        (MASKS, {"task": "detection"}, "and VOCSegmentation is images with masks (write task: segmentation)"),
        (MASKS, {"entries": FCOS}, "velodrome/fcos takes images with boxes, and VOCSegmentation is images with masks"),
        (MASKS, {"entries": UNET, "evaluation": {"metrics": ["box_map"]}}, "validation_loss, miou, pixel_accuracy; or"),
        (
            MASKS,
            {"entries": UNET, "preprocessing": {"augmentations": [{"name": "AutoAugment"}]}},
            "AutoAugment moves pixels, and leaves masks where they were (write its changes one by one",
        ),
        (
            MASKS,
            {"entries": UNET, "preprocessing": {"augmentations": [{"name": "RandomCrop", "args": {"size": 9}}]}},
            "augmentations[0].args.size: segmentation is tested on whole images",
        ),
        (
            MASKS,
            {"entries": UNET, "preprocessing": {"augmentations": [{"name": "CutMix"}]}},
            "CutMix mixes the classes of whole images, and segmentation has none",
        ),
        (MASKS | {"classes": ["a", "b", "a"]}, {"entries": UNET}, 'dataset.classes[2]: "a" is listed twice'),
        (MASKS | {"classes": ["a"]}, {"entries": UNET}, "spec.dataset.classes: needs at least 2 of these, not 1"),
        (
            BOXES | {"classes": ["a", "b"]},
            {"entries": FCOS},
            "COCO takes no classes (formats that do: VOCSegmentation)",
        ),
        (
            MASKS,
            {"entries": UNET, "objectives": [{"name": "a", "metric": "miou", "average": "micro"}]},
            "miou takes no average",
        ),
        (
            CSV,
            {"preprocessing": {"vocabulary": 9}, "task": "classification"},
            "vocabulary is for documents, and CSV is",
        ),
        ("digits", {"preprocessing": BANDS}, "spec.preprocessing.logMel: logMel is for sounds, and digits has none"),
        (
            {"name": "ours", "format": "team.data:make"},
            {"preprocessing": BANDS},
            "logMel is for sounds, and team.data:make has none (leave it out; SpeechCommands reads sounds)",
        ),
        (WORDS, {"preprocessing": {"logMel": {}}}, "spec.preprocessing.logMel.bins: is missing"),
        (WORDS, {"preprocessing": {"logMel": {"bins": 0}}}, "spec.preprocessing.logMel.bins: must be at least 1"),
        (
            WORDS,
            {"preprocessing": {"logMel": {"bins": 90}}},
            "samples lie 40 Hz apart, so some of 90 bands would have none (write 89 at most, or a longer window)",
        ),
        (
            WORDS | {"seconds": 0.5},
            {"preprocessing": {"logMel": {"bins": 9, "windowSeconds": 0.51}}},
            "spec.preprocessing.logMel.windowSeconds: a window of 0.51 s is longer than a clip of 0.5 s (shorten it)",
        ),
        (
            WORDS | {"sampleRate": 8000},
            {"preprocessing": {"logMel": {"bins": 1, "windowSeconds": 0.0003}}},
            "windowSeconds: a window of 0.0003 s has less than 3 samples at 8,000 Hz (write a longer one)",
        ),
        (
            WORDS,
            {"preprocessing": {"logMel": {"bins": 9, "hopSeconds": 0.00003}}},
            "hopSeconds: a hop of 3e-05 s has no sample at 16,000 Hz (write a longer one)",
        ),
        (WORDS, {"entries": FCOS}, "velodrome/fcos takes images with boxes, and SpeechCommands is sequences"),
        ("digits", {"preprocessing": {"vocabulary": 1}}, "spec.preprocessing.vocabulary: must be at least 2"),
        ("digits", {"preprocessing": {"maxLength": 0}}, "spec.preprocessing.maxLength: must be at least 1"),
        (TEXT, {"evaluation": {"keepSamples": "losses"}}, "a trial of language-modelling can't keep losses"),
        (TEXT, {"preprocessing": {"scaling": "MinMaxScaler"}}, "scaling is for sequences and a table, and Text is a"),
        (
            "diabetes",
            {"training": {"earlyStopping": {"metric": "f1"}}},
            "spec.training.earlyStopping.metric: f1 is no metric of regression",
        ),
        ("diabetes", {"budget": {"target": {"metric": "mcc", "value": 0.5}}}, "spec.budget.target.metric: mcc is no"),
        (
            "diabetes",
            {"preprocessing": {"featureSelection": {"method": "SelectKBest", "k": 3, "score": "f_classif"}}},
            "f_classif is no score of regression (one of: f_regression",
        ),
        (
            "wine",
            {"preprocessing": {"augmentations": [{"name": "RandomHorizontalFlip"}]}},
            "augmentations is for images and images with masks and images with boxes, and wine is a table",
        ),
        ("digits", {"preprocessing": {"imputation": "mean"}}, "imputation is for a table, and digits is images"),
        ("digits", {"preprocessing": {"scaling": "MinMaxScaler"}}, "scaling is for sequences and a table"),
        (
            "wine",
            {"entries": [{"name": "resnet", "model": {"name": "torchvision/resnet18"}}]},
            "torchvision/resnet18 takes images or images with boxes or images with masks, and wine is a table",
        ),
        ("wine", {"entries": [{"name": "cnn", "model": {"name": "velodrome/cnn"}}]}, "velodrome/cnn takes images"),
        ("wine", {"preprocessing": {"featureSelection": {"method": "RFE"}}}, "RFE needs k"),
        (
            "diabetes",
            {"training": {"regularization": {"labelSmoothing": 0.1}}},
            "labelSmoothing is for classification, language-modelling, segmentation, and not for regression (leave it",
        ),
        (
            BOXES,
            {"entries": [FCOS[0] | {"training": {"regularization": {"labelSmoothing": 0.1}}}]},
            "spec.entries[0].training.regularization.labelSmoothing: labelSmoothing is for",
        ),
    ],
)
def test_what_does_not_go_with_a_task_or_with_its_data_is_refused_by_name(
    dataset: Any, spec: dict[str, Any], says: str
) -> None:
    assert says in problems(dataset, **spec)


# Former names


@pytest.mark.parametrize("fields", [{}, {"task": "detection"}])
def test_no_detector_is_exported(fields: dict[str, str]) -> None:
    onnx = {"name": "onnx", "variantOf": "fcos", "optimize": [{"prune": {"amount": 0.5}}, {"export": "onnx"}]}
    said = problems(BOXES, entries=[*FCOS, onnx], **fields)
    assert said == (
        "spec.entries[1].optimize[1].export: torch exports no detector to ONNX: how many boxes it finds is another "
        "number in each image (leave the step out)"
    )
    job(MASKS, entries=[*UNET, {**onnx, "variantOf": "unet"}])


def test_a_spec_with_a_former_name_is_the_same_job() -> None:
    former, present = (
        job(objectives=[{"name": "map", "metric": name}], evaluation={"metrics": ["accuracy", name]})
        for name in ("mean_average_precision", "average_precision")
    )
    assert former.spec == present.spec
    assert plan(former).trial(0).id == plan(present).trial(0).id
    assert plan(former).trial(0).config.quality == ("accuracy", "average_precision")


def test_a_metric_under_both_of_its_names_is_in_the_list_twice() -> None:
    assert "is in the list twice" in problems(evaluation={"metrics": ["mean_average_precision", "average_precision"]})


def test_a_stored_result_with_a_former_name_is_read_and_keeps_its_digest() -> None:
    text = (
        '{"schema_version": 1, "job_uid": "u", "index": 0, "entry": "e", "repeat": 0, "seed": 0, "trial_id": "t",'
        ' "attempt": "a", "outcome": "Succeeded", "metrics": {"NAME": 0.5}, "unavailable": {"NAME": "why"},'
        ' "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z"}'
    )
    names = ("mean_average_precision", "average_precision")
    former, present = (parse_result(text.replace("NAME", name)) for name in names)
    assert former == present
    assert former.metrics == {"average_precision": 0.5}
    # As version 0.1.0 computed it, whose records have it in Redis.
    assert former.content == present.content == CONTENT


CONTENT = "e7f4a59a99d2a42cf31a102efcfd650f"


@pytest.mark.parametrize(
    ("dataset", "kept"),
    [("digits", "none"), ("digits", "correct"), ("digits", "losses"), ("diabetes", "none"), ("diabetes", "losses")],
)
def test_what_may_be_kept_of_each_test_sample(dataset: str, kept: str) -> None:
    made = job(dataset, evaluation={"keepSamples": kept})
    assert made.spec.evaluation.keep_samples == kept
    assert plan(made).trial(0).id != plan(job(dataset)).trial(0).id


def test_a_regression_has_nothing_that_is_right() -> None:
    found = problems("diabetes", evaluation={"keepSamples": "correct"})
    assert found == "spec.evaluation.keepSamples: a trial of regression can't keep correct (one of: none, losses)"
    assert "spec.evaluation.keepSamples" in problems("digits", evaluation={"keepSamples": "all"})


def test_keeping_by_default_is_no_part_of_a_trials_identity() -> None:
    evaluation = plan(job()).trial(0).config.evaluation
    assert "keepSamples" not in evaluation.model_dump(mode="json")
