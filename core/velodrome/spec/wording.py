"""The wording of a problem: where it is, and which name was probably meant. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Final

# What other tools call it, without case, - and _.
_OTHERWISE_CALLED: Final = {
    "acc": "accuracy",
    "ap": "average_precision",
    "auc": "auroc",
    "bs": "batchSize",
    "cosineannealing": "Cosine",
    "cosineannealinglr": "Cosine",
    "data": "dataset",
    "ece": "calibration_error",
    "epochs": "maxEpochs",
    "latency": "latency_p50_seconds",
    "lr": "learningRate",
    "macs": "flops",
    "memory": "peak_memory_bytes",
    "minutes": "maxSeconds",
    "models": "entries",
    "numepochs": "maxEpochs",
    "params": "parameters",
    "rocauc": "auroc",
    "runs": "repeats",
    "seeds": "repeats",
    "size": "parameters",
    "throughput": "inference_samples_per_second",
    "timeout": "maxSeconds",
    "wd": "l2",
    "weightdecay": "l2",
}

Location = tuple[str | int, ...]
"""Where a value is in a document: keys and list positions, from the outside in."""


def dotted(location: Location) -> str:
    """`("spec", "entries", 1, "name")` as `spec.entries[1].name`; the whole document as `document`."""
    return "".join(_step(part) for part in location).removeprefix(".") or "document"


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if re.fullmatch(r"[\w-]+", part) else f"[{shown(part)}]"


def shown(value: object) -> str:
    """A value as people write it, shortened to one line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def close_match(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that is closest to `given`, ignoring case. None if no name is close."""
    by_folded = {name.casefold(): name for name in allowed}
    found = difflib.get_close_matches(given.casefold()[:200], by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def meant_by(given: str) -> str | None:
    """What Velodrome calls what others call so. None if it is no such word."""
    return _OTHERWISE_CALLED.get(re.sub("[-_ ]", "", given).casefold())


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """`did you mean "x"?` if a name is close, else the whole list."""
    names = sorted(allowed)
    meant = meant_by(given)
    close = meant if meant in names and given not in names else close_match(given, names)
    return f'did you mean "{close}"?' if close else f"one of: {', '.join(names)}"
