"""The figures of docs/statistics.md. Their values are made up, with a fixed seed; what is said of them is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tools.plots.svg import INK, QUIET, SECOND, STRONG, Plot, Point
from velodrome.stats import Sample, compare, mean_interval, rank
from velodrome.stats.noise import over_seeds, smallest_change
from velodrome.stats.profile import interquartile_mean, shares_above

_SIGNIFICANT = 0.05


def _numbers(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _ticks(values: Iterable[float], form: str = "{:g}", size: float = 1.0) -> list[tuple[float, str]]:
    """Values with their words, which show `size` times the value."""
    return [(value, form.format(size * value)) for value in values]


def _sample(name: str, values: Sequence[float]) -> Sample:
    return Sample(name, dict(enumerate(values)))


def pairing() -> Plot:
    """Two entries over the same seeds: both move with the seed, and their difference hardly moves."""
    rng = _numbers(3)
    shared = 0.8 * rng.normal(size=8)
    first = 96.0 + shared + 0.2 * rng.normal(size=8)
    second = first - 0.45 + 0.25 * rng.normal(size=8)
    found = compare(_sample("a", first.tolist()), _sample("b", second.tolist()))
    apart = compare(_sample("a", first.tolist()), Sample("b", dict(enumerate(second.tolist(), start=100))))
    plot = Plot(
        "The same seeds for both: what a seed does to both cancels",
        f"Accuracies of two entries over eight seeds rise and fall together. Paired by seed they are different with "
        f"p = {found.p_value:.3f}, without pairing p = {apart.p_value:.2f}.",
        (0.5, 8.5), (93.5, 98.5), _ticks(range(1, 9)),
        _ticks((94, 95, 96, 97, 98), "{:g} %"), "seed", "accuracy",
    )  # fmt: skip
    for values, colour in ((first, STRONG), (second, SECOND)):
        points = [(seed + 1.0, float(value)) for seed, value in enumerate(values)]
        plot.line(points, colour)
        plot.dots(points, colour)
    plot.text(5.2, 98.2, f"seed by seed: p = {found.p_value:.3f}", bold=True)
    plot.text(5.2, 97.85, f"as two heaps of values: p = {apart.p_value:.2f}", QUIET)
    return plot


def ranges() -> Plot:
    """Five entries with their intervals, and the ranks that each may have."""
    rng = _numbers(20)
    levels = {"a": 97.6, "b": 97.2, "c": 96.8, "d": 96.3, "e": 94.6}
    values = {name: (level + 0.5 * rng.normal(size=6)).tolist() for name, level in levels.items()}
    ranking = rank([_sample(name, found) for name, found in values.items()], "higher")
    names = [entry.name for entry in ranking.entries]
    said = {name: _range(name, names, values) for name in names}
    plot = Plot(
        "A rank is what it may be",
        "Five entries with their means and 95 % intervals. The ranks that they may have: "
        + ", ".join(f"{name} {said[name]}" for name in names) + ".",
        (91.4, 99.2), (0.4, 5.6), _ticks(range(93, 99), "{:g} %"), [], "accuracy, mean and 95 % interval",
    )  # fmt: skip
    for place, name in enumerate(names):
        interval = mean_interval(values[name])
        height = 5.0 - place
        low, high = interval.low or interval.mean, interval.high or interval.mean
        plot.line([(low, height), (high, height)], STRONG, wide=4.0)
        plot.dots([(interval.mean, height)], STRONG, 5.5)
        plot.text(91.5, height - 0.08, f"{name}:  rank {said[name]}", bold=True)
    return plot


def _range(name: str, names: Sequence[str], values: Mapping[str, Sequence[float]]) -> str:
    """From 1 + those that are significantly better, to all - those that are significantly worse."""
    comparisons = rank([_sample(each, values[each]) for each in names], "higher").comparisons
    pairs = [comparisons.between(name, other) for other in names if other != name]
    clear = [one for one in pairs if one.adjusted_p_value is not None and one.adjusted_p_value <= _SIGNIFICANT]
    best = 1 + sum(one.difference < 0 for one in clear)
    worst = len(names) - sum(one.difference > 0 for one in clear)
    return str(best) if best == worst else f"{best} to {worst}"


def logarithms() -> Plot:
    """Latencies with slow trials: an interval on their own scale reaches below 0, one on logarithms does not."""
    values = [1.02, 0.97, 1.05, 1.01, 9.6]
    plain = mean_interval(values)
    logs = mean_interval(np.log(values).tolist())
    raw: Point = (plain.low or 0.0, plain.high or 0.0)
    log: Point = (float(np.exp(logs.low or 0.0)), float(np.exp(logs.high or 0.0)))
    plot = Plot(
        "Times are compared by their logarithms",
        f"Five latencies, one of them slow. The plain 95 % interval reaches from {raw[0]:.1f} to {raw[1]:.1f} ms. "
        f"On logarithms it reaches from {log[0]:.1f} to {log[1]:.1f} ms.",
        (-3.5, 11.0), (0.4, 3.6), _ticks(range(-3, 11)), [], "latency, ms",
    )  # fmt: skip
    plot.line([(0, 0.4), (0, 3.6)], QUIET, dash="4 4", wide=1.0)
    for height, colour, (low, high), mean, words in (
        (2.0, SECOND, raw, plain.mean, "mean and interval of the values: a time below 0"),
        (1.0, STRONG, log, float(np.exp(logs.mean)), "of the logarithms: the typical time"),
    ):
        plot.line([(low, height), (high, height)], colour, wide=4.0)
        plot.dots([(mean, height)], colour, 5.5)
        plot.text(2.6, height + 0.25, words, colour)
    plot.dots([(value, 3.0) for value in values], INK)
    plot.text(2.6, 3.25, "five trials, one of them slow")
    return plot


def ties() -> Plot:
    """How likely a difference is found, by its size, for three numbers of seeds."""
    sizes = np.linspace(0, 3, 61)
    plot = Plot(
        "What a tie could have seen",
        "The chance that a difference between two entries is found, by its size in standard deviations. "
        + ", ".join(f"{n} seeds reach 80 % at {_visible(n):.1f}" for n in (5, 10, 20)) + ".",
        (0, 3), (0, 1), _ticks((0, 0.5, 1, 1.5, 2, 2.5, 3)),
        _ticks((0, 0.2, 0.4, 0.6, 0.8, 1), "{:g} %", 100), "true difference, in standard deviations over seeds",
        "chance to be found",
    )  # fmt: skip
    plot.line([(0, 0.8), (3, 0.8)], QUIET, dash="5 4", wide=1.2)
    for n, colour, dash in ((20, STRONG, ""), (10, SECOND, ""), (5, QUIET, "6 3")):
        plot.line([(float(size), _power(n, float(size))) for size in sizes], colour, dash=dash)
        at = _visible(n)
        plot.dots([(at, 0.8)], colour)
        plot.text(at + 0.05, 0.74, f"{n} seeds: {at:.1f}", colour)
    return plot


def _visible(n: int) -> float:
    """The smallest difference that `n` seeds show in 80 of 100 cases, in standard deviations over seeds."""
    return smallest_change(n, 1.0, 0.0, _SIGNIFICANT) or 0.0


def _power(n: int, size: float) -> float:
    """The chance that the paired t test of `n` seeds at 5 % finds a difference of this many standard deviations."""
    from scipy.special import nctdtr, stdtrit

    limit, shift = stdtrit(n - 1, 1 - _SIGNIFICANT / 2), size / np.sqrt(2 / n)
    other = np.nan_to_num(nctdtr(n - 1, shift, -limit))  # too small for a double
    return float(1 - nctdtr(n - 1, shift, limit) + other)


def levels() -> Plot:
    """Jobs on one level with a lucky one, and then a lasting step."""
    rng = _numbers(11)
    means = 100.0 + 1.2 * rng.normal(size=20)
    means[6] = 96.6
    means[14:] += 5.0
    level, spread = float(np.median(means[:12])), 2.6
    plot = Plot(
        "A level is several jobs",
        "Twenty jobs of a latency. Job 7 is lucky. The jobs after it are no regressions beside the level of several "
        "jobs. From job 15 on all are above the band: that is one.",
        (0.5, 20.5), (94, 110), _ticks(range(1, 21)), _ticks((95, 100, 105, 110)),
        "job", "latency, ms",
    )  # fmt: skip
    plot.band([(0.5, level - spread), (20.5, level - spread)], [(0.5, level + spread), (20.5, level + spread)])
    plot.line([(0.5, level), (20.5, level)], STRONG, dash="5 4", wide=1.2)
    usual = [(job + 1.0, float(mean)) for job, mean in enumerate(means)]
    plot.dots(usual[:14], STRONG)
    plot.dots(usual[14:], SECOND, 5.0)
    plot.text(7.3, 95.4, "a lucky job: no baseline by itself")
    plot.text(9.4, 108.3, "beyond the level and its spread: a regression", SECOND)
    return plot


def drift() -> Plot:
    """A metric that grows a little with each job: each step is small, and the level far back shows it."""
    rng = _numbers(5)
    jobs = np.arange(1, 31)
    means = 100 * 1.01 ** np.maximum(0, jobs - 8) + 0.8 * rng.normal(size=30)
    plot = Plot(
        "A slow drift shows beside a level far back",
        "Thirty jobs of a latency that grows by 1 % from job to job. No job is much above the one before, and the last "
        "ones are far above the level of the first eight.",
        (0.5, 30.5), (96, 128), _ticks(range(2, 31, 4)), _ticks((100, 110, 120)),
        "job", "latency, ms",
    )  # fmt: skip
    first = float(np.median(means[:8]))
    plot.band([(0.5, first - 2), (30.5, first - 2)], [(0.5, first + 2), (30.5, first + 2)])
    plot.line([(0.5, first), (30.5, first)], STRONG, dash="5 4", wide=1.2)
    plot.dots([(float(job), float(mean)) for job, mean in zip(jobs, means, strict=True)], SECOND)
    plot.text(1.0, 104.2, "the level far back", STRONG)
    plot.text(17.0, 125.0, "each step is too small to count", SECOND)
    return plot


def together() -> Plot:
    """Five entries that all move in one job: the machine changed, not the models."""
    rng = _numbers(8)
    plot = Plot(
        "All entries move together: one cause, one alert",
        "Changes of five entries over six jobs, in percent of their levels. In job 5 all five become 6 % slower at "
        "once, which is one cause. Entry e becomes another 5 % slower, which is its own.",
        (0.5, 6.5), (-3, 14), _ticks(range(1, 7), "job {:g}"), _ticks((0, 5, 10), "{:+g} %"),
        "", "change of latency",
    )  # fmt: skip
    plot.band([(4.6, -3), (5.4, -3)], [(4.6, 14), (5.4, 14)], QUIET)
    for place, name in enumerate("abcde"):
        moves = 0.5 * rng.normal(size=6)
        moves[4:] += 6.0 + (5.0 if name == "e" else 0.0)
        colour = SECOND if name == "e" else STRONG
        points = [(job + 1 + 0.09 * (place - 2), float(move)) for job, move in enumerate(moves)]
        plot.line(points, colour, wide=1.4)
        plot.dots(points, colour, 3.2)
    plot.text(3.2, 6.2, "all entries: the machine", STRONG)
    plot.text(3.2, 11.2, "and entry e by itself", SECOND)
    return plot


def noise() -> Plot:
    """A/A differences of a board, and the smallest change that it can see."""
    rng = _numbers(17)
    samples = [_sample(str(job), (0.95 + 0.006 * rng.normal(size=5)).tolist()) for job in range(81)]
    means = np.array([np.mean([*sample.values.values()]) for sample in samples])
    spread = over_seeds(samples, "points")
    visible = 100 * (smallest_change(5, spread.value if spread else 0.0, 0.0, _SIGNIFICANT) or 0.0)
    found = 100 * np.diff(means)
    counts, edges = np.histogram(found, np.linspace(-1.2, 1.2, 25))
    plot = Plot(
        "Nothing changed, and yet results differ",
        f"A histogram of {len(found)} A/A differences of accuracy, which lie around 0. A change of {visible:.1f} "
        "points is seen in 80 of 100 cases; smaller ones look like these.",
        (-2.5, 2.5), (0, float(counts.max()) + 3), _ticks((-2, -1, 0, 1, 2), "{:+g}"),
        _ticks(range(0, int(counts.max()) + 3, 4)), "difference of accuracy, points", "A/A comparisons",
    )  # fmt: skip
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            plot.bar(float(start), float(end), float(count))
    for side in (-visible, visible):
        plot.line([(side, 0), (side, float(counts.max()) + 2)], SECOND, dash="5 4", wide=1.5)
    plot.text(visible + 0.06, float(counts.max()) + 1, f"seen: {visible:.1f} points", SECOND)
    return plot


def profiles() -> Plot:
    """Two models over several boards: the share of runs above each score."""
    rng = _numbers(2)
    boards = (0.62, 0.78, 0.9, 0.95)
    steady = [(level + 0.02 * rng.normal(size=5)).clip(0, 1).tolist() for level in boards]
    shifts = (-0.2, 0.02, 0.01, 0.02)
    mixed = [
        (level + shift + 0.03 * rng.normal(size=5)).clip(0, 1).tolist()
        for level, shift in zip(boards, shifts, strict=True)
    ]
    scores = np.linspace(0.3, 1, 71).tolist()
    first, second = interquartile_mean(steady), interquartile_mean(mixed)
    plot = Plot(
        "A profile: the share of runs above each score",
        f"Performance profiles of two models over four boards. Interquartile mean of the first: {first.value:.2f} "
        f"({first.low:.2f} to {first.high:.2f}); of the second: {second.value:.2f} ({second.low:.2f} to "
        f"{second.high:.2f}). The second falls early, by the board on which it is bad.",
        (0.3, 1.0), (0, 1.02), _ticks((0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)),
        _ticks((0, 0.25, 0.5, 0.75, 1), "{:g} %", 100), "score", "share of runs above",
    )  # fmt: skip
    for runs, colour, words, height in (
        (steady, STRONG, f"steady: interquartile mean {first.value:.2f}", 0.28),
        (mixed, SECOND, f"bad on one board: {second.value:.2f}", 0.16),
    ):
        shares = shares_above(runs, scores, resamples=1000)
        plot.band(
            [(score, share.low) for score, share in zip(scores, shares, strict=True)],
            [(score, share.high) for score, share in zip(scores, shares, strict=True)],
            colour,
        )
        plot.line([(score, share.value) for score, share in zip(scores, shares, strict=True)], colour)
        plot.text(0.33, height, words, colour, bold=True)
    return plot


FIGURES: Mapping[str, Callable[[], Plot]] = {
    function.__name__: function
    for function in (pairing, ranges, logarithms, ties, levels, drift, together, noise, profiles)
}
