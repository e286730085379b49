"""Which cluster the end-to-end tests use, and what they ask of one that is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.control import Cluster, ClusterError
from tests.cluster.foreign import ENV_IMAGES, Foreign, choose

_DIGEST = "registry.example/it@sha256:" + "0" * 64


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with a kubectl that does nothing, and neither kind nor Docker."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return kubectl


def test_without_another_the_projects_own_is_used(program: Path) -> None:
    assert type(choose()) is Cluster


def test_its_own_kubeconfig_means_its_own_cluster(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(Cluster().at.kubeconfig))
    assert type(choose()) is Cluster


def test_any_other_kubeconfig_is_used_as_it_is(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "config"
    given.write_text("apiVersion: v1\nkind: Config\n")
    monkeypatch.setenv("KUBECONFIG", str(given))
    cluster = choose()
    assert isinstance(cluster, Foreign)
    assert cluster.at.kubeconfig.read_text() == given.read_text()
    cluster.down()
    assert given.exists()


def test_images_of_another_cluster_are_named_by_digest(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Foreign(tmp_path / "config")
    monkeypatch.setenv(ENV_IMAGES, f"operator={_DIGEST},runner=registry.example/it:latest")
    with pytest.raises(ClusterError, match=r"none by digest for: runner, leaderboard, redis$"):
        cluster.load_images()
    monkeypatch.setenv(
        ENV_IMAGES, ",".join(f"{name}={_DIGEST}" for name in ("operator", "runner", "leaderboard", "redis"))
    )
    assert set(cluster.load_images().values()) == {_DIGEST}


def test_parts_of_another_cluster_are_left_alone(program: Path, tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="not the test's to kill"):
        Foreign(tmp_path / "config").kill("etcd")
