"""What the linters found, less what `exceptions.yaml` excepts with a reason. Reading their answers is pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

EXCEPTIONS = Path(__file__).parent / "exceptions.yaml"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a linter has against one object."""

    tool: str
    check: str
    thing: str  # such as Job/digits
    source: str
    message: str

    def __str__(self) -> str:
        return f"{self.tool} {self.check}: {self.thing} of {self.source}: {self.message}"


@dataclass(frozen=True, slots=True)
class Exemption:
    """Findings that stand, with the reason. `thing` is a pattern, such as Job/*."""

    tool: str
    check: str
    thing: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is one of these."""
        return (self.tool, self.check) == (finding.tool, finding.check) and fnmatchcase(finding.thing, self.thing)


def exemptions(path: Path = EXCEPTIONS) -> list[Exemption]:
    """All exceptions of the file."""
    return [Exemption(**row) for row in yaml.safe_load(path.read_text())]


def judged(found: Iterable[Finding], excepted: Sequence[Exemption]) -> tuple[list[Finding], list[Exemption]]:
    """The findings that no exception covers, and the exceptions that cover none and should go."""
    found = list(found)
    left = [finding for finding in found if not any(each.covers(finding) for each in excepted)]
    idle = [each for each in excepted if not any(each.covers(finding) for finding in found)]
    return left, idle


def of_checkov(said: str, sources: dict[str, str]) -> Iterator[Finding]:
    """The findings in checkov's JSON. `sources` has each file's source by its name."""
    answer = json.loads(said)
    for report in answer if isinstance(answer, list) else [answer]:
        for check in report.get("results", {}).get("failed_checks", ()):
            kind, _, name = _of_resource(check["resource"])
            source = sources[Path(check["file_path"]).name]
            yield Finding("checkov", check["check_id"], f"{kind}/{name}", source, check["check_name"])


def of_kube_score(said: str, sources: dict[str, str]) -> Iterator[Finding]:
    """The findings in kube-score's JSON, of the grades `critical` and `warning`."""
    for each in json.loads(said):
        thing = f"{each['type_meta']['kind']}/{each['object_meta']['name']}"
        source = sources[Path(each["file_name"]).name]
        for check in each["checks"] or ():
            if not check["skipped"] and check["grade"] < 10:
                comments = "; ".join(comment["summary"] for comment in check["comments"] or ())
                yield Finding("kube-score", check["check"]["id"], thing, source, comments or check["check"]["name"])


def of_kubeconform(said: str, sources: dict[str, str]) -> Iterator[Finding]:
    """The findings in kubeconform's JSON: objects that the API server would refuse."""
    for each in json.loads(said)["resources"]:
        if each["status"] not in {"statusValid", "statusSkipped"}:
            source = sources[Path(each["filename"]).name]
            yield Finding("kubeconform", each["status"], f"{each['kind']}/{each['name']}", source, each["msg"])


def _of_resource(resource: str) -> tuple[Any, ...]:
    """The kind, namespace and name in checkov's name of an object, such as Deployment.velodrome.velodrome-operator."""
    match = re.fullmatch(r"([A-Za-z]+)\.([a-z0-9-]+)\.([a-z0-9.:-]+?)(?: \(container .*)?", resource)
    return match.groups() if match else (*resource.partition(".")[::2], "")
