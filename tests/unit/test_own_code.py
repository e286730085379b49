"""The digest of an entry's own code: what changes it, what doesn't, and that nothing odd stops it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from velodrome import own_code
from velodrome.own_code import config_code, plan_code
from velodrome.plan import local_uid, plan
from velodrome.spec import validate

FACTORY = "from pkg.sizes import HIDDEN\nfrom . import parts\n\n\ndef net(shape, classes): ...\n"
SCRIPT = "import helper\nimport json, torch\nfrom velodrome import report\n"


def made(**entry: Any) -> Any:
    return plan(
        validate(
            {
                "apiVersion": "velodrome.dev/v1alpha1",
                "kind": "BenchmarkJob",
                "metadata": {"name": "race"},
                "spec": {"dataset": {"name": "digits"}, "entries": [{"name": "own", **entry}]},
            }
        )
    )


def code(folder: Path, **entry: Any) -> str | None:
    return config_code(made(**entry).configs["own"], [str(folder), *own_code.search_path()], folder)


def factory(folder: Path) -> str | None:
    return code(folder, model={"name": "pkg.nets:net"})


def command(folder: Path, *words: str) -> str | None:
    return code(folder, command=list(words))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package with a factory, and a program beside it."""
    folder = tmp_path / "project"
    (folder / "pkg" / "deep").mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("")
    (folder / "pkg" / "nets.py").write_text(FACTORY)
    (folder / "pkg" / "sizes.py").write_text("HIDDEN = 4\n")
    (folder / "pkg" / "parts.py").write_text("def late():\n    from .deep import layers\n")
    (folder / "pkg" / "deep" / "layers.py").write_text("WIDTH = 1\n")  # a package without __init__
    (folder / "pkg" / "data.csv").write_text("1,2\n")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "helper.py").write_text("import pkg.sizes\n")
    (folder / "unused.py").write_text("")
    return folder


@pytest.mark.parametrize("name", ["nets", "sizes", "parts", "deep/layers", "__init__"])
def test_an_edit_of_the_factory_or_of_what_it_imports_is_other_code(project: Path, name: str) -> None:
    before = factory(project)
    with (project / "pkg" / f"{name}.py").open("a") as file:
        file.write("HIDDEN = 256\n")
    assert before is not None
    assert factory(project) not in (before, None)


@pytest.mark.parametrize("name", ["pkg/data.csv", "unused.py", "helper.py"])
def test_what_the_factory_does_not_import_is_no_code_of_it(project: Path, name: str) -> None:
    before = factory(project)
    (project / name).write_text("changed = 1\n")
    assert factory(project) == before


@pytest.mark.parametrize("name", ["train.py", "helper.py", "pkg/sizes.py"])
@pytest.mark.parametrize(
    "words", [("python", "train.py", "--fast"), ("python", "-m", "train"), ("bash", "-c", "exec python train.py; true")]
)
def test_an_edit_of_a_program_or_of_what_it_imports_beside_it_is_other_code(
    project: Path, name: str, words: tuple[str, ...]
) -> None:
    before = command(project, *words)
    with (project / name).open("a") as file:
        file.write("CHANGED = 1\n")
    assert before is not None
    assert command(project, *words) != before


def test_a_program_in_the_command_itself_imports_too(project: Path) -> None:
    words = ("python3.11", "-c", "import helper")
    before = command(project, *words)
    (project / "helper.py").write_text("CHANGED = 1\n")
    assert None not in (before, command(project, *words))
    assert command(project, *words) != before


@pytest.mark.parametrize("name", ["conf.yaml", "train.jl", "tool"])
def test_programs_and_configurations_that_a_command_names_count_and_data_do_not(project: Path, name: str) -> None:
    (project / name).write_text("#!/bin/sh\n")
    (project / "rows.npz").write_bytes(b"data")
    words = ("python", "train.py", f"--file={name}", "--data", "rows.npz")
    before = command(project, *words)
    (project / "rows.npz").write_bytes(b"other data")
    assert command(project, *words) == before
    (project / name).write_text("#!/bin/sh\nchanged\n")
    assert command(project, *words) != before


def test_the_same_code_in_another_folder_is_the_same(project: Path) -> None:
    before = factory(project), command(project, "python", "train.py")
    moved = project.rename(project.parent / "moved")
    assert (factory(moved), command(moved, "python", "train.py")) == before


def test_a_link_counts_by_what_it_leads_to_and_its_imports_lie_there(project: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to(project / "train.py")
    before = command(tmp_path, "python", str(link))
    (project / "helper.py").write_text("CHANGED = 1\n")
    assert command(tmp_path, "python", str(link)) != before
    link.unlink()
    link.symlink_to(tmp_path / "nowhere.py")
    assert command(tmp_path, "python", str(link)) is None, "there is no such file; the trial will say so"


def test_entries_without_own_code_have_none_and_their_races_keep_their_uids(project: Path) -> None:
    assert code(project, model={"name": "velodrome/mlp"}) is None
    assert code(project, model={"name": "torchvision/resnet18"}) is None
    assert command(project, "trainer", "--fast") is None
    builtin = made(model={"name": "velodrome/mlp"})
    assert plan_code(builtin) == {}
    assert local_uid(builtin, 0, plan_code(builtin)) == local_uid(builtin)


def test_other_code_is_another_race() -> None:
    job = made(model={"name": "pkg.nets:net"})
    assert len({local_uid(job, 0, code) for code in (None, {"own": "a"}, {"own": "b"})}) == 3
    assert local_uid(job, 0, {}) == local_uid(job)


def weights_in(folder: Path, name: str) -> str | None:
    return code(folder, model={"name": "torchvision/resnet18", "args": {"weights": name}})


def test_weights_count_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"1")
    before = weights_in(tmp_path, "./state.pt")
    (tmp_path / "state.pt").write_bytes(b"2")
    assert before is not None
    assert weights_in(tmp_path, "./state.pt") != before
    assert weights_in(tmp_path, "gone.pt") not in (None, before)
    assert weights_in(tmp_path, "DEFAULT") is not None, "the version of torchvision says which they are"


def test_timms_models_are_code_of_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for version in ("1", "2"):
        monkeypatch.setattr("velodrome.own_code.metadata.version", lambda _, version=version: version)
        found.append(code(tmp_path, model={"name": "timm/resnet18"}))
    assert None not in found
    assert found[0] != found[1]


def install(folder: Path, version: str) -> None:
    (folder / "nets_of_others").mkdir(parents=True, exist_ok=True)
    (folder / "nets_of_others" / "__init__.py").write_text("def net(): ...\n")
    info = folder / "nets_of_others.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: nets_of_others\nVersion: {version}\n")


@pytest.mark.parametrize("imports", [False, True])
def test_installed_distributions_count_by_version(
    project: Path, monkeypatch: pytest.MonkeyPatch, *, imports: bool
) -> None:
    installed = project / "site-packages"
    install(installed, "1.0")
    monkeypatch.syspath_prepend(str(installed))
    (project / "mine.py").write_text("import nets_of_others\n")
    name = "mine:net" if imports else "nets_of_others:net"
    before = code(project, model={"name": name})
    (installed / "nets_of_others" / "__init__.py").write_text("# compiled anew\n")
    assert code(project, model={"name": name}) == before
    install(installed, "2.0")
    assert code(project, model={"name": name}) != before


def hidden(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)  # a loop, which root can't read either


ODD: dict[str, Callable[[Path], object]] = {
    "no Python": lambda path: path.write_text("def (:\n"),
    "bytes": lambda path: path.write_bytes(b"\0\xff\xfe"),
    "beyond its package": lambda path: path.write_text("from ..... import nothing\n"),
    "imports itself": lambda path: path.write_text("import helper, train\n"),
    "an old escape": lambda path: path.write_text("x = '\\d'\n"),
    "can't be read": hidden,
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_files_stop_nothing(project: Path, kind: str) -> None:
    before = command(project, "python", "train.py")
    ODD[kind](project / "helper.py")
    assert command(project, "python", "train.py") not in (None, before)


def test_much_code_is_bounded_and_still_seen_to_change(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_code, "MOST_FILES", 3)
    names = [f"part_{number}" for number in range(20)]
    (project / "train.py").write_text("".join(f"import {name}\n" for name in names))
    for name in names:
        (project / f"{name}.py").write_text("X = 1\n")
    before = command(project, "python", "train.py")
    (project / "part_9.py").write_text("X = 2\n")
    assert command(project, "python", "train.py") == before, "behind the limit the size alone counts"
    (project / "part_9.py").write_text("X = 22\n")
    assert command(project, "python", "train.py") != before


def test_a_folder_full_of_others_is_not_read(project: Path) -> None:
    before = factory(project)
    for number in range(500):
        (project / "pkg" / f"other_{number}.py").write_text(f"X = {number}\n")
    assert factory(project) == before


def test_paths_that_no_file_can_have_stop_nothing(project: Path) -> None:
    assert command(project, "trainer", "x" * 4000, "a\0b", "", "=", os.sep) is None
