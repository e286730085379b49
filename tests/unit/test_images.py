"""The images: what each is built from, what its Dockerfile promises, and the documents beside it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from typer.testing import CliRunner

from tools import images
from tools.imaging import digests, layouts, locks, provenance, sbom
from tools.imaging.components import COMPONENTS, Component, NoRevisionError, Revision, key, revision
from tools.imaging.engines import ENGINES, Recipe, build_line, push_line

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "ab" * 32
PACKAGES: Mapping[str, Any] = {
    "system": {"id": "debian", "version": "12"},
    "interpreter": "3.11.2",
    "debian": [{"name": "libstdc++6", "version": "1:12.2+b1", "architecture": "amd64", "source": "gcc-12"}],
    "python": [
        {"name": "PyYAML", "version": "6.0.3", "licence": "MIT"},
        {"name": "redis", "version": "8.1.0", "licence": "no licence that SPDX knows"},
    ],
}


def dockerfile(component: Component) -> str:
    return (ROOT / component.dockerfile).read_text()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A repository with one file for each input of each image, committed."""
    for component in COMPONENTS.values():
        for name in component.inputs:
            path = tmp_path / name if "." in Path(name).name else tmp_path / name / "module.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("first\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(where: Path, *words: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@registry.example", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=where, check=True, capture_output=True)


def commit(where: Path) -> None:
    git(where, "add", "--all")
    git(where, "commit", "--quiet", "--message", "changed")


def test_an_edit_of_the_leaderboard_changes_the_leaderboards_image_alone(sources: Path) -> None:
    keys = {name: key(component.inputs, sources) for name, component in COMPONENTS.items()}
    revisions = {name: revision(component, sources) for name, component in COMPONENTS.items()}
    (sources / "leaderboard/velodrome_leaderboard/module.py").write_text("second\n")
    (sources / "deploy/images/locks/leaderboard.txt").write_text("a library\n")
    assert [name for name, component in COMPONENTS.items() if revision(component, sources).edited] == ["leaderboard"]
    commit(sources)
    assert {name for name, component in COMPONENTS.items() if key(component.inputs, sources) != keys[name]} == {
        "leaderboard"
    }
    assert {name for name, component in COMPONENTS.items() if revision(component, sources) != revisions[name]} == {
        "leaderboard"
    }


def test_an_edit_of_the_core_changes_every_image_that_has_it(sources: Path) -> None:
    keys = {name: key(component.inputs, sources) for name, component in COMPONENTS.items()}
    (sources / "core/velodrome/module.py").write_text("second\n")
    changed = {name for name, component in COMPONENTS.items() if key(component.inputs, sources) != keys[name]}
    assert changed == {"operator", "leaderboard", "runner"}


def test_what_python_left_behind_changes_no_image(sources: Path) -> None:
    before = key(COMPONENTS["runner"].inputs, sources)
    left = sources / "core/velodrome/__pycache__/module.cpython-311.pyc"
    left.parent.mkdir()
    left.write_bytes(b"compiled")
    assert key(COMPONENTS["runner"].inputs, sources) == before


def test_a_revision_without_a_commit_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(NoRevisionError, match="git tells no revision"):
        revision(COMPONENTS["redis"], tmp_path)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "other").write_text("")
    commit(tmp_path)
    with pytest.raises(NoRevisionError, match="commit the sources"):
        revision(COMPONENTS["redis"], tmp_path)


@pytest.mark.parametrize("component", COMPONENTS.values(), ids=lambda component: component.name)
def test_a_dockerfile_copies_only_the_inputs_of_its_image(component: Component) -> None:
    for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile(component), flags=re.MULTILINE):
        for name in line.split()[:-1]:
            path = re.sub(r"\[(.)\]", r"\1", name)
            assert any(path == each or path.startswith(f"{each}/") for each in component.inputs), name


@pytest.mark.parametrize("component", COMPONENTS.values(), ids=lambda component: component.name)
def test_an_image_has_a_pinned_base_labels_and_no_root(component: Component) -> None:
    text = dockerfile(component)
    assert re.search(r"^ARG BASE=\S+:\S+@sha256:[0-9a-f]{64}$", text, flags=re.MULTILINE)
    last = text[text.rindex("\nFROM ") :]
    assert "\nUSER 65532:65532\n" in last
    for label in ("title", "description", "base.name"):
        assert f"org.opencontainers.image.{label}=" in last
    # The runner alone keeps its base: entries' images are built from it.
    assert last.startswith("\nFROM scratch\n") != (component.name == "runner")


@pytest.mark.parametrize("name", sorted(path.name for path in locks.FOLDER.glob("*.txt")))
def test_every_library_has_a_version_and_hashes(name: str) -> None:
    text = (locks.FOLDER / name).read_text()
    libraries = re.findall(r"^\S+==\S+.*\\\n(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, flags=re.MULTILINE)
    assert len(libraries) == len(re.findall(r"^[^ #]", text, flags=re.MULTILINE)) > 0


def test_cuda_and_triton_come_only_where_they_are_wanted() -> None:
    def libraries(name: str) -> str:
        return " ".join(re.findall(r"^(\S+)==", (locks.FOLDER / f"{name}.txt").read_text(), flags=re.MULTILINE))

    assert "triton" not in libraries("runner")
    assert "nvidia-nccl" in libraries("runner")
    assert libraries("triton") == "triton"
    assert not re.search("torch |nvidia-cu|triton|cuda", libraries("runner-cpu"))
    assert not re.search("torch|kopf|kubernetes", libraries("leaderboard"))
    assert not re.search("torch|streamlit|pandas", libraries("operator"))


RECIPE = Recipe("a.Dockerfile", "registry.example/velodrome-a:1", {"BASE": "base", "EMPTY": ""}, {"who": "us"}, 1234)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_is_given_the_recipe_and_one_time_for_all_files(engine: str) -> None:
    line = build_line(engine, RECIPE, Path("/id"), ("--more",))
    assert line[0] == engine
    assert line[-1] == "."
    words = " ".join(line)
    for part in ("--file a.Dockerfile", "--iidfile /id", "--tag registry.example/velodrome-a:1", "--more", "who=us"):
        assert part in words
    assert "--build-arg BASE=base" in words
    assert "EMPTY" not in words
    assert ("SOURCE_DATE_EPOCH=1234" in words) != ("--timestamp 1234" in words)
    assert push_line(engine, "name", Path("/d"))[-1] == "name"


def test_sizes_are_those_of_the_compressed_layers(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs/sha256"
    blobs.mkdir(parents=True)
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [{"digest": DIGEST}]}))
    (blobs / DIGEST[7:]).write_text(json.dumps({"layers": [{"size": 1_500_000}, {"size": 500_000}]}))
    assert layouts.read(tmp_path) == layouts.Layout(DIGEST, (1_500_000, 500_000))
    assert layouts.read(tmp_path).megabytes == 2.0


def made() -> Any:
    return sbom.document(
        image="registry.example/velodrome-operator", version="1.2.3", digest=DIGEST, licence="Apache-2.0",
        packages=PACKAGES, created=datetime(2026, 1, 1),  # noqa: DTZ001 - SPDX's library takes times without a zone
    )  # fmt: skip


def test_an_sbom_is_valid_spdx_and_names_every_part(tmp_path: Path) -> None:
    assert validate_full_spdx_document(made()) == []
    sbom.write(tmp_path / "sbom.json", made())
    written = json.loads((tmp_path / "sbom.json").read_text())
    assert written["spdxVersion"] == "SPDX-2.3"
    parts = {package["name"]: package for package in written["packages"]}
    assert set(parts) == {"velodrome-operator", "python", "libstdc++6", "PyYAML", "redis"}
    assert parts["libstdc++6"]["externalRefs"][0]["referenceLocator"].startswith("pkg:deb/debian/libstdc%2B%2B6@1%3A12")
    assert parts["PyYAML"]["externalRefs"][0]["referenceLocator"] == "pkg:pypi/pyyaml@6.0.3"
    assert parts["PyYAML"]["licenseDeclared"] == "MIT"
    assert parts["redis"]["licenseDeclared"] == "NOASSERTION"
    assert parts["velodrome-operator"]["checksums"][0]["checksumValue"] == DIGEST[7:]


def test_a_library_that_no_list_has_is_refused_by_name() -> None:
    sbom.check_locked(PACKAGES, ["pyyaml==6.0.3 \\\n", "redis==8.1.0 ; python_version > '3' \\\n"])
    with pytest.raises(sbom.NotLockedError, match=r"redis 8\.1\.0"):
        sbom.check_locked(PACKAGES, ["pyyaml==6.0.3 \\\n", "redis==8.0.0 \\\n"])


def test_provenance_names_the_builder_and_every_material() -> None:
    build = provenance.Build(
        "a.Dockerfile", {"BASE": "base"}, {"git+https://registry.example/v": {"gitCommit": "c0ffee"}}, "urn:us",
        "buildah 1", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z",
    )  # fmt: skip
    stated = provenance.statement("registry.example/a", DIGEST, build)
    assert stated["subject"] == [{"name": "registry.example/a", "digest": {"sha256": DIGEST[7:]}}]
    assert stated["predicateType"] == "https://slsa.dev/provenance/v1"
    definition = stated["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"] == [
        {"uri": "git+https://registry.example/v", "digest": {"gitCommit": "c0ffee"}}
    ]
    assert stated["predicate"]["runDetails"]["builder"]["id"] == "urn:us"


def test_digests_of_images_that_were_pushed_earlier_stay(tmp_path: Path) -> None:
    file = tmp_path / "chart/digests.yaml"
    digests.write({"redis": ("registry.example/r", DIGEST), "operator": ("registry.example/o", DIGEST)}, file)
    newer = "sha256:" + "cd" * 32
    digests.write({"operator": ("registry.example/o", newer)}, file)
    assert yaml.safe_load(file.read_text()) == {
        "images": {
            "operator": {"repository": "registry.example/o", "digest": newer},
            "redis": {"repository": "registry.example/r", "digest": DIGEST},
        }
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "operatr"], "there is no image 'operatr'"),
        (["build", "--engine", "kaniko"], "there is no engine 'kaniko'"),
        (["build", "--push", "redis"], "--push needs --registry"),
    ],
)
def test_a_wrong_word_is_refused_with_the_right_ones(words: list[str], said: str) -> None:
    done = CliRunner().invoke(images.app, words)
    assert done.exit_code == 2
    assert said in re.sub(r"\s+", " ", done.output)


def test_an_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "revision", lambda _: Revision("c0ffee", 0, edited=False))
    monkeypatch.setenv("PATH", "/nonexistent")
    done = CliRunner().invoke(
        images.app, ["build", "redis", "--engine", "podman", "--source", "https://registry.example/v"]
    )
    assert done.exit_code == 1
    assert "podman is not installed" in done.output


def test_inputs_are_listed() -> None:
    done = CliRunner().invoke(images.app, ["inputs", "runner"])
    assert "runner/velodrome_runner" in done.output
    assert "leaderboard" not in done.output
