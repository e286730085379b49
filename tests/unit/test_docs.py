"""What the documents say is so: their links lead somewhere, their jobs are valid, their commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from velodrome.cli.app import app
from velodrome.monitoring.telemetry import FAMILIES
from velodrome.plan import plan
from velodrome.spec import parse_jobs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
WRITTEN = [page for page in PAGES if not page.read_text(encoding="utf-8").startswith("<!-- Generated")]

API = {f"velodrome.{name}" for name in ("VelodromeError", "open_results", "read_jobs", "run")}
SERIES = {family.exposed for family in FAMILIES}

TESTS = {path.name for path in ROOT.glob("tests/**/test_*.py")}
TESTS |= {
    found
    for path in ROOT.glob("tests/**/test_*.py")
    for found in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
}
# Tests in files of faults that break nothing: what the others are compared with.
CONTROLS = {"test_the_undisturbed_race_is_whole", "test_faults_can_be_told_apart"}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_there_are_pages_to_check() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md"} <= {name(page) for page in WRITTEN}
    assert "docs/reference/benchmarkjob.md" in {name(page) for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), f"{name(page)} links to {target}"
        assert not anchor or anchor in headings(linked), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_the_jobs_of_a_page_are_valid(page: Path) -> None:
    for text in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        if "kind: BenchmarkJob" in text:
            for job in parse_jobs(text, name(page)):
                assert len(plan(job))


def test_the_readme_shows_a_whole_job() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"```yaml\napiVersion:", text)) == 1


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    commands = {(command.name or command.callback.__name__) for command in app.registered_commands if command.callback}
    commands |= {group.name or "" for group in app.registered_groups}
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:^ {4}|`)velodrome ([a-z]+)", text, flags=re.MULTILINE)
    assert {found.rstrip("_") for found in named} <= {command.rstrip("_") for command in commands}


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_the_code_that_a_page_names_exists(page: Path) -> None:
    for module in re.findall(r"`(velodrome(?:_\w+)?(?:\.\w+)*)`", page.read_text(encoding="utf-8")):
        if module in SERIES:
            continue
        parts = module.split(".")
        if module in API:
            continue
        house = parts[0].removeprefix("velodrome").removeprefix("_") or "core"
        found = ROOT / house / "/".join(parts)
        assert found.is_dir() or found.with_suffix(".py").is_file(), f"{name(page)} names {module}"


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_the_tests_that_a_page_names_exist(page: Path) -> None:
    for test in re.findall(r"`(?:tests/[\w/]+/)?(test_\w+(?:\.py)?)`", page.read_text(encoding="utf-8")):
        assert test in TESTS, f"{name(page)} names {test}"


def test_every_fault_is_promised_something() -> None:
    """Each end-to-end test of a fault stands in the table that says what is promised."""
    promised = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/reliability.md").read_text(encoding="utf-8")))
    for file in ("test_api_faults.py", "test_part_faults.py", "test_bad_reports.py", "test_large.py"):
        faults = set(re.findall(r"^def (test_\w+)", (ROOT / "tests/e2e" / file).read_text("utf-8"), re.MULTILINE))
        assert faults
        assert faults - promised - CONTROLS == set(), file


def test_decisions_are_numbered_once_each() -> None:
    numbers = [page.name[:4] for page in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert all(re.fullmatch(r"\d{4}", number) for number in numbers)
    assert len(set(numbers)) == len(numbers)


def test_each_threat_has_a_test_or_says_why_it_has_none() -> None:
    """Whoever reads that somebody can't do a thing can read where that was tried."""
    text = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!(?:it|they) can't \|)(\w.*) \| (.*) \|$", text, flags=re.MULTILINE)
    assert len(rows) > 20
    for claim, tried in rows:
        assert re.search(r"`test_\w+(?:\.py)?`|^none: \w", tried), claim


def test_the_architecture_names_every_package() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for component in ("core", "operator", "runner", "leaderboard"):
        for file in sorted((ROOT / component).glob("velodrome*/**/__init__.py")):
            package = ".".join(file.parent.relative_to(ROOT / component).parts)
            assert package == "velodrome" or f"`{package}`" in text, package
