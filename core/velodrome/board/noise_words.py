"""The noise floor of an objective in words and numbers for people, the same in the terminal and on pages. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from velodrome.board.noise import NoiseComparison, ObjectiveNoise
from velodrome.stats.noise import FEWEST, FEWEST_FREEDOM, Estimate, Share
from velodrome.text import counted
from velodrome.units import value_scale

# By unit, how many points the value 1 is.
_SHARES = {"ratio": 100.0, "percent": 1.0}


def amount(noise: ObjectiveNoise, difference: float) -> str:
    """The size of a difference: `1.8 %` of the value, `0.45 points` of a share, or in the metric's unit."""
    unit = noise.key.metric.unit
    if noise.scale == "relative":
        return f"{_digits(100 * math.expm1(difference))} %"
    if unit in _SHARES:
        return f"{_digits(_SHARES[unit] * difference)} points"
    scale = value_scale(unit, difference)
    return f"{_digits(difference / scale.size)} {scale.symbol}".rstrip()


def worse(noise: ObjectiveNoise, difference: float) -> str:
    """The size of a change for the worse: on the relative scale, times grow and rates fall."""
    falls = noise.scale == "relative" and noise.key.metric.direction == "higher"
    return f"{_digits(-100 * math.expm1(-difference))} %" if falls else amount(noise, difference)


def estimate(noise: ObjectiveNoise, found: Estimate | None) -> str:
    """An estimate with its interval: `0.4 points (0.3 to 0.6 points)`."""
    if found is None:
        return "unknown"
    if found.low is None or found.high is None:
        return amount(noise, found.value)
    return f"{amount(noise, found.value)} ({_between(noise, found.low, found.high)})"


def visible(noise: ObjectiveNoise, kind: Literal["in_job", "job_to_job"]) -> str:
    """The smallest visible changes in order of the numbers of seeds: `1.1, 0.63 points`."""
    found = [getattr(one, kind) for one in noise.smallest]
    return ", ".join(worse(noise, value) for value in found if value is not None) or "unknown"


def _between(noise: ObjectiveNoise, low: float, high: float) -> str:
    """Both ends of an interval, with the unit once."""
    first, last = amount(noise, low), amount(noise, high)
    number, _, unit = first.partition(" ")
    return f"{number} to {last}" if last.partition(" ")[2] == unit else f"{first} to {last}"


def called(found: Share | None) -> str:
    """How many A/A comparisons the test called different: `2 of 25`."""
    return "–" if found is None else f"{found.hits} of {found.of}"


def sentences(noise: ObjectiveNoise) -> Iterator[str]:
    """What was found, and what is missing, one sentence each."""
    if noise.key.metric.deterministic:
        yield "The value follows from the model alone, whatever the seed: any difference is a change."
        return
    if noise.cohort_id is None:
        yield "Nothing was measured yet."
        return
    yield from _comparisons(noise, noise.in_job, "two names in one job", _NAMES_DIFFER)
    yield from _comparisons(noise, noise.job_to_job, "two jobs", _JOBS_DIFFER)
    if not noise.in_job.pairs and not noise.job_to_job.pairs:
        yield (
            "No entry was measured twice under these conditions: race the same file again with "
            "`velodrome run FILE --fresh`, or write an entry a second time under another name."
        )
    yield from _left_out(noise)
    yield from _visible(noise)


_NAMES_DIFFER = "Something favours one of two names, such as their turn: look at what disturbed the trials."
_JOBS_DIFFER = (
    "Jobs differ by more than their seeds show, such as by a node or a temperature. Verdicts on jobs count that in; "
    "the values of two jobs should not be compared by their seeds alone."
)


def _comparisons(noise: ObjectiveNoise, kind: NoiseComparison, where: str, explanation: str) -> Iterator[str]:
    share, typical = kind.tested.called, kind.tested.typical
    if share is None or typical is None:
        return
    between = (
        ""
        if typical.low is None or typical.high is None
        else f" (95 % interval {_between(noise, typical.low, typical.high)})"
    )
    count = counted(share.of, "A/A comparison")
    yield f"{count} of {where}: half of the differences are {amount(noise, typical.value)} or less{between}."
    interval = f"{100 * share.hits / share.of:.0f} %, 95 % interval {100 * share.low:.0f} to {100 * share.high:.0f} %"
    said = f"The test of entries called {share.hits} of {share.of} different ({interval})"
    if share.low > noise.alpha:
        yield f"{said}: more than the {100 * noise.alpha:g} % that chance makes. {explanation}"
    else:
        yield f"{said}; chance makes {100 * noise.alpha:g} %."
    if kind.tested.same:
        yield (
            f"In {kind.tested.same} of {share.of} each seed gave the same value again: training repeats exactly here, "
            "so these say nothing about other seeds."
        )


def _left_out(noise: ObjectiveNoise) -> Iterator[str]:
    seen = noise.measured
    if seen.copied:
        yield f"Left out: {counted(seen.copied, 'entry', 'entries')} of jobs that took values over from another job."
    if seen.accepted:
        yield f"Left out: {counted(seen.accepted, 'pair of jobs', 'pairs of jobs')} whose change a person accepted."
    if seen.not_positive:
        entries = counted(seen.not_positive, "entry", "entries")
        yield f"Left out: {entries} of jobs with a value of 0 or less, to which no change is relative."


def _visible(noise: ObjectiveNoise) -> Iterator[str]:
    if noise.over_seeds is None:
        freedom = sum(len(sample.values) - 1 for sample in noise.measured.samples)
        yield (
            f"The spread over seeds is unknown: it takes {FEWEST_FREEDOM} values beyond the first ones of entries and "
            f"jobs, and there are {freedom}. Set trials.repeats."
        )
        return
    for one in noise.smallest:
        if one.in_job is not None:
            more = "" if one.job_to_job is None else f", and a change of {worse(noise, one.job_to_job)} from job to job"
            yield (
                f"With {counted(one.seeds, 'seed')}, this board sees in 80 of 100 cases a difference of "
                f"{worse(noise, one.in_job)} between two entries of a job{more}."
            )
    if noise.between_jobs is None:
        jobs = len({pair.twins.occasion for pair in noise.job_to_job.pairs})
        yield (
            f"The spread between jobs is unknown: it takes {FEWEST} pairs of jobs that raced the same entry, and there "
            f"{'is' if jobs == 1 else 'are'} {jobs}. So it is unknown which change from job to job would be seen."
        )
    elif noise.least:
        least = worse(noise, noise.least)
        yield f"However many seeds, a change of less than {least} from job to job is seen less often: jobs differ."


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"
