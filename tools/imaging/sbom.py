"""Makes the list of an image's parts (SBOM) in SPDX 2.3, from what the build found in the image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from license_expression import ExpressionError
from spdx_tools.common.spdx_licensing import spdx_licensing
from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    Checksum,
    ChecksumAlgorithm,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Package,
    PackagePurpose,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.writer.json.json_writer import write_document_to_file

_IMAGE = "SPDXRef-image"
_DOCUMENT = "SPDXRef-DOCUMENT"


class NotLockedError(Exception):
    """The image has a library that its lists don't have. The message names it."""


def document(
    *, image: str, version: str, digest: str, licence: str | None, packages: Mapping[str, Any], created: datetime
) -> Document:
    """The SBOM of an image. `packages` is the list that the build wrote into it (deploy/images/assemble.py)."""
    name = image.rpartition("/")[2]
    whole = Package(
        _IMAGE, name, SpdxNoAssertion(), version, files_analyzed=False,
        primary_package_purpose=PackagePurpose.CONTAINER,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, digest.removeprefix("sha256:"))],
        license_declared=_licence(licence), license_concluded=SpdxNoAssertion(), copyright_text=SpdxNoAssertion(),
        external_references=[_purl(f"pkg:oci/{name}@{quote(digest, safe='')}?repository_url={quote(image, safe='')}")],
    )  # fmt: skip
    parts = list(_parts(packages))
    creation = CreationInfo(
        "SPDX-2.3", _DOCUMENT, f"{name} {version}", f"urn:velodrome:sbom:{name}:{digest}",
        [Actor(ActorType.TOOL, f"velodrome-make-images-{version}")], created,
    )  # fmt: skip
    contained = [Relationship(_IMAGE, RelationshipType.CONTAINS, part.spdx_id) for part in parts]
    described = Relationship(_DOCUMENT, RelationshipType.DESCRIBES, _IMAGE)
    return Document(creation, packages=[whole, *parts], relationships=[described, *contained])


def write(file: Path, made: Document) -> None:
    """Writes the document as JSON, once it is what SPDX prescribes."""
    write_document_to_file(made, str(file))


def check_locked(packages: Mapping[str, Any], locks: Sequence[str]) -> None:
    """Checks that every Python library of the image stands in one of its lists, in that version.

    Raises:
        NotLockedError: one doesn't.
    """
    locked = {
        (_normal(name), version)
        for text in locks
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, flags=re.MULTILINE)
    }
    for row in packages["python"]:
        if (_normal(row["name"]), row["version"]) not in locked:
            raise NotLockedError(f"the image has {row['name']} {row['version']}, which none of its lists has")


def _parts(packages: Mapping[str, Any]) -> Iterator[Package]:
    system = packages["system"]
    if packages["interpreter"]:
        locator = f"pkg:generic/python@{packages['interpreter']}"
        yield _part("python-interpreter", "python", packages["interpreter"], locator, None)
    for row in packages["debian"]:
        where = f"arch={row['architecture']}&distro={system['id']}-{system['version']}"
        locator = f"pkg:deb/{system['id']}/{quote(row['name'])}@{quote(row['version'])}?{where}"
        yield _part(f"deb-{row['name']}", row["name"], row["version"], locator, None)
    for row in packages["python"]:
        locator = f"pkg:pypi/{_normal(row['name'])}@{quote(row['version'])}"
        yield _part(f"pypi-{_normal(row['name'])}", row["name"], row["version"], locator, row["licence"])


def _part(reference: str, name: str, version: str, locator: str, licence: str | None) -> Package:
    return Package(
        "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", reference), name, SpdxNoAssertion(), version, files_analyzed=False,
        license_declared=_licence(licence), license_concluded=SpdxNoAssertion(), copyright_text=SpdxNoAssertion(),
        external_references=[_purl(locator)],
    )  # fmt: skip


def _purl(locator: str) -> ExternalPackageRef:
    return ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", locator)


def _licence(text: str | None) -> Any:
    """The licence as SPDX writes it; no assertion where a package declares none, or one that SPDX doesn't know."""
    if not text:
        return SpdxNoAssertion()
    try:
        return spdx_licensing.parse(text, validate=True, strict=True)
    except ExpressionError:
        return SpdxNoAssertion()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
