"""The data folder, in every state that a machine may have it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from velodrome.errors import LocalError
from velodrome.machine.home import Home, locate_home, open_home


def test_velodrome_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert locate_home({"VELODROME_HOME": str(tmp_path / "own")}).folder == tmp_path / "own"
    assert locate_home({}).folder == tmp_path / "xdg" / "velodrome"


def test_a_relative_folder_is_meant_from_here_and_a_tilde_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate_home({"VELODROME_HOME": "results"}).folder == tmp_path / "results"
    assert locate_home({"VELODROME_HOME": "~/results"}).folder == tmp_path / "results"


def test_a_relative_xdg_folder_is_ignored_as_its_standard_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate_home({}).folder == tmp_path / ".local/share/velodrome"


def test_it_is_made_where_it_is_missing_and_only_its_owner_may_enter(tmp_path: Path) -> None:
    home = open_home({"VELODROME_HOME": str(tmp_path / "a" / "b")})
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700
    assert list(home.folder.iterdir()) == []  # the probe is gone


def test_a_file_in_its_place_is_reported_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(LocalError, match=r"home: can't be written .*VELODROME_HOME=FOLDER"):
        open_home({"VELODROME_HOME": str(tmp_path / "home")})
    with pytest.raises(LocalError, match="VELODROME_HOME=FOLDER"):
        open_home({"VELODROME_HOME": str(tmp_path / "home" / "below")})


def test_a_disk_that_is_nearly_full_is_reported_before_a_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 -- shutil's own answer is one
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 99, 1))
    with pytest.raises(LocalError, match="0 MiB left"):
        open_home({"VELODROME_HOME": str(tmp_path)})


def test_reading_asks_for_no_room_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 -- shutil's own answer is one
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 100, 0))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("nothing is to be written"))
    assert open_home({"VELODROME_HOME": str(tmp_path)}, writes=False).folder == tmp_path


@pytest.mark.parametrize("below", ["", "home"], ids=["it", "the folder around it"])
def test_a_home_that_can_only_be_read(tmp_path: Path, below: str) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    home = folder / below
    # Permissions don't bind root, unless it gives up the capability that lets it ignore them.
    bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*bound, sys.executable, "-m", "velodrome", "jobs"],
        env={**os.environ, "VELODROME_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    missing = home if below else home / "redis"
    assert f"{missing}: can't be written (Permission denied)" in done.stderr
    assert "VELODROME_HOME=FOLDER" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_home_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def nobody(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(LocalError, match="VELODROME_HOME"):
        locate_home({})


def test_what_lies_where(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.job("u") == tmp_path / "jobs" / "u"
    assert {home.redis, home.track, home.data} == {tmp_path / "redis", tmp_path / "track", tmp_path / "data"}
