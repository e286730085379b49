"""Simulates the verdicts of jobs: how often they are false, and how soon a change is told. The figures of
docs/decisions/0043-a-level-not-a-job.md.

    python benchmarks/simulate_verdicts.py [--boards 400] [--seed 1] [--only false|changes|families|seen|slow|bounds]

A board has 5 entries by 2 objectives, whose trials (5 in each job) vary by 1 %. The code that judges jobs judges many
boards at once, with the default rules: `velodrome.stats.levels`, and `velodrome.trends.common` where a board may be
called. Each entry that moved together with the others counts as one Regressed. Beside it stands what came before: a job
against the newest one that was not worse, with Holm's correction.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from scipy.special import stdtr, stdtrit

from velodrome.stats.job_tests import JobRows, JobTests, Rule, Side, critical, visible
from velodrome.stats.levels import SHARES, follow
from velodrome.stats.samples import Floats, Moments, moments
from velodrome.stats.spread import PRIOR_JOBS, Bools
from velodrome.trends.common import common
from velodrome.trends.scales import ChangeScale

ENTRIES, OBJECTIVES, TRIALS, SEED_NOISE = 5, 2, 5, 0.01
ALPHA, LEAST = 0.01, 0.02
RULE = Rule(
    ALPHA,
    lambda difference, _: np.abs(np.expm1(difference)) / LEAST,
    lambda centre: np.full(np.shape(centre), np.log1p(LEAST)),
    -1,
)


def values(
    rng: np.random.Generator, boards: int, jobs: int, between: float, *, shared: bool = False, family: int = 10
) -> Floats:
    """Logarithms of what trials measured, by row, job and trial; a board has `family` rows. `between` is the standard
    deviation between jobs, `shared` by all rows of a board or each row's own.
    """
    own = rng.normal(size=(boards * family, jobs, TRIALS)) * SEED_NOISE
    groups = boards if shared else boards * family
    apart = rng.normal(size=(groups, jobs, 1)) * between
    return own + (np.repeat(apart, family, axis=0) if shared else apart)


def rows_of(found: Floats, family: int) -> JobRows:
    """The rows of a comparison. JobRows of one objective lend each other their spread."""
    size, jobs, trials = found.shape
    paired = np.full((size, jobs), np.nan)
    paired[:, 1:] = np.diff(found, axis=1).var(axis=2, ddof=1) / trials / 2
    return JobRows(
        found.mean(axis=2), found.var(axis=2, ddof=1) / trials, paired, np.full((size, jobs), trials),
        np.zeros(jobs, dtype=np.int64), np.zeros((size, jobs), dtype=np.bool_), np.full(size, -1),
        np.arange(size) // (family // OBJECTIVES),
    )  # fmt: skip


def adjusted(p_values: Floats) -> Floats:
    """Holm's adjusted p-values, for each board (the first axis)."""
    order, size = np.argsort(p_values, axis=1), p_values.shape[1]
    ordered = np.take_along_axis(p_values, order, axis=1) * (size - np.arange(size))
    found = np.empty_like(p_values)
    np.put_along_axis(found, order, np.minimum(np.maximum.accumulate(ordered, axis=1), 1.0), axis=1)
    return found


def regressed(found: Floats, family: int = 10, *, explain: bool = True) -> Bools:
    """Whether each row of each board is Regressed, by board, row and job.

    Without `explain`, an entry is called although it changed only as the others did (rule 9 of the decision).
    """
    return regressed_rows(rows_of(found, family), family, explain=explain)


def regressed_rows(rows: JobRows, family: int = 10, *, explain: bool = True) -> Bools:
    """`regressed`, for rows that are made already."""
    answers = []
    for job, tests in enumerate(follow(rows, RULE)):
        p_values = tests.p_value.reshape(-1, family)
        said = tests.said
        large = RULE.size(said.difference, np.nan_to_num(said.centre)) >= 1
        called = (adjusted(p_values) <= ALPHA) & (large & (said.difference > 0)).reshape(p_values.shape)
        # A board without a small p-value has nothing to call.
        for board in np.flatnonzero((p_values.min(axis=1) <= ALPHA / 4) if job else []):
            called[board] = _of_board(rows, tests, called[board], int(board) * family, job, explain=explain)
        answers.append(called.reshape(-1))
    return np.stack(answers, axis=1).reshape(-1, family, rows.means.shape[1])


def _of_board(rows: JobRows, tests: JobTests, called: Bools, first: int, job: int, *, explain: bool) -> Bools:
    """Which rows of a board are Regressed, as `velodrome.trends.regressions` decides. `called` says what looks so."""
    each = len(called) // OBJECTIVES
    parts = [slice(first + each * one, first + each * (one + 1)) for one in range(OBJECTIVES)]
    sides = [tuple(Side(*(getattr(side, name)[part] for name in Side.__dataclass_fields__))
                   for side in (tests.alone, tests.said)) for part in parts]  # fmt: skip
    cut = [_cut(rows, part, job) for part in parts]
    shared = [common(one, RULE, ChangeScale("log"), alone) for one, (alone, _) in zip(cut, sides, strict=True)]
    own = tests.p_value[first : first + len(called)]
    more = [one.p_value for one in shared if one is not None and one.large]
    p_values = adjusted(np.array([[*own, *more]]))[0]
    found: Bools = called & (p_values[: len(own)] <= ALPHA)
    together = iter(p_values[len(own) :])
    for one, part, (_, said), of in zip(cut, parts, sides, shared, strict=True):
        here = slice(part.start - first, part.stop - first)
        if of is None:
            continue
        if not of.large or next(together) > ALPHA:
            if explain and found[here].any():
                found[here] &= ~of.explains(one, RULE, said)
        elif of.moved:
            found[here] = np.where(of.along, of.change > 0, found[here])
    return found


def _cut(rows: JobRows, part: slice, job: int) -> JobRows:
    until = slice(job + 1)
    return JobRows(
        rows.means[part, until], rows.own[part, until], rows.paired[part, until], rows.count[part, until],
        rows.seeds[until], rows.accepted[part, until], rows.pinned[part],
        np.zeros(part.stop - part.start, dtype=np.int64),
    )  # fmt: skip


def against_one_job(found: Floats, family: int = 10) -> Bools:
    """The same, each job against the newest one that was not worse: paired tests, and no spread between jobs."""
    size, jobs, trials = found.shape
    answers = np.zeros((size, jobs), dtype=np.bool_)
    baseline = found[:, 0].copy()
    for job in range(1, jobs):
        apart = found[:, job] - baseline
        error = apart.std(axis=1, ddof=1) / np.sqrt(trials)
        change = apart.mean(axis=1)
        p_values = 2 * stdtr(trials - 1, -np.abs(change) / error)
        large = (np.abs(np.expm1(change)) >= LEAST) & (change > 0)
        answers[:, job] = (adjusted(p_values.reshape(-1, family)).reshape(-1) <= ALPHA) & large
        baseline = np.where(((p_values <= ALPHA) & large)[:, None], baseline, found[:, job])
    return answers.reshape(-1, family, jobs)


def false_alarms(boards: int, seed: int) -> None:
    """Nothing changes: every Regressed is false."""
    rng = np.random.default_rng((seed, 9))
    shared_too = [(shared, between) for between in (0.02, 0.01, 0.005) for shared in (True, False)]
    for shared, between in (*shared_too, (False, 0.0)):
        found = values(rng, boards, 40, between, shared=shared)
        called, before = regressed(found), against_one_job(found)
        plain = 1000 * regressed(found, explain=False)[:, :, 8:].sum() / boards / 32
        late, early = (1000 * part.sum() / boards / part.shape[2] for part in (called[:, :, 8:], called[:, :, 1:8]))
        hit = 1000 * called[:, :, 8:].any(axis=1).mean()
        old = 1000 * before[:, :, 8:].sum() / boards / 32
        whose = "shared by all entries" if shared else "of each entry"
        print(
            f"false Regressed in 1,000 jobs, {100 * between:g} % between jobs {whose}: after the 8th {late:.1f} "
            f"({hit:.1f} jobs hit), 2nd to 8th {early:.1f}; without rule 9 {plain:.1f}; against one job {old:.0f}",
            flush=True,
        )


def changes(boards: int, seed: int) -> None:
    """How soon a step and a drift of one entry are told."""
    rng = np.random.default_rng((seed, 2))
    for between in (0.009, 0.01, 0.0, 0.02):  # 0.9 % between jobs and 1 % between five trials: 1 % in all
        for name, start, by in (
            ("a lasting step of 4 %", 12, np.full(18, np.log1p(0.04))),
            ("drift of 0.5 % a job", 9, 0.005 * np.arange(1, 22)),
            ("drift of 1.9 % a job", 9, 0.019 * np.arange(1, 22)),
        ):
            found = values(rng, boards, 30, between)
            found[::10, start:] += by[None, : 30 - start, None]
            called = regressed(found)[:, 0, start:]
            shares = ", ".join(
                f"{jobs}: {100 * called[:, :jobs].any(axis=1).mean():.0f} %" for jobs in (1, 3, 5, 10, 15)
            )
            print(f"{name}, {100 * between:g} % between jobs, told within so many jobs: {shares}", flush=True)


def families(boards: int, seed: int) -> None:
    """A lasting + 13 % of one of 30 entries by 3 objectives, after so many jobs; trials vary by 3 %."""
    rng = np.random.default_rng((seed, 3))
    for start in (1, 2, 4, 8):
        found = 3 * values(rng, boards // 10, start + 8, 0.01, family=90)
        found[::90, start:] += np.log1p(0.13)
        called = regressed(found, family=90)[:, 0, start:]
        shares = ", ".join(f"{jobs}: {100 * called[:, :jobs].any(axis=1).mean():.0f} %" for jobs in (1, 3, 8))
        print(f"+ 13 % of 1 of 90 comparisons, 3 % between jobs, after {start} jobs, told within: {shares}", flush=True)


def slow(boards: int, seed: int) -> None:
    """Jobs of 10 trials that vary by 5 %, of which 1 of 20 is 3 to 10 times as slow. One entry becomes 15 % slower."""
    rng = np.random.default_rng((seed, 5))
    shape = (boards * 10, 32, 10)
    found = 0.05 * rng.normal(size=shape) + 0.01 * rng.normal(size=(*shape[:2], 1))
    found += np.where(rng.random(shape) < 0.05, np.log(rng.uniform(3, 10, shape)), 0.0)
    slower = found.copy()
    slower[::10, 20:] += np.log1p(0.15)
    for name, made in (("as judged", lambda part: rows_of(part, 10)), ("if means were trimmed", _trimmed_rows)):
        quiet, changed = (regressed_rows(made(part)) for part in (found, slower))
        false = 1000 * quiet[:, :, 8:].sum() / boards / 24
        told = 100 * changed[:, 0, 20:23].any(axis=1).mean()
        print(f"1 of 20 trials is slow, {name}: {false:.1f} false Regressed in 1,000 jobs; told: {told:.0f} %")


def _trimmed_rows(found: Floats) -> JobRows:
    """The rows if means were trimmed, as rankings trim them."""
    rows = rows_of(found, 10)
    own, paired = (_trimmed(part) for part in (found, np.diff(found, axis=1)))
    return replace(
        rows,
        means=own.mean.reshape(rows.means.shape),
        own=own.squared_error.reshape(rows.means.shape),
        paired=np.column_stack((rows.paired[:, 0], paired.squared_error.reshape(len(found), -1) / 2)),
    )


def _trimmed(values: Floats) -> Moments:
    flat = values.reshape(-1, values.shape[2])
    return moments(flat, np.ones(flat.shape, dtype=np.bool_), np.full(len(flat), flat.shape[1]), trim=True)


def bounds(boards: int, seed: int) -> None:
    """What the largest of some comparisons needs, and what a second job needs, of 4 comparisons with nothing known."""
    share = float(SHARES.sum())
    for freedom in (PRIOR_JOBS, 46):
        needed = ", ".join(f"{-stdtrit(freedom, ALPHA * share / 2 / size):.1f} of {size}" for size in (93, 12, 3))
        print(f"standard errors that the largest comparison needs with {freedom} degrees of freedom: {needed}")
    *_, tests = follow(rows_of(values(np.random.default_rng(seed), boards, 2, 0.0), 10), RULE)
    needed = np.expm1(float(np.median(critical(tests.alone, ALPHA / 4))))
    print(f"a second job must differ by {needed:.1%} to be called, of 4 comparisons")


def seen(boards: int, seed: int) -> None:
    """Whether a change of the size that would be seen is seen, in 80 % of jobs."""
    rng = np.random.default_rng((seed, 4))
    found = values(rng, boards, 21, 0.005)
    *_, tests = follow(rows_of(found, 10), RULE)
    sizes = visible(tests.alone, ALPHA / 10, RULE)
    found[:, 20] += sizes[:, None]
    *_, tests = follow(rows_of(found, 10), RULE)
    said = tests.alone
    called = (said.p_value <= ALPHA / 10) & (RULE.size(said.difference, said.centre) >= 1)
    print(
        f"changes that would be seen, {np.expm1(np.median(sizes)):.1%} in the median, are seen in {called.mean():.0%}",
        flush=True,
    )


def main() -> None:
    """Prints every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parts = {
        "false": false_alarms,
        "changes": changes,
        "families": families,
        "seen": seen,
        "slow": slow,
        "bounds": bounds,
    }
    parser.add_argument("--only", choices=parts)
    given = parser.parse_args()
    for name, part in parts.items():
        if given.only in (None, name):
            part(given.boards, given.seed)


if __name__ == "__main__":
    main()
