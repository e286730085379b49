"""Plays a newcomer's first hour: builds the wheel, installs it into a fresh environment, and plays the tutorials there.

    python tools/first_hour.py [--python 3.12] [--newest] [--keep]

It needs Python 3.11 or newer and uv, and nothing that is installed here. Each step is printed with its seconds. The
first word of a page that is not so ends it. Libraries are those of the lock, so that nothing is downloaded twice;
--newest takes the newest ones that the wheel allows. --keep leaves the folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # a script's path has only its own folder

from tests.played import PLAYED  # noqa: E402
from tools.pages import PageIsWrong, Player  # noqa: E402

UV = str(ROOT / "tools" / "uv")


def timed(what: str, act: Callable[[], object]) -> None:
    """Does it, and prints how long it took."""
    began = time.monotonic()
    act()
    print(f"{time.monotonic() - began:7.1f} s  {what}", flush=True)


def run(*command: str, output: Path | None = None) -> None:
    """Runs a command in the repository; its output goes to a file or nowhere, its errors to the terminal."""
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    if output is not None:
        output.write_text(done.stdout, encoding="utf-8")


def installed(folder: Path, python: str, *, newest: bool) -> Path:
    """An environment with the wheel that was just built. Returns the folder of its programs."""
    timed("build the wheel", lambda: run(UV, "build", "--quiet", "--wheel", "--out-dir", str(folder / "dist")))
    (wheel,) = (folder / "dist").glob("*.whl")
    environment, limits = folder / "environment", folder / "constraints.txt"
    timed("make an environment", lambda: run(UV, "venv", "--quiet", "--python", python, str(environment)))
    run(UV, "export", "--quiet", "--frozen", "--no-hashes", "--no-emit-project", "--all-extras", output=limits)
    limited = [] if newest else ["--constraint", str(limits)]
    own = str(environment / "bin" / "python")
    install = (UV, "pip", "install", "--quiet", "--python", own, *limited, f"{wheel}[local,mlflow,polars]")
    timed("install the wheel with what races need", lambda: run(*install))
    return environment / "bin"


def environ_of(programs: Path, home: Path) -> Mapping[str, str]:
    """What a new shell has, with the environment active."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("VELODROME_", "PYTHON", "VIRTUAL"))
    }
    return {**kept, "PATH": f"{programs}:{kept['PATH']}", "VELODROME_HOME": str(home)}


def play(folder: Path, programs: Path) -> None:
    """Plays each page in an empty folder, with results of its own.

    Raises:
        PageIsWrong: something that a page says is not so.
    """
    for number, page in enumerate(PLAYED):
        print(page)
        place = folder / f"page-{number}"
        place.mkdir()
        Player(place, environ_of(programs, folder / f"home-{number}")).play((ROOT / page).read_text(encoding="utf-8"))


def main() -> int:
    """Plays all of it. The exit code is 1 if a page is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", metavar="VERSION", default=sys.executable, help="another Python, with PyTorch too")
    parser.add_argument("--newest", action="store_true", help="the newest libraries that the wheel allows")
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    asked = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp(prefix="vh-")), time.monotonic()
    try:
        play(folder, installed(folder, asked.python, newest=asked.newest))
    except PageIsWrong as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{time.monotonic() - began:7.1f} s  the whole first hour{f', in {folder}' if asked.keep else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
