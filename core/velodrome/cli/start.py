"""`init`, `example` and `schema`: a first file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from velodrome.cli.console import answer, complain, say, write_file, write_json, write_record
from velodrome.cli.options import Json
from velodrome.text import command, json_line, line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from velodrome.starting.draft import FoundData

INIT_EXAMPLES = """\
  velodrome init                                         job.yaml: two networks on handwritten digits
  velodrome init race.yaml --csv customers.csv --target churned
  velodrome init race.yaml --images flowers --model torchvision/resnet18 --model velodrome/resnet9
  velodrome init --list
"""
EXAMPLE_EXAMPLES = """\
  velodrome example                       list them
  velodrome example tabular > tabular.yaml
  velodrome example numpy --to .          with the program that it races
"""
SCHEMA_EXAMPLES = """\
  velodrome schema > benchmarkjob.schema.json
"""


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write; - for standard output.")] = Path(
        "job.yaml"
    ),
    *,
    template: Annotated[
        str | None, typer.Option("--template", metavar="NAME", help="One of --list; the data tell it otherwise.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A data set that Velodrome knows: velodrome data list.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Pictures: a folder for each class, or train/ and test/; or boxes or masks."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="A table with a header.")] = None,
    series: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sequences: a .ts file, or CSV with one row a step.")
    ] = None,
    sound: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Sounds (.wav): a folder for each class.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            "--text",
            metavar="FILE",
            help="A text, or a folder of texts, to predict on and on; or .csv, .jsonl or .ndjson with --target.",
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column to predict.")] = None,
    sequence: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="With a CSV of --series: names the sequence of each row.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help="A model to race; repeat it for more.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the templates, and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write a commented BenchmarkJob to start from. It looks at the data, and fills in what it can.

    What it writes is checked first, as `velodrome validate` checks it. A file that is there stays.
    """
    from velodrome.spec import parse_jobs
    from velodrome.starting.draft import TEMPLATES, draft

    if list_ and json:
        write_json({"templates": dict(TEMPLATES)})
        return
    if list_:
        for name, words in TEMPLATES.items():
            say(f"  {name:10}{words}")
        say("\n  Whole examples, with comments: velodrome example")
        return
    given = {"dataset": dataset, "images": images, "csv": csv, "series": series, "sound": sound, "text": text}
    chosen = _template(template, given)
    found = _found(given, target, sequence)
    written = draft(found, model or (), nightly=chosen == "nightly")
    parse_jobs(written, "what init would write")
    to_output = str(file) == "-"
    if to_output and not json:
        write_file(written.encode())
        return
    if not to_output:
        _write(file, written.encode(), force=force)
        for fact in found.facts:
            complain(line(fact))
    answer(
        f"{file} is written. Look at it, then: {command('velodrome', 'run', file)}",
        {"file": None if to_output else str(file), "facts": list(found.facts), "text": written},
        json=json,
    )


def example(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which one; all are listed without it.")] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Write it there, with the program that it needs.")
    ] = None,
    json: Json = False,
) -> None:
    """Print a shipped example, or write it with its files into a folder."""
    from velodrome.starting.examples import example as files_of
    from velodrome.starting.examples import examples

    if name is None:
        if json:
            write_json({"examples": examples()})
            return
        for one, words in examples().items():
            say(f"  {one:14}{words}")
        return
    files = files_of(name)
    if to is None:
        _print_example(name, files, json=json)
    else:
        _write_example(name, files, to, json=json)


def _print_example(name: str, files: Mapping[str, bytes], *, json: bool) -> None:
    if json:
        write_json({"example": name, "texts": {path: content.decode() for path, content in files.items()}})
        return
    first, *others = files
    write_file(files[first])
    if others:
        complain(f"It also needs {', '.join(others)}: {command('velodrome', 'example', name, '--to', '.')}")


def _write_example(name: str, files: Mapping[str, bytes], to: Path, *, json: bool) -> None:
    taken = [path for path in files if (to / path).exists()]
    if taken:
        raise typer.BadParameter(line(f"{to / taken[0]} is there already: name another folder"), param_hint="--to")
    for path, content in files.items():
        _write(to / path, content, force=False)
        if not json:
            say(line(to / path))
    if json:
        write_json({"example": name, "files": [str(to / path) for path in files]})


def schema(json: Json = False) -> None:
    """Print the JSON schema of a BenchmarkJob, for an editor.

    It is JSON in any case. With --json, it is a field of the object that all commands write.
    """
    import sys

    from velodrome.spec import BenchmarkJob

    found = BenchmarkJob.model_json_schema()
    if json:
        write_json({"json_schema": found})
        return
    write_record(json_line(found, indent=2))
    if not sys.stdout.isatty():
        complain("In the first line of a job's file: # yaml-language-server: $schema=benchmarkjob.schema.json")


def _template(wanted: str | None, given: Mapping[str, object]) -> str:
    """The template that is named, or that the data mean; a usage error if there is none, or if they disagree."""
    from velodrome.spec.wording import suggestion
    from velodrome.starting.draft import TEMPLATES

    told = [name for name, value in given.items() if value is not None]
    if len(told) > 1:
        raise typer.BadParameter(f"choose one of --{' and --'.join(told)}", param_hint=f"--{told[1]}")
    if wanted is not None and wanted not in TEMPLATES:
        raise typer.BadParameter(
            line(f"there is no template {wanted!r}: {suggestion(wanted, TEMPLATES)}"), param_hint="--template"
        )
    meant = {"dataset": "", "csv": "table"}.get(told[0], told[0]) if told else ""
    options = {
        "images": "--images FOLDER",
        "table": "--csv FILE --target COLUMN",
        "series": "--series FILE",
        "sound": "--sound FOLDER",
        "text": "--text FILE",
    }
    if wanted in options and meant != wanted:
        raise typer.BadParameter(f"{wanted} needs {options[wanted]}", param_hint="--template")
    if wanted == "models" and meant:
        raise typer.BadParameter(f"models takes --dataset, and not --{told[0]}", param_hint="--template")
    return wanted or meant or "models"


def _found(given: Mapping[str, object], target: str | None, sequence: str | None) -> FoundData:
    from velodrome.errors import NotThere
    from velodrome.spec.wording import suggestion
    from velodrome.starting import folders, looking
    from velodrome.starting.draft import known
    from velodrome.vocabulary import DATASETS

    images, csv, series, sound, text = (given[name] for name in ("images", "csv", "series", "sound", "text"))
    try:
        if isinstance(images, Path):
            return folders.pictures(images)
        if isinstance(csv, Path):
            return looking.table(csv, target)
        if isinstance(series, Path):
            return looking.sequences(series, target, sequence)
        if isinstance(sound, Path):
            return folders.sounds(sound)
        if isinstance(text, Path):
            return looking.documents(text, target) if looking.is_labelled(text) else looking.text(text)
    except NotThere as error:
        raise typer.BadParameter(str(error), param_hint=error.field) from error
    name = str(given["dataset"] or "digits")
    if name not in DATASETS:
        raise typer.BadParameter(
            line(f"{name!r} is no data set that Velodrome knows: {suggestion(name, DATASETS)}"), param_hint="--dataset"
        )
    return known(name)


def _write(file: Path, content: bytes, *, force: bool) -> None:
    """Writes a file that is not there yet; a usage error if it is, or can't be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb" if force else "xb") as stream:
            stream.write(content)
    except FileExistsError as error:
        raise typer.BadParameter(
            line(f"{file} is there already, and stays as it is: name another file, or add --force"), param_hint="FILE"
        ) from error
    except OSError as error:
        raise typer.BadParameter(
            line(f"{file} can't be written: {error.strerror or error}"), param_hint="FILE"
        ) from error
