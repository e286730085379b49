"""`noise`: by how much results differ although nothing changed, and which changes a board can see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome.cli.console import write_json
from velodrome.cli.lookup import chosen_board, chosen_objectives
from velodrome.cli.options import BoardArgument, Json, ObjectiveOption, RedisUrl
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.board.noise import NoiseComparison, ObjectiveNoise
    from velodrome.stats.noise import Estimate

EXAMPLES = """\
  velodrome noise
  velodrome noise digits --objective speed
  velodrome noise digits --json
"""


def noise(
    board: BoardArgument = None,
    *,
    objective: ObjectiveOption = None,
    cohort: Annotated[
        str | None, typer.Option(metavar="ID", help="Values of these conditions instead of the newest ones.")
    ] = None,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Show by how much a board's results differ although nothing changed, and the smallest change that it can see.

    An A/A comparison compares an entry with itself: under two names in one job, or in two jobs under the same
    conditions with the same code. A test that calls 5 % of these different does what it promises.

    The spread over seeds is that of one job. The spread between jobs is what a node, a temperature or other load adds
    to it. More seeds help against the first one only.

    To learn more about a board's noise, race the same file again with `velodrome run FILE --fresh`, or write an entry a
    second time under another name. docs/statistics.md explains the words.
    """
    from velodrome.board.noise import read_noise
    from velodrome.cli.connection import results_store

    with results_store(redis) as store:
        chosen = chosen_board(store, board)
        found = read_noise(store, chosen, chosen_objectives(store, chosen, objective), cohort)
    if cohort is not None:
        found = tuple(one for one in found if one.cohort_id == cohort)
        if not found:
            said = f"{chosen} has no values in cohort {cohort!r}; `velodrome results --cohorts` lists what there is"
            raise typer.BadParameter(line(said), param_hint="--cohort")
    if json:
        write_json({"board": chosen, "objectives": [_document(one) for one in found]})
    else:
        _print(chosen, found)


def _print(board: str, found: tuple[ObjectiveNoise, ...]) -> None:
    from velodrome.board.noise_words import called, estimate, sentences, visible
    from velodrome.cli.console import output, table

    console = output()
    console.print(f"noise floor of board {line(board)}", style="bold", markup=False)
    seeds = next((one.smallest for one in found if one.smallest), ())
    numbers = " and ".join(str(one.seeds) for one in seeds)
    smallest = f"smallest seen with {numbers} seeds: in a job" if seeds else "smallest seen: in a job"
    tested = ("called different: one job", "two jobs")
    shown = table("objective", "over seeds", "between jobs", *tested, smallest, "job to job")
    for one in found:
        tests = called(one.in_job.tested.called), called(one.job_to_job.tested.called)
        spread = estimate(one, one.over_seeds), estimate(one, one.between_jobs)
        seen = visible(one, "in_job"), visible(one, "job_to_job")
        shown.add_row(line(one.objective.name), *spread, *tests, *seen)
    console.print(shown)
    for one in found:
        console.print(f"\n{line(one.objective.name)}", style="bold", markup=False, end="")
        console.print(f"  {one.key.label}, {one.key.metric.direction} is better", markup=False)
        for sentence in sentences(one):
            console.print(f"  {line(sentence)}", markup=False, soft_wrap=True)
        if one.cohort is not None:
            console.print(f"  Holds for: {line(one.cohort)}", markup=False, style="dim", soft_wrap=True)


def _document(noise: ObjectiveNoise) -> dict[str, Any]:
    """For programs: differences are shares of the earlier value (relative) or in the metric's unit (points)."""
    from dataclasses import asdict

    from velodrome.board.noise_words import sentences

    metric = noise.key.metric
    return {
        "name": noise.objective.name,
        "metric": str(noise.key),
        "unit": metric.unit,
        "direction": metric.direction,
        "scale": noise.scale,
        "cohort": noise.cohort_id,
        "over_seeds": _estimate(noise, noise.over_seeds),
        "between_jobs": _estimate(noise, noise.between_jobs),
        "in_job": _kind(noise, noise.in_job),
        "job_to_job": _kind(noise, noise.job_to_job),
        "alpha": noise.alpha,
        "regression_alpha": noise.regression_alpha,
        "smallest": [
            {name: value if name == "seeds" else _figure(noise, value) for name, value in asdict(one).items()}
            for one in noise.smallest
        ],
        "least": _figure(noise, noise.least),
        "left_out": {name: getattr(noise.measured, name) for name in ("copied", "accepted", "not_positive")},
        "sentences": list(sentences(noise)),
    }


def _kind(noise: ObjectiveNoise, found: NoiseComparison) -> dict[str, Any]:
    from dataclasses import asdict

    tested = found.tested
    return {
        "typical": _estimate(noise, tested.typical),
        "called": None if tested.called is None else asdict(tested.called),
        "same_values": tested.same,
        "comparisons": [
            {
                "entry": pair.second.entry,
                "job_uid": pair.second.job_uid,
                "other_entry": pair.first.entry,
                "other_job_uid": pair.first.job_uid,
                "difference": _figure(noise, one.value),
                "p_value": one.p_value,
            }
            for pair, one in zip(found.pairs, tested.each, strict=True)
        ],
    }


def _estimate(noise: ObjectiveNoise, found: Estimate | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {name: _figure(noise, getattr(found, name)) for name in ("value", "low", "high")}


def _figure(noise: ObjectiveNoise, value: float | None) -> float | None:
    from velodrome.stats.noise import shown

    return None if value is None else shown(value, noise.scale)
