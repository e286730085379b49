"""One canonical text for equal values, so that its hash identifies them on any machine. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces, and integral floats written as integers.

    A Kubernetes API server may return `1.0` as `1`. Both are the same number and get the same text.

    Raises:
        ValueError: the value contains NaN or an infinity.
        TypeError: the value contains something else than JSON's types.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object, length: int = 12) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of the canonical text. Raises as `canonical` does."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def _plain(value: object) -> object:
    match value:
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            if odd := [key for key in value if not isinstance(key, str)]:
                raise TypeError(f"JSON's keys are text, not {odd[0]!r}")
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value
