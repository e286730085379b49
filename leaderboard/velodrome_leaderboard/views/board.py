"""One board: a ranking for each objective, and how they trade off."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

import streamlit as st

from velodrome.comparability import BoardObjective, chosen_cohort, cohort_labels, differences
from velodrome.ranking import ObjectiveRanking, RankedRow, TradeOff, listed, pareto, summary
from velodrome.results import JobInfo
from velodrome.spec.wording import close_match
from velodrome.store import Board, CohortSummary, Counts
from velodrome.units import Scale, column_scale, quantity
from velodrome_leaderboard import charts, links, markup
from velodrome_leaderboard.data import Source
from velodrome_leaderboard.viewer import now, palette, zone
from velodrome_leaderboard.views import live
from velodrome_leaderboard.views.boards import board_facts, counted

PAGE = 25
_JOBS = 10
_TRADE_OFF = "trade-offs"


def render(source: Source) -> None:
    """The page of the board that the URL names."""
    name = st.query_params.get("name", "")
    boards = {board.name: board for board in source.boards()}
    board = boards.get(name)
    if board is None:
        _unknown(name, list(boards))
        return
    st.set_page_config(page_title=f"{name} · Velodrome")
    st.html(markup.heading(name, [("Leaderboards", links.HOME)], board_facts(board)))
    live.watch(lambda: _version(source, name), _version(source, name))
    live.progress(source, source.jobs(name, _JOBS))
    _objectives(source, board)
    st.subheader("Jobs", anchor=False)
    _jobs(source, board)


def _version(source: Source, name: str) -> Board | None:
    """Changes whenever the board has something new."""
    return next((board for board in source.boards() if board.name == name), None)


def _unknown(name: str, known: Sequence[str]) -> None:
    st.html(markup.heading(name or "Which board?", [("Leaderboards", links.HOME)]))
    close = close_match(name, known)
    hint: list[markup.Part] = [] if close is None else [" Did you mean ", markup.Cell(close, links.board(close)), "?"]
    text = f'No job has reported to a board called "{name}".' if name else "The address names no board."
    st.html(markup.alert("There is no such board.", [text, *hint]))


def _objectives(source: Source, board: Board) -> None:
    objectives = {objective.name: objective for objective in source.objectives(board.name)}
    if not objectives:
        st.text("The jobs of this board name no objective that this version of Velodrome knows.")
        return
    names = [*objectives, *([_TRADE_OFF] if len(objectives) > 1 else [])]
    _, bound = links.choice("objective", names, names[0], markup.plain, ("page", "unranked", "find"))
    for name, tab in zip(names, st.tabs([markup.plain(name) for name in names], **bound), strict=True):
        if tab.open:
            with tab:
                if name in objectives:
                    _objective(source, board, objectives[name])
                else:
                    _trade_off(source, board, list(objectives.values()))


def _objective(source: Source, board: Board, objective: BoardObjective) -> None:
    key = str(objective.key)
    cohorts = source.cohorts(board.name, key)
    cohort = chosen_cohort(cohorts, st.query_params.get("cohort"))
    ranking = source.ranking(board.name, key, cohort)
    metric = objective.key.metric
    conditions = f"Measured under: {cohort.words}" if cohort is not None else "Nothing was measured yet."
    st.html(
        markup.lines(
            ("lead", [summary(ranking)]),
            ("meta", [markup.Cell(key, tone="code"), metric.description, f"{metric.direction} is better"]),
            ("note", [conditions]),
        )
    )
    if cohort is not None and len(cohorts) > 1:
        _other_cohorts(cohort, cohorts)
    if ranking.ranked:
        _ranked(ranking, objective)
    if ranking.unranked:
        _unranked(ranking)


def _other_cohorts(cohort: CohortSummary, cohorts: Sequence[CohortSummary]) -> None:
    labels = cohort_labels(cohorts)
    ids = [other.cohort_id for other in cohorts]
    sizes = {other.cohort_id: counted(other.entries, "entry", "entries") for other in cohorts}
    _, bound = links.choice("cohort", ids, ids[0], resets=("page", "unranked"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Conditions",
            ids,
            format_func=lambda name: f"{labels[name]} ({sizes[name]})",
            help="Only results that were measured under the same conditions are ranked together. Newest first.",
            width=520,
            **bound,
        )
        with st.popover("Why not all together?", icon=":material/balance:"):
            for other in cohorts:
                if other is not cohort:
                    apart = [str(found) for found in differences(cohort.conditions, other.conditions)]
                    age = markup.moment(other.last_at, now(), zone())
                    st.html(
                        markup.lines(
                            ("note", [f"{sizes[other.cohort_id]}, newest ", age, ", can't be compared with these:"]),
                            *(("meta", [text]) for text in apart),
                        )
                    )


def _ranked(ranking: ObjectiveRanking, objective: BoardObjective) -> None:
    rows: Sequence[RankedRow] = ranking.ranked
    pages = 1
    if len(rows) > PAGE:
        looked_for, bound = links.search("find", ("page",))
        st.text_input("Find an entry", placeholder="part of its name", width=360, **bound)
        rows = [row for row in rows if looked_for.casefold() in row.entry.casefold()]
        pages = max(1, -(-len(rows) // PAGE))
    page, bound = links.page_number(pages)
    rows = rows[(page - 1) * PAGE : page * PAGE]
    scale = column_scale(ranking.unit, [row.interval for row in rows])
    left, right = st.columns([11, 9], gap="medium")
    with left:
        st.html(_table(rows, scale, ranking))
        if pages > 1:
            st.pagination(pages, **bound)
    with right:
        title = f"{objective.name}, {scale.symbol}" if scale.symbol else objective.name
        chart = charts.intervals(rows, scale, title, ranking.direction, palette())
        st.altair_chart(chart, width="stretch", alt=f"Means and intervals by {objective.name}")
    st.html(markup.note(_EXPLANATION, _INVERSION if _inverted(ranking) else ""))


_EXPLANATION = (
    "Mean over the trials of an entry, and its 95 % confidence interval (Student's t, n trials); a tick is one seed. "
    "A rank is 1 + the number of entries that are significantly better, tested pairwise on the same seeds and "
    "corrected for all pairs (95 %): entries that can't be told apart share a rank, whether their intervals overlap "
    "or not."
)


_INVERSION = (
    " Here an entry stands above one with a better mean: its values scatter more, so fewer entries are significantly "
    "better than it. More trials would tell."
)


def _inverted(ranking: ObjectiveRanking) -> bool:
    sign = 1 if ranking.direction == "higher" else -1
    means = [sign * row.interval.mean for row in ranking.ranked]
    return any(above < below for above, below in pairwise(means))


def _table(rows: Sequence[RankedRow], scale: Scale, ranking: ObjectiveRanking) -> str:
    columns = [
        markup.Column("Rank", numeric=True, short=True),
        markup.Column("Entry"),
        markup.Column("Mean", scale.symbol, numeric=True),
        markup.Column("95 %", numeric=True, hint="Half the width of the confidence interval of the mean, same unit"),
        markup.Column("n", numeric=True, hint="Trials, each with its own seed"),
        markup.Column("Updated", minor=True, short=True),
        markup.Column("", minor=True, short=True),
    ]
    at, where = now(), zone()
    cells = [
        [
            markup.Cell(row.place.ljust(len(str(row.rank)) + 1, _DIGIT_SPACE), hint=_rank_hint(row)),
            markup.Cell(row.entry, links.job(row.job_uid, row.entry), hint="Its runs", detail=row.note),
            markup.Cell(scale.number(row.interval.mean)),
            markup.Cell(scale.margin(row.interval) or "one trial", tone="quiet"),
            markup.Cell(str(row.interval.n)),
            markup.moment(row.last_at, at, where),
            markup.Cell("Run again", f"{links.job(row.job_uid, row.entry)}#run-again", tone="quiet"),
        ]
        for row in rows
    ]
    return markup.table(columns, cells, f"Ranking by {ranking.key}", [row.rank for row in rows], tall=True)


# As wide as a digit: it stands where a shared rank has its `=`, so that the ranks stand below each other.
_DIGIT_SPACE = "\u2007"


def _rank_hint(row: RankedRow) -> str:
    if not row.indistinguishable_from:
        return "Significantly different from every other entry"
    return f"Can't be told apart from {listed(row.indistinguishable_from, most=6)}"


def _unranked(ranking: ObjectiveRanking) -> None:
    rows = ranking.unranked
    st.subheader(f"Not ranked ({len(rows)})", anchor=False)
    pages = -(-len(rows) // PAGE)
    page, bound = links.page_number(pages, "unranked")
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
            markup.Cell(row.reason, tone="bad" if row.why == "Failed" else ""),
            markup.Cell(quantity(ranking.unit, fmean(row.samples.values())) if row.samples else "", tone="quiet"),
            markup.Cell(f"{len(row.samples)} / {row.planned}"),
            markup.Cell(row.job_name, links.job(row.job_uid), tone="quiet"),
        ]
        for row in rows[(page - 1) * PAGE : page * PAGE]
    ]
    st.html(markup.table(columns, cells, "Entries without a rank"))
    if pages > 1:
        st.pagination(pages, **bound)


def _trade_off(source: Source, board: Board, objectives: Sequence[BoardObjective]) -> None:
    by_name = {objective.name: objective for objective in objectives}
    chosen, bound = links.several("by", list(by_name), list(by_name)[:2])
    st.pills("Objectives", list(by_name), selection_mode="multi", format_func=markup.plain, **bound)
    if not 2 <= len(chosen) <= 3:
        st.html(markup.note("Choose two or three objectives."))
        return
    found = pareto([_newest_ranking(source, board, by_name[name]) for name in chosen])
    if not found.points:
        st.html(markup.lines(("lead", ["No entry is ranked by each of these objectives yet."])))
        return
    st.html(markup.lines(("lead", [_front_words(found)])))
    label = f"Entries by {listed(chosen)}"
    st.altair_chart(charts.trade_off(found, chosen, palette()), width="stretch", alt=label)
    st.html(_trade_off_table(found, chosen))
    left_out = "".join(f" {name}: {why}." for name, why in list(found.left_out.items())[:PAGE])
    st.html(markup.note(_FRONT_EXPLANATION, f" Left out:{left_out}" if left_out else ""))


_FRONT_EXPLANATION = (
    "An entry is on the front when no other one is at least as good at all of these and better at one. The front is "
    "made of means: look at the intervals before you drop an entry that lies close to it."
)


def _newest_ranking(source: Source, board: Board, objective: BoardObjective) -> ObjectiveRanking:
    key = str(objective.key)
    cohort = chosen_cohort(source.cohorts(board.name, key), st.query_params.get("cohort"))
    return source.ranking(board.name, key, cohort)


def _front_words(found: TradeOff) -> str:
    if len(found.front) == 1:
        return f"{found.front[0]} is best at all of them, by the means."
    return f"{listed(found.front, most=6)} are on the front: no entry beats any of them at everything."


def _trade_off_table(found: TradeOff, titles: Sequence[str]) -> str:
    scales = [
        column_scale(key.metric.unit, [point.intervals[axis] for point in found.points])
        for axis, key in enumerate(found.keys)
    ]
    columns = [
        markup.Column("Entry"),
        markup.Column(""),
        *(markup.Column(title, scale.symbol, numeric=True) for title, scale in zip(titles, scales, strict=True)),
    ]
    rows = [
        [
            markup.Cell(point.entry, links.job(point.job_uid, point.entry)),
            markup.Cell("on the front" if point.on_front else "", tone="good"),
            *(
                markup.Cell(f"{scale.number(interval.mean)} {scale.margin(interval)}".strip())
                for interval, scale in zip(point.intervals, scales, strict=True)
            ),
        ]
        for point in found.points[:PAGE]
    ]
    return markup.table(
        columns, rows, f"Entries by {listed(titles)}", [point.on_front for point in found.points[:PAGE]]
    )


def _jobs(source: Source, board: Board) -> None:
    pages = -(-board.jobs // _JOBS)
    page, bound = links.page_number(pages, "jobs")
    columns = [
        markup.Column("Job"),
        markup.Column("Entries", numeric=True),
        markup.Column("Trials", numeric=True),
        markup.Column("State"),
        markup.Column("Registered", minor=True),
    ]
    rows = [
        [
            markup.Cell(job.name, links.job(job.uid), hint=job.uid),
            markup.Cell(f"{len(job.entries):,}"),
            markup.Cell(f"{job.trials:,}"),
            job_state(job, source.counts(job.uid)),
            markup.moment(job.created_at, now(), zone()),
        ]
        for job in source.jobs(board.name, _JOBS, (page - 1) * _JOBS)
    ]
    st.html(markup.table(columns, rows, f"Jobs of {board.name}"))
    if pages > 1:
        st.pagination(pages, **bound)


def job_state(job: JobInfo, counts: Counts) -> markup.Cell:
    """How a job stands, in words."""
    done = counts.succeeded + counts.failed
    failed = f", {counts.failed} failed" if counts.failed else ""
    if done < job.trials:
        return markup.Cell(f"{done} of {job.trials} done{failed}", tone="busy")
    if counts.failed:
        return markup.Cell(f"{counts.failed} of {job.trials} failed", tone="bad")
    return markup.Cell("all succeeded", tone="good")
