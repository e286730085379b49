"""Rules of `evaluation.serving`: its queries end before the trial must, and are enough for what is ranked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from velodrome.metrics.served import least_by_metric
from velodrome.spec.conditions import Serving
from velodrome.spec.parameter_rules import is_number
from velodrome.spec.pods import Execution
from velodrome.spec.raw import Broken, as_mapping, as_text, numbered

_HERE = ("spec", "evaluation", "serving")
_MOST = 10_000_000


def serving_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """What is known before a trial: how long queries come, and which percentiles so many have a bound of."""
    serving = as_mapping(as_mapping(spec.get("evaluation")).get("serving"))
    rate = serving.get("arrivalRate")
    queries = serving.get("queries", Serving.model_fields["queries"].default)
    if not (is_number(rate) and rate > 0 and is_number(queries) and 0 < queries <= _MOST):
        return  # the model reports it
    default = Execution.model_fields["trial_deadline_seconds"].default
    deadline = as_mapping(spec.get("execution")).get("trialDeadlineSeconds", default)
    if is_number(deadline) and queries / rate >= deadline:
        message = (
            f"{queries:,} queries at {rate:g} a second come in {queries / rate:,.0f} seconds, and a trial has "
            f"{deadline:,} (execution.trialDeadlineSeconds)"
        )
        yield Broken(_HERE, message, "write a higher arrivalRate, fewer queries, or a later deadline")
    for index, objective in numbered(spec.get("objectives")):
        least = least_by_metric().get(as_text(objective.get("metric")), 0)
        if queries < least:
            place = ("spec", "objectives", index, "metric")
            message = f"{objective['metric']} needs {least} queries, and evaluation.serving has {queries:g}"
            yield Broken(place, message, f"write queries: {least} or more there")
