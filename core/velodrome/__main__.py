"""The command line's entry point: `velodrome`, or `python -m velodrome`."""

from __future__ import annotations

import sys

from velodrome.errors import VelodromeError


def kubectl() -> None:
    """The same as a plugin: kubectl finds `kubectl-velodrome` on PATH and runs it for `kubectl velodrome …`."""
    main("kubectl velodrome")


def main(name: str = "velodrome") -> None:
    """Runs the command line and ends the process with the exit code that its help documents."""
    from velodrome.cli.app import app

    try:
        app(prog_name=name)
    except VelodromeError as error:
        from velodrome.cli.ending import exit_code

        print(f"velodrome: {error}", file=sys.stderr)  # noqa: T201 -- this is what standard error is for
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
