"""A verdict in one or two words, the same on all pages. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from velodrome.text import percent
from velodrome.trends import verdicts
from velodrome.trends.regressions import Comparison
from velodrome.trends.verdicts import Verdict
from velodrome_leaderboard import links, markup

TREND_TONES: Mapping[str, markup.Tone] = {"regressed": "bad", "improved": "good", "to be confirmed": "busy"}
_UNKNOWN = {
    verdicts.NEW_COHORT: "new baseline",
    verdicts.NO_BASELINE: "first result",
    verdicts.TOO_FEW_SAMPLES: "too few trials",
    verdicts.INCOMPLETE: "incomplete",
    verdicts.BASELINE_MISSING: "no baseline",
    verdicts.AWAITING_CONFIRMATION: "to be confirmed",
    verdicts.NO_OBJECTIVE: "no objective",
    verdicts.TOO_LONG_AGO: "too long ago",
}


def trend_words(verdict: Verdict, reason: str, *, acknowledged: bool) -> str:
    """`regressed`, `improved`, `unchanged`, or why it is not known."""
    if verdict == "Regressed" and acknowledged:
        return "accepted"
    return _UNKNOWN.get(reason, "unknown") if verdict == "Unknown" else verdict.lower()


def badge(found: Comparison | None, board: str, entry: str, objective: str) -> markup.Cell:
    """The verdict as a link to the history, with its sentence on hover. Below it: how much, or what would be seen.

    The sentence leaves out what stands beside it: which entry, which objective, and what would be seen.
    """
    where = links.history(board, entry, objective)
    if found is None:
        return markup.Cell("history", where, tone="quiet")
    words = trend_words(found.verdict, found.reason, acknowledged=found.acknowledged)
    detail = _detail(found, words)
    hint = found.sentence.removeprefix(f"{entry}, {objective}: ").removesuffix(f" {detail}.")
    return markup.Cell(words, where, hint=hint, detail=detail, tone=TREND_TONES.get(words, "quiet"))


def _detail(found: Comparison, words: str) -> str:
    """How much worse, or how much worse it would have to be to be seen."""
    if words == "unchanged" and found.visible is not None:
        more = " more errors" if found.relative_to == "errors" else ""
        return f"{percent(found.visible, '')}{more} would have been seen"
    if words != "regressed" or not found.relative_change:
        return ""
    if found.relative_to == "errors":
        return f"errors {percent(-found.relative_change)}"
    whole = " of the range" if found.relative_to == "range" else ""
    together = ", as all entries" if found.together else ""
    return f"{percent(found.relative_change)}{whole}{together}"
