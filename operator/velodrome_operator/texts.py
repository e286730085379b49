"""Text of others on its way into conditions, Events and metrics: harmless, and within Kubernetes' limits. Pure.

Whoever looks at a BenchmarkJob does so on a terminal or a page, and the API server refuses a status or an Event that is
too long: the race would then tell nothing.
"""

from __future__ import annotations

from typing import Final

from velodrome.text import line, lines, within

# metav1.Condition, and the schema of this project's status, in code points.
_CONDITION_MOST: Final = 32_768
_SUMMARY_MOST: Final = 4096
# events.k8s.io/v1 counts bytes.
_NOTE_OCTETS: Final = 1024
_PHRASE_MOST: Final = 1000
_LABEL_MOST: Final = 512


def condition(text: str) -> str:
    """A condition's message."""
    return lines(text, _CONDITION_MOST)


def summary(text: str) -> str:
    """The status' message."""
    return lines(text, _SUMMARY_MOST)


def note(text: str) -> str:
    """An Event's message."""
    return within(lines(text, _NOTE_OCTETS), _NOTE_OCTETS)


def phrase(text: str) -> str:
    """A part of a sentence, on one line."""
    return line(text, _PHRASE_MOST)


def label(text: str) -> str:
    """The value of a metric's label."""
    return line(text, _LABEL_MOST)
