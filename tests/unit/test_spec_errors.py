"""What a person reads when a BenchmarkJob is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from velodrome.errors import SpecError
from velodrome.spec import parse_jobs, read_jobs

BAD = Path(__file__).parents[1] / "bad"
FILES = sorted(BAD.glob("*.yaml"))


def complaint(path: Path) -> str:
    """The whole error of a file, without the folder that it lies in."""
    with pytest.raises(SpecError) as caught:
        read_jobs(path)
    return f"{caught.value}\n".replace(f"{path.parent}/", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_this_text(path: Path, golden: Callable[[str, str], None]) -> None:
    golden(f"bad/{path.stem}.txt", complaint(path))


def test_there_is_no_text_without_its_file() -> None:
    texts = (Path(__file__).parent / "golden" / "bad").glob("*.txt")
    assert [path.stem for path in FILES] == sorted(path.stem for path in texts)


def test_a_flood_of_problems_is_told_in_part_and_kept_whole() -> None:
    job = (BAD / "misspelt-metadata.yaml").read_text(encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        parse_jobs("---\n".join([job] * 150))
    assert len(caught.value.problems) == 300
    assert str(caught.value).count("\n") == 101
    assert str(caught.value).endswith("\n  … and 200 more")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_problem_names_its_line_and_speaks_no_pydantic(path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_jobs(path)
    for problem in caught.value.problems:
        assert problem.line is not None or path.stem == "empty"
        assert "Input should" not in problem.message
