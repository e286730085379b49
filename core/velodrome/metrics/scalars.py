"""Converts a value of any library to one number. Uses only the standard library, and names no library's types."""

from __future__ import annotations

import math
import operator
from contextlib import suppress
from typing import Any

_QUOTED = 100  # characters of an error that quotes a value


def number(value: Any, where: str) -> float:
    """The value as a finite number, from any library. Every reported number goes through this function.

    Raises:
        ValueError: it is something else: a text, a boolean, an array of several values, NaN or an infinity.
    """
    one = _scalar(value, where)
    try:
        found = float(one)
    except OverflowError:
        found = math.inf
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {_short(value)} is no number: {error}") from error
    if not math.isfinite(found):
        raise ValueError(f"a value of this report is not finite, and no measurement: {where} = {found}")
    return found


def whole(value: Any, where: str) -> int:
    """The value as a whole number, from any library; exact, however large.

    Raises:
        ValueError: it is something else.
    """
    one = _scalar(value, where)
    with suppress(TypeError):  # TensorFlow's tensors of fractions have an index that raises
        return operator.index(one)
    found = number(one, where)
    if not found.is_integer():
        raise ValueError(f"{where}: {found:g} is no whole number")
    return int(found)


def _scalar(value: Any, where: str) -> Any:
    """A value with `__float__` or `__index__` that is not a boolean, taken out of an array or tensor if necessary."""
    try:
        one = value.item() if callable(getattr(value, "item", None)) else value
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{where} has several values: report one number") from error
    true_or_false = isinstance(one, bool) or "bool" in str(getattr(one, "dtype", ""))
    if true_or_false or not (hasattr(type(one), "__float__") or hasattr(type(one), "__index__")):
        raise ValueError(f"{where}: {_short(value)} is no number")
    return one


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
