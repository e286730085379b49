"""Makes the linters that this project pins: a Python environment from a list with hashes, and programs of Go's modules.

They stand in ~/.cache/velodrome-linters, named after their versions, and are made once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "tools" / "security.txt"
KUBERNETES = "v1.35.4"  # whose documents the schemas are made from

GO_PROGRAMS = {
    "helm": "helm.sh/helm/v4/cmd/helm@v4.3.0",
    "kube-score": "github.com/zegl/kube-score/cmd/kube-score@v1.20.0",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
}


class LinterMissingError(Exception):
    """A linter could not be made. The message says what is missing, or which command failed."""


def home() -> Path:
    """The folder of the linters."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "velodrome-linters"


def python_program(name: str) -> str:
    """A program of tools/security.txt: bandit, checkov or pip-audit.

    Raises:
        LinterMissingError: the environment could not be made.
    """
    made = home() / f"python-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if not (made / ".complete").exists():
        print("installing the linters of tools/security.txt: about 2 minutes, once", flush=True)
        uv = str(ROOT / "tools" / "uv")
        python = str(made / "bin" / "python")
        _run([uv, "venv", "--quiet", "--clear", str(made)])
        _run([uv, "pip", "install", "--quiet", "--require-hashes", "--python", python, "--requirement", str(LOCK)])
        (made / ".complete").touch()
    return str(made / "bin" / name)


def place(name: str) -> Path:
    """Where one of GO_PROGRAMS stands once it is made."""
    return home() / f"go-{GO_PROGRAMS[name].rpartition('@')[2]}" / name


def go_program(name: str) -> str:
    """One of GO_PROGRAMS.

    Raises:
        LinterMissingError: Go is missing, or the module could not be built.
    """
    path = place(name)
    if not path.exists():
        print(f"building {name}: a few minutes, once", flush=True)
        settings = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOBIN": str(path.parent)}
        _run([_go(), "install", GO_PROGRAMS[name]], settings)
    return str(path)


def openapi() -> Path:
    """The folder with Kubernetes' OpenAPI documents, one for each API group and version.

    Raises:
        LinterMissingError: Go is missing, or the module could not be fetched.
    """
    found = home() / f"openapi-{KUBERNETES}"
    if not found.exists():
        told = json.loads(_run([_go(), "mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}"]))
        partial = found.with_suffix(".partial")
        shutil.copytree(Path(told["Dir"], "api", "openapi-spec", "v3"), partial, dirs_exist_ok=True)
        partial.rename(found)
    return found


def _go() -> str:
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if found is None:
        raise LinterMissingError(
            "Go is needed to build helm, kubeconform and kube-score: see https://go.dev/doc/install"
        )
    return found


def _run(line: list[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        line, cwd="/", env=os.environ | dict(environment or {}), check=False, text=True, stdout=subprocess.PIPE
    )
    if done.returncode != 0:
        raise LinterMissingError(
            f"`{' '.join(line)}` failed with exit code {done.returncode}; its messages stand above"
        )
    return done.stdout
