"""Pretrained weights: found by name or path, read without running code in them, and copied into a network.

A pickle can run any program. So every file is read with `weights_only=True`, and no pickle is loaded in full.
torchvision's builders don't do that for the weights that they download, so they are not used to load any.
"""

from __future__ import annotations

import hashlib
import pickle  # for the name of an error; torch.load reads weights alone # nosec B403
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.spec.wording import suggestion
from velodrome_runner.memory import ran_out

State = Mapping[str, torch.Tensor]
_SAVE = "save them by torch.save(model.state_dict(), PATH)"
# Heads only for training; networks are built without them.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Files from before torch 0.4.1, such as torchvision's, lack the counters of batch normalisation. torch allows that.
_COUNTER = "num_batches_tracked"
# torchvision's files for DenseNet have a dot in these names. Modules may no longer have one: norm.1 is now norm1.
_DENSE = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The weights that a model's args name, and the SHA-256 that their file must have; None: any."""

    weights: object
    sha256: str | None

    def path(self) -> Path:
        """The path that `weights` is.

        Raises:
            ConfigurationError: reason WeightsRefused: it is no text.
        """
        if not isinstance(self.weights, str):
            raise _refused(f"weights must be a name or a path, not {self.weights!r}")
        return Path(self.weights)


def chosen(args: dict[str, Any]) -> Chosen | None:
    """Takes `weights` and `sha256` out of a model's args; None if there are no weights.

    Raises:
        ConfigurationError: reason ModelArguments or WeightsRefused: a digest without weights, or that is none.
    """
    weights, digest = args.pop("weights", None), args.pop("sha256", None)
    if digest is not None and weights is None:
        raise ConfigurationError("args.sha256 is the digest of args.weights: write both", "ModelArguments")
    if digest is not None and not (isinstance(digest, str) and re.fullmatch(r"[0-9a-fA-F]{64}", digest)):
        raise ConfigurationError(
            f"args.sha256: {digest!r} is no SHA-256: write the 64 digits that sha256sum prints", "WeightsRefused"
        )
    return None if weights is None else Chosen(weights, None if digest is None else digest.lower())


def find(weights: object, model: str, sha256: str | None = None) -> State:
    """The state dict that `weights` names, for torchvision's model of that name.

    Weights with a name of torchvision's, such as DEFAULT, are downloaded once into torch's cache, and their hash is
    checked. A value with a slash or a dot is the path of a file.

    With `sha256`, the whole digest of the file is checked too, also of one that was downloaded before.

    Raises:
        ConfigurationError: reason WeightsRefused: no such name or file, or it is not a state dict; or reason
            WeightsDigestMismatch.
        TrialFailed: reason WeightsDownloadFailed.
    """
    from torchvision import models

    if not isinstance(weights, str):
        raise _refused(f"weights must be a name or a path, not {weights!r}")
    if "/" in weights or "." in weights:
        return read_state(Path(weights), sha256)
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
    if sha256 is not None:
        # Read again from where torch keeps it, because only then is the file that was hashed the one that counts.
        return read_state(Path(torch.hub.get_dir()) / "checkpoints" / Path(named[weights].url).name, sha256)
    return state


def read_state(path: Path, sha256: str | None = None) -> State:
    """The state dict in that file, on the CPU, if the file has this SHA-256.

    Raises:
        ConfigurationError: reason WeightsRefused: no such file, or it contains something else than tensors by name; or
            reason WeightsDigestMismatch.
    """
    try:
        with path.open("rb") as file:
            if sha256 is not None:
                _check_digest(file, path, sha256)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except ConfigurationError:
        raise
    # For a damaged file, torch raises a dozen kinds of errors, including UnicodeDecodeError and KeyError.
    except Exception as error:
        if ran_out(error):
            raise
        raise _refused(f"{path} can't be read as weights ({_why(error)}): {_SAVE}") from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        inner = (
            next((key for key, value in state.items() if isinstance(value, dict)), None)
            if isinstance(state, dict)
            else None
        )
        part = "" if inner is None else f", and {inner!r} in it may be one"
        raise _refused(f"{path} holds no state dict{part}: {_SAVE}")
    return state


def _why(error: Exception) -> str:
    match error:
        case OSError(strerror=str(words)):
            return words
        # torch's own words advise to run what is in the file.
        case pickle.UnpicklingError():
            return "it holds other things than tensors, and nothing in it is run"
        case _:
            return str(error).splitlines()[0] if str(error) else type(error).__name__


def _check_digest(file: BinaryIO, path: Path, sha256: str) -> None:
    found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it takes every binary file
    file.seek(0)
    if found != sha256:
        raise ConfigurationError(
            f"args.weights: {path} has the SHA-256 {found} instead of args.sha256: put the right file there, or write "
            "its digest",
            "WeightsDigestMismatch",
        )


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
