"""What an augmentation may have, and what it may come with."""

from __future__ import annotations

from typing import Any

import pytest

from velodrome.canonical import digest
from velodrome.errors import SpecError
from velodrome.spec import AugmentationArgs, BenchmarkJob, validate

TABLE = {
    "name": "own", "format": "CSV", "target": "y", "source": {"path": "/data"}, "splits": {"fractions": {"test": 0.2}},
}  # fmt: skip
FACTORY = {"name": "own", "format": "own.data:made"}


def job(*augmentations: dict[str, Any], dataset: Any = None, **spec: Any) -> BenchmarkJob:
    base = {
        "dataset": dataset or {"name": "CIFAR10", "source": {"path": "/data"}},
        "preprocessing": {"augmentations": list(augmentations)},
        "entries": [{"name": "own", "model": {"name": "own.models:made"}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "race"}}
    return validate({**document, "spec": {**base, **spec}})


def problems(*augmentations: dict[str, Any], **spec: Any) -> list[str]:
    with pytest.raises(SpecError) as refused:
        job(*augmentations, **spec)
    return list(map(str, refused.value.problems))


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("RandomAffine", {"degrees": -1}, "args.degrees"),
        ("RandomAffine", {"translate": [0.1, 1.2]}, "args.translate[1]"),
        ("RandomAffine", {"translate": [0.1]}, "args.translate"),
        ("RandomAffine", {"shear": 90}, "args.shear"),
        ("RandomAffine", {"scale": [0, 1]}, "args.scale: 0 is no factor of a size (write factors above 0, such as 1)"),
        ("RandomAffine", {"p": 0.5}, "args.p: RandomAffine has no p (p belongs to RandomAdjustSharpness,"),
        ("RandomResizedCrop", {"scale": [0.1, 1.5]}, "args.scale: 1.5 is no share of an area (write shares from 0 to"),
        ("RandomErasing", {"scale": [0.1, 1.5]}, "args.scale: 1.5 is no share of an area"),
        ("RandomResizedCrop", {"ratio": [2, 1]}, "args.ratio: [2, 1] runs from high to low"),
        ("RandomPerspective", {"distortionScale": 2}, "args.distortionScale"),
        ("GaussianBlur", {}, "augmentations[0]: GaussianBlur needs kernelSize (write args: {kernelSize: NUMBER})"),
        ("GaussianBlur", {"kernelSize": 4}, "args.kernelSize: 4 has no middle (write an odd number, such as 3)"),
        ("GaussianBlur", {"kernelSize": 3, "sigma": 0}, "args.sigma"),
        ("GaussianNoise", {"clip": "maybe"}, "args.clip"),
        ("RandomPosterize", {}, "RandomPosterize needs bits"),
        ("RandomPosterize", {"bits": 9}, "args.bits"),
        ("RandomSolarize", {}, "RandomSolarize needs threshold"),
        ("RandomSolarize", {"threshold": 128}, "args.threshold"),
        ("RandomAdjustSharpness", {}, "RandomAdjustSharpness needs sharpnessFactor"),
        (
            "RandAugment",
            {"magnitude": 31},
            "args.magnitude: there is no magnitude 31 of 31 (write 0 to 30, or more num",
        ),
        ("RandAugment", {"numMagnitudeBins": 9}, "args.magnitude: there is no magnitude 9 of 9"),
        ("AutoAugment", {"policy": "mnist"}, "args.policy"),
        ("AugMix", {"severity": 11}, "args.severity"),
        ("MixUp", {"alpha": 0}, "args.alpha"),
        ("CutMix", {"p": 1}, "args.p: CutMix has no p"),
        ("RandomSharpness", {}, "augmentations[0].name"),
    ],
)
def test_bad_arguments_get_one_error_that_names_the_field(name: str, args: dict[str, Any], says: str) -> None:
    (said,) = problems({"name": name, "args": args})
    assert says in said


def test_mixes_come_last() -> None:
    job({"name": "RandomInvert"}, {"name": "MixUp"}, {"name": "CutMix", "args": {"alpha": 0.5}})
    (said,) = problems({"name": "MixUp"}, {"name": "RandomInvert"}, {"name": "CutMix"})
    assert "augmentations[1].name: MixUp mixes whole batches, so it comes last (move RandomInvert before it)" in said


def test_mixes_are_for_classes() -> None:
    (said,) = problems({"name": "CutMix"}, dataset=FACTORY, task="regression")
    assert (
        "augmentations[0].name: CutMix mixes the classes of whole images, and regression has none (leave it out)"
        in said
    )
    job({"name": "CutMix"}, dataset=FACTORY, task="classification")
    (said,) = problems({"name": "MixUp"}, dataset=TABLE)
    assert "augmentations is for images and images with masks and images with boxes, and CSV is a table" in said


def test_new_arguments_are_in_no_dump_that_does_not_use_them() -> None:
    """So records that are older are written as they were read, and keep their hashes."""
    before = {
        "size", "padding", "p", "degrees", "brightness", "contrast", "saturation", "hue", "scale", "ratio", "bins",
    }  # fmt: skip
    assert set(AugmentationArgs().model_dump(mode="json")) == before
    used = AugmentationArgs(kernel_size=3).model_dump(mode="json")
    assert set(used) == before | {"kernelSize"}


def test_what_changes_numbers_is_in_the_conditions() -> None:
    parts = [
        job({"name": name, "args": args}).spec.preprocessing.model_dump(mode="json", exclude_none=True)
        for name, args in (("MixUp", {}), ("MixUp", {"alpha": 0.2}), ("CutMix", {}), ("RandomInvert", {}))
    ]
    assert len({digest(part) for part in parts}) == 4
