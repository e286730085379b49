"""`pin`: writes the digests of images into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome.cli.console import complain, say, standard_input, write_file, write_json
from velodrome.cli.options import Json
from velodrome.errors import LocalError, NotThere, Problem, SpecError
from velodrome.text import counted

if TYPE_CHECKING:
    from velodrome.cli.image_fields import ImageField
    from velodrome.cli.registry.client import Registries
    from velodrome.cli.registry.reference import ImageReference

EXAMPLES = """\
  velodrome pin race.yaml                       write the digests into the file
  velodrome pin race.yaml --dry-run             show what would change
  velodrome pin race.yaml --output pinned.yaml  leave the file as it is
  velodrome pin - < race.yaml | kubectl apply -f -
"""


def pin(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML with BenchmarkJobs; - for standard input.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Write there instead of FILE; - for standard output."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Ask again about images that have a tag and a digest.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Ask registries on this machine's loopback interface by HTTP.")
    ] = False,
    json: Json = False,
) -> None:
    """Replace each image's tag in a file by its digest, as the registry knows it now.

    REGISTRY/NAME:TAG becomes REGISTRY/NAME:TAG@sha256:DIGEST. Everything else in the file stays as it is, comments
    included. A cluster takes images with a digest alone, so that every trial runs the same image.

    Credentials are those of `docker login` and `podman login`. If one image has no answer, nothing is written (exit
    code 3).
    """
    from velodrome.cli.image_fields import replaced
    from velodrome.cli.registry.client import Registries

    text = _text(file)
    asked = _asked(text, file, update=update)
    found, troubles = _digests(asked, Registries(insecure=insecure))
    if troubles:
        raise LocalError("\n".join([*troubles, f"{file}: nothing was written"]))
    to_stdout = str(output or file) == "-" and not dry_run
    tell = complain if to_stdout or json else say
    for field, value in found.items():
        if value != field.value:
            tell(f"{file}:{field.line}: {field.path}: {field.value} is {value.rpartition('@')[2]}")
    changed = sum(value != field.value for field, value in found.items())
    if not changed:
        tell(f"{file}: nothing to pin")
    new = replaced(text, {field: value for field, value in found.items() if value != field.value})
    writes = not dry_run and not to_stdout and (changed > 0 or output is not None)
    if writes:
        _write(output or file, new)
        tell(f"{output or file}: {counted(changed, 'image')} pinned")
    if json:
        write_json(_document(file, str(output or file) if writes else None, found, new if to_stdout else None))
    elif to_stdout:
        write_file(new.encode())


def _document(file: Path, written: str | None, found: dict[ImageField, str], text: str | None) -> dict[str, Any]:
    images = [
        {"field": field.path, "line": field.line, "image": field.value, "pinned": value}
        for field, value in found.items()
    ]
    return {"file": str(file), "written": written, "images": images, "text": text}


def _text(file: Path) -> str:
    """The file's text, whatever its line ends are."""
    try:
        content = standard_input().read() if str(file) == "-" else file.read_bytes()
        return content.decode("utf-8")
    except OSError as error:
        raise NotThere("FILE", f"{file}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise NotThere("FILE", f"{file}: is not UTF-8 text: save it as UTF-8") from error


def _asked(text: str, file: Path, *, update: bool) -> dict[ImageField, ImageReference]:
    """The images to ask about, by field."""
    import yaml

    from velodrome.cli.image_fields import image_fields
    from velodrome.cli.registry.reference import ImageReference

    asked: dict[ImageField, ImageReference] = {}
    try:
        fields = image_fields(text)
    except (yaml.YAMLError, RecursionError) as error:
        said = f"{file}: can't be read as YAML: velodrome validate says where ({str(error).splitlines()[0]})"
        raise NotThere("FILE", said) from error
    problems = []
    for field in fields:
        try:
            image = ImageReference.parse(field.value)
        except ValueError as error:
            problems.append(Problem(field.path, str(error), line=field.line))
            continue
        if image.digest is None or (update and image.tag is not None):
            asked[field] = image
    if problems:
        raise SpecError(tuple(problems), str(file))
    return asked


def _digests(
    asked: dict[ImageField, ImageReference], registries: Registries
) -> tuple[dict[ImageField, str], list[str]]:
    """The new name for each field, and what went wrong."""
    from dataclasses import replace

    from velodrome.errors import VelodromeError

    found: dict[ImageField, str] = {}
    troubles: list[str] = []
    for field, image in asked.items():
        try:
            digest = registries.digest(replace(image, digest=None))
        except VelodromeError as error:
            troubles.append(f"line {field.line}: {field.path}: {error}")
        else:
            found[field] = image.pinned(digest).written
    return found, troubles


def _write(path: Path, text: str) -> None:
    """Replaces a file at once, with the rights that it had. A link keeps leading to it."""
    import tempfile

    path = path.resolve()
    try:
        mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
            new.write(text.encode())
        Path(new.name).chmod(mode)
        Path(new.name).replace(path)
    except OSError as error:
        raise LocalError(f"{path}: can't be written: {error.strerror or error}") from error
