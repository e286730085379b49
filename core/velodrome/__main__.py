"""The command line's entry point: `velodrome`, or `python -m velodrome`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from velodrome.errors import VelodromeError

if TYPE_CHECKING:
    from types import TracebackType


def kubectl() -> None:
    """The same as a plugin: kubectl finds `kubectl-velodrome` on PATH and runs it for `kubectl velodrome …`."""
    main("kubectl velodrome")


def main(name: str = "velodrome") -> None:
    """Runs the command line and ends the process with the exit code that its help documents."""
    from velodrome.cli.app import app
    from velodrome.cli.console import complain, never_fail_on_a_character

    never_fail_on_a_character()
    sys.excepthook = _told
    try:
        app(prog_name=name)
    except VelodromeError as error:
        from velodrome.cli.ending import exit_code

        complain(f"velodrome: {error}")
        sys.exit(exit_code(error))


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A defect's traceback may quote what a stranger wrote."""
    from traceback import format_exception

    from velodrome.cli.console import complain

    complain("".join(format_exception(kind, error, trace)).rstrip())


if __name__ == "__main__":
    main()
