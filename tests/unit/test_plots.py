"""The pictures of the documents belong to the code that draws them, and say in words what they show."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tools.plots.__main__ import FOLDER, main
from tools.plots.figures import FIGURES
from tools.plots.svg import Plot

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/statistics.md").read_text("utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def test_the_committed_pictures_are_those_that_the_code_draws(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_a_picture_that_is_out_of_date_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.plots.__main__.FOLDER", tmp_path)
    assert main(["--check"]) == 1
    assert "ties.svg is not what the code draws" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert {path.stem for path in tmp_path.iterdir()} == set(FIGURES)


def test_each_picture_stands_in_the_page_with_words_for_those_who_can_not_see_it() -> None:
    shown = dict(re.findall(r"!\[([^\]]+)\]\(images/statistics/(\w+)\.svg\)", PAGE))
    assert set(shown.values()) == set(FIGURES) == {path.stem for path in FOLDER.glob("*.svg")}
    assert all(len(words) > 60 for words in shown)


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_is_a_valid_file_on_a_ground_of_its_own(name: str) -> None:
    root = ET.fromstring((FOLDER / f"{name}.svg").read_text("utf-8"))  # noqa: S314 - this project wrote it
    title, ground = root.find(f"{SVG}title"), root.find(f"{SVG}rect")
    assert title is not None
    assert ground is not None
    assert len(title.text or "") > 60
    assert (ground.get("width"), ground.get("height")) == (root.get("width"), root.get("height"))
    assert "nan" not in ET.tostring(root, "unicode")


def test_text_in_a_picture_is_text_and_values_are_where_the_axes_say() -> None:
    plot = Plot("<b>", "a & b", (0, 10), (0, 1), [(5, "<half>")], [(1, "all")])
    plot.dots([(0, 0), (10, 1)])
    plot.text(5, 0.5, "<script>")
    text = plot.svg()
    assert "<script>" not in text
    root = ET.fromstring(text)  # noqa: S314 - this project wrote it
    low, high = root.findall(f"{SVG}circle")
    assert (low.get("cx"), low.get("cy")) == ("62.0", "254.0")
    assert (high.get("cx"), high.get("cy")) == ("622.0", "40.0")
