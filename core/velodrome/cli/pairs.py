"""`pairs`: two entries of a board, compared sample by sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome.cli import completion
from velodrome.cli.console import say, write_json
from velodrome.cli.options import BoardAlways, Json, RedisUrl
from velodrome.text import line

if TYPE_CHECKING:
    from rich.table import Table

    from velodrome.board.pairing import PairedEntries, PairSide
    from velodrome.ranking.pairs import Pairing, SampleRow

EXAMPLES = """\
  velodrome pairs digits cnn mlp
  velodrome pairs nightly night-12/cnn night-13/cnn --samples 50
  velodrome pairs digits cnn mlp --by loss --json
"""

_FEW_CLASSES = 30  # of a table for people; JSON has all


def pairs(
    board: BoardAlways,
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="An entry, in its newest job; or JOB/ENTRY.", autocompletion=completion.entries
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(
            metavar="B", help="The entry to compare it with, in the same way.", autocompletion=completion.entries
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(
            metavar="MEASURE",
            help="accuracy (the default), or loss where losses were kept; in regression mae (the default) or mse.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(metavar="N", min=0, max=1000, help="Most samples to list.")] = 20,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Compare two entries sample by sample, and list the samples that B loses and A has.

    Three questions have different answers. Are these trained weights better, on other samples like these? Is the
    recipe better, trained with other seeds and tested on other samples? Is it better with other seeds on these same
    samples? A ranking answers the last one. The first needs one seed, the others two or more.

    Trials keep which test samples they got right, unless evaluation.keepSamples says otherwise. Both entries must
    have been tested on the same samples. Where samples come in groups (dataset.splits.group), other samples are of
    other groups. Exit code 0 says that the comparison was made, whatever it shows.
    """
    from velodrome.board.pairing import NotPaired, read_pairing
    from velodrome.cli.connection import results_store
    from velodrome.cli.lookup import chosen_board
    from velodrome.ranking.pairs import MEASURES

    measure = next((known for known in MEASURES if known == by), None)
    if by is not None and measure is None:
        raise typer.BadParameter(f"{line(by)} is no measure; use one of {', '.join(MEASURES)}", param_hint="--by")
    with results_store(redis) as store:
        chosen = chosen_board(store, board)
        try:
            found = read_pairing(store, chosen, a, b, measure)
        except NotPaired as error:
            raise typer.BadParameter(line(str(error)), param_hint="A B") from error
    if json:
        write_json(_document(chosen, found))
        return
    _print(chosen, found, samples)


def _print(board: str, found: PairedEntries, most: int) -> None:
    from velodrome.board.pairing import missing_words
    from velodrome.cli.console import output
    from velodrome.ranking.pairs import lost_words

    console, pairing = output(), found.pairing
    console.print(f"board {line(board)}: {line(found.a.title)} and {line(found.b.title)}", style="bold", markup=False)
    for text in _facts(found):
        say(line(text))
    for side in (found.a, found.b):
        if words := missing_words(side):
            say(line(words))
    for text in _answers(pairing):
        say(line(text))
    say(f"\nWhat {line(pairing.b)} loses that {line(pairing.a)} has")
    say(line(f"  {lost_words(pairing)}"))
    if pairing.lost and most:
        console.print(_samples(pairing, pairing.lost[:most]))
        if len(pairing.lost) > most:
            say(f"  and {len(pairing.lost) - most:,} more: --samples, --json")
    if pairing.classes:
        say("\nBy class")
        console.print(_classes(pairing))
        if len(pairing.classes) > _FEW_CLASSES:
            say(f"  the {_FEW_CLASSES} classes that differ most of {len(pairing.classes):,}: --json has all")


def _facts(found: PairedEntries) -> Iterator[str]:
    from velodrome.ranking.pairs import score
    from velodrome.text import counted

    pairing, answers = found.pairing, found.pairing.answers
    groups = "" if answers.groups is None else f" in {counted(answers.groups, 'group')}"
    yield f"{counted(answers.samples, 'test sample')}{groups}"
    for name, mean, seeds in (
        (pairing.a, pairing.mean_a, answers.seeds_a),
        (pairing.b, pairing.mean_b, answers.seeds_b),
    ):
        yield f"{pairing.measure} of {name}: {score(pairing, mean)}, {counted(len(seeds), 'seed')}"


def _answers(found: Pairing) -> Iterator[str]:
    from velodrome.ranking.pairs import question, verdict

    for answer in (found.answers.weights, found.answers.recipe, found.answers.test_set):
        yield f"{question(found, answer.question)}:"
        yield f"  {verdict(found, answer)}"


def _samples(found: Pairing, rows: tuple[SampleRow, ...]) -> Table:
    from velodrome.cli.console import table
    from velodrome.ranking.pairs import of_seeds

    columns = ("sample", *(("class",) if found.classes else ()), found.a, found.b)
    shown = table(*columns, numbers=frozenset({"sample", found.a, found.b}))
    for row in rows:
        of_a = of_seeds(found, row.a, len(found.answers.seeds_a))
        of_b = of_seeds(found, row.b, len(found.answers.seeds_b))
        shown.add_row(str(row.sample), *((row.label,) if found.classes else ()), of_a, of_b)
    return shown


def _classes(found: Pairing) -> Table:
    from velodrome.cli.console import table
    from velodrome.ranking.pairs import score

    columns = ("class", "samples", found.a, found.b, f"{found.a} better on", f"{found.b} better on")
    shown = table(*columns, numbers=frozenset(columns[1:]))
    rows = found.classes
    if len(rows) > _FEW_CLASSES:
        rows = tuple(sorted(rows, key=lambda row: -abs(row.a_better - row.b_better))[:_FEW_CLASSES])
    for row in rows:
        numbers = (score(found, row.a), score(found, row.b), str(row.a_better), str(row.b_better))
        shown.add_row(row.label, f"{row.samples:,}", *numbers)
    return shown


def _document(board: str, found: PairedEntries) -> dict[str, Any]:
    from velodrome.ranking.pairs import question, verdict

    pairing, answers = found.pairing, found.pairing.answers
    return {
        "board": board,
        "measure": pairing.measure,
        "a": _side(found.a, pairing.mean_a, answers.seeds_a),
        "b": _side(found.b, pairing.mean_b, answers.seeds_b),
        "samples": answers.samples,
        "groups": answers.groups,
        "paired_seeds": answers.paired,
        "answers": [
            {
                "question": answer.question,
                "words": question(pairing, answer.question),
                "difference": answer.difference,
                "low": answer.low,
                "high": answer.high,
                "p_value": answer.p_value,
                "verdict": verdict(pairing, answer),
            }
            for answer in (answers.weights, answers.recipe, answers.test_set)
        ],
        "lost": [_row(row) for row in pairing.lost],
        "gained": [_row(row) for row in pairing.gained],
        "equal": pairing.equal,
        "classes": [
            {
                "class": row.label,
                "samples": row.samples,
                "a": row.a,
                "b": row.b,
                "a_better": row.a_better,
                "b_better": row.b_better,
            }
            for row in pairing.classes
        ],
    }


def _side(side: PairSide, mean: float, seeds: tuple[int, ...]) -> dict[str, Any]:
    return {"entry": side.entry, "job": side.job.name, "job_uid": side.job.uid, "mean": mean, "seeds": list(seeds)}


def _row(row: SampleRow) -> dict[str, Any]:
    return {"sample": row.sample, "class": row.label, "a": row.a, "b": row.b}
