"""The velodrome command: its options, its commands and its help."""

from __future__ import annotations

import sys
from io import StringIO
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from velodrome import __version__
from velodrome.cli import (
    backup,
    baseline,
    board,
    check,
    compare,
    data,
    delete,
    doctor,
    hide,
    noise,
    pairs,
    pin,
    preflight,
    profile,
    race,
    report,
    rotate,
    search,
    serve,
    start,
    transfer,
    trial,
)
from velodrome.cli.cluster import commands as cluster
from velodrome.cli.console import complain, say
from velodrome.cli.exit_codes import EXIT_CODES, FAILED, OK

_CODES = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())

HELP = """\
Race deep-learning models under one set of rules, and see which is best at what.

\b
  velodrome doctor                      what this machine has, and what it lacks
  velodrome init                        write a job.yaml to start from
  velodrome validate job.yaml           is it right?
  velodrome plan job.yaml               what would run
  velodrome run job.yaml --serve        race, and watch the leaderboard in a browser
  velodrome results                     who is best, by how much
  velodrome regressions                 what got worse since the last time
  velodrome show digits/cnn/0           one trial: curves, metrics, or why it failed

Results stay on this machine, in a Redis that Velodrome starts and stops by itself; VELODROME_HOME names another
folder for it, --redis another server.
"""

EPILOG = f"""\
\b
Exit codes:
{_CODES}
"""

# What people look for as an option, and the field that has it.
_IN_THE_FILE = {
    "--batch-size": "spec.training.batchSize",
    "--board": "spec.board",
    "--dataset": "spec.dataset",
    "--epochs": "spec.budget.maxEpochs",
    "--learning-rate": "spec.training.optimizer.learningRate",
    "--lr": "spec.training.optimizer.learningRate",
    "--model": "spec.entries",
    "--repeats": "spec.trials.repeats",
    "--seeds": "spec.trials.repeats",
}

# Help is plain text: rich takes longer to render it than everything else that `velodrome --help` does.


class Commands(TyperGroup):
    """The group of commands. It shows usage errors in the same way as all other errors."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """As typer's."""
        inner = {**options, "standalone_mode": False}
        if not options.get("standalone_mode", True):
            return super().main(*arguments, **inner)
        try:
            code = super().main(*arguments, **inner)
        except typer.Abort:
            complain("Aborted!")
            _tell_programs(options, None, FAILED)
            sys.exit(FAILED)
        except Exception as error:
            # typer does not export the class of its usage errors. An error with `show` and an exit code is one of them.
            if not hasattr(error, "show") or not hasattr(error, "exit_code"):
                raise
            self._place(error)
            shown = StringIO()
            error.show(shown)
            complain(shown.getvalue().rstrip("\n"))
            _tell_programs(options, error, error.exit_code)
            sys.exit(error.exit_code)
        sys.exit(code if isinstance(code, int) else OK)

    def _place(self, error: Any) -> None:
        """Tells where an option belongs that stands before its command, or whose value stands in the file."""
        name, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
        if name is None or context is None:
            return
        if context.command is not self:
            if context.command.name in ("run", "plan", "validate") and name in _IN_THE_FILE:
                error.possibilities = None
                error.message = (
                    f"{name} is no option: write {_IN_THE_FILE[name]} in the file, because it is part of the race"
                )
        elif any(name in option.opts for command in self.commands.values() for option in command.params):
            error.possibilities = None
            error.message = f"{name} is an option of a command, and stands behind its name: velodrome COMMAND {name}"


def _tell_programs(options: dict[str, Any], error: Exception | None, code: int) -> None:
    """Writes a mistake in the command as the last line of a command with `--json`; without an error, a person's no."""
    if "--json" not in (options.get("args") or sys.argv[1:]):
        return
    from velodrome.cli.console import write_json_line
    from velodrome.cli.json_errors import error_document, usage_document
    from velodrome.errors import NotThere

    cause = error.__cause__ if error is not None else None
    if isinstance(cause, NotThere):
        write_json_line(error_document(cause, code))
        return
    hint = getattr(error, "param_hint", None) or getattr(error, "option_name", None)
    said = getattr(error, "message", None) or getattr(error, "format_message", lambda: "the person said no")()
    reason = "Aborted" if error is None else "Usage"
    write_json_line(usage_document(reason, str(said), hint if isinstance(hint, str) else None, code))


app = typer.Typer(
    cls=Commands,
    name="velodrome",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"velodrome {__version__}")
        raise typer.Exit


@app.callback(help=HELP, epilog=EPILOG)
def velodrome(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The options of the command itself; its help is `HELP`."""


# Each command with its line in the list of commands, and its examples.
COMMANDS = (
    (start.init, "Write a commented BenchmarkJob to start from.", start.INIT_EXAMPLES),
    (start.example, "Print a shipped example, or list them.", start.EXAMPLE_EXAMPLES),
    (start.schema, "Print the JSON schema of a BenchmarkJob.", start.SCHEMA_EXAMPLES),
    (race.run, "Race the BenchmarkJobs of a file on this machine.", race.EXAMPLES),
    (check.validate, "Check BenchmarkJobs; report all that is wrong, by line.", check.VALIDATE_EXAMPLES),
    (check.plan, "Show what would run: entries, parameters, trials, seeds.", check.PLAN_EXAMPLES),
    (preflight.check, "Check a file, and what a cluster lacks for its jobs.", preflight.EXAMPLES),
    (pin.pin, "Write the digests of a file's images into it.", pin.EXAMPLES),
    (board.results, "Show who is best at each objective, and by how much.", board.RESULTS_EXAMPLES),
    (compare.compare, "Compare two to eight entries, side by side.", compare.EXAMPLES),
    (pairs.pairs, "Compare two entries sample by sample.", pairs.EXAMPLES),
    (trial.show, "Show one trial: curves, metrics, or why it failed.", trial.EXAMPLES),
    (
        baseline.regressions,
        "Show what a job made worse, compared with those before.",
        baseline.REGRESSIONS_EXAMPLES,
    ),
    (report.report, "Write a board into one HTML file that stands alone.", report.EXAMPLES),
    (baseline.ack, "Accept a change: no alarm, and a new baseline.", baseline.ACK_EXAMPLES),
    (search.search, "Show a job's search: the best so far, and what was confirmed.", search.EXAMPLES),
    (hide.hide, "Let a run count as missing, with a reason.", hide.HIDE_EXAMPLES),
    (hide.unhide, "Let a hidden run count again.", hide.UNHIDE_EXAMPLES),
    (hide.marks, "Show who pinned, accepted or hid what, and when.", hide.MARKS_EXAMPLES),
    (noise.noise, "Show which changes a board can see, beyond chance.", noise.EXAMPLES),
    (profile.profile, "Show one model over several boards.", profile.EXAMPLES),
    (board.jobs, "List what has been raced.", board.JOBS_EXAMPLES),
    (serve.leaderboard, "Serve the leaderboard until Ctrl-C.", serve.EXAMPLES),
    (transfer.export, "Write jobs and results as JSON lines.", transfer.EXPORT_EXAMPLES),
    (transfer.import_, "Take jobs and results from JSON lines.", transfer.IMPORT_EXAMPLES),
    (backup.backup, "Write all results into one checked file, and keep the newest.", backup.BACKUP_EXAMPLES),
    (backup.restore, "Import a backup, if it is whole; or list and check all.", backup.RESTORE_EXAMPLES),
    (cluster.get, "On a cluster: list races, how far they are, who leads.", cluster.GET_EXAMPLES),
    (cluster.status, "On a cluster: a race's story, its values, what it waits for.", cluster.STATUS_EXAMPLES),
    (cluster.logs, "On a cluster: what trials wrote, by entry and repeat.", cluster.LOGS_EXAMPLES),
    (cluster.wait, "On a cluster: wait until a race has ended.", cluster.WAIT_EXAMPLES),
    (delete.delete, "Delete a job's, an entry's or a board's results, or a race.", delete.DELETE_EXAMPLES),
    (delete.prune, "Delete jobs that are past a number or an age.", delete.PRUNE_EXAMPLES),
    (rotate.rotate, "On a cluster: new passwords for Redis, while races go on.", rotate.EXAMPLES),
    (doctor.doctor, "Show what this machine has, what it lacks, and the fix.", doctor.EXAMPLES),
)
for command, short, examples in COMMANDS:
    app.command(command.__name__.rstrip("_"), short_help=short, epilog=f"\b\nExamples:\n{examples}")(command)
app.add_typer(baseline.baseline, name="baseline", short_help="Pin the results that later ones are compared with.")
app.add_typer(data.data, name="data", short_help="List data sets and formats; check and fetch a job's data.")
