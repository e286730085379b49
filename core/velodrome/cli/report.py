"""`report`: a board as one HTML file that stands alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from velodrome.cli.console import complain, write_json
from velodrome.cli.options import BoardArgument, Json, ObjectiveOption, RedisUrl

EXAMPLES = """\
  velodrome report digits -o digits.html
  velodrome report digits --objective accuracy -o accuracy.html
"""


def report(
    board: BoardArgument = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the HTML file.")],
    objective: ObjectiveOption = None,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Write a board into one HTML file: plots, tables, the method in words, and how to reproduce it.

    The file stands alone. It loads nothing from elsewhere and runs no script, so it can be mailed and kept.
    """
    from datetime import UTC, datetime

    from velodrome.board.report import read_report, report_html
    from velodrome.cli.connection import results_store
    from velodrome.cli.lookup import chosen_board, chosen_objectives
    from velodrome.errors import LocalError

    with results_store(redis) as store:
        chosen = chosen_board(store, board)
        found = read_report(store, chosen, chosen_objectives(store, chosen, objective))
    text = report_html(found, datetime.now(UTC))
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LocalError(f"{output} can't be written: {error.strerror or error}") from error
    if json:
        write_json({"board": chosen, "file": str(output), "bytes": len(text.encode())})
    complain(f"wrote {output}: {len(text.encode()) / 1000:,.0f} kB")
