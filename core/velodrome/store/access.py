"""Asking Redis and understanding the answer, with this project's errors: nothing else calls the client library."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

import redis

from velodrome.errors import ActionNeeded, StoreRefused
from velodrome.store.edge import address_of, foreign, translated
from velodrome.store.largest import Largest

Raw = TypeVar("Raw")
Parsed = TypeVar("Parsed")

Argument = str | bytes | int
_MOST_LEFT_OUT = 100
Script = Callable[[Sequence[str], Iterable[Argument]], Any]


class StoreAccess:
    """A Redis that answers in bytes. `address` is where it is, without the password.

    `left_out` has, by where it stands, why something was left out of a list: it can't be read.
    """

    def __init__(self, client: redis.Redis) -> None:
        if client.get_encoder().decode_responses:
            raise ValueError("the store reads bytes: make its Redis client without decode_responses")
        self._client = client
        self.address = address_of(client)
        self._largest = Largest(client)
        self.left_out: dict[str, str] = {}

    def close(self) -> None:
        """Closes the connections; a later question opens them again."""
        self._client.close()

    def ask(self, *command: Argument) -> Any:
        """One command's answer, as the client library hands it out."""
        with translated(self.address, self._largest):
            return self._client.execute_command(*command)

    def ask_all(self, commands: Iterable[tuple[Argument, ...]]) -> list[Any]:
        """The answers to several commands, in one round trip; others' commands may come in between."""
        with translated(self.address, self._largest), self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute()

    def script(self, *parts: str) -> Script:
        """A Lua script of this folder, from its parts and what all scripts share; sent again if Redis forgot it."""
        folder = files(__package__)
        text = "\n".join(folder.joinpath(part).read_text(encoding="utf-8") for part in ("common.lua", *parts))
        registered = self._client.register_script(text)

        def run(names: Sequence[str], arguments: Iterable[Argument]) -> Any:
            with translated(self.address, self._largest):
                return registered(names, arguments)

        return run

    def fields(self, key: str) -> dict[bytes, bytes]:
        """All of a hash."""
        found: dict[bytes, bytes] = self.ask("HGETALL", key)
        return found

    def by_index(self, key: str, parse: Callable[[int, bytes], Parsed]) -> dict[int, Parsed]:
        """All of a hash whose fields are trials' indices, in their order."""
        found = {}
        for field, text in self.fields(key).items():
            index = self.parsed(int, field, key, field)
            found[index] = self.parsed(partial(parse, index), text, key, field)
        return dict(sorted(found.items()))

    def parsed(self, parse: Callable[[Raw], Parsed], raw: Raw, key: str, field: object = None) -> Parsed:
        """What an answer means; `key` and `field` say in the error where it was.

        Raises:
            StoreRefused: it is not what Velodrome writes.
            SchemaUnsupported: a newer Velodrome wrote it.
        """
        try:
            return parse(raw)
        except (AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
            place = key if field is None else f"{key} field {text_of(field) if isinstance(field, bytes) else field}"
            raise foreign(f"{place} holds what can't be read ({error})", self.address) from error

    def readable(
        self,
        parse: Callable[[Raw], Parsed],
        raws: Sequence[Raw],
        key: str | Sequence[str],
        fields: Sequence[object] | None = None,
    ) -> list[Parsed]:
        """What those of the answers mean that can be read; the others are noted in `left_out`.

        All of them stand in one key, or each in one of its own; `fields` says where in it.
        """
        found = []
        for place, raw in enumerate(raws):
            where = key if isinstance(key, str) else key[place]
            field = None if fields is None else fields[place]
            try:
                found.append(self.parsed(parse, raw, where, field))
            except ActionNeeded as error:
                at = f"{where} {field}"
                if len(self.left_out) < _MOST_LEFT_OUT:
                    self.left_out[at] = str(error) if isinstance(error, StoreRefused) else f"{where}: {error}"
        return found


def text_of(raw: bytes | str) -> str:
    """The text of a name that may not be one."""
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw
