"""A cluster of recorded objects, which answers as kubectl does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from velodrome.cli.cluster.kubectl import Kubectl, explained

_VALUED = ("-n", "-o", "-f", "-l")


@dataclass
class World:
    """`refused` are the verbs and resources that the person may not use, `forbidden` the kinds that they may not list,
    `unserved` the kinds that the cluster does not know. `says` is why the API server refuses an object. `may_as`
    is what others may do, by their name.
    """

    objects: list[dict[str, Any]]
    namespace: str = ""
    refused: Iterable[str] = ()
    forbidden: Iterable[str] = ()
    unserved: Iterable[str] = ()
    says: str = ""
    version: str = "v1.35.4"
    may_as: Mapping[str, Iterable[str]] = field(default_factory=dict)

    def kubectl(self, namespace: str | None = None, *_: object) -> Kubectl:
        """A kubectl of this cluster; what chooses a cluster is ignored."""
        return _Recorded(self, namespace)

    def listed(self, kind: str, namespace: str | None) -> list[dict[str, Any]]:
        kind = kind.partition(".")[0].removesuffix("s")
        if kind in self.unserved:
            raise explained(f'error: the server doesn\'t have a resource type "{kind}"')
        if kind in self.forbidden:
            raise explained(f'Error from server (Forbidden): {kind} is forbidden: User "ann" cannot list it')
        found = [each for each in self.objects if each["kind"].lower().removesuffix("s") == kind]
        return [each for each in found if namespace is None or each["metadata"].get("namespace") in (None, namespace)]


class _Recorded(Kubectl):
    __slots__ = ("_world",)

    def __init__(self, world: World, namespace: str | None) -> None:
        super().__init__(namespace)
        object.__setattr__(self, "_world", world)

    def text(self, *arguments: str, stdin: str | None = None) -> str:
        world: World = self._world  # type: ignore[attr-defined]
        words, options = self._parsed(arguments)
        namespace = options.get("-n", self.namespace)
        match words:
            case ["version"]:
                minor = world.version.split(".")[1]
                return json.dumps({"serverVersion": {"gitVersion": world.version, "major": "1", "minor": f"{minor}+"}})
            case ["config", "view"]:
                return world.namespace
            case ["apply"]:
                if world.says:
                    raise explained(world.says)
                return f"benchmarkjob.velodrome.dev/{json.loads(stdin or '')['metadata']['name']}\n"
            case ["get", kind]:
                return json.dumps({"items": world.listed(kind, None if "--all-namespaces" in arguments else namespace)})
            case ["get", kind, name]:
                for each in world.listed(kind, namespace):
                    if each["metadata"]["name"] == name:
                        keys = [*(each.get("data") or {}), *(each.get("binaryData") or {})]
                        return "\n".join(keys) if options["-o"].startswith("go-template") else json.dumps(each)
                raise explained(f'Error from server (NotFound): {kind} "{name}" not found')
        raise AssertionError(arguments)

    def may(self, verb: str, resource: str, *options: str) -> bool:
        world: World = self._world  # type: ignore[attr-defined]
        words, _ = self._parsed((verb, resource, *options))
        if len(words) != 2:
            raise explained("error: you must specify two arguments: verb resource or verb resource/resourceName.")
        asked = " ".join(words)
        account = next((word.partition("=")[2] for word in options if word.startswith("--as=")), None)
        if account is not None:
            where = " -A" if "--all-namespaces" in options else ""
            return f"{verb} {resource}{where}" in world.may_as.get(account, ())
        return asked not in world.refused

    @staticmethod
    def _parsed(arguments: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
        words: list[str] = []
        options: dict[str, str] = {}
        given = iter(arguments)
        for word in given:
            if word in _VALUED:
                options[word] = next(given)
            elif not word.startswith("-"):
                words.append(word)
        return words, options
