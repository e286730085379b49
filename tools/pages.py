"""The snippets of a page: what is printed on it, which of it is checked, and how all of it is played in order.

A fenced block has a language, and words behind it say how it is played:

    ```sh                 commands of bash; they end well
    ```sh exit=2          they end with this exit code
    ```sh interrupt       Ctrl-C comes once the first trial is finished; they end with 130
    ```text               each line stands in what the block above wrote; … stands for anything
    ```python, ```yaml    with `# file: NAME` as the first line: a file that the reader writes
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

INTERRUPTED: Final = 130
_FENCE: Final = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE: Final = re.compile(r"# file: (\S+)\n")
_FIRST_TRIAL: Final = "[1/"


class PageIsWrong(Exception):
    """What a page says is not so."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words behind that, its text, and the line on which it begins."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that the reader writes, if it is one."""
        named = _FILE.match(self.text)
        return named[1] if named and self.language not in ("sh", "text") else None

    @property
    def exit_code(self) -> int:
        """How the commands end."""
        if "interrupt" in self.words:
            return INTERRUPTED
        return next((int(word.removeprefix("exit=")) for word in self.words if word.startswith("exit=")), 0)


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [
        Block(found[1], tuple(found[2].split()), found[3], page.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(page)
    ]


def commands(page: str) -> Iterator[str]:
    """Each `velodrome …` that a page tells to type: in blocks of `sh`, and indented. A continued line is one."""
    shell = "\n".join(block.text for block in blocks(page) if block.language == "sh")
    outside = _FENCE.sub("", page)
    indented = "\n".join(re.findall(r"^ {4}(\S.*)$", outside, flags=re.MULTILINE))
    for line in f"{shell}\n{indented}".replace("\\\n", " ").splitlines():
        found = re.match(r"(?:kubectl )?velodrome (?=[a-z-])(.*)", line.strip())
        if found:
            yield found[1]


@dataclass
class Player:
    """Plays pages in a folder, as a reader would. `tell` gets each step with its seconds."""

    folder: Path
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    tell: Callable[[str], None] = print
    seconds: float = 600.0

    def play(self, page: str) -> None:
        """Writes the page's files and runs its commands.

        Raises:
            PageIsWrong: a command ended otherwise than the page says, or did not write what the page shows.
        """
        wrote = ""
        for block in blocks(page):
            if block.language == "sh":
                wrote = self._run(block)
            elif block.language == "text":
                _compare(block, wrote)
            elif block.file is not None:
                path = self.folder / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_FILE.sub("", block.text, count=1), encoding="utf-8")

    def _run(self, block: Block) -> str:
        began = time.monotonic()
        log = self.folder / ".step.log"
        with log.open("w+", encoding="utf-8") as written:
            process = subprocess.Popen(
                # Whoever started this in the background may have it ignore Ctrl-C, which a shell can't undo.
                ["env", "--default-signal=INT", "bash", "-euo", "pipefail", "-c", block.text],
                cwd=self.folder, env=dict(self.environ), stdin=subprocess.DEVNULL, stdout=written,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            if "interrupt" in block.words:
                self._interrupt(process, log)
            try:
                code = process.wait(self.seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
        wrote = log.read_text(encoding="utf-8", errors="replace")
        self.tell(f"{time.monotonic() - began:7.1f} s  {'; '.join(block.text.strip().splitlines())}")
        if code != block.exit_code:
            raise PageIsWrong(f"line {block.line}: ended with {code}, not {block.exit_code}:\n{block.text}\n{wrote}")
        return wrote

    def _interrupt(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Presses Ctrl-C, once the first trial is finished."""
        end = time.monotonic() + self.seconds
        while _FIRST_TRIAL not in log.read_text(encoding="utf-8", errors="replace"):
            if process.poll() is not None or time.monotonic() > end:
                return
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)


def _compare(block: Block, wrote: str) -> None:
    there = " ".join(wrote.split())
    for line in block.text.splitlines():
        for part in line.split("…"):
            words = " ".join(part.split())
            if words not in there:
                raise PageIsWrong(f"line {block.line}: nothing wrote {words!r}, but:\n{wrote}")
