"""The name of an image: its registry, repository, tag and digest. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

# Where a name without a registry leads, as container runtimes read it, and the host that answers for it.
USUAL_HOST: Final = "docker.io"
USUAL_API_HOST: Final = "registry-1.docker.io"
USUAL_TAG: Final = "latest"

_REPOSITORY = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9a-fA-F:.]+\](:[0-9]+)?")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A name as it was `written`, in its parts. `tag` and `digest` are None where the name has none."""

    written: str
    host: str
    repository: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, written: str) -> ImageReference:
        """The parts of a name.

        Raises:
            ValueError: it is no name of an image; the message says what is wrong.
        """
        name, at, digest = written.partition("@")
        if at and not _DIGEST.fullmatch(digest):
            raise ValueError(f"{written}: a digest is sha256: and 64 hexadecimal digits")
        first, slash, rest = name.partition("/")
        named = bool(slash) and ("." in first or ":" in first or first == "localhost")
        host, path = (first, rest) if named else (USUAL_HOST, name)
        repository, colon, tag = path.partition(":")
        if host == USUAL_HOST and "/" not in repository:
            repository = f"library/{repository}"
        if not _HOST.fullmatch(host) or not _REPOSITORY.fullmatch(repository):
            raise ValueError(f"{written}: this is no name of an image, such as registry.example/team/runner:v1")
        if colon and not _TAG.fullmatch(tag):
            raise ValueError(f"{written}: {tag!r} is no tag")
        return cls(written, host, repository, tag if colon else None, digest if at else None)

    @property
    def api_host(self) -> str:
        """The host, with its port, that answers for the registry."""
        return USUAL_API_HOST if self.host == USUAL_HOST else self.host

    @property
    def name(self) -> str:
        """The name as it was written, without its digest."""
        return self.written.partition("@")[0]

    def pinned(self, digest: str) -> ImageReference:
        """The same name with this digest. It keeps its tag, which shows people what was meant."""
        return replace(self, written=f"{self.name}@{digest}", digest=digest)
