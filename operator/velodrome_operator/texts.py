"""Makes foreign text harmless and short enough for conditions, Events and metrics. Pure.

People look at a BenchmarkJob on a terminal or a page. The API server refuses a status or an Event that is too long, and
then the race would report nothing.
"""

from __future__ import annotations

from typing import Final

from velodrome.results.records import Rounds
from velodrome.results.rounds import named, stop_note, undecided
from velodrome.text import counted, line, lines, within

# The reason of the Event about a further round of a race until decided.
ROUND: Final = "RoundBegun"
# The limits of metav1.Condition, and of the schema of this project's status, in code points.
_CONDITION_MOST: Final = 32_768
_SUMMARY_MOST: Final = 4096
# events.k8s.io/v1 counts bytes.
_NOTE_OCTETS: Final = 1024
_PHRASE_MOST: Final = 1000


def condition(text: str) -> str:
    """A condition's message."""
    return lines(text, _CONDITION_MOST)


def summary(text: str) -> str:
    """The message of a status."""
    return lines(text, _SUMMARY_MOST)


def note(text: str) -> str:
    """An Event's message."""
    return within(lines(text, _NOTE_OCTETS), _NOTE_OCTETS)


def phrase(text: str) -> str:
    """A part of a sentence, on one line."""
    return line(text, _PHRASE_MOST)


def round_begins(rounds: Rounds, trials: int) -> str:
    """What a race until decided found at a look, and that it asks for so many more trials."""
    stopped = [
        f"{entry} {stop_note(rounds, entry)}" for entry, one in rounds.stopped.items() if one.look == rounds.looks
    ]
    open_ = undecided(rounds)
    more = f"round {rounds.looks + 1}: {counted(trials, 'more trial')}, {len(open_)} undecided ({named(open_)})"
    return phrase("; ".join((more, *stopped)))
