"""Runs the linters that look for weak spots. Nothing found: exit code 0. `make security` runs all.

python tools/security.py code        bandit over the code (ruff's S rules run with `make lint`)
python tools/security.py manifests   kubeconform, kube-score and checkov over the chart, and over what races get
python tools/security.py audit       pip-audit: known weak spots of the locked libraries; needs PyPI's advisories
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # a script's path has only its own folder

from tools.linting import findings, manifests, programs, schemas  # noqa: E402
from tools.linting.findings import Finding  # noqa: E402
from tools.linting.manifests import Manifest  # noqa: E402

CODE = ("core", "operator", "runner", "leaderboard", "tools", "deploy")
# Kinds that come with a product of others. Kubernetes' documents have no schema of them.
FOREIGN = ("Certificate", "HTTPRoute", "Issuer", "PodMonitor", "PrometheusRule", "ServiceMonitor")


def code() -> int:
    """Lets bandit read the code. Its exceptions stand beside the lines, and in pyproject.toml."""
    line = [programs.python_program("bandit"), "--quiet", "--configfile", "pyproject.toml", "--recursive", *CODE]
    done = subprocess.run(line, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(done.stdout if done.returncode else "code: nothing found")
    return done.returncode


def audit() -> int:
    """Lets pip-audit look up the libraries of every image. A library that could not be looked up is a failure too."""
    worst = 0
    for lock in sorted((ROOT / "deploy/images/locks").glob("*.txt")):
        print(f"== {lock.name}", flush=True)
        line = [programs.python_program("pip-audit"), "--strict", "--disable-pip", "--requirement", str(lock)]
        worst = max(worst, subprocess.run(line, cwd=ROOT, check=False).returncode)
    return worst


def check_manifests() -> int:
    """The linters of manifests. Prints what no exception covers, and the exceptions that cover nothing."""
    with tempfile.TemporaryDirectory() as folder:
        left, idle = findings.judged(found_in(Path(folder)), findings.exemptions())
    for finding in left:
        print(finding)
    for each in idle:
        print(
            f"{findings.EXCEPTIONS.name}: {each.tool} {each.check} for {each.thing} excepts nothing any more: remove it"
        )
    print(f"manifests: {len(left)} findings")
    return int(bool(left))


def found_in(folder: Path, more: Mapping[str, list[Manifest]] | None = None) -> Iterator[Finding]:
    """Everything that the linters have against the chart, the objects of races, and what else is given by its name."""
    objects = folder / "objects"
    objects.mkdir()
    given = {**manifests.installation(), **manifests.races(), **(more or {})}
    files = list(manifests.written(given, objects))
    sources = {path.name: name for path, name in zip(files, given, strict=True)}
    names = [str(path) for path in files]
    yield from findings.of_kubeconform(
        _kubeconform(names, [made for each in given.values() for made in each], folder), sources
    )
    score = [programs.go_program("kube-score"), "score", "--output-format", "json", "--kubernetes-version", "v1.33"]
    for name in names:  # one at a time: a policy of one source says nothing about the pods of another
        yield from findings.of_kube_score(_said([*score, name]), sources)
    checkov = [
        programs.python_program("checkov"), "--framework", "kubernetes", "--directory", str(objects),
        "--output", "json", "--quiet", "--compact", "--skip-download", "--soft-fail",
    ]  # fmt: skip
    yield from findings.of_checkov(_said(checkov), sources)


def _kubeconform(names: list[str], given: Iterable[Manifest], folder: Path) -> str:
    location = folder / "schemas"
    location.mkdir()
    for name, schema in _schemas({(made["apiVersion"], made["kind"]) for made in given}).items():
        (location / name).write_text(json.dumps(schema))
    line = [
        programs.go_program("kubeconform"), "-strict", "-output", "json", "-skip", ",".join(FOREIGN),
        "-schema-location", f"{location}/{schemas.LOCATION}", *names,
    ]  # fmt: skip
    return _said(line)


def _schemas(kinds: set[tuple[str, str]]) -> dict[str, schemas.Schema]:
    """The schema of each of the kinds, as far as Kubernetes or this project has one."""
    made = schemas.of_crd(manifests.crd())
    for version in {version for version, _ in kinds}:
        path = (
            programs.openapi() / f"{'apis__' if '/' in version else 'api__'}{version.replace('/', '__')}_openapi.json"
        )
        if path.exists():
            made |= schemas.of_kinds(json.loads(path.read_text()))
    names = {schemas.file_name(*_group_and_version(version), kind) for version, kind in kinds}
    return {name: schema for name, schema in made.items() if name in names}


def _group_and_version(text: str) -> tuple[str, str]:
    group, _, version = text.rpartition("/")
    return group, version


def _said(line: list[str]) -> str:
    return subprocess.run(line, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE).stdout


COMMANDS: dict[str, Callable[[], int]] = {"code": code, "manifests": check_manifests, "audit": audit}


def main(arguments: list[str]) -> int:
    """Runs the commands, or all of them. The exit code is that of the worst."""
    unknown = [name for name in arguments if name not in COMMANDS]
    if unknown or not arguments:
        print(__doc__)
        return 0 if set(arguments) <= {"-h", "--help"} and arguments else 2
    try:
        return max(COMMANDS[name]() for name in arguments)
    except programs.LinterMissingError as error:
        print(f"security: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
