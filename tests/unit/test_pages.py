"""Each snippet of each page is at least well-formed: options exist, Python compiles, YAML, JSON and TOML can be read.

tests/integration/test_tutorials.py plays the pages whose snippets run as printed.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.played import CHECKED_ELSEWHERE, NEEDS_A_CLUSTER, PLAYED
from tools.pages import Block, PageIsWrong, Player, blocks, commands
from velodrome.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *ROOT.glob("docs/**/*.md"))
    if not page.read_text(encoding="utf-8").startswith("<!-- Generated")  # they are compared with what generates them
)
GROUP: Any = typer.main.get_command(app)
# Parts of a program or a file that `…` stands in for.
ELLIPSIS = "…"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def arguments(command: str) -> list[str]:
    """The words of a command, up to what the shell does with it. Brackets of a usage line are left out."""
    typed = re.split(r" {2,}", command)[0]  # a description may stand behind it
    words = shlex.split(re.sub(r"[\[\]]", " ", typed), comments=True)
    ends = [at for at, word in enumerate(words) if word in {"|", "||", "&&", ";", "&"} or word.startswith((">", "<"))]
    return [word.rstrip(";") for word in words[: ends[0] if ends else None]]


def parsed(command: str) -> tuple[Any, list[str]]:
    """The command of the application, and the words behind it."""
    found, words = GROUP, arguments(command)
    while words and words[0] in getattr(found, "commands", {}):
        found, words = found.commands[words[0]], words[1:]
    return found, words


def unknown_options(command: str) -> Iterator[str]:
    found, words = parsed(command)
    known = {option for one in found.params for option in (*one.opts, *one.secondary_opts)} | {"-h", "--help"}
    if hasattr(found, "commands"):
        known |= {"--install-completion", "--show-completion", "--version"}
    for word in words:
        option = word.partition("=")[0].rstrip(",.")
        if re.fullmatch(r"--?[a-z][a-z-]*", option) and option not in known:
            yield option


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_of_a_page_have_these_options(page: Path) -> None:
    for command in commands(text_of(page)):
        assert not list(unknown_options(command)), f"{name(page)}: velodrome {command}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_snippets_of_a_page_are_well_formed(page: Path) -> None:
    for block in blocks(text_of(page)):
        check(block, name(page))


def check(block: Block, page: str) -> None:
    where = f"{page}:{block.line}"
    if block.language == "python":
        ast.parse(block.text.replace(ELLIPSIS, "..."), where)
    elif block.language in ("yaml", "yml") and "{{" not in block.text:
        list(yaml.safe_load_all(block.text))
    elif block.language == "json":
        for line in block.text.splitlines() if block.text.startswith('{"') else [block.text]:
            json.loads(line)
    else:
        assert block.language in {
            *("sh", "text", "dockerfile", "mermaid", "yaml", "lua", "ini", "promql", "jinja", "console", "xml", "http"),
        }, f"{where}: nobody checks {block.language}"


def test_every_page_with_commands_is_played_or_says_why_not() -> None:
    shown = {name(page) for page in PAGES if any(block.language == "sh" for block in blocks(text_of(page)))}
    assert shown == set(PLAYED) | NEEDS_A_CLUSTER
    assert {name(page) for page in PAGES} >= set(CHECKED_ELSEWHERE)


def test_an_option_that_is_not_there_is_found() -> None:
    assert list(unknown_options("results digits --objectiv speed")) == ["--objectiv"]
    assert not list(unknown_options("results digits --csv --per-seed > values.csv"))
    assert list(unknown_options("baseline set digits cnn --notes 'a b'")) == ["--notes"]


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("```sh\nexit 3\n```\n", "ended with 3, not 0"),
        ("```sh exit=2\ntrue\n```\n", "ended with 0, not 2"),
        ("```sh\necho one\n```\n```text\ntwo\n```\n", "nothing wrote 'two'"),
        ("```python\n# file: a.txt\nx\n```\n```sh\ncat a.txt\n```\n```text\ny\n```\n", "nothing wrote 'y'"),
        ("```sh interrupt\necho '[1/2]'; exec sleep 60\n```\n", "ended with -2, not 130"),
    ],
)
def test_a_page_that_is_wrong_is_refused(tmp_path: Path, page: str, says: str) -> None:
    with pytest.raises(PageIsWrong, match=re.escape(says)):
        Player(tmp_path, tell=lambda _: None).play(page)


def test_a_page_that_is_right_is_played(tmp_path: Path) -> None:
    written = "```python\n# file: folder/a.txt\nx = 1\n```\n"
    page = f"{written}```sh exit=4\ncat folder/a.txt; exit 4\n```\n```text\nx … 1\n```\n"
    told: list[str] = []
    Player(tmp_path, tell=told.append).play(page)
    assert (tmp_path / "folder/a.txt").read_text() == "x = 1\n"
    assert len(told) == 1
