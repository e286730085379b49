"""PyTorch for CPUs is locked from the index that the command names: with a small index on this machine in its place."""

from __future__ import annotations

import functools
import hashlib
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[2]))

from tools import images
from tools.imaging import locks


class Quiet(SimpleHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """A wheel without code, as an index would serve it."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    about = f"{name}-{version}.dist-info"
    path = place / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        fields = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        archive.writestr(
            f"{about}/METADATA", "\n".join([*fields, *(f"Requires-Dist: {each}" for each in requires)]) + "\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    links = "".join(f'<a href="{each.name}">{each.name}</a>' for each in sorted(place.glob("*.whl")))
    (place / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of an index, and its folder. The resolver asks no other."""
    folder = tmp_path / "index"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
            monkeypatch.setenv(name, address)
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setattr(locks, "CPU_TORCH", locks.ROOT / "build" / "torch-cpu.txt")
        (locks.ROOT / "build").mkdir(exist_ok=True)
        yield address, folder
        server.shutdown()


def version(library: str) -> str:
    line = locks.requirement((locks.FOLDER / "runner.txt").read_text(), library).splitlines()[0]
    return line.removeprefix(f"{library}==").split()[0]


def test_pytorch_for_cpus_is_locked_at_the_versions_of_the_lock(index: tuple[str, Path]) -> None:
    address, folder = index
    torch, vision = version("torch"), version("torchvision")
    pillow = version("pillow")
    made = wheel(folder, "torch", f"{torch}+cpu")
    wheel(folder, "torch", torch)
    wheel(folder, "torchvision", f"{vision}+cpu", f"torch=={torch}+cpu", "pillow")
    wheel(folder, "pillow", pillow)
    wheel(folder, "pillow", "99.0")  # newer than the lock's
    done = CliRunner().invoke(images.app, ["lock-cpu", "--index", address])
    assert done.exit_code == 0, done.output
    text = locks.CPU_TORCH.read_text()
    assert f"torch=={torch}+cpu \\" in text
    assert f"torchvision=={vision}+cpu \\" in text
    assert f"pillow=={pillow} \\" in text
    assert f"--hash=sha256:{hashlib.sha256(made.read_bytes()).hexdigest()}" in text


def test_an_index_without_that_pytorch_is_refused_by_name(
    index: tuple[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    address, folder = index
    wheel(folder, "torch", "1.0+cpu")
    done = CliRunner().invoke(images.app, ["lock-cpu", "--index", address])
    assert done.exit_code == 1
    assert f"{address} has no PyTorch {version('torch')}+cpu" in done.output
    assert capfd.readouterr().err  # the resolver's own words
