"""Runs the programs that build the test cluster. Waits for apt's locks, and reports each failure in a sentence."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# The messages of apt-get and dpkg while another program holds their lock.
_LOCKED = ("Could not get lock", "Unable to lock", "Unable to acquire the dpkg", "is locked by another process")
PATIENCE_SECONDS = 900.0
_LOOK_SECONDS = 3.0

Say = Callable[[str], None]


def write_line(text: str) -> None:
    """Writes a line at once, even to a pipe."""
    print(text, flush=True)


class CommandFailed(RuntimeError):
    """A program failed or is missing. The message is a sentence for the person who started the build."""


def run(line: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
    """Runs a program to its end, and shows its output at once.

    Raises:
        CommandFailed: it failed, or is missing on this machine.
    """
    try:
        done = subprocess.run(line, cwd=cwd, env=environment, check=False)
    except OSError as error:
        raise CommandFailed(f"{line[0]} can't be run: {error.strerror}") from error
    if done.returncode != 0:
        raise CommandFailed(f"{failure(line, done.returncode)}; its messages stand above")


def said(line: Sequence[str]) -> str:
    """What a program writes to its standard output.

    Raises:
        CommandFailed: it failed, or is missing on this machine.
    """
    try:
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout
    except OSError as error:
        raise CommandFailed(f"{line[0]} can't be run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise CommandFailed(f"{failure(line, error.returncode)}: {error.stderr.strip()}") from error


def failure(line: Sequence[str], code: int) -> str:
    """A sentence on how a program ended."""
    how = f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"
    return f"`{shlex.join(map(str, line))}` {how}"


def apt_get(
    *arguments: str, patience: float = PATIENCE_SECONDS, look: float = _LOOK_SECONDS, say: Say = write_line
) -> None:
    """Runs apt-get. While another program holds apt's or dpkg's lock, it names that program and tries again.

    apt's own DPkg::Lock::Timeout does not help here, because it ignores the lock of `apt-get update`.

    Raises:
        CommandFailed: it failed for another reason, or the lock was held for all of `patience`, in seconds.
    """
    line = ["apt-get", *arguments]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    end, named = time.monotonic() + patience, ""
    while True:
        try:
            done = subprocess.run(line, env=environment, check=False, text=True, stderr=subprocess.PIPE)
        except OSError as error:
            raise CommandFailed(f"{line[0]} can't be run: {error.strerror}") from error
        if done.returncode == 0:
            return
        held = lock_held(done.stderr)
        if held is None:
            raise CommandFailed(f"{failure(line, done.returncode)}: {done.stderr.strip() or 'it said nothing'}")
        if time.monotonic() >= end:
            raise CommandFailed(
                f"apt was busy for {patience:.0f} s: {held}. Let that program end, or end it, and start again"
            )
        if held != named:
            say(f"apt is busy, this waits up to {patience / 60:.0f} minutes for it: {held}")
            named = held
        time.sleep(look)


def lock_held(words: str) -> str | None:
    """Apt's own sentence on the lock that it could not get, with its holder; None if the problem is another."""
    found = [line for line in words.splitlines() if any(sign in line for sign in _LOCKED)]
    return found[0].removeprefix("E: ").removeprefix("W: ").strip(" .") if found else None
