"""The examples that are shipped: in the wheel, or in the folder `deploy/examples` of a checkout."""

from __future__ import annotations

from pathlib import Path

from velodrome.errors import NotThere
from velodrome.spec.wording import suggestion


def examples() -> dict[str, str]:
    """What each example shows: the first line of its file, by name."""
    found = {}
    for file in sorted(_folder().glob("*.yaml")):
        found[file.stem] = file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
    return found


def example(name: str) -> dict[str, bytes]:
    """The files of an example by their paths: its YAML, and the program that it needs, if any.

    Raises:
        NotThere: there is no such example.
    """
    folder = _folder()
    if name not in examples():
        raise NotThere("example", f"there is no example {name!r}: {suggestion(name, examples())}")
    files = [folder / f"{name}.yaml", *sorted(one for one in (folder / name).rglob("*") if one.is_file())]
    kept = (one for one in files if "__pycache__" not in one.parts)
    return {str(one.relative_to(folder)): one.read_bytes() for one in kept}


def _folder() -> Path:
    inside = Path(__file__).resolve().parent.parent / "examples"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[3] / "deploy" / "examples"
