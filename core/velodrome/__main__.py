"""The command line's entry point: `velodrome`, or `python -m velodrome`."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from velodrome.errors import OutputLost, VelodromeError

if TYPE_CHECKING:
    from types import TracebackType


def kubectl() -> None:
    """The same command as a plugin. For `kubectl velodrome …`, kubectl runs `kubectl-velodrome` from PATH."""
    main("kubectl velodrome")


def main(name: str = "velodrome") -> None:
    """Runs the command line and ends the process with the exit code that its help documents."""
    from velodrome.cli.app import app
    from velodrome.cli.outlet import open_outlets

    open_outlets()
    sys.excepthook = _reported
    try:
        app(prog_name=name)
    except VelodromeError as error:
        _end(_explained(error))
    except SystemExit as end:
        _end(end.code)


def _explained(error: VelodromeError) -> int:
    from velodrome.cli.console import complain
    from velodrome.cli.exit_codes import READER_GONE, exit_code

    code = exit_code(error)
    if code != READER_GONE:  # nobody reads the output any more: say nothing, as other commands do
        complain(f"velodrome: {error}")
        _for_programs(error, code)
    return code


def _for_programs(error: VelodromeError, code: int) -> None:
    """Writes the error as the last line of a command with `--json`, so that a program need not read sentences."""
    if "--json" not in sys.argv[1:] or isinstance(error, OutputLost):
        return
    from velodrome.cli.console import write_json_line
    from velodrome.cli.json_errors import error_document

    with suppress(OSError):
        write_json_line(error_document(error, code))


def _end(code: int | str | None) -> NoReturn:
    """Writes the rest of the output, then ends the process."""
    from velodrome.cli.exit_codes import OK, UNWRITABLE, final_code
    from velodrome.cli.outlet import lost_output

    code = OK if code is None else code
    lost = lost_output()
    if not isinstance(code, int) or lost is None:
        sys.exit(code)
    final = final_code(code, lost)
    if final == UNWRITABLE != code:
        _explained(OutputLost(lost))
    sys.exit(final)


def _reported(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Shows the traceback of a defect as safe text, because it may quote what a stranger wrote."""
    from traceback import format_exception

    from velodrome.cli.console import complain

    complain("".join(format_exception(kind, error, trace)).rstrip())


if __name__ == "__main__":
    main()
