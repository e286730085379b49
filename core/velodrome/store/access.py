"""Sends commands to Redis, and raises this project's errors. Only this module and `edge` call the client library."""

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
    """A Redis that answers in bytes. `address` is its address, without the password.

    `left_out` holds what was left out of lists because it can't be read: the reason, by its place in Redis.
    """

    def __init__(self, client: redis.Redis) -> None:
        if client.get_encoder().decode_responses:
            raise ValueError("the store reads bytes: make its Redis client without decode_responses")
        self._client = client
        self.address = address_of(client)
        self._largest = Largest(client)
        self.left_out: dict[str, str] = {}

    def close(self) -> None:
        """Closes the connections. The next command opens them again."""
        self._client.close()

    def ask(self, *command: Argument) -> Any:
        """The answer to one command, as the client library returns it."""
        with translated(self.address, self._largest):
            return self._client.execute_command(*command)

    def ask_all(self, commands: Iterable[tuple[Argument, ...]]) -> list[Any]:
        """The answers to several commands, in one round trip. Commands of other clients may run in between."""
        with translated(self.address, self._largest), self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute()

    def script(self, *parts: str) -> Script:
        """A Lua script of this folder: `common.lua`, then its parts. It is sent again if Redis forgot it."""
        folder = files(__package__)
        text = "\n".join(folder.joinpath(part).read_text(encoding="utf-8") for part in ("common.lua", *parts))
        registered = self._client.register_script(text)

        def run(names: Sequence[str], arguments: Iterable[Argument]) -> Any:
            with translated(self.address, self._largest):
                return registered(names, arguments)

        return run

    def fields(self, key: str) -> dict[bytes, bytes]:
        """All fields of a hash."""
        found: dict[bytes, bytes] = self.ask("HGETALL", key)
        return found

    def by_index(self, key: str, parse: Callable[[int, bytes], Parsed]) -> dict[int, Parsed]:
        """All fields of a hash, where each field is the index of a trial. Sorted by index."""
        found = {}
        for field, text in self.fields(key).items():
            index = self.parsed(int, field, key, field)
            found[index] = self.parsed(partial(parse, index), text, key, field)
        return dict(sorted(found.items()))

    def parsed(self, parse: Callable[[Raw], Parsed], raw: Raw, key: str, field: object = None) -> Parsed:
        """The parsed answer. An error names `key` and `field`, from which the answer came.

        Raises:
            StoreRefused: Velodrome did not write it.
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
        """The parsed answers, without those that can't be read. `left_out` notes those.

        `key` is the key of all answers, or a list with the key of each. `fields` has the field of each answer.
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
    """The name as text. Bytes that are no text are replaced."""
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw
