"""Pretrained weights: found by name or path, read without running code in them, and copied into a network.

A pickle can run any program. So every file is read with `weights_only=True`, and no pickle is loaded in full.
torchvision's builders don't do that for the weights that they download, so they are not used to load any.
"""

from __future__ import annotations

import pickle  # for the name of an error; torch.load reads weights alone # nosec B403
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.spec.wording import suggestion

State = Mapping[str, torch.Tensor]
# Heads only for training; networks are built without them.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Files from before torch 0.4.1, such as torchvision's, lack the counters of batch normalisation. torch allows that.
_COUNTER = "num_batches_tracked"
# torchvision's files for DenseNet have a dot in these names. Modules may no longer have one: norm.1 is now norm1.
_DENSE = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)")


def find(weights: object, model: str) -> State:
    """The state dict that `weights` names, for torchvision's model of that name.

    Weights with a name of torchvision's, such as DEFAULT, are downloaded once into torch's cache, and their hash is
    checked. A value with a slash or a dot is the path of a file.

    Raises:
        ConfigurationError: reason WeightsRefused: no such name or file, or it is not a state dict.
        TrialFailed: reason WeightsDownloadFailed.
    """
    from torchvision import models

    if not isinstance(weights, str):
        raise _refused(f"weights must be a name or a path, not {weights!r}")
    if "/" in weights or "." in weights:
        return read_state(Path(weights))
    named = models.get_model_weights(model)
    if weights not in named.__members__:
        hint = suggestion(weights, named.__members__)
        raise _refused(f"torchvision has no weights {weights!r} for {model}: {hint}, or write the path of a state dict")
    try:
        state: State = named[weights].get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no network, a read-only cache, or a wrong hash
        raise TrialFailed(
            "WeightsDownloadFailed",
            f"weights {weights} of {model} could not be downloaded from {named[weights].url} to {torch.hub.get_dir()} "
            f"({error}): check the network, or set TORCH_HOME to a folder that holds them",
        ) from error
    except pickle.UnpicklingError as error:
        raise _refused(
            f"the file of weights {weights} of {model} in {torch.hub.get_dir()} is not torchvision's: delete it, "
            "so that it is downloaded again"
        ) from error
    return state


def read_state(path: Path) -> State:
    """The state dict in that file, on the CPU.

    Raises:
        ConfigurationError: reason WeightsRefused: no such file, or it contains something else than tensors by name.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except (
        Exception
    ) as error:  # for a damaged file, torch raises a dozen kinds of errors, including UnicodeDecodeError and KeyError
        raise _refused(
            f"{path} can't be read as weights ({str(error).splitlines()[0] if str(error) else type(error).__name__}): "
            "save them by torch.save(model.state_dict(), PATH)"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise _refused(f"{path} holds no state dict: save one by torch.save(model.state_dict(), PATH)")
    return state


def load_into(network: nn.Module, state: State, name: str) -> None:
    """Copies the weights into the network. A head of another size keeps the network's new weights.

    Raises:
        ConfigurationError: reason WeightsRefused: the weights do not fit this network.
    """
    state = {_DENSE.sub(r"\1\2", key): value for key, value in state.items() if not key.startswith(_AUXILIARY)}
    own = network.state_dict()
    head = [path for path, part in network.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]
    other_head = {
        key
        for key in (f"{head}.weight", f"{head}.bias")
        if key in own and key in state and own[key].shape != state[key].shape
    }
    faults = [f"{key} is missing" for key in own if key not in state and not key.endswith(_COUNTER)]
    faults += [f"{key} is unknown" for key in state if key not in own]
    faults += [
        f"{key} is {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and key not in other_head and state[key].shape != value.shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise _refused(f"the weights are not those of {name}: {'; '.join(faults[:3])}{more}")
    network.load_state_dict({key: value for key, value in state.items() if key not in other_head}, strict=False)


def _refused(message: str) -> ConfigurationError:
    return ConfigurationError(f"args.weights: {message}", "WeightsRefused")
