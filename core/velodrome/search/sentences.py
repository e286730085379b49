"""What is said about a search, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.searches import Searched, Spent
from velodrome.search.trials import search_of
from velodrome.text import counted
from velodrome.units import duration, quantity

if TYPE_CHECKING:
    from velodrome.plan import Plan
    from velodrome.search.state import SearchState

_LONGEST = 60


def scored(state: SearchState, index: int) -> str:
    """`validation_loss 0.213, best 0.190 by trial 2`, or why a trial has no value."""
    outcome, so_far = state.outcomes[index], best_words(state, state.suggestions[index].entry)
    if outcome.told.values:
        own = ", ".join(
            f"{key.label} {value_words(key, value)}" for key, value in zip(state.keys, outcome.told.values, strict=True)
        )
        return f"{own}; {so_far}"
    if outcome.told.state == "Pruned":
        ended = f"ended early after {counted(outcome.epochs, 'epoch')}"
        return f"{ended}; {so_far}" if so_far else ended
    return f"no value ({outcome.reason})" + (f"; {so_far}" if so_far else "")


def best_words(state: SearchState, entry: str) -> str:
    """`best 0.190 nats by trial 2`: the best trial of an entry so far. Empty if none has a value."""
    best = state.best(entry)
    if best is None:
        return ""
    return f"best {value_words(state.keys[0], state.outcomes_of(entry)[best].told.values[0])} by trial {best}"


def winners_words(plan: Plan, searched: Searched) -> Iterator[str]:
    """A sentence for each entry: which trial won, and that it is measured again."""
    repeats = search_of(plan.job).confirm.repeats
    for entry, chosen in searched.entries.items():
        if chosen.number is None:
            yield f"{entry} has no parameters: it runs as it is written, untuned"
            continue
        found = ", ".join(f"{MetricKey.parse(key).label} {value_words(MetricKey.parse(key), value)}"
                          for key, value in chosen.objectives.items())  # fmt: skip
        yield (
            f"{entry}: trial {chosen.number} of {chosen.spent.trials} is the best on validation data, {found}, with "
            f"{values_words(chosen.values)}. It runs again on {counted(repeats, 'fresh seed')}; only that ranks"
        )


def value_words(key: MetricKey, value: float) -> str:
    """A value with its unit, as rankings write it."""
    return quantity(key.metric.unit, value)


def values_words(values: Mapping[str, Any]) -> str:
    """`learningRate 0.012, momentum 0.9`: parameters by the part of their path that says what they are."""
    return ", ".join(f"{called(name)} {_short(value)}" for name, value in values.items()) or "no parameters"


def called(name: str) -> str:
    """A parameter by the last part of its path; `optimizer` of `training.optimizer.name`."""
    parts = name.split(".")
    return parts[-2] if parts[-1] == "name" and len(parts) > 1 else parts[-1]


def spent_words(spent: Spent) -> str:
    """`60 trials (3 failed, 20 ended early), 412 epochs, 3 min 2 s of training`."""
    some = [f"{spent.failed} failed"] * bool(spent.failed) + [f"{spent.pruned} ended early"] * bool(spent.pruned)
    trials = counted(spent.trials, "trial") + (f" ({', '.join(some)})" if some else "")
    energy = f", {quantity('joules', spent.joules)}" if spent.joules is not None else ""
    return f"{trials}, {counted(spent.epochs, 'epoch')}, {duration(spent.seconds)} of training{energy}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
