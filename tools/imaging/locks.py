"""The lists of libraries of each image, with their hashes, made from uv.lock; and what `pip` would note of the package.

An image is built from its own list alone, so a library that only the leaderboard uses changes no other image.
"""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "images" / "locks"
PACKAGE = ROOT / "deploy" / "images" / "package"
CPU_TORCH = FOLDER / "torch-cpu.txt"  # made by `make lock-cpu`, from the index that it names

_TRITON = "triton"
_NOTICE = "# {what}\n# Generated from uv.lock by `make generate`.\n"

# A list's name, what it holds, and how `uv export` is asked for it.
_LISTS = {
    "core": ("The libraries of velodrome itself, for images with a training program of one's own.", ()),
    "operator": ("The libraries of the operator's image.", ("--extra", "operator", "--extra", "backup")),
    "leaderboard": ("The libraries of the leaderboard's image.", ("--extra", "leaderboard")),
    "runner": (
        "The libraries of the runner's image, with CUDA and without Triton.",
        ("--extra", "runner", "--no-emit-package", _TRITON),
    ),
    "runner-cpu": (
        "The libraries of the runner's image without PyTorch and what it brings; torch-cpu.txt adds PyTorch for CPUs.",
        ("--extra", "runner", "--prune", "torch", "--prune", "torchvision"),
    ),
}


def lists() -> dict[Path, str]:
    """Each list's file and its text."""
    found = {
        FOLDER / f"{name}.txt": _NOTICE.format(what=what) + _exported(*options)
        for name, (what, options) in _LISTS.items()
    }
    whole = _exported("--extra", "runner")
    found[FOLDER / "triton.txt"] = _NOTICE.format(
        what="What torch.compile needs on a GPU, for the runner's image with TORCH_COMPILE."
    ) + requirement(whole, _TRITON)
    return found


def requirement(text: str, name: str) -> str:
    """The lines of one library in a list: its version and its hashes.

    Raises:
        LookupError: the list lacks it.
    """
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if line.startswith(f"{name}=="):
            end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith(" ")), len(lines))
            return "\n".join(lines[start:end]) + "\n"
    raise LookupError(f"the lock has no {name}")


def package() -> dict[Path, str]:
    """What an installation would write beside the code: the package's name, version and commands.

    The images copy the code's folders. With these files Python finds the version and the commands all the same.
    """
    project = _project()
    scripts: dict[str, str] = project["scripts"]
    about = PACKAGE / "velodrome.dist-info"
    return {
        about / "METADATA": "".join(
            f"{field}: {value}\n"
            for field, value in {
                "Metadata-Version": "2.4",
                "Name": project["name"],
                "Version": project["version"],
                "Summary": project["description"],
                "License-Expression": project["license"],
            }.items()
        ),
        about / "entry_points.txt": "[console_scripts]\n" + "".join(f"{name} = {to}\n" for name, to in scripts.items()),
        **{PACKAGE / "bin" / name: _script(to) for name, to in scripts.items()},
    }


def version() -> str:
    """The project's version."""
    return str(_project()["version"])


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def _script(target: str) -> str:
    module, _, function = target.partition(":")
    return f"#!/opt/libraries/bin/python\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"


def _exported(*options: str) -> str:
    line = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate", *options]
    return subprocess.run([ROOT / "tools/uv", *line], cwd=ROOT, check=True, text=True, capture_output=True).stdout
