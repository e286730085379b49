"""Models of torchvision, by name, with or without pretrained weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.spec.wording import suggestion
from velodrome.vocabulary import DataKind
from velodrome_runner import weights
from velodrome_runner.models.custom import run_factory
from velodrome_runner.models.detectors import as_normalised

_DETECTORS = ("fasterrcnn", "fcos", "retinanet", "ssd")
_SEGMENTING = ("deeplabv3", "fcn", "lraspp")
# Both would return a tuple in training mode, for losses at several heads. Velodrome uses one loss.
_OWN_DEFAULTS = {name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")}


def build_torchvision(name: str, args: dict[str, Any], shape: tuple[int, int, int], classes: int) -> nn.Module:
    """`torchvision/NAME` with a head for this many classes, for RGB or grey images.

    `args` go to torchvision's builder, except `weights`: a name such as DEFAULT or IMAGENET1K_V1, or the path of a
    state dict; and `sha256`, the digest of its file. A head that was trained for another number of classes gets new
    weights. For grey images, the first convolution's weights are summed over the colours: so its output for a grey
    image is the same as for that image in RGB.

    Raises:
        ConfigurationError: reason ModelNotFound, ModelArguments, ModelFactoryFailed, WeightsRefused or
            WeightsDigestMismatch.
        TrialFailed: reason WeightsDownloadFailed.
    """
    from torchvision import models

    short = name.removeprefix("torchvision/")
    known = models.list_models(module=models)
    if short not in known:
        raise ConfigurationError(f"torchvision has no model {short!r}: {_hint(short, known)}", "ModelNotFound")
    for taken in ("num_classes", "progress"):
        if taken in args:
            raise ConfigurationError(f"{name}: leave {taken} out of args: Velodrome sets it", "ModelArguments")
    chosen = weights.chosen(args)
    builder = partial(models.get_model, short, weights=None, num_classes=classes)
    network = run_factory(name, builder, {**_OWN_DEFAULTS.get(short, {}), **args})
    if chosen is not None:
        weights.load_into(network, weights.find(chosen.weights, short, chosen.sha256), name)
    if shape[0] != 3:
        _take_grey(network, name, shape[0])
    return network


# Detectors that learn from more than boxes, by how their names begin.
_LEARN_MORE = {"maskrcnn": "a mask of each object", "keypointrcnn": "points of each object"}
# The modules of torchvision for kinds of data that have more than a class for an image, and what its models are called.
DENSE: Mapping[DataKind, tuple[str, str, str]] = {
    "scenes": ("detection", "detector", "boxes"),
    "masks": ("segmentation", "model", "masks"),
}


def build_torchvision_dense(
    name: str, args: dict[str, Any], shape: tuple[int, int, int], outputs: int, kind: DataKind
) -> nn.Module:
    """`torchvision/NAME`, a detector or a model of masks with this many outputs.

    `args`, and what is raised, are those of `build_torchvision`. Images come normalised, so a detector does not do it
    again. The backbone has new weights: torchvision would download some by itself.
    """
    from torchvision import models

    short = name.removeprefix("torchvision/")
    listed = models.list_models(module=getattr(models, DENSE[kind][0]))
    known = [each for each in listed if not each.startswith(tuple(_LEARN_MORE))]
    if short not in known:
        raise ConfigurationError(_of_no_use(short, known, kind), "ModelNotFound")
    for taken in ("num_classes", "progress", "weights_backbone", "weights", "sha256"):
        if taken in args:
            why = "Velodrome sets it" if taken in ("num_classes", "progress") else "it starts with new weights"
            raise ConfigurationError(f"{name}: leave {taken} out of args: {why}", "ModelArguments")
    if kind == "masks":
        _check_named(name, args, models.get_model_builder(short))
    builder = partial(models.get_model, short, weights=None, weights_backbone=None, num_classes=outputs)
    return run_factory(name, builder, {**(as_normalised(shape[0]) if kind == "scenes" else {}), **args})


def _of_no_use(short: str, known: list[str], kind: DataKind) -> str:
    """What to say of a name that is no model for this kind of data."""
    from torchvision import models

    _, what, found = DENSE[kind]
    more = next((more for start, more in _LEARN_MORE.items() if short.startswith(start)), None)
    if kind == "scenes" and more is not None:
        return (
            f"torchvision/{short} learns from {more} too, and these data have boxes alone: use fasterrcnn_resnet50_fpn"
        )
    for module, _, others in DENSE.values():
        if short in models.list_models(module=getattr(models, module)):
            return f"torchvision/{short} is for data with {others}, and these have {found}: use {known[0]}"
    return f"torchvision has no {what} {short!r} of {found}: {suggestion(short, known)}"


def _check_named(name: str, args: Mapping[str, Any], builder: Callable[..., nn.Module]) -> None:
    """Torchvision's builders for masks take any argument, and leave alone those that they don't name."""
    named = [each.name for each in inspect.signature(builder).parameters.values() if each.kind != each.VAR_KEYWORD]
    for given in args:
        if given not in named:
            own = [each for each in named if each not in ("num_classes", "progress", "weights", "weights_backbone")]
            hint = suggestion(given, own) if own else "leave it out"
            raise ConfigurationError(f"{name} takes no {given} ({hint})", "ModelArguments")


def _hint(given: str, known: list[str]) -> str:
    if given.startswith(_DETECTORS):
        return "it is a detector, and these data have classes: use one of its classifiers, such as resnet18"
    if given.startswith(_SEGMENTING):
        return "it is a model of masks, and these data have classes: use a classifier, such as resnet18"
    hint = suggestion(given, known)
    return hint if hint.startswith("did you mean") else "torchvision.models.list_models() lists those there are"


def _take_grey(network: nn.Module, name: str, channels: int) -> None:
    convolutions = [(path, part) for path, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    path, first = convolutions[0] if convolutions else ("", None)
    if channels != 1 or first is None or first.in_channels != 3:
        raise ConfigurationError(f"{name} takes images of 3 channels, and these have {channels}", "ModelForwardFailed")
    grey = nn.Conv2d(
        1,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]  # torch says tuple[int, ...] of what it made a pair
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    grey.weight = nn.Parameter(first.weight.detach().sum(1, keepdim=True))
    grey.bias = first.bias
    network.set_submodule(path, grey)
