"""The wheel, as it is built from the source archive: what is in it, and what a package index shows of it."""

from __future__ import annotations

import re
import subprocess
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from velodrome import __version__

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([ROOT / "tools" / "uv", "build", "--quiet", "--out-dir", folder], cwd=ROOT, check=True, timeout=100)
    (made,) = folder.glob("*.whl")
    assert [file.name for file in folder.glob("*.tar.gz")] == [f"velodrome-{__version__}.tar.gz"]
    return zipfile.ZipFile(made)


@pytest.fixture
def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_bytes(wheel.read(f"velodrome-{__version__}.dist-info/METADATA"))


def test_it_has_the_schema_the_examples_the_licence_and_its_types(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    schema = "docs/reference/benchmarkjob.schema.json"
    assert wheel.read("velodrome/benchmarkjob.schema.json") == (ROOT / schema).read_bytes()
    for file in (ROOT / "deploy" / "examples").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert f"velodrome/examples/{file.relative_to(ROOT / 'deploy' / 'examples')}" in names
    about = f"velodrome-{__version__}.dist-info"
    assert {"velodrome/py.typed", f"{about}/licenses/LICENSE", f"{about}/entry_points.txt"} <= names


def test_each_source_file_is_in_it_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "core/velodrome", "leaderboard", "operator", "runner"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    sources = {path.partition("/")[2] for path in listed if path.endswith(".py")}
    assert {name for name in wheel.namelist() if name.endswith(".py") and "/examples/" not in name} == sources


def test_an_index_shows_a_readme_whose_links_lead_somewhere(metadata: Message) -> None:
    shown = str(metadata.get_payload())
    assert metadata["Description-Content-Type"] == "text/markdown"
    targets = re.findall(r"\]\(([^)]*)\)", shown)
    assert [target for target in targets if not target.startswith("https://")] == []
    own = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall("^#.*", shown, re.MULTILINE) == re.findall("^#.*", own, re.MULTILINE)
    assert "Installing on one machine has the other ways." in shown


def test_it_says_for_which_pythons_it_is_and_light_it_needs_no_torch(metadata: Message) -> None:
    assert metadata["Requires-Python"] == ">=3.11"
    pythons = [
        line for line in metadata.get_all("Classifier", []) if line.startswith("Programming Language :: Python :: 3.")
    ]
    assert [line.rpartition(" ")[2] for line in pythons] == ["3.11", "3.12", "3.13"]
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in needed if re.match("torch|pandas|streamlit|kopf|mlflow|polars", line)]
