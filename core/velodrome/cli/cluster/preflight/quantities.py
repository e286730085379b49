"""Kubernetes quantities as numbers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

Amounts = Mapping[str, Decimal]

_SUFFIXES: Final = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "E": Decimal(10**18), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkKMGTPE]i?)?")


def quantity(value: Any) -> Decimal:
    """A quantity as a number. What is none counts as 0."""
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return Decimal(0)
    try:
        return Decimal(match[1]) * _SUFFIXES.get(match[2] or "", Decimal(0))
    except InvalidOperation:
        return Decimal(0)


def amounts(written: Any) -> dict[str, Decimal]:
    """Quantities by resource name."""
    return {str(name): quantity(value) for name, value in written.items()} if isinstance(written, Mapping) else {}


def largest(sets: Iterable[Amounts]) -> dict[str, Decimal]:
    """The largest amount of each resource."""
    found: dict[str, Decimal] = {}
    for each in sets:
        for name, amount in each.items():
            found[name] = max(amount, found.get(name, Decimal(0)))
    return found


def shown(amount: Decimal, resource: str = "") -> str:
    """An amount as people write it: memory and storage in Gi or Mi, and everything else as a number."""
    if "memory" in resource or "storage" in resource:
        for suffix in ("Ti", "Gi", "Mi", "Ki"):
            if amount >= _SUFFIXES[suffix]:
                return f"{(amount / _SUFFIXES[suffix]).quantize(Decimal('0.1')).normalize():f}{suffix}"
    return f"{amount.normalize():f}"
