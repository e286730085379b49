"""The search of a job: what each entry's search took and found, and how its trials went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from velodrome.board.search_details import MOST, SearchDetails, TriedTrial
from velodrome.board.searches import EntrySearch, budget_words
from velodrome.keys import search_uid
from velodrome.results.records import JobInfo
from velodrome.search.sentences import called, spent_words, value_words, values_words
from velodrome.spec import SearchParameter
from velodrome.store.markers import of_job
from velodrome.text import counted, line
from velodrome_leaderboard import links, markup, search_chart
from velodrome_leaderboard.charts import Chart
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import palette
from velodrome_leaderboard.views import live
from velodrome_leaderboard.views.drawing import draw
from velodrome_leaderboard.views.job import board_steps, unknown_job


def render(source: ResultSource) -> None:
    """Shows the search of the job that the URL names, and the trials of one of its entries."""
    uid = st.query_params.get("uid", "")
    job = source.job(uid)
    if job is None:
        unknown_job(source, uid)
        return
    found = source.searching(uid)
    steps = [*board_steps(job), (f"job {job.name}", links.job(uid))]
    if found is None:
        st.html(markup.heading("Search", steps))
        st.html(markup.alert("This job has no search.", ["Its entries run as they are written."]))
        return
    st.set_page_config(page_title=line(f"Search of {job.name} · Velodrome"))
    markers = (*source.markers(jobs=[job]), of_job(search_uid(uid), job.board))
    live.watch(source, markers, lambda: _ended(source, uid), _ended(source, uid))
    _whole(found, job, steps)
    tuned = [one.entry for one in found.reading.entries if one.tuned]
    if not tuned:
        return
    entry, bound = links.choice("entry", tuned, tuned[0])
    if len(tuned) > 1:
        st.selectbox("Entry", tuned, format_func=line, width=360, **bound)
    _one_entry(found, next(one for one in found.reading.entries if one.entry == entry))


def _ended(source: ResultSource, uid: str) -> int:
    found = source.searching(uid)
    return 0 if found is None else sum(one.spent.trials + one.confirming for one in found.reading.entries)


def _whole(found: SearchDetails, job: JobInfo, steps: Sequence[tuple[str, str]]) -> None:
    reading = found.reading
    first = reading.keys[0]
    state = "it has its winners" if reading.over else "it goes on"
    facts: list[markup.Part] = [f"by {first.label}, {first.metric.direction} is better", state]
    st.html(markup.heading(f"Search of {job.name}", steps, facts))
    untuned = [one.entry for one in reading.entries if not one.tuned]
    if untuned:
        names = ", ".join(line(name) for name in untuned)
        said = f"{names}: as written, beside entries that a search tuned. Compare them with care."
        st.html(markup.alert("Not every entry was tuned.", [said], "busy"))
    columns = [
        markup.Column("Entry"),
        markup.Column("Trials", numeric=True),
        markup.Column("Selected", numeric=True, hint="The best value on validation data: the luckiest of many"),
        markup.Column("Confirmed", numeric=True, hint="The mean of the trials that ran again on fresh seeds"),
        markup.Column("Gap", numeric=True, hint="How much better the selected value had looked"),
        markup.Column("Best setting"),
        markup.Column("Took", minor=True),
    ]
    st.html(markup.table(columns, [_row(found, one) for one in reading.entries], "Search by entry"))
    st.html(markup.note(f"{budget_words(reading.entries)} {_SELECTED}"))


_SELECTED = (
    "The selected value is the best of many, so luck is part of it. The confirmed value is the mean of the same metric "
    "over the trials that ran again with this setting, on seeds that no search trial had. Only these trials rank, on "
    "test data that no search trial saw."
)


def _row(found: SearchDetails, one: EntrySearch) -> list[markup.Cell]:
    first = found.reading.keys[0]
    if not one.tuned:
        return [markup.Cell(one.entry), markup.Cell("untuned", tone="busy"), *[markup.Cell("–")] * 5]
    values = [
        markup.Cell("–" if value is None else value_words(first, value))
        for value in (one.selected, one.confirmed, one.gap)
    ]
    spent = markup.Cell(spent_words(one.spent), detail=one.ended)
    setting = markup.Cell(values_words(one.values) if one.values else "–")
    return [markup.Cell(one.entry), markup.Cell(f"{one.spent.trials} of {found.reading.most}"), *values, setting, spent]


def _one_entry(found: SearchDetails, one: EntrySearch) -> None:
    keys, trials, parameters = found.reading.keys, found.trials[one.entry], found.parameters[one.entry]
    known = [trial for trial in trials if trial.value is not None]
    if not known:
        st.html(markup.note("No trial has a value yet."))
        return
    if one.spent.trials > MOST:
        st.html(markup.note(f"Charts have the newest {MOST:,} of {counted(one.spent.trials, 'trial')}."))
    if one.spent.reasons:
        failed = ", ".join(f"{count} with {reason}" for reason, count in one.spent.reasons.items())
        st.html(markup.note(f"The charts leave out {counted(one.spent.failed, 'trial')} that failed: {failed}."))
    _drawn("Best so far", search_chart.course(keys[0], one, trials, palette()), _course_words(found, one))
    if len(keys) > 1:
        _drawn("Front", search_chart.front(keys, one, trials, palette()), _front_words(one))
    _drawn(
        "Parameters and values",
        search_chart.parallel(keys[0], parameters, trials, palette()),
        "A line is a trial; the better it is, the stronger it is drawn. A parameter that a trial lacks has no point.",
    )
    shares = found.importances.get(one.entry, {})
    if shares:
        _drawn("Importance", search_chart.importance(shares, palette()), _importance_words(shares))
    else:
        st.html(markup.note(_NO_IMPORTANCE))
    _by_parameter(found, known, parameters)
    if any(trial.steps for trial in trials):
        _drawn(
            "Epochs", search_chart.epochs(keys[0], trials, palette()), "A cross marks where a trial was ended early."
        )


_NO_IMPORTANCE = "How much each parameter mattered is computed at the end of a search with 10 complete trials."


def _by_parameter(found: SearchDetails, known: Sequence[TriedTrial], parameters: Sequence[SearchParameter]) -> None:
    """The values over one parameter, and over two."""
    key, by_name = found.reading.keys[0], {one.name: one for one in parameters}
    names = list(by_name)
    with st.container(horizontal=True):
        across, bound = links.choice("across", names, names[0])
        st.selectbox("Parameter", names, format_func=_label, width=320, **bound)
        others = [name for name in names if name != across]
        up, bound_up = links.choice("up", others, others[0]) if others else (None, None)
        if bound_up is not None:
            st.selectbox("Beside", others, format_func=_label, width=320, **bound_up)
    _drawn(
        f"Values over {called(across)}",
        search_chart.slices(key, by_name[across], known, palette()),
        "A point is a trial. Other parameters differ too.",
    )
    both = [one for one in known if up is not None and {across, up} <= one.setting.keys()]
    if up is not None and len(both) > 2:
        _drawn(
            f"{called(across)} and {called(up)} together",
            search_chart.contour(key, by_name[across], by_name[up], known, palette()),
            "A point is a trial. The ground between them is interpolated: the stronger its colour, the better.",
        )


_label: Callable[[str], str] = line


def _drawn(title: str, chart: Chart, words: str) -> None:
    st.header(markup.plain(title), anchor=False)
    draw(chart, f"{title}. {words}")
    st.html(markup.note(words))


def _course_words(found: SearchDetails, one: EntrySearch) -> str:
    said = []
    if one.course and one.selected is not None:
        best = value_words(found.reading.keys[0], one.selected)
        said.append(f"The best value, {best}, came after {counted(one.course[-1][0], 'trial')}.")
    if one.reference:
        count = counted(len(one.reference), "trial")
        said.append(
            f"The dashed line is what random search is expected to find, by the {count} with random parameters. "
            "For more trials than these it is not known."
        )
    return " ".join(said)


def _front_words(one: EntrySearch) -> str:
    return f"No other trial beats these in all objectives: {', '.join(map(str, one.front))}."


def _importance_words(shares: Mapping[str, float]) -> str:
    first = next(iter(shares))
    return (
        f"{called(first)} mattered most, {shares[first]:.0%}, by PED-ANOVA over the trials that ran to their end. "
        "Parameters that only some trials have are left out."
    )
