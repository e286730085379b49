"""The digest of an entry's own code. Trials are the same only if their code is the same. The code is not run.

An entry's own code is

- for a model from a factory: the content of the factory's module and of all modules that it imports, directly or not;
- for a command: the content of the programs and configurations that it names, and of what its Python scripts import;
- for pretrained weights: the content of the file, or the version of torchvision if the name is torchvision's;
- for all of these: the versions of the installed distributions that they import.

Modules are found by name on the search path, and imports are read from the source. So an edit of any module changes the
digest. Files are identified by the names of their modules, so the same code in another folder has the same digest.

These are not part of it: data; what a program reads or imports by a name that it makes while it runs; Velodrome; the
standard library; and the libraries whose versions are in every record.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import pkgutil
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

from velodrome.canonical import digest
from velodrome.plan import Plan, TrialConfig

# Limits of what is read of one entry's code. Of a file beyond a limit, only the size counts.
MOST_FILES = 5_000
MOST_BYTES = 256 * 1024 * 1024
LARGEST_FILE = 64 * 1024 * 1024

_UNREADABLE = "can't be read"
# Velodrome's own modules, and the libraries whose versions are in every record.
_VELODROME = ("velodrome", "velodrome_runner")
_RECORDED = ("numpy", "sklearn", "torch", "torchmetrics", "torchvision")
_STANDARD = Path(os.__file__).parent
_INTERPRETER = re.compile(
    r"(python|pypy|bash|dash|zsh|sh|env|node|deno|bun|ruby|perl|lua|php|java|julia|Rscript|octave)[0-9.]*"
)
_SHELL = re.compile(r"(bash|dash|zsh|sh)")
_PYTHON = re.compile(r"(python|pypy)[0-9.]*")
_PYTHON_SOURCE = (".py", ".pyw")
_PROGRAMS = (
    ".bash", ".class", ".jar", ".jl", ".js", ".lua", ".m", ".mjs", ".php", ".pl", ".pyz", ".r", ".rb", ".sh", ".so",
    ".ts", ".zsh",
)  # fmt: skip
_CONFIGURATIONS = (".cfg", ".conf", ".gin", ".ini", ".json", ".toml", ".yaml", ".yml")


def plan_code(plan: Plan, search: Sequence[str] | None = None, folder: Path | None = None) -> dict[str, str]:
    """The digest of each entry's own code, by entry name. Entries without own code are left out.

    `search` has the folders in which modules are searched, by default those of a runner that is started here. Relative
    paths start at `folder`, by default the working folder.
    """
    found = {name: config_code(config, search, folder) for name, config in plan.configs.items()}
    return {name: code for name, code in found.items() if code is not None}


def config_code(config: TrialConfig, search: Sequence[str] | None = None, folder: Path | None = None) -> str | None:
    """The digest of a trial's own code, 16 hexadecimal digits. None without own code. Unusual files never raise."""
    importlib.invalidate_caches()
    sources = _Sources(search_path() if search is None else search)
    here = folder or Path.cwd()
    if config.command is not None:
        _take_command(sources, config.command, here)
    elif config.model is not None:
        name, weights = config.model.name, config.model.args.get("weights")
        if name.startswith("timm/"):  # its models are another library's code
            sources.take_distribution("timm")
        if ":" in name:
            sources.take_module(name.partition(":")[0], named=True)
        if isinstance(weights, str):
            _take_weights(sources, weights, here, torchvision=name.startswith("torchvision/"))
    facts = sources.facts()
    return digest(facts, 16) if facts else None


def search_path() -> list[str]:
    """The folders in which a runner that is started here finds modules: the working folder, then this process's."""
    own = [str(Path(folder).absolute()) for folder in sys.path]
    here = [] if sys.flags.safe_path else [str(Path.cwd())]
    return list(dict.fromkeys((*here, *own)))


def _take_weights(sources: _Sources, weights: str, here: Path, *, torchvision: bool) -> None:
    path = here / weights
    if "/" in weights or "." in weights:
        sources.take_weights(path)
    elif torchvision:
        sources.take_distribution("torchvision")


def _take_command(sources: _Sources, command: Sequence[str], here: Path) -> None:
    """Takes the files that a command names. It also reads `python -m`, `python -c` and a shell's `-c`."""
    program, *arguments = command
    name = Path(program).name
    if "/" in program and not _INTERPRETER.fullmatch(name):
        _take_named(sources, here, program, always=True)
    before = ""
    for argument in arguments:
        if before == "-m":
            sources.take_module(argument, folder=here, named=True)
        elif before == "-c" and _PYTHON.fullmatch(name):
            sources.take_text(argument, here)
        elif before == "-c" and _SHELL.fullmatch(name):
            _take_line(sources, argument, here)
        else:
            _take_named(sources, here, argument.rpartition("=")[2])
        before = argument


def _take_line(sources: _Sources, line: str, here: Path) -> None:
    with suppress(ValueError):  # a quotation does not end
        words = shlex.split(line)
        for before, word in zip(("", *words), words, strict=False):
            if before == "-m":
                sources.take_module(word, folder=here, named=True)
            else:
                _take_named(sources, here, word.strip(";&|"))


def _take_named(sources: _Sources, here: Path, word: str, *, always: bool = False) -> None:
    """Takes a file that a command names, if it is a program or a configuration, or a folder that Python can run."""
    path = here / word
    if not word:
        return
    try:
        if path.is_dir():
            path /= "__main__.py"
        if not path.is_file():
            return
        executable = bool(path.stat().st_mode & 0o111)
    except (OSError, ValueError):  # too long for a path, or in a folder without access
        return
    suffix = path.suffix.lower()
    if always or executable or suffix in (*_PYTHON_SOURCE, *_PROGRAMS, *_CONFIGURATIONS) or _first_line(path):
        sources.take_script(path)


def _first_line(path: Path) -> bytes:
    """The line that says which program runs the file. Empty if there is no such line."""
    try:
        with path.open("rb") as file:
            line = file.readline(256)
    except OSError:
        return b""
    return line if line.startswith(b"#!") else b""


class _Sources:
    """The code that was found so far. Each file leads to the modules that it imports."""

    def __init__(self, search: Sequence[str]) -> None:
        self._search = tuple(search)
        self._files: dict[str, set[str]] = {}
        self._distributions: set[str] = set()
        self._seen: set[tuple[str, tuple[str, ...]]] = set()
        self._paths: set[str] = set()
        self._bytes = 0

    def facts(self) -> dict[str, list[str]]:
        """Everything that was found, by name: the digests of files, and the versions of distributions."""
        found = {name: sorted(contents) for name, contents in self._files.items()}
        for name in self._distributions:
            versions = _versions(name)
            if versions:
                found[f"distribution {name}"] = versions
        return found

    def take_module(self, name: str, *, folder: Path | None = None, named: bool = False) -> None:
        """Takes a module by name, and what it imports. `named` says that the entry names it itself."""
        search = self._search if folder is None else (str(folder), *self._search)
        self._follow([(name, search, named), (f"{name}.__main__", search, named)])

    def take_script(self, path: Path) -> None:
        """Takes a program, and the imports of a Python program. Like Python, it searches the program's folder first."""
        content = self._read(f"file {path.name}", path)
        if path.suffix.lower() in _PYTHON_SOURCE or b"python" in _first_line(path):
            search = (str(_folder(path)), *self._search)
            self._follow([(name, search, False) for name in _imports(content, "")])

    def take_text(self, source: str, folder: Path) -> None:
        """Takes what the source imports. The source stands in the command itself."""
        search = (str(folder), *self._search)
        self._follow([(name, search, False) for name in _imports(source.encode("utf-8", "replace"), "")])

    def take_weights(self, path: Path) -> None:
        """Takes a file of weights of any size."""
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError):
            found = _UNREADABLE
        self._files.setdefault("weights", set()).add(found)

    def take_distribution(self, name: str) -> None:
        """Takes the distributions that have this top-level module."""
        self._distributions.add(name)

    def _follow(self, names: list[tuple[str, tuple[str, ...], bool]]) -> None:
        while names:
            name, search, named = names.pop()
            if (name, search) in self._seen or name.partition(".")[0] in _VELODROME:
                continue
            self._seen.add((name, search))
            for module, spec in _specs(name, search):
                origin = Path(spec.origin or "")
                if _is_installed(origin):
                    top = name.partition(".")[0]
                    if named or top not in _RECORDED:
                        self._distributions.add(top)
                    break
                if not spec.has_location or _STANDARD in origin.parents:
                    continue
                content = self._read(f"module {module}", origin)
                package = module if spec.submodule_search_locations is not None else module.rpartition(".")[0]
                if origin.suffix in _PYTHON_SOURCE:
                    names += [(other, search, False) for other in _imports(content, package)]

    def _read(self, name: str, path: Path) -> bytes:
        """Takes a file under this name, and returns its content. Empty if it was taken before or is beyond a limit."""
        if str(path) in self._paths:
            return b""
        self._paths.add(str(path))
        content = b""
        try:
            size = path.stat().st_size
            if size > LARGEST_FILE or self._bytes + size > MOST_BYTES or len(self._paths) > MOST_FILES:
                found = f"{size} bytes"
            else:
                content = path.read_bytes()
                self._bytes += len(content)
                found = hashlib.sha256(content).hexdigest()
        except (OSError, ValueError):
            found = _UNREADABLE
        self._files.setdefault(name, set()).add(found)
        return content


def _folder(path: Path) -> Path:
    """The folder in which Python searches a script's imports. For a link, it is the folder of the link's target."""
    try:
        return path.resolve().parent
    except (OSError, RuntimeError):
        return path.absolute().parent


def _imports(source: bytes, package: str) -> Iterator[str]:
    """The full names of the modules that a source imports anywhere. Empty if it can't be read as Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about the source; its author sees them when it runs
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # a relative import beyond the package, which fails when it runs
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _specs(name: str, search: Sequence[str]) -> Iterator[tuple[str, ModuleSpec]]:
    """The packages of a module, outermost first, and the module, as far as they are found. Nothing is imported."""
    path: Sequence[str] | None = search
    module = ""
    for part in name.split("."):
        if path is None:
            return
        module = f"{module}.{part}" if module else part
        spec = _spec(module, path)
        if spec is None:
            return
        yield module, spec
        path = spec.submodule_search_locations


def _spec(module: str, path: Sequence[str]) -> ModuleSpec | None:
    """Finds a module as `PathFinder` does, but without importing the packages above it. For a package without
    `__init__`, `PathFinder` needs that.
    """
    portions: list[str] = []
    for folder in path:
        finder = pkgutil.get_importer(folder)
        spec = finder.find_spec(module) if finder is not None else None
        if spec is not None and spec.loader is not None:
            return spec
        portions += (spec.submodule_search_locations or ()) if spec is not None else ()
    if portions:
        package = ModuleSpec(module, None, is_package=True)
        package.submodule_search_locations = portions
        return package
    with suppress(ImportError, ValueError, AttributeError):  # an editable install may find it another way
        return None if "." in module else importlib.util.find_spec(module)
    return None


def _is_installed(origin: Path) -> bool:
    return "site-packages" in origin.parts or "dist-packages" in origin.parts


def _versions(module: str) -> list[str]:
    """The versions of the distributions that have this top-level module. Mostly it is one with the module's name."""
    try:
        return [metadata.version(module)]
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(module, ())
        return sorted({f"{name} {metadata.version(name)}" for name in names})
