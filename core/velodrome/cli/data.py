"""`data`: the data sets and formats that a runner reads, and whether a job's data can be read here."""

from __future__ import annotations

import json as json_
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from velodrome import keys
from velodrome.cli.console import complain, say, write_json, write_json_line
from velodrome.cli.exit_codes import BAD_INPUT
from velodrome.cli.options import DataFolder, JobFile, Json
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.spec import BenchmarkJob

LIST_EXAMPLES = """\
  velodrome data list
  velodrome data list --json | jq .formats
"""
CHECK_EXAMPLES = """\
  velodrome data check job.yaml --data ~/datasets
"""
PREPARE_EXAMPLES = """\
  velodrome data prepare job.yaml --data ~/datasets
"""
data = typer.Typer(
    help="Show which data sets and formats there are; read, digest and fetch a job's data.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=f"\b\nExamples:\n{LIST_EXAMPLES}{CHECK_EXAMPLES}{PREPARE_EXAMPLES}",
)


def list_(json: Json = False) -> None:
    """Show the data sets that need no format, and the formats of data of your own."""
    from velodrome.vocabulary import DATA_KINDS, DATASETS, FORMATS

    if json:
        write_json({"datasets": dict(DATASETS), "formats": dict(FORMATS), "kinds": dict(DATA_KINDS)})
        return
    for title, names in (("Data sets (spec.dataset.name)", DATASETS), ("Formats (spec.dataset.format)", FORMATS)):
        say(f"{title}:")
        for name, words in names.items():
            say(f"  {name:17}{DATA_KINDS[name]:11}{words}")
        say()
    say("  package.module:factory   torch datasets that your own code returns (docs/own-data.md)")


def check(file: JobFile, data: DataFolder = None, json: Json = False) -> None:
    """Read every sample of each job's data as a trial would, and tell what is there, or what is wrong with it.

    Nothing is downloaded and nothing is written.
    """
    _tell(file, data, json=json, prepare=False)


def prepare(file: JobFile, data: DataFolder = None, json: Json = False) -> None:
    """Get each job's data ready: download what is missing, where the spec allows it, and check all of it.

    A folder of images gets a manifest with the size and the SHA-256 of each file. Trials then need not read all of it
    before they train. Run it again after a change of the files.
    """
    _tell(file, data, json=json, prepare=True)


def _tell(file: Path, folder: Path | None, *, json: bool, prepare: bool) -> None:
    from velodrome.cli.files import jobs_in
    from velodrome.machine.home import locate_home

    place = (folder or locate_home().data).absolute()
    wrong = False
    for job in jobs_in(file):
        found = _asked(job, place, prepare=prepare)
        name = f"{job.metadata.name}: {job.spec.dataset.name}"
        if json:
            write_json_line({"job": job.metadata.name, **found})
        elif "reason" in found:
            complain(line(f"{name}: {found['reason']}: {found['message']}"))
        else:
            for text in _lines(name, found):
                say(line(text))
        wrong = wrong or "reason" in found
    if wrong:
        raise typer.Exit(BAD_INPUT)


def _asked(job: BenchmarkJob, folder: Path, *, prepare: bool) -> dict[str, Any]:
    """What a process of the runner says: reading takes torch, and a broken file may end the process."""
    from velodrome.errors import LocalError

    question = {
        "dataset": job.spec.dataset.model_dump(mode="json", by_alias=True),
        "folder": str(folder),
        "task": getattr(job.spec, "task", None),
        "prepare": prepare,
    }
    with tempfile.TemporaryFile("w+") as asked, tempfile.TemporaryFile("w+") as said:
        asked.write(json_.dumps(question))
        asked.seek(0)
        runner = subprocess.Popen(
            [sys.executable, "-m", "velodrome_runner", "data"],
            stdin=asked,
            stdout=said,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        problem = ""
        with runner:
            for text in runner.stderr or ():
                if text.startswith(keys.DOWNLOADING):
                    complain(line(text.rstrip()))
                elif text.strip():
                    problem = text
        said.seek(0)
        last = (said.read().strip().splitlines() or [""])[-1]
    try:
        found: dict[str, Any] = json_.loads(last)
    except ValueError:
        why = problem.strip() or f"it ended with {runner.returncode}"
        raise LocalError(
            f"the runner could not read {job.spec.dataset.name} ({why}): pip install 'velodrome[runner]', or look "
            "whether memory ran out"
        ) from None
    return found


def _lines(name: str, found: dict[str, Any]) -> list[str]:
    """A report as people read it, one fact a line."""
    shape = " × ".join(map(str, found["shape"]))
    splits = ", ".join(f"{split} {count:,}" for split, count in found["splits"].items())
    if "validation" not in found["splits"]:
        splits += f" ({found['validation']:,} of train for validation)" if found["validation"] else ", no validation"
    classes = found["classes"]
    numbers = f"the next of {found['tokens']:,} tokens" if found["tokens"] else "a number"
    target = numbers if classes is None else f"{len(classes)} classes: {', '.join(classes[:8])}"
    lines = [
        f"{name} can be read",
        f"  samples    {splits}",
        *([f"  shared     {found['shared']:,} test samples train too: remove them"] if found["shared"] else []),
        f"  a sample   {found['kind']}, {shape}",
        f"  target     {target}{' …' if classes and len(classes) > 8 else ''}",
        f"  reading    {found['reading'] or 'in memory'}, {found['bytes'] / 2**20:,.1f} MiB",
        f"  digest     {found['digest']}",
    ]
    lines += [f"  column     {column}: {words}" for column, words in found["columns"].items()]
    return lines + ([f"  manifest   {found['manifest']}"] if found["manifest"] else [])


for command, short, examples in (
    (list_, "List the data sets and the formats.", LIST_EXAMPLES),
    (check, "Read a job's data and tell about them.", CHECK_EXAMPLES),
    (prepare, "Fetch and check a job's data, and write a manifest.", PREPARE_EXAMPLES),
):
    data.command(command.__name__.rstrip("_"), short_help=short, epilog=f"\b\nExamples:\n{examples}")(command)
