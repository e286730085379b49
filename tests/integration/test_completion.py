"""What a shell completes, asked as a shell asks: by the variables that its script sets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer


def completed(words: str, url: str, **environ: str) -> list[str]:
    """The words that bash would offer after these; a line that ends in a space asks for the next word."""
    asked = {
        **os.environ,
        **environ,
        "VELODROME_REDIS_URL": url,
        "_VELODROME_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "velodrome"], env=asked, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("velodrome results di", ["digits"]),
        ("velodrome results digits --objective s", ["speed"]),
        ("velodrome regressions ni", ["night-2", "night-1"]),
        ("velodrome baseline set night-2 ", ["cnn", "mlp"]),
        ("velodrome show night-2/", ["night-2/cnn/", "night-2/mlp/"]),
        ("velodrome show night-2/cnn/", [f"night-2/cnn/{repeat}" for repeat in range(5)]),
        ("velodrome jobs --board no", []),
        ("velodrome compare di", ["digits"]),
        ("velodrome compare digits cnn ", ["cnn", "mlp"]),
        ("velodrome compare digits cnn mlp --objective a", ["accuracy"]),
        ("velodrome pairs digits c", ["cnn"]),
        ("velodrome profile ", ["cnn", "mlp"]),
        ("velodrome delete ", ["job", "entry", "board"]),
        ("velodrome delete job ni", ["night-2", "night-1"]),
        ("velodrome delete board ", ["digits"]),
        ("velodrome delete entry digits m", ["mlp"]),
    ],
)
def test_names_come_from_the_results(
    run: Callable[..., Race], redis_server: RedisServer, words: str, offered: list[str]
) -> None:
    for _ in range(2):
        run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.002)})
    assert completed(words, redis_server.url) == offered


def test_without_results_a_shell_gets_nothing_and_no_word(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert completed("velodrome results ", "redis://127.0.0.1:1") == []
    assert completed("velodrome results ", "", VELODROME_HOME=str(home)) == []
    assert not home.exists()
