"""`search`: how far the search of a job is, what it found, and what its winners gave when they ran again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome.cli import completion
from velodrome.cli.console import write_json
from velodrome.cli.lookup import found_job
from velodrome.cli.options import Json, RedisUrl
from velodrome.text import counted, line

if TYPE_CHECKING:
    from velodrome.board.searches import EntrySearch, SearchReading

EXAMPLES = """\
  velodrome search
  velodrome search digits-search
  velodrome search digits-search --json
"""


def search(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="[JOB]", help="A job, by name or uid; the newest if absent.", autocompletion=completion.jobs
        ),
    ] = None,
    *,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Show the search of a job: trials spent, the best setting so far, and what it gave when it ran again.

    `selected` is the best value on validation data, of many that were tried: it is too good, because luck is part of
    it. `confirmed` is the mean of the same metric over the trials that ran again on fresh seeds. The gap is how much
    better the selected value had looked. Only confirming trials rank, on the test split.
    """
    from velodrome.board.searches import read_search
    from velodrome.cli.connection import results_store

    with results_store(redis) as store:
        found = read_search(store, found_job(store, job))
    if found is None:
        raise typer.BadParameter("it has no spec.search: `velodrome jobs` lists what has been raced", param_hint="JOB")
    if json:
        write_json(_document(found))
    else:
        _print(found)


_LAST_STEPS = 6


def _print(found: SearchReading) -> None:
    from velodrome.cli.console import output, table
    from velodrome.search.sentences import spent_words, value_words, values_words

    console = output()
    first = found.keys[0]
    console.print(f"{line(found.name)}: searched by {first.label}, {first.metric.direction} is better", markup=False)
    shown = table(
        "entry", "trials", "selected", "confirmed", "gap", "best setting", numbers=frozenset({"trials", *_VALUES})
    )
    for one in found.entries:
        trials = f"{one.spent.trials} of {found.most}" if one.tuned else "untuned"
        setting = values_words(one.values) if one.tuned else "as it is written"
        numbers = [value_words(first, value) if value is not None else "–" for value in _numbers(one)]
        shown.add_row(line(one.entry), trials, *numbers, line(setting))
    console.print(shown)
    for one in found.entries:
        if one.tuned:
            console.print(f"\n{line(one.entry)}: {spent_words(one.spent)}", markup=False, soft_wrap=True)
            for text in _more(found, one):
                console.print(f"  {line(text)}", markup=False, soft_wrap=True)
    if any(not one.tuned for one in found.entries):
        console.print(
            "\nAn untuned entry beside tuned ones has had no such chance: compare them with care", markup=False
        )


_VALUES = ("selected", "confirmed", "gap")


def _numbers(one: EntrySearch) -> list[float | None]:
    return [getattr(one, name) for name in _VALUES]


def _more(found: SearchReading, one: EntrySearch) -> list[str]:
    from velodrome.search.sentences import value_words

    first, said = found.keys[0], []
    better = one.course[-_LAST_STEPS:]
    if better:
        steps = ", ".join(f"{value_words(first, value)} after {trials}" for trials, value in better)
        skipped = "…, " if len(better) < len(one.course) else ""
        said.append(f"best so far: {skipped}{steps} of {counted(one.spent.trials, 'trial')}")
    half = len(one.reference) // 2
    if half:
        expected = value_words(first, one.reference[half - 1])
        said.append(f"random search would be expected at {expected} after {counted(half, 'trial')}")
    if one.confirmed is not None:
        said.append(f"confirmed by {counted(one.confirming, 'trial')} on fresh seeds")
    said += [f"{count} failed with {reason}" for reason, count in one.spent.reasons.items()]
    if one.front:
        said.append(f"no other trial beats these in all objectives: {', '.join(map(str, one.front))}")
    if one.ended:
        said.append(f"it ended: {one.ended}")
    return said


def _document(found: SearchReading) -> dict[str, Any]:
    """For programs: values are in the metric's unit."""
    from dataclasses import asdict

    return {
        "job": found.name,
        "job_uid": found.uid,
        "objectives": [str(key) for key in found.keys],
        "directions": [key.metric.direction for key in found.keys],
        "max_trials": found.most,
        "over": found.over,
        "entries": [
            {**asdict(one), "spent": one.spent.model_dump(mode="json"), "values": dict(one.values), "gap": one.gap}
            for one in found.entries
        ],
    }
