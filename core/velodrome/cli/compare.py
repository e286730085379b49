"""`compare`: two to eight entries of a board, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from velodrome.cli import completion
from velodrome.cli.console import say, write_json
from velodrome.cli.options import BoardAlways, Json, ObjectiveOption, RedisUrl
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.board.comparing import ComparedEntries, ComparedObjective

EXAMPLES = """\
  velodrome compare digits cnn mlp
  velodrome compare digits cnn mlp lstm --objective accuracy
  velodrome compare digits cnn mlp --json
"""


def compare(
    board: BoardAlways,
    entries: Annotated[
        list[str],
        typer.Argument(metavar="ENTRY ENTRY…", help="Two to eight entries of it.", autocompletion=completion.entries),
    ],
    objective: ObjectiveOption = None,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Compare entries: by how much they differ, in which parameters, and in which environment.

    Differences are seed by seed where the seeds are the same. The tests are those of the ranking, with a correction
    for all pairs of the board, and each interval is at the level that this leaves to its pair. So an interval
    without 0 and a significant difference are the same.
    """
    from velodrome.board.comparing import read_comparison
    from velodrome.cli.connection import results_store
    from velodrome.cli.lookup import chosen_board, chosen_objectives
    from velodrome.errors import NotThere

    with results_store(redis) as store:
        chosen = chosen_board(store, board)
        objectives = chosen_objectives(store, chosen, objective)
        try:
            found = read_comparison(store, chosen, entries, objectives)
        except NotThere as error:
            raise typer.BadParameter(line(str(error)), param_hint="ENTRY") from error
    if json:
        from velodrome.board.comparison_document import comparison_document

        write_json(comparison_document(found).model_dump(mode="json"))
        return
    _print(found)


def _print(found: ComparedEntries) -> None:
    from velodrome.cli.console import output, table

    console = output()
    for one in found.objectives:
        say(f"\n{line(one.reading.objective.name)}  {one.reading.ranking.key.label}")
        _print_objective(one)
    names = [one.entry for one in found.entries]
    if found.settings:
        say("\nParameters that differ")
        shown = table("parameter", *names)
        for name in found.settings:
            shown.add_row(name, *(_setting(one.settings.get(name)) for one in found.entries))
        console.print(shown)
    if found.environments:
        say("\nEnvironments that differ")
        shown = table("fact", *names)
        for fact, values in found.environments:
            shown.add_row(fact, *values)
        console.print(shown)


def _print_objective(one: ComparedObjective) -> None:
    from velodrome.board.comparing import difference_words, verdict_words
    from velodrome.cli.console import output, table
    from velodrome.ranking.places import RankedRow
    from velodrome.units import column_scale

    ranking = one.reading.ranking
    ranked = [row for row in one.rows.values() if isinstance(row, RankedRow)]
    scale = column_scale(ranking.unit, [row.interval for row in ranked])
    values = table("rank", "entry", "mean", "n")
    for name, row in one.rows.items():
        if isinstance(row, RankedRow):
            values.add_row(row.place, name, scale.interval(row.interval), str(row.interval.n))
        else:
            values.add_row("–", name, f"not ranked: {row.reason}", str(len(row.samples)))
    output().print(values)
    if one.pairs:
        pairs = table("pair", "difference (interval)", "the tests say", "n")
        for pair in one.pairs:
            words = difference_words(pair, ranking.unit)
            pairs.add_row(f"{pair.a} − {pair.b}", words, verdict_words(pair), str(pair.n))
        output().print(pairs)


def _setting(value: float | str | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else value
