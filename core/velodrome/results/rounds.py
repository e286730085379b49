"""What a race until decided has asked for, and what to say about it. Pure.

`velodrome.board.rounds` decides how many trials that are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from velodrome.plan import Plan
from velodrome.results.records import Rounds, StopReason
from velodrome.text import counted

# How many entries a sentence names.
_NAMED = 8
_WORDS: Mapping[StopReason, str] = {
    "Decided": "decided",
    "Beaten": "beaten",
    "Futile": "too alike to tell apart",
    "MaxRepeats": "not told apart by maxRepeats",
}


def asked(plan: Plan, rounds: Rounds | None) -> tuple[int, ...]:
    """The trials that were asked for so far, by index: repeat 0 of each entry, then repeat 1, and so on."""
    if rounds is None:
        return tuple(range(len(plan)))
    wanted = [rounds.repeats[entry] for entry in plan.configs]
    most = max(wanted)
    return tuple(
        repeat * len(wanted) + place for repeat in range(most) for place, own in enumerate(wanted) if repeat < own
    )


def undecided(rounds: Rounds) -> tuple[str, ...]:
    """The entries that may get more seeds, in the order of the job."""
    return () if rounds.finished else tuple(entry for entry in rounds.repeats if entry not in rounds.stopped)


def ending(rounds: Rounds, results: int) -> str:
    """How a race until decided ended after so many results, in a sentence without its end."""
    words: dict[StopReason, list[str]] = {}
    for entry, stopped in rounds.stopped.items():
        words.setdefault(stopped.why, []).append(entry)
    said = [f"{_WORDS[why]}: {named(words[why])}" for why in _WORDS if why in words]
    how = "Undecided" if is_undecided(rounds) else "Decided"
    return f"{how} after {counted(results, 'trial')}" + (f": {'; '.join(said)}" if said else "")


def is_undecided(rounds: Rounds) -> bool:
    """Whether a race that asks for no more trials has left something open: entries that no more seeds would tell apart,
    or that had all the seeds they may have.
    """
    return any(stopped.why in ("Futile", "MaxRepeats") for stopped in rounds.stopped.values())


def stop_note(rounds: Rounds | None, entry: str) -> str:
    """Why an entry gets no more seeds, such as `stopped: is beaten by cnn at 7 seeds`; empty if it may get some."""
    stopped = None if rounds is None else rounds.stopped.get(entry)
    if stopped is None:
        return ""
    return f"stopped: {stopped.text.removeprefix(entry).lstrip(': ').rstrip('.')}"


def named(entries: Sequence[str]) -> str:
    """`a, b, c`, or the first of them and how many more."""
    more = len(entries) - _NAMED
    return ", ".join(entries[:_NAMED]) + (f" and {more} more" if more > 0 else "")
