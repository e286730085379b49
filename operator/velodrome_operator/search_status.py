"""What the status of a BenchmarkJob says about its search. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from velodrome.results.searches import Spent
from velodrome.search.trials import search_of
from velodrome.spec import BenchmarkJob
from velodrome.text import counted
from velodrome_operator import shapes, texts
from velodrome_operator.lanes import SearchLook
from velodrome_operator.pass_input import Observation

# The object has no room for more; `velodrome search` shows all.
_MOST_ENTRIES = 500
_NAMED = 3


def run_in(status: Mapping[str, Any]) -> int:
    """The number of the run that a status is of."""
    return max(1, shapes.count(shapes.at(status, "search", "run")))


def search_part(seen: Observation) -> dict[str, Any] | None:
    """The field `search`: trials spent, and the best of each entry. None if the race has no search."""
    look = seen.search
    if look is not None:
        entries = [_entry(one.entry, one.spent, one.best, one.number) for one in look.entries]
        spent, left = (sum(one.spent.trials for one in look.entries), look.going)
        return _part(seen, entries, spent + left)
    if seen.searched is not None:
        winners = {name: one for name, one in seen.searched.entries.items() if one.number is not None}
        ended = [
            _entry(name, one.spent, next(iter(one.objectives.values()), None), one.number)
            for name, one in winners.items()
        ]
        return _part(seen, ended, sum(one.spent.trials for one in winners.values()))
    return None


def _part(seen: Observation, entries: Sequence[dict[str, Any]], suggested: int) -> dict[str, Any]:
    spent = sum(one["trials"] for one in entries)
    return {
        **({"run": seen.run} if seen.run > 1 else {}),
        "done": f"{spent}/{search_of(seen.plan.job).max_trials * len(entries)}",
        "trials": spent,
        "suggested": suggested,
        "entries": list(entries[:_MOST_ENTRIES]),
    }


def _entry(name: str, spent: Spent, best: float | None, number: int | None) -> dict[str, Any]:
    found = {} if best is None else {"best": best, "trial": number}
    counts = {"trials": spent.trials, "failed": spent.failed, "pruned": spent.pruned, "epochs": spent.epochs}
    return {"name": name, **counts, **found}


def search_words(look: SearchLook, job: BenchmarkJob, running: int) -> str:
    """`searching: 12 of 40 trials spent, 2 running; best so far: mlp 0.21 by trial 3`."""
    found = [one.said for one in look.entries if one.said]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    best = f"; best so far: {', '.join(found[:_NAMED])}{more}" if found else ""
    most = search_of(job).max_trials * len(look.entries)
    spent = f"{look.spent} of {counted(most, 'trial')} spent"
    return texts.phrase(f"searching: {spent}, {running} running{best}")
