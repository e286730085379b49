"""One objective of a board: who leads it, under which conditions, and which entries are unranked and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import streamlit as st

from velodrome.board.cohorts import cohort_labels
from velodrome.board.page import PAGE, ObjectivePage, pages
from velodrome.ranking.places import RankedRow
from velodrome.ranking.sentences import seen
from velodrome.results.conditions import differences
from velodrome.results.objectives import BoardObjective
from velodrome.stats.detectable import POWER
from velodrome.store import Board, CohortSummary
from velodrome.text import counted, line, listed
from velodrome.trends.regressions import Comparison
from velodrome.units import Scale, column_scale, quantity
from velodrome_leaderboard import charts, links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import now, palette, zone
from velodrome_leaderboard.views.trend import badge

T = TypeVar("T")


def objective_tab(source: ResultSource, board: Board, objective: BoardObjective) -> None:
    """Shows the tab of an objective, in the cohort that the URL names."""
    wanted = links.wanted_page(), links.wanted_page("unranked")
    page = source.page(board.name, objective, st.query_params.get("cohort"), wanted)
    cohorts, cohort = page.head.cohorts, page.head.cohort
    metric = objective.key.metric
    conditions = f"Measured under: {cohort.words}" if cohort is not None else "Nothing was measured yet."
    st.html(
        markup.lines(
            ("lead", [page.head.summary]),
            (
                "meta",
                [
                    markup.Cell(objective.key.label, tone="code", hint=str(objective.key)),
                    metric.description,
                    f"{metric.direction} is better",
                ],
            ),
            ("note", [conditions]),
        )
    )
    if cohort is not None and len(cohorts) > 1:
        _other_cohorts(cohort, cohorts)
    looked_for = _looked_for(page)
    if looked_for:
        page = _found(source, board.name, page, looked_for)
    if page.ranked:
        _ranked(source, board.name, page)
    elif looked_for and not page.head.unranked:
        st.html(markup.note(f'No entry of this objective has "{looked_for}" in its name.'))
    if page.head.unranked:
        _unranked(page)


def _other_cohorts(cohort: CohortSummary, cohorts: Sequence[CohortSummary]) -> None:
    labels = cohort_labels(cohorts)
    ids = [other.cohort_id for other in cohorts]
    sizes = {other.cohort_id: counted(other.entries, "entry", "entries") for other in cohorts}
    _, bound = links.choice("cohort", ids, ids[0], resets=("page", "unranked"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Conditions",
            ids,
            format_func=lambda name: line(f"{labels[name]} ({sizes[name]})"),
            help="Only results that were measured under the same conditions are ranked together. Newest first.",
            width=520,
            **bound,
        )
        with st.popover("Why not all together?", icon=":material/balance:"):
            for other in cohorts:
                if other.cohort_id != cohort.cohort_id:
                    apart = [str(found) for found in differences(cohort.conditions, other.conditions)]
                    age = markup.moment(other.last_at, now(), zone())
                    st.html(
                        markup.lines(
                            ("note", [f"{sizes[other.cohort_id]}, newest ", age, ", can't be compared with these:"]),
                            *(("meta", [text]) for text in apart),
                        )
                    )


def _ranked(source: ResultSource, board: str, page: ObjectivePage) -> None:
    objective, count = page.head.objective, page.head.pages
    metric = objective.key.metric
    _, bound = links.page_number(count)
    rows = page.ranked
    scale = column_scale(metric.unit, [row.interval for row in rows])
    found = _verdicts(source, page)
    _together(found)
    badges = {row.entry: badge(found.get(row.entry), board, row.entry, objective.name) for row in rows}
    left, right = st.columns([11, 9], gap="medium")
    with left:
        st.html(_table(page, scale, badges))
        if count > 1:
            st.pagination(count, **bound)
    with right:
        title = f"{objective.name}, {scale.symbol}" if scale.symbol else objective.name
        chart = charts.intervals(rows, scale, title, metric.direction, palette())
        st.altair_chart(chart, width="stretch", alt=line(f"Means and intervals by {objective.name}"))
    st.html(markup.note(_EXPLANATION, f" {page.head.means}" if page.head.means else ""))


def _looked_for(page: ObjectivePage) -> str:
    """The text that entries are looked for by. The field is there where a ranking is long, or the URL has a text."""
    text, bound = links.search("find", ("page", "unranked"))
    if not text and page.head.pages <= 1 and page.head.unranked_pages <= 1:
        return ""
    st.text_input("Find an entry", placeholder="part of its name", width=360, **bound)
    return text


def _found(source: ResultSource, board: str, page: ObjectivePage, looked_for: str) -> ObjectivePage:
    """The rows whose names contain the text, in pages like all rows."""
    cohort = page.head.cohort.cohort_id if page.head.cohort else None
    whole = source.objective(board, page.head.objective, cohort)
    wanted = looked_for.casefold()
    ranked = [row for row in whole.ranking.ranked if wanted in row.entry.casefold()]
    unranked = [row for row in whole.ranking.unranked if wanted in row.entry.casefold()]
    head = replace(page.head, names=tuple(row.entry for row in ranked), unranked=len(unranked))
    return replace(
        page,
        head=head,
        ranked=_one_page(ranked, "page"),
        unranked=_one_page(unranked, "unranked"),
        verdicts=whole.verdicts,
    )


def _one_page(rows: Sequence[T], name: str) -> tuple[T, ...]:
    number, _ = links.page_number(pages(len(rows)), name)
    return tuple(rows[(number - 1) * PAGE : number * PAGE])


_EXPLANATION = (
    "Mean over the trials of an entry, and its 95 % confidence interval (Student's t, n trials); a tick is one seed. "
    "Rows stand in order of the mean. A rank is what it may be: from 1 + the number of entries that are significantly "
    "better, to the number of entries less those that are significantly worse. Entries are tested pairwise on the same "
    "seeds, with a correction for all pairs (95 %). So intervals that overlap may belong to entries that differ."
)


def _verdicts(source: ResultSource, page: ObjectivePage) -> Mapping[str, Comparison]:
    """For each entry, its comparison with the level before: as it was kept, or else from its job."""
    found, rows = page.verdicts, page.ranked
    if found is None:
        key = str(page.head.objective.key)
        judged = {
            (one.job_uid, one.entry): one
            for uid in dict.fromkeys(row.job_uid for row in rows)
            for one in source.verdicts(uid)
            if one.metric_key == key
        }
        places = [(row.job_uid, row.entry) for row in rows]
        found = {entry: judged[uid, entry] for uid, entry in places if (uid, entry) in judged}
    return found


def _together(found: Mapping[str, Comparison]) -> None:
    """Says once what entries have in common."""
    for words in dict.fromkeys(one.together for one in found.values() if one.together and not one.acknowledged):
        st.html(markup.alert("The entries changed together.", [words]))


def _table(page: ObjectivePage, scale: Scale, badges: Mapping[str, markup.Cell]) -> str:
    rows, key = page.ranked, page.head.objective.key
    columns = [
        markup.Column("Rank", numeric=True, short=True, hint="The ranks that the entry may have"),
        markup.Column("Entry"),
        markup.Column("Mean", scale.symbol, numeric=True),
        markup.Column("95 %", numeric=True, hint="The confidence interval of the mean, same unit"),
        markup.Column("n", numeric=True, hint="Trials, each with its own seed"),
        markup.Column("Trend", short=True, hint="Against its baseline, an earlier job under the same conditions"),
        markup.Column("Updated", minor=True, short=True),
        markup.Column("", minor=True, short=True),
    ]
    at, where = now(), zone()
    cells = [
        [
            markup.Cell(row.place, hint=_rank_hint(page, row)),
            markup.Cell(row.entry, links.job(row.job_uid, row.entry), hint="Its runs", detail=row.note),
            markup.Cell(scale.number(row.interval.mean)),
            markup.Cell(scale.margin(row.interval) or "one trial", tone="quiet"),
            markup.Cell(str(row.interval.n)),
            badges[row.entry],
            markup.moment(row.last_at, at, where),
            markup.Cell("Run again", f"{links.job(row.job_uid, row.entry)}#run-again", tone="quiet"),
        ]
        for row in rows
    ]
    return markup.table(columns, cells, f"Ranking by {key}", [row.place for row in rows], tall=True)


def _rank_hint(page: ObjectivePage, row: RankedRow) -> str:
    """What the row can't be told apart from, and the difference to the next row that would have been found."""
    if not row.indistinguishable_from:
        return "Significantly different from every other entry"
    size = seen(page.head.logs, page.head.objective.key.metric.unit, row)
    found = (
        f". A difference of {size} to the next entry would be found in {100 * POWER:g} % of such races" if size else ""
    )
    return f"Can't be told apart from {listed(row.indistinguishable_from, most=6)}{found}"


def _unranked(page: ObjectivePage) -> None:
    st.subheader(f"Not ranked ({page.head.unranked})", anchor=False)
    count, unit = page.head.unranked_pages, page.head.objective.key.metric.unit
    _, bound = links.page_number(count, "unranked")
    so_far = "Mean of the values that there are; what is missing might change it a lot"
    columns = [
        markup.Column("Entry"),
        markup.Column("Why"),
        markup.Column("So far", numeric=True, minor=True, hint=so_far),
        markup.Column("n", numeric=True, hint="Trials with a value under these conditions, of those planned"),
        markup.Column("Job", minor=True),
    ]
    cells = [
        [
            markup.Cell(row.entry, links.job(row.job_uid, row.entry)),
            markup.Cell(row.reason, tone="bad" if row.why in ("Failed", "SeedsDiffer") else ""),
            markup.Cell(quantity(unit, _mean(row.samples.values())) if row.samples else "", tone="quiet"),
            markup.Cell(f"{len(row.samples)} / {row.planned}"),
            markup.Cell(row.job_name, links.job(row.job_uid), tone="quiet"),
        ]
        for row in page.unranked
    ]
    st.html(markup.table(columns, cells, "Entries without a rank"))
    if count > 1:
        st.pagination(count, **bound)


def _mean(values: Collection[float]) -> float:
    """The mean of any values from a store. Their sum may be too large for a double."""
    return sum(value / len(values) for value in values)
