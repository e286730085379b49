"""A verdict in one or two words, the same on all pages. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from velodrome.metrics.catalogue import MetricKey
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
    """The verdict as a link to the history, with its sentence on hover. A regression has the sentence below it."""
    where = links.history(board, entry, objective)
    if found is None:
        return markup.Cell("history", where, tone="quiet")
    words = trend_words(found.verdict, found.reason, acknowledged=found.acknowledged)
    whole = " of the range" if MetricKey.parse(found.metric_key).metric.span is not None else ""
    relative = found.relative_change if words == "regressed" else None
    change = f"{100 * relative:+.2g} %{whole}" if relative else ""
    return markup.Cell(words, where, hint=found.sentence, detail=change, tone=TREND_TONES.get(words, "quiet"))
