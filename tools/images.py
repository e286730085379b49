"""Builds the project's images, pushes them, and tells the chart their digests. `make images` calls it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # a script's path has only its own folder

from tools.imaging import digests, layouts, locks, provenance, sbom  # noqa: E402
from tools.imaging.components import COMPONENTS, Component, NoRevisionError, Revision, key, revision  # noqa: E402
from tools.imaging.engines import ENGINES, Engine, ImageError, Recipe  # noqa: E402

OUT = ROOT / "build" / "images"
# The most that an image may take in a registry, in units of 1,000,000 bytes.
LIMITS = {"operator": 120.0, "leaderboard": 250.0}

_LOCAL = "localhost"
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, of all images."""

    engine: Engine
    registry: str
    source: str
    base: str
    torch_index: str
    torch_compile: bool
    insecure: bool


@app.command()
def build(  # noqa: PLR0913 - typer makes an option of each parameter
    only: Annotated[
        list[str] | None, typer.Argument(help=f"Which images: {', '.join(COMPONENTS)}. Default: all.")
    ] = None,
    *,
    registry: Annotated[
        str, typer.Option(help="Where the images are named and pushed to, such as registry.example/team.")
    ] = _LOCAL,
    push: Annotated[
        bool, typer.Option("--push", help="Push each image, and write its digest where the chart reads it.")
    ] = False,
    engine: Annotated[str, typer.Option(help=f"What builds: {', '.join(ENGINES)}.")] = "docker",
    engine_arg: Annotated[
        list[str] | None, typer.Option(help="One more argument for the engine's build command. Repeatable.")
    ] = None,
    base: Annotated[
        str, typer.Option(help="Another base than the pinned one: Debian or Ubuntu with Python 3.11 or newer.")
    ] = "",
    source: Annotated[
        str, typer.Option(help="The address of the sources, for the label. Default: the remote `origin`.")
    ] = "",
    torch_index: Annotated[str, typer.Option(help="An index with PyTorch for CPUs: the runner then has no CUDA.")] = "",
    torch_compile: Annotated[
        bool, typer.Option("--torch-compile", help="Give the runner Triton and a compiler, for torch.compile.")
    ] = False,
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Show what each image takes in a registry; fail above the limits.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="The registry uses no TLS, as one on this machine.")
    ] = False,
    allow_edited: Annotated[
        bool, typer.Option("--allow-edited", help="Push images of sources that are in no commit.")
    ] = False,
) -> None:
    """Build images. Beside each, build/images/NAME/ gets its SBOM (SPDX) and its provenance (SLSA).

    The same sources give the same digest. An image's inputs are its own: `images inputs` lists them.
    """
    if push and registry == _LOCAL:
        raise typer.BadParameter("--push needs --registry, such as --registry registry.example/team")
    order = Order(
        Engine(_known(engine, ENGINES, "engine"), tuple(engine_arg or ())), registry.rstrip("/"), source or _origin(),
        base, torch_index, torch_compile, insecure,
    )  # fmt: skip
    chosen = [COMPONENTS[_known(name, COMPONENTS, "image")] for name in only or COMPONENTS]
    try:
        revisions = {component.name: revision(component) for component in chosen}
        if push and not allow_edited:
            _check_committed(revisions)
        made = [_make(order, component, revisions[component.name], push=push) for component in chosen]
        if push:
            digests.write({name: (repository, digest) for name, repository, digest in made})
            print(f"wrote the digests to {digests.FILE.relative_to(ROOT)}")
        if sizes and _too_large(order, chosen, revisions):
            raise typer.Exit(1)
    except (ImageError, NoRevisionError, sbom.NotLockedError) as error:
        print(f"images: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


@app.command()
def inputs(name: Annotated[str, typer.Argument(help=f"One of {', '.join(COMPONENTS)}.")]) -> None:
    """List what an image is built from, and the digest of that. Nothing else changes the image."""
    component = COMPONENTS[_known(name, COMPONENTS, "image")]
    print("\n".join(component.inputs))
    print(f"{key(component.inputs)}  all of them")


@app.command()
def lock_cpu(
    index: Annotated[str, typer.Option(help="An index with PyTorch's builds for CPUs, as pytorch.org names it.")],
) -> None:
    """Write deploy/images/locks/torch-cpu.txt: PyTorch for CPUs at the versions of the lock, with hashes."""
    wanted = "".join(f"{name}=={_version(name)}+cpu\n" for name in ("torch", "torchvision"))
    pinned = (locks.FOLDER / "runner.txt").read_text()
    constraints = "".join(
        line.rstrip(" \\") + "\n" for line in pinned.splitlines()
        if "==" in line and not line.startswith(("torch==", "torchvision==", " ", "#"))
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "wanted.txt").write_text(wanted)
        Path(folder, "pinned.txt").write_text(constraints)
        line = [
            str(ROOT / "tools/uv"), "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
            "--python-version", "3.11", "--python-platform", "linux",
            "--index", index, "--index-strategy", "unsafe-best-match",
            "--constraint", f"{folder}/pinned.txt", f"{folder}/wanted.txt",
        ]  # fmt: skip
        done = subprocess.run(line, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE)
    if done.returncode != 0:
        print(
            f"images: {index} has no PyTorch {_version('torch')}+cpu; the resolver's messages stand above",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    head = "# PyTorch for CPUs, at the versions of uv.lock. Written by `make lock-cpu`.\n"
    locks.CPU_TORCH.write_text(head + done.stdout)
    print(f"wrote {locks.CPU_TORCH.relative_to(ROOT)}")


def _check_committed(revisions: Mapping[str, Revision]) -> None:
    edited = [name for name, found in revisions.items() if found.edited]
    if edited:
        raise ImageError(
            f"the sources of {', '.join(edited)} have edits that are in no commit: commit them, or say --allow-edited"
        )


def _make(order: Order, component: Component, at: Revision, *, push: bool) -> tuple[str, str, str]:
    """Builds one image and writes its documents. Returns its name, repository and digest."""
    repository, tag = _names(order, component, at)
    recipe = _recipe(order, component, at, tag)
    started = datetime.now(UTC)
    print(f"building {tag}")
    digest = order.engine.build(recipe)
    if push:
        digest = order.engine.push(tag, insecure=order.insecure)
    packages = order.engine.packages(tag)
    if component.locks:
        present = [ROOT / name for name in component.lock_files if (ROOT / name).exists()]
        sbom.check_locked(packages, [path.read_text() for path in present])
    folder = OUT / component.name
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("digest").write_text(
        f"{repository}@{digest}\n" if push else f"{digest}  (the id of the local image: it was not pushed)\n"
    )
    sbom.write(folder / "sbom.spdx.json", sbom.document(
        image=repository, version=locks.version(), digest=digest,
        licence="Apache-2.0" if component.locks else None, packages=packages,
        created=datetime.fromtimestamp(at.seconds, UTC).replace(tzinfo=None),
    ))  # fmt: skip
    build = provenance.Build(
        dockerfile=component.dockerfile, arguments=recipe.arguments, materials=_materials(order, component, at),
        builder=os.environ.get("BUILDER_ID", "urn:velodrome:builder:unnamed"), engine=order.engine.version(),
        started=_time(started), finished=_time(datetime.now(UTC)),
    )  # fmt: skip
    stated = provenance.statement(repository, digest, build)
    folder.joinpath("provenance.json").write_text(json.dumps(stated, indent=2) + "\n")
    print(f"built {repository}@{digest}" if push else f"built {tag}, {digest}")
    return component.name, repository, digest


def _names(order: Order, component: Component, at: Revision) -> tuple[str, str]:
    repository = f"{order.registry}/velodrome-{component.name}"
    variant = ""
    if component.name == "runner":
        variant = ("-cpu" if order.torch_index else "") + ("-compile" if order.torch_compile else "")
    return repository, f"{repository}:{locks.version()}-{at.commit[:12]}{'-edited' if at.edited else ''}{variant}"


def _recipe(order: Order, component: Component, at: Revision, tag: str) -> Recipe:
    arguments = {"BASE": order.base}
    if component.name == "runner":
        arguments |= {"TORCH_INDEX": order.torch_index, "TORCH_COMPILE": "yes" if order.torch_compile else ""}
    labels = {
        "org.opencontainers.image.version": locks.version(),
        "org.opencontainers.image.revision": str(at),
        "org.opencontainers.image.created": _time(datetime.fromtimestamp(at.seconds, UTC)),
    }
    if order.source:
        labels["org.opencontainers.image.source"] = order.source
    return Recipe(component.dockerfile, tag, {k: v for k, v in arguments.items() if v}, labels, at.seconds)


def _materials(order: Order, component: Component, at: Revision) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {f"git+{order.source or 'file:.'}": {"gitCommit": at.commit}}
    for name in (component.dockerfile, *component.lock_files):
        if (ROOT / name).exists():
            found[f"file:{name}"] = {"sha256": hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}
    base = order.base or default_base(component)
    digest = order.engine.base_digest(base)
    found[f"docker://{base.partition('@')[0]}"] = {"sha256": digest.removeprefix("sha256:")} if digest else {}
    return found


def default_base(component: Component) -> str:
    """The base that the Dockerfile names."""
    lines = (ROOT / component.dockerfile).read_text().splitlines()
    return next(line.removeprefix("ARG BASE=") for line in lines if line.startswith("ARG BASE="))


def _too_large(order: Order, chosen: list[Component], revisions: Mapping[str, Revision]) -> bool:
    print(f"{'image':12}  {'compressed, MB':>14}  {'limit':>6}")
    above = False
    for component in chosen:
        _, tag = _names(order, component, revisions[component.name])
        with tempfile.TemporaryDirectory(dir=OUT) as folder:
            order.engine.save(tag, Path(folder, "oci"))
            size = layouts.read(Path(folder, "oci")).megabytes
        limit = LIMITS.get(component.name)
        above = above or (limit is not None and size > limit)
        print(f"{component.name:12}  {size:14.1f}  {f'{limit:.0f}' if limit else '-':>6}")
    return above


def _origin() -> str:
    line = ["git", "config", "--get", "remote.origin.url"]
    said = subprocess.run(line, cwd=ROOT, check=False, text=True, capture_output=True).stdout.strip()
    return said if said.startswith("https://") and "@" not in said else ""


def _known(name: str, known: Iterable[str], what: str) -> str:
    if name not in known:
        raise typer.BadParameter(f"there is no {what} {name!r}: it is one of {', '.join(known)}")
    return name


def _version(library: str) -> str:
    line = locks.requirement((locks.FOLDER / "runner.txt").read_text(), library).splitlines()[0]
    return line.partition("==")[2].split()[0]


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    app()
