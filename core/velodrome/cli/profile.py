"""`profile`: one model over several boards, by a declared score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome.cli import completion
from velodrome.cli.console import write_json
from velodrome.cli.options import Json, RedisUrl
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.board.declaration import Declaration
    from velodrome.board.profile import Profile
    from velodrome.store import Reader

EXAMPLES = """\
  velodrome profile cnn --boards digits,fashion-mnist
  velodrome profile cnn --boards digits,fashion-mnist --objective speed --reference mlp
  velodrome profile velodrome/cnn --declared profile.yaml --json

\b
A file for --declared, with the values of each board that get the scores 0 and 1:
  objective: speed
  boards:
  - {name: digits, worst: 0.01, best: 0.0001}
  - {name: fashion-mnist, worst: 0.02, best: 0.0002}
"""
_LEVELS_SHOWN = 5


def profile(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|ENTRY",
            help="An entry by its name, or by its model if no other has that.",
            autocompletion=completion.entries,
        ),
    ],
    *,
    boards: Annotated[str | None, typer.Option(metavar="A,B,C", help="The boards that count, between commas.")] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What counts, by its name or metric key [default: accuracy].",
            autocompletion=completion.objectives,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="ENTRY",
            help="Scores are relative to this entry's mean on the same board.",
            autocompletion=completion.entries,
        ),
    ] = None,
    declared: Annotated[
        Path | None,
        typer.Option("--declared", metavar="FILE", help="YAML with boards, objective and how values become scores."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENTRY", help="Compare with this entry; may be repeated.", autocompletion=completion.entries
        ),
    ] = None,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Show one model over several boards: the interquartile mean of its scores, and how likely it beats others.

    A score makes values of different boards comparable. Without more words it is the value itself, such as an accuracy.
    With --reference it is relative to one entry's mean on the same board. A file can declare the worst and the best
    value of each board, which get the scores 0 and 1.

    The interquartile mean is the mean of the middle half of all runs. Its 95 % interval comes from drawing the runs of
    each board again and again (a stratified bootstrap with a fixed seed). If a board has no values of the model, the
    output says so, and the profile is incomplete. docs/statistics.md explains the words.
    """
    from velodrome.board.choosing import typed
    from velodrome.board.profile import read_profile
    from velodrome.cli.connection import results_store

    declaration = _declaration(boards, objective, reference, declared)
    with results_store(redis) as store:
        _require_boards(store, declaration)
        try:
            found = read_profile(store, typed(model), declaration, [typed(name) for name in against or ()])
        except ValueError as error:
            raise typer.BadParameter(line(error), param_hint="--objective") from error
    if json:
        write_json(_document(found))
    else:
        _print(found)


def _declaration(boards: str | None, objective: str | None, reference: str | None, file: Path | None) -> Declaration:
    from pydantic import ValidationError

    from velodrome.board.choosing import typed
    from velodrome.board.declaration import Declaration, read_declaration

    if (boards is None) == (file is None):
        raise typer.BadParameter("give one of --boards and --declared: they say which boards count")
    if file is not None:
        if objective is not None or reference is not None:
            raise typer.BadParameter("the file says this; change it there", param_hint="--declared")
        try:
            text = file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(line(f"{file} can't be read: {error}"), param_hint="--declared") from error
        return read_declaration(text, str(file))
    names = [typed(name.strip()) for name in (boards or "").split(",") if name.strip()]
    given = {"boards": names, "reference": None if reference is None else typed(reference)}
    try:
        return Declaration.model_validate(given if objective is None else {**given, "objective": typed(objective)})
    except ValidationError as error:
        said = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
        raise typer.BadParameter(line(said), param_hint="--boards") from error


def _require_boards(store: Reader, declaration: Declaration) -> None:
    from velodrome.cli.lookup import chosen_board

    for board in declaration.boards:
        chosen_board(store, board.name)


def _print(found: Profile) -> None:
    from velodrome.cli.console import output, table

    console = output()
    key, boards = found.key, list(found.boards)
    console.print(f"profile of {line(found.model)}", style="bold", markup=False, end="")
    console.print(
        f"  {key.label if key else line(found.declaration.objective)} on {line(', '.join(boards)) or 'no board'}"
    )
    if found.gaps:
        console.print("  INCOMPLETE", style="bold", markup=False)
    for sentence in (*found.gaps, *found.findings):
        console.print(f"  {line(sentence)}", markup=False, soft_wrap=True)
    if key is None:
        return
    shown = table("entry", "interquartile mean", "95 % interval", "runs", "model is better with probability", "95 %")
    for one in found.entries:
        chance = ("", "") if one.improvement is None else _bounded(one.improvement)
        shown.add_row(line(one.entry), *_bounded(one.mean), " + ".join(map(str, one.runs)), *chance)
    console.print(shown)
    places = [round(place * (len(found.levels) - 1) / (_LEVELS_SHOWN + 1)) for place in range(1, _LEVELS_SHOWN + 1)]
    levels = table("share of runs above", *(f"{found.levels[place]:.4g}" for place in places))
    for one in found.entries:
        levels.add_row(line(one.entry), *(f"{100 * one.shares[place].value:.0f} %" for place in places))
    console.print(levels)
    for name, words in found.boards.items():
        console.print(f"  {line(name)} holds for: {line(words)}", markup=False, style="dim", soft_wrap=True)


def _bounded(one: Any) -> tuple[str, str]:
    return f"{one.value:.4g}", f"{one.low:.4g} to {one.high:.4g}"


def _document(found: Profile) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": found.model,
        "declaration": found.declaration.model_dump(mode="json"),
        "metric": None if found.key is None else str(found.key),
        "score": found.score,
        "complete": found.complete,
        "boards": dict(found.boards),
        "missing": dict(found.missing),
        "levels": list(found.levels),
        "entries": [{**asdict(one), "runs": dict(zip(found.boards, one.runs, strict=True))} for one in found.entries],
        "left_out": dict(found.left_out),
        "more": found.more,
        "sentences": [*found.gaps, *found.findings],
    }
