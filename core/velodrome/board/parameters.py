"""The parameters of a job's entries by name, as people write them in a BenchmarkJob. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from velodrome.errors import VelodromeError
from velodrome.plan import plan
from velodrome.results.conditions import shown
from velodrome.spec import validate

if TYPE_CHECKING:
    from velodrome.plan import TrialConfig
    from velodrome.results.records import JobInfo

Setting = float | str
"""A number, or words. What is off or none is absent."""


def parameters_of(job: JobInfo) -> dict[str, dict[str, Setting]]:
    """By entry, its parameters: `model`, `optimizer`, `optimizer.learningRate`, `batchSize`, `budget.maxEpochs` and so
    on. Defaults are resolved. Empty if this Velodrome can't read the job's document.
    """
    try:
        found = plan(validate(dict(job.document), source=job.name))
    except (VelodromeError, ValueError):
        return {}
    return {entry: settings_of(config) for entry, config in found.configs.items()}


def settings_of(config: TrialConfig) -> dict[str, Setting]:
    """The parameters of one trial's configuration."""
    training = config.training.model_dump(mode="json", by_alias=True, exclude_none=True)
    budget = config.budget.model_dump(mode="json", by_alias=True, exclude_none=True)
    model = None if config.model is None else config.model.model_dump(mode="json", by_alias=True, exclude_none=True)
    parts: dict[str, Any] = {} if model is None else {"model": model}
    if config.command is not None:
        parts["command"] = " ".join(config.command)
    if config.image is not None:
        parts["image"] = config.image
    optimized = {"optimize": config.optimized} if config.optimize else {}
    return dict(_leaves({**parts, **training, **optimized, "budget": budget}))


def differing_settings(entries: Sequence[Mapping[str, Setting]]) -> list[str]:
    """The names of the parameters in which these entries differ, in the order in which they come."""
    names: Iterable[str] = dict.fromkeys(name for entry in entries for name in entry)
    return [name for name in names if len({entry.get(name) for entry in entries}) > 1]


def _leaves(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Setting]]:
    for name, item in value.items():
        # The name of a part, such as an optimizer's, is the part's own value; a model's arguments need no word between.
        path = before if name in ("name", "args") and before else f"{before}.{name}" if before else name
        if isinstance(item, Mapping):
            yield from _leaves(item, path)
        elif isinstance(item, bool):
            yield path, shown(item)
        elif isinstance(item, int | float):
            yield path, float(item)
        elif item not in ([], (), None):
            yield path, shown(item)
