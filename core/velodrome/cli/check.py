"""`validate` and `plan`: what a file says. Neither command runs a trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome.cli.console import complain, say, write_json_line
from velodrome.cli.exit_codes import BAD_INPUT
from velodrome.cli.options import DataFolder, JobFile, Json, RedisUrl
from velodrome.cli.sight import Detect
from velodrome.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from velodrome.plan import Plan, TrialConfig


VALIDATE_EXAMPLES = """\
  velodrome validate deploy/examples/*.yaml
  velodrome validate --deep job.yaml --data ~/datasets
"""
PLAN_EXAMPLES = """\
  velodrome plan deploy/examples/digits.yaml
  velodrome plan job.yaml --detect accuracy=0.005   how many seeds half a point needs
  velodrome plan job.yaml --json | jq .trials[0]
"""

_OFF = "null turns this off for the entry; kubectl apply would drop it, kubectl create and apply --server-side keep it"


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files; - for standard input.")],
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also read the data, build each model and make one step, and look for each program."
        ),
    ] = False,
    data: DataFolder = None,
    json: Json = False,
) -> None:
    """Check BenchmarkJobs and report everything that is wrong, with line numbers."""
    from velodrome.cli.deep import rehearse
    from velodrome.cli.files import plans_in
    from velodrome.errors import SpecError
    from velodrome.spec.nulls import turned_off
    from velodrome.spec.wording import dotted

    if json:
        if deep:
            raise typer.BadParameter("choose one of --json and --deep")
        _validate_for_programs(files)
        return
    wrong = False
    for path in files:
        try:
            plans = plans_in(path)
        except SpecError as error:
            wrong = True
            complain(str(error))
        else:
            for plan in plans:
                say(f"{path}: {plan.job.metadata.name} is valid, {trials_text(plan)}")
                for location in turned_off(plan.job):
                    say(f"  {dotted(location)}: {_OFF}")
                if deep:
                    wrong = not rehearse(plan, data) or wrong
    if wrong:
        raise typer.Exit(BAD_INPUT)


def _validate_for_programs(files: Iterable[Path]) -> None:
    """One line of JSON a file: its jobs, or all of its problems."""
    from velodrome.cli.files import plans_in
    from velodrome.cli.json_errors import problems_of
    from velodrome.errors import SpecError

    wrong = False
    for path in files:
        jobs: list[dict[str, Any]] = []
        problems: list[dict[str, Any]] = []
        try:
            jobs = [{"name": plan.job.metadata.name, "trials": len(plan)} for plan in plans_in(path)]
        except SpecError as error:
            problems = problems_of(error.problems)
        wrong = wrong or bool(problems)
        write_json_line({"file": str(path), "valid": not problems, "jobs": jobs, "problems": problems})
    if wrong:
        raise typer.Exit(BAD_INPUT)


def plan(file: JobFile, detect: Detect = None, json: Json = False, redis: RedisUrl = None) -> None:
    """Show what would run, and what it can see: every entry with its resolved parameters, how many trials, their seeds,
    and the smallest difference that these seeds tell apart.

    How much seeds differ comes from the earlier jobs of the board, where their results can be read.
    """
    from velodrome.board.foresight import foresee, sentences
    from velodrome.cli.files import plans_in
    from velodrome.cli.sight import known_noises, sight_document, wanted_of

    plans = plans_in(file)
    wanted = [wanted_of(made, detect or ()) for made in plans]
    noises, left_out = known_noises(plans, redis)
    sights = [foresee(*known) for known in zip(plans, noises, wanted, strict=True)]
    if json:
        for made, sight in zip(plans, sights, strict=True):
            write_json_line(plan_document(made) | {"sees": sight_document(sight, left_out)})
        return
    from velodrome.cli.console import output

    console = output()
    for made, sight in zip(plans, sights, strict=True):
        for line in (*headlines(made), *labelled("sees", sentences(sight))):
            console.paragraph(line, 15)
        console.print(entries_table(made))
    if left_out is not None:
        complain(f"The history of the board was left out: {left_out}")


def labelled(label: str, lines: Sequence[str]) -> list[str]:
    """Lines below the headline, with the label before the first of them."""
    return [f"  {name:12} {text}" for name, text in zip([label, *[""] * len(lines)], lines, strict=False)]


def trials_text(plan: Plan) -> str:
    """`5 entries × 5 repeats = 25 trials, seeds 0 to 4`; of a race until decided, the least and the most of each."""
    entries, trials = len(plan.configs), plan.job.spec.trials
    last = trials.base_seed + trials.most - 1
    if trials.until is not None:
        count = f"{counted(entries, 'entry', 'entries')} × {trials.repeats} to {trials.most} repeats"
        least = f"{entries * trials.repeats:,} to {counted(len(plan), 'trial')}"
        until = f"until {', '.join(trials.until.decided)} is decided"
        return f"{count} = {least}, seeds {trials.base_seed} to {last} at most, {until}"
    seeds = f"seed {last}" if trials.repeats == 1 else f"seeds {trials.base_seed} to {last}"
    count = f"{counted(entries, 'entry', 'entries')} × {trials.repeats} = {counted(len(plan), 'trial')}"
    return f"{count}, {seeds} for each entry"


def headlines(plan: Plan) -> list[str]:
    """What all entries share, one fact a line."""
    from velodrome.plan import objective_keys

    spec = plan.job.spec
    target = spec.budget.target
    budget = [f"{counted(spec.budget.max_epochs, 'epoch')} at most"]
    if spec.budget.max_steps is not None:
        budget.append(f"{spec.budget.max_steps:,} steps at most")
    if spec.budget.max_seconds is not None:
        budget.append(f"{spec.budget.max_seconds:g} s of training at most")
    if target is not None:
        budget.append(f"time to {target.metric} {target.value:g} is recorded")
    preprocessing = [] if spec.preprocessing.log_mel is None else [f"{spec.preprocessing.log_mel.bins} log-mel bands"]
    preprocessing += ["normalised"] if spec.preprocessing.normalize else []
    preprocessing += [augmentation.name for augmentation in spec.preprocessing.augmentations]
    if spec.preprocessing.feature_selection is not None:
        preprocessing.append(spec.preprocessing.feature_selection.method)
    objectives = (f"{name} ({key.label})" for name, key in objective_keys(plan.job).items())
    return [
        f"{plan.job.metadata.name}: {trials_text(plan)}",
        f"  board        {plan.job.board}",
        f"  data         {spec.dataset.name}{', ' if preprocessing else ''}{', '.join(preprocessing)}",
        f"  budget       {', '.join(budget)}",
        f"  objectives   {', '.join(objectives)}",
        "  order        repeat 0 of every entry, then repeat 1 of every entry, and so on",
    ]


def entries_table(plan: Plan) -> Table:
    """A table of what each entry trains, and how."""
    from velodrome.cli.console import table

    shown = table("entry", "model", "batch", "optimizer", "schedule", "regularization", "early stopping")
    for name, config in plan.configs.items():
        shown.add_row(name, *_cells(config))
    return shown


def plan_document(plan: Plan) -> dict[str, Any]:
    """What `plan --json` writes about one job."""
    return {
        "job": plan.job.metadata.name,
        "board": plan.job.board,
        "entries": {
            name: config.model_dump(mode="json", by_alias=True, exclude_none=True)
            for name, config in plan.configs.items()
        },
        "trials": [
            {"index": trial.index, "entry": trial.entry, "repeat": trial.repeat, "seed": trial.seed, "id": trial.id}
            for trial in plan.trials
        ],
    }


def _cells(config: TrialConfig) -> list[str]:
    training = config.training
    optimizer, schedule, stopping = training.optimizer, training.schedule, training.early_stopping
    regularization = training.regularization.model_dump(by_alias=False)
    return [
        ", ".join([_program(config), *(_step(*step) for step in config.optimized.items())]),
        str(training.batch_size),
        _named(optimizer.name, optimizer.model_dump(exclude={"name"}, exclude_none=True)),
        _named(schedule.name, schedule.model_dump(exclude={"name"}, exclude_none=True)),
        ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in regularization.items() if value)
        or "none",
        f"{stopping.metric}, patience {stopping.patience}" if stopping else "none",
    ]


def _program(config: TrialConfig) -> str:
    return _call(config.model.name, config.model.args) if config.model else " ".join(config.command or ())


def _step(kind: str, setting: Any) -> str:
    """A step of `optimize`, such as `prune 0.5` or `compile`."""
    if setting is True:
        return kind
    return f"{kind} {', '.join(map(str, setting.values())) if isinstance(setting, dict) else setting}"


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _call(name: str, args: Any) -> str:
    return name + (f"({', '.join(f'{key}={value}' for key, value in args.items())})" if args else "")


def _named(name: str, values: dict[str, Any]) -> str:
    words = [f"{_SHORT.get(key, key)} {value}" for key, value in values.items()]
    return f"{name}{' ' if words else ''}{', '.join(words)}"


_SHORT = {"learningRate": "lr"}
