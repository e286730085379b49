"""Image models of timm, by name, where timm is installed."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.spec.wording import suggestion
from velodrome_runner import weights
from velodrome_runner.models.custom import run_factory

# What the trial or Velodrome decides, and what to do instead.
_TAKEN = {
    "num_classes": "it comes from the data set",
    "in_chans": "it comes from the data set",
    "pretrained": "write weights: PATH and sha256: DIGEST, so that every trial starts from the same file",
    "checkpoint_path": "write weights: PATH and sha256: DIGEST",
}


def build_timm(name: str, args: dict[str, Any], shape: tuple[int, int, int], outputs: int) -> nn.Module:
    """`timm/NAME` with a head of `outputs` outputs, for images of any number of channels.

    `args` go to `timm.create_model`, except `weights`, the path of a state dict for 3 channels or for these, and
    `sha256`, its digest. A head of another size gets new weights.

    Raises:
        ConfigurationError: reason ModelNotFound, ModelArguments, ModelFactoryFailed, WeightsRefused or
            WeightsDigestMismatch.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{name} needs timm, which is not installed: install timm for the runner, or in its image", "ModelNotFound"
        ) from error
    short = name.removeprefix("timm/")
    known = timm.list_models()
    if short.partition(".")[0] not in known:
        hint = suggestion(short, known)
        hint = hint if hint.startswith("did you mean") else "timm.list_models() lists those there are"
        raise ConfigurationError(f"timm has no model {short!r}: {hint}", "ModelNotFound")
    for taken, instead in _TAKEN.items():
        if taken in args:
            raise ConfigurationError(f"{name}: leave {taken} out of args: {instead}", "ModelArguments")
    chosen = weights.chosen(args)
    builder = partial(timm.create_model, short, pretrained=False, num_classes=outputs, in_chans=shape[0])
    network = run_factory(name, builder, args)
    if chosen is not None:
        weights.load_into(network, weights.read_state(chosen.path(), chosen.sha256), name)
    return network
