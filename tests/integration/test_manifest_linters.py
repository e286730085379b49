"""The chart, what the operator makes for races, and the code, before the linters that look for weak spots.

The linters are made once, with Go and from PyPI, in ~/.cache/velodrome-linters.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))

from tools import security  # noqa: E402
from tools.linting import findings, manifests, programs  # noqa: E402
from tools.linting.findings import Exemption, Finding  # noqa: E402

# A cold start builds three programs of Go's and installs checkov.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """What the linters have against the project, and against a Job with a fault for each of them."""
    try:
        return list(security.found_in(tmp_path_factory.mktemp("linted"), {"a bad race": [bad_job()]}))
    except programs.LinterMissingError as error:
        pytest.skip(str(error))


def bad_job() -> dict[str, Any]:
    """A Job of a race, spoiled: a field that Jobs don't have, the host's network, and a tag in place of a digest."""
    job = next(made for made in manifests.races()["race digits"] if made["kind"] == "Job")
    spoiled: dict[str, Any] = yaml.safe_load(yaml.safe_dump(job))
    spoiled["metadata"]["name"] = "spoiled"
    spoiled["spec"]["paralelism"] = 3
    pod = spoiled["spec"]["template"]["spec"]
    pod["hostNetwork"] = True
    pod["containers"][0]["image"] = "registry.example/velodrome-runner:latest"
    return spoiled


def test_nothing_is_found_that_no_reason_excepts(found: list[Finding]) -> None:
    left, _ = findings.judged(found, findings.exemptions())
    assert [str(each) for each in left if each.source != "a bad race"] == []


def test_every_linter_finds_the_fault_that_is_meant_for_it(found: list[Finding]) -> None:
    of_bad = {(each.tool, each.check): each for each in found if each.source == "a bad race"}
    assert "paralelism" in of_bad["kubeconform", "statusInvalid"].message
    assert ("kube-score", "container-image-tag") in of_bad
    assert ("checkov", "CKV_K8S_19") in of_bad  # the host's network
    left, _ = findings.judged(of_bad.values(), findings.exemptions())
    assert {each.tool for each in left} == {"kubeconform", "kube-score", "checkov"}


def test_races_of_every_kind_are_linted() -> None:
    races = manifests.races()
    assert {"race digits", "race on a GPU", "race distributed", "race numpy"} <= set(races)
    assert {made["kind"] for made in races["race distributed"]} >= {"Job", "Secret", "ConfigMap", "Service"}


def test_bandit_finds_nothing_in_the_code(capfd: pytest.CaptureFixture[str]) -> None:
    assert security.code() == 0, capfd.readouterr().out


def test_bandit_would_find_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shell.py").write_text("import subprocess\n\nsubprocess.run('rm -r ' + input(), shell=True)\n")
    monkeypatch.setattr(security, "CODE", (str(tmp_path),))
    assert security.code() == 1


A_FINDING = Finding("checkov", "CKV_K8S_11", "Job/digits", "race digits", "CPU limits should be set")


@pytest.mark.parametrize(
    ("exemption", "left", "idle"),
    [
        (("checkov", "CKV_K8S_11", "Job/*"), 0, 0),
        (("checkov", "CKV_K8S_11", "Deployment/*"), 1, 1),
        (("checkov", "CKV_K8S_12", "Job/*"), 1, 1),
        (("kube-score", "CKV_K8S_11", "Job/*"), 1, 1),
    ],
)
def test_an_exception_is_for_one_check_and_one_kind_of_thing(
    exemption: tuple[str, str, str], left: int, idle: int
) -> None:
    unfit, unused = findings.judged([A_FINDING], [Exemption(*exemption, reason="")])
    assert (len(unfit), len(unused)) == (left, idle)


def test_every_exception_has_a_reason() -> None:
    assert all(len(each.reason) > 20 for each in findings.exemptions())


AUDITED = [("sys.exit(0)", 0), ("sys.exit(1)", 1)]


@pytest.mark.parametrize(("program", "code"), AUDITED)
def test_an_audit_fails_if_one_list_of_libraries_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, code: int
) -> None:
    stand_in = tmp_path / "pip-audit"
    stand_in.write_text(f"#!{sys.executable}\nimport sys\n'triton' in sys.argv[-1] and {program}\n")
    stand_in.chmod(0o755)
    given: Callable[[str], str] = lambda _: str(stand_in)  # noqa: E731 - a stand-in of one line
    monkeypatch.setattr(programs, "python_program", given)
    assert security.audit() == code
