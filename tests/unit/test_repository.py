"""What the repository promises as a whole: its layout, its light imports, its make targets, its generated files."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ("core", "leaderboard", "operator", "runner")
SCRIPTS = (".ci/run", "tools/sync", "tools/system", "tools/uv")
TARGETS = dict(
    re.findall(r"^([a-z][a-z0-9-]*):(?!=)[^#\n]*(?:## (.+))?$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
)


def run(*arguments: str | Path, code: int = 0) -> str:
    """The output of a process that starts in the repository's root and ends with `code`."""
    done = subprocess.run([*arguments], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running `code`."""
    report = "import json, sys; print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    return set(json.loads(run(sys.executable, "-c", f"{code}\n{report}").splitlines()[-1]))


# Layout


@pytest.mark.parametrize("folder", [*COMPONENTS, "tests", "tests/unit", "tests/integration"])
def test_component_and_test_folders_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists(), (
        f"{folder}/__init__.py makes a package of a folder; operator/__init__.py would shadow the standard library's"
    )


def test_the_standard_librarys_operator_is_importable_from_the_root() -> None:
    # -S: without it, site imports operator before the current folder is on sys.path, and shows nothing.
    found = run(sys.executable, "-S", "-c", "import operator; operator.itemgetter; print(operator.__file__)")
    assert not Path(found.strip()).is_relative_to(ROOT / "operator")


def test_pytest_starts_as_a_module_from_the_root() -> None:
    assert run(sys.executable, "-m", "pytest", "--version").startswith("pytest ")


def test_no_module_beside_an_entry_point_is_named_after_the_standard_library() -> None:
    # Streamlit and kopf put their script's own folder first on sys.path, where such a name would win.
    modules = [path for folder in ("leaderboard", "operator") for path in (ROOT / folder).glob("velodrome_*/**/*.py")]
    assert modules
    assert not [path for path in modules if path.stem in sys.stdlib_module_names - {"__main__"}]


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.split()[:6] == ["Apache", "License", "Version", "2.0,", "January", "2004"]
    assert "END OF TERMS AND CONDITIONS" in text
    assert project()["license"] == "Apache-2.0"


def test_the_version_is_said_the_same_everywhere() -> None:
    from velodrome import __version__

    assert project()["version"] == __version__


def project() -> dict[str, Any]:
    """The `[project]` table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


# Imports

HEAVY = {
    "altair",
    "matplotlib",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "streamlit",
    "torch",
    "torchmetrics",
    "torchvision",
}


def test_help_is_light() -> None:
    code = "import runpy, sys\nsys.argv = ['velodrome', '--help']\n"
    code += "try: runpy.run_module('velodrome', run_name='__main__')\nexcept SystemExit as end: assert not end.code"
    loaded = modules_after(code)
    assert "typer" in loaded  # the command line was built
    assert not loaded & (HEAVY | {"pydantic", "redis"})


@pytest.mark.parametrize(
    "module", ["velodrome.spec", "velodrome.plan", "velodrome.metrics.catalogue", "velodrome.results.records"]
)
def test_the_contract_is_light(module: str) -> None:
    assert not modules_after(f"import {module}") & (HEAVY | {"redis", "rich", "typer"})


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("velodrome", {"altair", "kopf", "pandas", "sklearn", "streamlit", "torch"}),
        ("velodrome_leaderboard", {"kopf", "sklearn", "torch", "torchmetrics", "torchvision", "velodrome_runner"}),
        ("velodrome_runner", {"altair", "kopf", "streamlit", "velodrome_leaderboard"}),
    ],
)
def test_a_component_loads_without_the_libraries_of_the_others(package: str, forbidden: set[str]) -> None:
    code = f"import importlib, pkgutil, {package} as package\n"
    code += "for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
    code += "    if not found.name.endswith('__main__'): importlib.import_module(found.name)"
    loaded = modules_after(code)
    assert package in loaded
    assert not loaded & forbidden


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_imports_only_what_it_declares(component: str) -> None:
    extras = project()["optional-dependencies"]
    # The core looks for what these extras bring, and says what to install where it is missing.
    chosen = {
        "core": ("redis", "backup", "certificates", "pandas", "polars", "mlflow", "search"),
        "runner": ("runner", "timm", "onnx"),
    }.get(component, (component,))
    declared = project()["dependencies"] + [each for extra in chosen for each in extras.get(extra, [])]
    allowed = {canonical_name(re.split("[<>=;~! ]", requirement)[0]) for requirement in declared} | {"velodrome"}
    distributions = importlib.metadata.packages_distributions()
    undeclared = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / component).rglob("*.py")
        for name in third_party_imports(path)
        if not allowed & {canonical_name(found) for found in distributions.get(name, [name])}
    }
    assert not undeclared, "declare it in pyproject.toml: what another package happens to bring may be gone tomorrow"


def third_party_imports(path: Path) -> set[str]:
    """The top-level modules that a file imports anywhere, without the standard library's."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"velodrome_leaderboard", "velodrome_operator", "velodrome_runner"}


def canonical_name(distribution: str) -> str:
    """PEP 503: the spelling by which indexes know a distribution."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


# Tools


def test_every_make_target_has_help() -> None:
    assert {"demo", "test", "lint", "help"} <= TARGETS.keys()
    assert not [target for target, text in TARGETS.items() if not text]
    assert all(f"  {target} " in run("make", "--no-print-directory", "help") for target in TARGETS)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_make_commands_of_a_page_exist(page: str) -> None:
    named = re.findall(r"(?:^ {4}|^|`)make ([a-z][a-z0-9-]*)", (ROOT / page).read_text(), flags=re.MULTILINE)
    assert set(named) <= TARGETS.keys()


def test_ci_runs_the_readmes_test_command() -> None:
    assert "\nmake test\n" in (ROOT / ".ci/run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_executable_strict_bash(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in path.read_text()
    run("bash", "-n", path)


def test_generated_files_are_what_the_code_says() -> None:
    run(sys.executable, "tools/generate.py", "--check")


SKIPPING = """
import pytest

def test_without_a_server(): pytest.skip("no server")

@pytest.mark.skipif(True, reason="no browser")
def test_without_a_browser(): pass

@pytest.mark.gpu
def test_without_a_gpu(): pytest.skip("no GPU")
"""


@pytest.mark.parametrize(("ci", "outcome"), [("", "3 skipped"), ("true", "1 failed, 1 skipped, 1 error")])
def test_a_skip_is_a_failure_in_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: str) -> None:
    monkeypatch.setenv("CI", ci)
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        ROOT / "pyproject.toml",
    ]
    output = run(*command, "--rootdir", tmp_path, tmp_path, code=1 if ci else 0)
    assert outcome in output.splitlines()[-1]
