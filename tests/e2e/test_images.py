"""`make images push` with a real engine and a real registry on this machine. It needs buildah and no cluster."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import recipes
from tests.cluster.build import build_registry, install
from tests.cluster.layout import Layout

ROOT = Path(__file__).parents[2]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of an empty registry on a free port of the loopback interface."""
    crane = build_registry(Layout.default())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = [str(crane), "registry", "serve", "--address", f"127.0.0.1:{port}", "--disk", str(tmp_path / "registry")]
    (tmp_path / "registry").mkdir()
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}/team"
        process.terminate()
    named = subprocess.run(
        ["buildah", "images", "--format", "{{.Name}}:{{.Tag}}"], check=True, text=True, capture_output=True
    ).stdout.split()
    subprocess.run(["buildah", "rmi", *(name for name in named if name.startswith(f"127.0.0.1:{port}/"))], check=True)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A clone of what is committed: what the test edits there stays there."""
    place = tmp_path / "sources"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place)], check=True)
    return place


def pushed(sources: Path, registry: str) -> dict[str, str]:
    """Builds and pushes the smallest image. Returns what the chart would read."""
    done = subprocess.run(
        [
            sys.executable, "tools/images.py", "build", "redis", "--push", "--insecure", "--registry", registry,
            "--engine", "buildah", "--base", recipes.base(), "--source", "https://registry.example/velodrome",
            *(word for argument in recipes.BUILD_ARGUMENTS for word in ("--engine-arg", argument)),
        ],
        cwd=sources, env=recipes.environment(), check=False, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    written = yaml.safe_load((sources / "charts/velodrome/digests.yaml").read_text())
    found: dict[str, str] = written["images"]["redis"]
    return found


@pytest.mark.smoke
def test_an_image_is_pushed_with_its_documents_and_the_same_sources_give_the_same_digest(
    sources: Path, registry: str
) -> None:
    install(recipes.PACKAGES)
    first = pushed(sources, registry)
    assert first["repository"] == f"{registry}/velodrome-redis"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", first["digest"])

    crane = build_registry(Layout.default())
    line = [str(crane), "config", "--insecure", f"{first['repository']}@{first['digest']}"]
    config = json.loads(subprocess.run(line, check=True, text=True, capture_output=True).stdout)["config"]
    assert config["User"] == "65532:65532"
    labels = config["Labels"]
    head = subprocess.run(
        ["git", "log", "-1", "--format=%H", "--", "deploy/images/redis.Dockerfile", "deploy/images/assemble.py"],
        cwd=ROOT, check=True, text=True, capture_output=True,
    )  # fmt: skip
    assert labels["org.opencontainers.image.revision"] == head.stdout.strip()
    assert labels["org.opencontainers.image.source"] == "https://registry.example/velodrome"
    assert labels["org.opencontainers.image.title"] == "velodrome-redis"

    documents = sources / "build/images/redis"
    assert (documents / "digest").read_text() == f"{first['repository']}@{first['digest']}\n"
    sbom = json.loads((documents / "sbom.spdx.json").read_text())
    assert {"redis-server", "libc6"} <= {package["name"] for package in sbom["packages"]}
    assert "bash" not in {package["name"] for package in sbom["packages"]}
    provenance = json.loads((documents / "provenance.json").read_text())
    assert provenance["subject"][0]["digest"]["sha256"] == first["digest"][7:]
    materials = provenance["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {"gitCommit": head.stdout.strip()} in [material["digest"] for material in materials]

    # An edit elsewhere, and time, change nothing.
    edited = sources / "leaderboard/velodrome_leaderboard/__init__.py"
    edited.write_text(edited.read_text() + "# edited\n")
    assert pushed(sources, registry) == first
    # An edit of what the image is made of is not pushed unless it is committed.
    recipe = sources / "deploy/images/redis.Dockerfile"
    recipe.write_text(recipe.read_text().replace("Debian's Redis,", "Debian's own Redis,"))
    line = [
        sys.executable,
        "tools/images.py",
        "build",
        "redis",
        "--push",
        "--registry",
        registry,
        "--engine",
        "buildah",
    ]
    refused = subprocess.run(line, cwd=sources, check=False, text=True, capture_output=True)
    assert refused.returncode == 1
    assert "redis have edits that are in no commit" in refused.stderr
