"""What a race can see before it runs, for `plan` and `run`: from the board's history and from what a person asked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome.text import line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from velodrome.board.foresight import Foresight, Noise, Wanted
    from velodrome.metrics.catalogue import Metric, MetricKey
    from velodrome.plan import Plan
    from velodrome.store import Reader

Detect = Annotated[
    list[str] | None,
    typer.Option(
        "--detect",
        metavar="NAME=SIZE",
        help="Say how many seeds a difference of this objective needs: accuracy=0.005 (half a point), latency=5% (of "
        "times and sizes), or accuracy=2sd (standard deviations, which needs no history). May be repeated.",
    ),
]
# No noise is told from more jobs: old ones say little about the next.
_JOBS = 20


def wanted_of(plan: Plan, asked: Sequence[str]) -> dict[str, Wanted]:
    """The differences that were asked for, by objective; a usage error that names what to write instead."""
    from velodrome.plan import objective_keys

    keys, found = objective_keys(plan.job), {}
    for text in asked:
        name, equals, size = text.partition("=")
        if not equals:
            raise _wrong(text, "write NAME=SIZE, for example accuracy=0.005")
        if name not in keys:
            raise _wrong(text, f"there is no objective {line(name) or 'without a name'}: there are {', '.join(keys)}")
        if keys[name].metric.deterministic:
            raise _wrong(text, f"{keys[name].label} is the same for every seed, so one seed shows any difference")
        if name in found:
            raise _wrong(text, f"{name} is there twice: leave one out")
        found[name] = _wanted(text, size, keys[name].metric)
    return found


def _wanted(text: str, size: str, metric: Metric) -> Wanted:
    from velodrome.board.foresight import Wanted, by_factors
    from velodrome.stats.amounts import difference_words

    number = size.removesuffix("sd").removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        raise _wrong(text, f"{line(number) or 'nothing'} is no number") from None
    if not 0 < value < math.inf:
        raise _wrong(text, f"{number} is not above 0")
    if size.endswith("sd"):
        return Wanted(f"{value:g} standard deviations", value, "deviations")
    if by_factors(metric):
        if not size.endswith("%"):
            raise _wrong(text, f"{metric.name} is compared by factors: write a share of it, for example 5%")
        return Wanted(f"{value:g} %", value / 100, "share")
    if size.endswith("%"):
        least, most = metric.range
        hint = f"{value / 100:g} is {value:g} points" if (least, most) == (0.0, 1.0) else f"in its unit, {metric.unit}"
        raise _wrong(text, f"{metric.name} is compared by differences: write a number ({hint})")
    least, most = metric.range
    if value >= most - least:
        raise _wrong(text, f"{metric.name} goes from {least:g} to {most:g}, so no two values differ by {value:g}")
    return Wanted(difference_words(metric, value), value, "unit")


def _wrong(text: str, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"{line(text) or 'nothing'}: {why}", param_hint="--detect")


def noises_of(store: Reader, plan: Plan) -> dict[MetricKey, Noise]:
    """How much seeds differed on the plan's board, for the objectives that some job shows. Raises as the store does."""
    from velodrome.board.foresight import seed_noise
    from velodrome.plan import objective_keys
    from velodrome.trends.history import read_history

    keys = [key for key in objective_keys(plan.job).values() if not key.metric.deterministic]
    history = read_history(store, plan.job.board, limit=_JOBS, more=keys)
    found = {key: seed_noise(history, key) for key in keys}
    return {key: noise for key, noise in found.items() if noise is not None}


def known_noises(plans: Sequence[Plan], redis: str | None) -> tuple[list[dict[MetricKey, Noise]], str | None]:
    """What the history of each plan's board shows; where no history can be read, nothing and the reason.

    Velodrome's own Redis is not started for a person who has raced nothing yet.
    """
    from velodrome.cli.connection import results_store
    from velodrome.errors import VelodromeError
    from velodrome.machine.home import locate_home

    nothing: list[dict[MetricKey, Noise]] = [{} for _ in plans]
    try:
        if redis is None and not locate_home().redis.is_dir():
            return nothing, None  # nobody raced anything here yet
        with results_store(redis) as store:
            return [noises_of(store, plan) for plan in plans], None
    except VelodromeError as error:
        return nothing, str(error)


def sight_document(sight: Foresight, history: str | None) -> dict[str, Any]:
    """What `plan --json` writes about what the race can see. `history` says why none was read."""
    from velodrome.stats.detectable import POWER

    return {
        "power": POWER,
        "seeds": sight.seeds,
        "looks": list(sight.looks),
        "trials": {"fewest": sight.fewest, "most": sight.most},
        "gap": sight.gap if math.isfinite(sight.gap) else None,
        "history": {"left_out": history},
        "objectives": [
            {
                "objective": one.objective,
                "metric": str(one.key),
                "scale": None if one.noise is None else "logarithm" if one.noise.logs else "unit",
                "spread": None if one.noise is None else one.noise.spread,
                "jobs": 0 if one.noise is None else one.noise.jobs,
                "visible": one.visible,
                "wanted": None if one.wanted is None else {"text": one.wanted.text, "seeds": one.needed},
            }
            for one in sight.sights
        ],
    }
