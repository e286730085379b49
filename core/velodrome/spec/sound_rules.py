"""Rules of `spec.preprocessing.logMel`. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from velodrome.spec.conditions import LogMel
from velodrome.spec.dataset import Dataset
from velodrome.spec.raw import Broken, as_mapping, as_text
from velodrome.spec.sound import wrong_bands
from velodrome.spec.wording import Location
from velodrome.vocabulary import SAMPLE_RATE, SECONDS, SOUNDS


def sound_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Bands of what is no sound, and bands that no clip of these data has."""
    written, here = as_mapping(spec.get("preprocessing")).get("logMel"), ("spec", "preprocessing", "logMel")
    given = as_mapping(spec.get("dataset"))
    what = as_text(given.get("format")) or as_text(given.get("name"))
    if written is None or not what:
        return
    if what not in SOUNDS:
        yield Broken(here, f"logMel is for sounds, and {what} has none", f"leave it out; {SOUNDS[0]} reads sounds")
        return
    try:
        log_mel, dataset = LogMel.model_validate(written), Dataset.model_validate(given)
    except ValidationError:  # the model reports it
        return
    wrong = wrong_bands(log_mel, dataset.sample_rate or SAMPLE_RATE, dataset.seconds or SECONDS)
    if wrong is not None:
        location: Location = (*here, wrong.field)
        yield Broken(location, wrong.message, wrong.hint)
