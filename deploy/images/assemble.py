"""Collects what an image needs into one folder: programs, the system libraries that they load, and Debian's records.

Runs inside a build, as root, with the base's Python. The image that is made from the folder has no shell, no package
manager and nothing else of the base:

    python3 assemble.py --root /image --python --scan /opt/libraries
    python3 assemble.py --root /image --program /usr/bin/redis-server --program /usr/bin/redis-cli
    python3 assemble.py --list-only /image    # copy nothing; list what an image that keeps the whole base has
    python3 assemble.py --compile /opt/libraries/lib --trim    # drop the libraries' tests and headers; compile the rest

It also writes /usr/share/velodrome/packages.json, from which the list of the image's parts (SBOM) is made.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from py_compile import PycInvalidationMode

ELF = b"\x7fELF"
LIBRARIES = Path("/opt/libraries")
DPKG = Path("/var/lib/dpkg")
# Parts of Python's own library that no program of an image imports: tests, editors, installers, build files.
LEFT_OUT = {
    "__pycache__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter", "turtledemo",
}  # fmt: skip
# What libraries bring for their developers: tests, headers, and sources of what is compiled.
TRIMMED_FOLDERS = {"__pycache__", "include", "test", "tests"}
TRIMMED_FILES = {".a", ".h", ".hpp", ".pxd", ".pyi", ".pyx"}
USER = "velodrome:x:65532:65532:velodrome:/nonexistent:/usr/sbin/nologin\n"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main(arguments: list[str]) -> int:
    """Fills the folder. The exit code is 0, or an exception ends the build."""
    options = parser().parse_args(arguments)
    if options.compile:
        for folder in options.compile:
            if options.trim:
                trim(folder)
            compile_all(folder)
        return 0
    root: Path = options.list_only or options.root
    root.mkdir(parents=True, exist_ok=True)
    if options.list_only:
        write_list(root, debian(all_packages()))
        return 0
    copied = set()
    wanted = [*options.program]
    if options.python:
        wanted += python_files()
        copied |= copy(CERTIFICATES, root)
        link(root / "usr/lib/ssl/cert.pem", CERTIFICATES)
    scanned = [path for folder in options.scan for path in files_below(folder)]
    copied |= {name for path in wanted for name in copy(path, root)}
    for path in system_libraries([*wanted, *scanned]):
        copied |= copy(path, root)
    skeleton(root)
    packages = {owner for name in copied if (owner := OWNERS.get(canonical(name)))}
    compile_all(root / Path(sysconfig.get_path("stdlib")).relative_to("/"), root)
    records(root, packages)
    write_list(root, debian(packages))
    subprocess.run(["ldconfig", "-X", "-r", str(root)], check=True)
    shutil.rmtree(root / "var/cache", ignore_errors=True)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--root", type=Path, default=Path("/image"), help="the folder to fill")
    made.add_argument("--python", action="store_true", help="take this Python and its own library")
    made.add_argument("--program", type=Path, action="append", default=[], help="take this program (repeatable)")
    made.add_argument(
        "--scan", type=Path, action="append", default=[], help="take what the files there load (repeatable)"
    )
    made.add_argument("--compile", type=Path, action="append", default=[], help="compile this folder (repeatable)")
    made.add_argument("--trim", action="store_true", help="first drop the folder's tests, headers and sources")
    made.add_argument("--list-only", type=Path, metavar="ROOT", help="copy nothing, and list all packages of the base")
    return made


def trim(folder: Path) -> None:
    """Drops tests, headers and sources below the folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and path.name in TRIMMED_FOLDERS:
            shutil.rmtree(path)
        elif path.suffix in TRIMMED_FILES and path.is_file():
            path.unlink()


def compile_all(folder: Path, root: Path | None = None) -> None:
    """Compiles all modules below the folder; the same sources give the same bytes each time.

    Python takes the compiled file as it is, whatever the times of the files are: a build sets these to one moment. A
    file that this Python can't compile stays as it is: some libraries bring sources for other versions.
    """
    compileall.compile_dir(
        folder, maxlevels=99, quiet=2, force=True, stripdir=root, prependdir="/" if root else None,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip


def python_files() -> list[Path]:
    """The interpreter and its own library, without the parts that LEFT_OUT names."""
    library = Path(sysconfig.get_path("stdlib"))
    found = [path for path in files_below(library) if not LEFT_OUT & set(path.relative_to(library).parts)]
    kept = [path for path in found if not path.relative_to(library).parts[0].startswith("config-")]
    return [Path(sys.executable), Path(sys.executable).resolve(), *kept]


def files_below(folder: Path) -> list[Path]:
    """All files in the folder, in a fixed order; links that lead nowhere are left out."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def copy(path: Path, root: Path) -> set[str]:
    """Copies a file to its real place, and makes the link that it is known by. Returns both names."""
    real = path.resolve(strict=True)
    place = root / real.relative_to("/")
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(real, place)
    known = path.parent.resolve() / path.name
    if known != real:
        link(root / known.relative_to("/"), real)
    return {str(real), str(known)}


def link(place: Path, target: Path) -> None:
    """Makes a symbolic link, unless something is there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink() and not place.exists():
        place.symlink_to(target)


def system_libraries(paths: Iterable[Path]) -> list[Path]:
    """The libraries outside /opt that the programs and libraries among the paths load.

    Raises:
        SystemExit: one of the project's own programs needs a library that the base lacks.
    """
    binaries = [path for path in paths if is_elf(path)]
    found = set()
    for start in range(0, len(binaries), 100):
        line = ["ldd", *map(str, binaries[start : start + 100])]
        said = subprocess.run(line, check=False, text=True, capture_output=True).stdout
        found |= {Path(name) for name in re.findall(r"(?:=> |^\t)(/\S+) \(0x", said, flags=re.MULTILINE)}
    return sorted(path for path in found if not path.is_relative_to("/opt"))


def is_elf(path: Path) -> bool:
    """Whether the file is a program or a library."""
    with path.open("rb") as file:
        return file.read(4) == ELF


def skeleton(root: Path) -> None:
    """The folders, links and users that every program expects."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if (Path("/") / name).is_symlink():
            (root / "usr" / name).mkdir(parents=True, exist_ok=True)
            link(root / name, Path("usr") / name)
    for name in ("etc", "tmp", "proc", "sys", "dev", "run"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n" + USER)
    (root / "etc/group").write_text("root:x:0:\nvelodrome:x:65532:\n")
    shutil.copy2(Path("/etc/os-release").resolve(), root / "etc/os-release")


def canonical(name: str) -> str:
    """A file's name as it is compared: /lib and /usr/lib are one folder."""
    return re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", name)


def owners() -> dict[str, str]:
    """Which of Debian's packages each file of the base belongs to."""
    found: dict[str, str] = {}
    for file in sorted((DPKG / "info").glob("*.list")):
        package = file.name.removesuffix(".list").partition(":")[0]
        found.update((canonical(name), package) for name in file.read_text().splitlines())
    found[str(CERTIFICATES)] = "ca-certificates"
    return found


def all_packages() -> set[str]:
    """The names of all Debian packages of the base."""
    return {file.name.removesuffix(".list").partition(":")[0] for file in (DPKG / "info").glob("*.list")}


def records(root: Path, packages: set[str]) -> None:
    """Writes the packages' records where scanners of images look for them, and each one's licence."""
    folder = root / "var/lib/dpkg/status.d"
    folder.mkdir(parents=True)
    for package in sorted(packages):
        line = ["dpkg-query", "--status", package]
        folder.joinpath(package).write_text(subprocess.run(line, check=True, text=True, capture_output=True).stdout)
        licence = Path("/usr/share/doc") / package / "copyright"
        if licence.exists():
            copy(licence, root)


def debian(packages: set[str]) -> list[dict[str, str]]:
    """The name, version, architecture and source of each package."""
    fields = r"${Package}\t${Version}\t${Architecture}\t${source:Package}\n"
    line = ["dpkg-query", "--show", "--showformat", fields, *sorted(packages)]
    rows = subprocess.run(line, check=True, text=True, capture_output=True).stdout.splitlines() if packages else []
    names = ("name", "version", "architecture", "source")
    return sorted((dict(zip(names, row.split("\t"), strict=True)) for row in rows), key=lambda row: row["name"])


def python_packages() -> Iterator[dict[str, str]]:
    """The name, version and licence of each library in /opt/libraries."""
    for folder in sorted(LIBRARIES.glob("lib/python3*/site-packages")):
        for found in metadata.distributions(path=[str(folder)]):
            about = found.metadata
            yield {
                "name": about["Name"],
                "version": found.version,
                "licence": about["License-Expression"] or "" if "License-Expression" in about else "",
            }


def write_list(root: Path, packages: list[dict[str, str]]) -> None:
    """Writes the list from which the SBOM is made."""
    release = platform.freedesktop_os_release()
    found = {
        "system": {"id": release["ID"], "version": release.get("VERSION_ID", "")},
        "interpreter": platform.python_version() if LIBRARIES.exists() else "",
        "debian": packages,
        "python": sorted(python_packages(), key=lambda row: row["name"].lower()),
    }
    folder = root / "usr/share/velodrome"
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("packages.json").write_text(json.dumps(found, indent=1) + "\n")


OWNERS = owners() if DPKG.exists() else {}

if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))
