"""Optuna as this project uses it: quiet, and only where it is installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from velodrome.errors import LocalError


def required(module: str, field: str, other: str) -> None:
    """Checks that a module is installed which the value of a field needs.

    Raises:
        LocalError: it is not; the message names the field and what else it may be.
    """
    if importlib.util.find_spec(module) is None:
        raise LocalError(f"{field} needs {module}, which is not installed here: install it, or {other}")


def check_optuna() -> None:
    """Imports Optuna, and makes it say errors only.

    Raises:
        LocalError: it is not installed.
    """
    try:
        from optuna import logging
    except ImportError as error:
        raise LocalError("a search needs Optuna: pip install 'velodrome[search]'") from error
    logging.set_verbosity(logging.ERROR)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides that Optuna calls some of its parts experimental: this project pins its version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
