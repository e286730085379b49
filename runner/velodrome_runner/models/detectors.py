"""Velodrome's own detectors by name, and what they share with torchvision's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from velodrome.errors import ConfigurationError


def fcos(shape: tuple[int, int, int], outputs: int, dropout: float, *, width: int = 16) -> nn.Module:
    """The network of `velodrome_runner.models.fcos`."""
    from velodrome_runner.models.fcos import small_fcos

    if dropout:
        raise ConfigurationError(
            "velodrome/fcos has no dropout: leave training.regularization.dropout out", "ModelArguments"
        )
    return small_fcos(shape, outputs, width, as_normalised(shape[0]))


def as_normalised(channels: int) -> dict[str, list[float]]:
    """For torchvision's detectors: images are normalised already, by `spec.preprocessing.normalize`."""
    return {"image_mean": [0.0] * channels, "image_std": [1.0] * channels}


DETECTORS: Mapping[str, Callable[..., nn.Module]] = {"velodrome/fcos": fcos}
