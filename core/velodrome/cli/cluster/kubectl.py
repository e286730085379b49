"""The cluster as kubectl reaches it: its contexts, its credentials, its plugins for signing in."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

from velodrome.errors import ClusterError
from velodrome.keys import GROUP

BENCHMARKJOBS = f"benchmarkjobs.{GROUP}"

# The most bytes that are read at once of a line that does not end.
_MOST_AT_ONCE = 65_536

# What kubectl says, and how a person fixes it.
_FIXES = (
    ("doesn't have a resource type", f"the cluster knows no {BENCHMARKJOBS}: install Velodrome (docs/install.md)"),
    ("no matches for kind", f"the cluster knows no {BENCHMARKJOBS}: install Velodrome (docs/install.md)"),
    ("Unauthorized", "the credentials are not good any more: sign in again, as you do for kubectl"),
    ("must be logged in", "the credentials are not good any more: sign in again, as you do for kubectl"),
    ("connection refused", "no API server answers there: is the cluster up, and the context the right one?"),
    ("no such host", "no API server answers there: is the cluster up, and the context the right one?"),
    ("i/o timeout", "no API server answers there: is the cluster up, and the network that leads to it?"),
    ("object has been modified", "somebody else changed it meanwhile: run the command again"),
    ("context was not found", "kubectl config get-contexts shows the contexts that there are"),
)


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the options that choose a cluster and a namespace. For None, kubectl's configuration chooses."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    def line(self, *arguments: str) -> list[str]:
        """The whole command line.

        Raises:
            ClusterError: kubectl is not on PATH.
        """
        program = shutil.which("kubectl")
        if program is None:
            raise ClusterError("kubectl is not on PATH", "install it: https://kubernetes.io/docs/tasks/tools/")
        chosen = {"--namespace": self.namespace, "--context": self.context, "--kubeconfig": self.kubeconfig}
        return [program, *(f"{option}={value}" for option, value in chosen.items() if value), *arguments]

    def text(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints. It reads `stdin`, which no list of processes shows.

        Raises:
            ClusterError: kubectl failed; the message has its words and the fix.
        """
        done = subprocess.run(self.line(*arguments), input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise explained(done.stderr)
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """What kubectl prints with `-o json`; raises as `text` does."""
        found: dict[str, Any] = json.loads(self.text(*arguments, "-o", "json"))
        return found

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a list; raises as `text` does."""
        found: list[dict[str, Any]] = self.json("get", *arguments).get("items", [])
        return found

    def found(self, *what: str) -> dict[str, Any] | None:
        """An object; None if no object has that name, or no kind does. Raises as `text` does."""
        try:
            return self.json("get", *what)
        except ClusterError as error:
            if "NotFound" not in error.said and "doesn't have a resource type" not in error.said:
                raise
            return None

    def found_text(self, *arguments: str) -> str | None:
        """What kubectl prints about an object; None if no object has that name. Raises as `text` does."""
        try:
            return self.text(*arguments)
        except ClusterError as error:
            if "NotFound" not in error.said:
                raise
            return None

    def may(self, verb: str, resource: str, *options: str) -> bool:
        """Whether the caller may do that. `resource` is a kind, or `kind/name`. Raises as `text` does.

        kubectl says no by its exit code alone, which an error has too.
        """
        line = self.line("auth", "can-i", verb, resource, "--quiet", *options)
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0 and "error" in done.stderr.lower():
            raise explained(done.stderr)
        return done.returncode == 0

    def follow(self, arguments: Sequence[str]) -> Generator[str, None, None]:
        """What kubectl prints, line by line as it comes, without newlines. A very long line comes in parts.

        Raises:
            ClusterError: kubectl failed; the message has its words and the fix.
        """
        with (
            TemporaryFile() as complaints,
            subprocess.Popen(self.line(*arguments), stdout=subprocess.PIPE, stderr=complaints) as running,
        ):
            assert running.stdout is not None
            ended = False
            try:
                while part := running.stdout.readline(_MOST_AT_ONCE):
                    yield part.decode(errors="backslashreplace").removesuffix("\n").removesuffix("\r")
                ended = True
            finally:
                if not ended:
                    running.terminate()  # the caller has stopped reading
            if running.wait() != 0:
                complaints.seek(0)
                raise explained(complaints.read().decode(errors="backslashreplace"))


def explained(words: str) -> ClusterError:
    """An error with kubectl's words, and with the fix if one is known."""
    lines = words.strip().removeprefix("error: ").removeprefix("Error from server ").splitlines()
    said = lines[-1].strip() if lines else "kubectl failed and said nothing"
    fix = next((fix for sign, fix in _FIXES if sign in words), "")
    if not fix and ("Forbidden" in words or "forbidden" in words):
        fix = "ask for that right; docs/install.md says what users of Velodrome need"
    return ClusterError(said, fix)
