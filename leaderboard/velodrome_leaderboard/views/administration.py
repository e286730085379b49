"""What people said of results, for everybody to read; and what an admin may say, with forms.

A form knows how often the board's marks had changed when it was drawn. If somebody else changes one before it is sent,
nothing is done, and the person is told so.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from velodrome.board import marking
from velodrome.board.marking import deed_words
from velodrome.errors import VelodromeError
from velodrome.metrics.catalogue import label_of
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.results.records import JobInfo, TrialRecord
from velodrome.trends.timeline import Moment, Timeline
from velodrome_leaderboard import markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.marking import Desk, desk
from velodrome_leaderboard.viewer import now, zone

_SHOWN = 20
_SAID = "administration"


def run(source: ResultSource, job: JobInfo, record: TrialRecord) -> None:
    """Says whether the run is hidden, by whom and why. An admin may hide it, or show it again."""
    index = record.result.index
    _outcome()
    known = source.hidden(job.uid).get(index)
    if known is not None:
        who: list[markup.Part] = [f"{known.note}. " if not known.note.endswith(".") else f"{known.note} "]
        who += ["Hidden by ", markup.Cell(known.by or "somebody"), ", ", markup.moment(known.at, now(), zone()), "."]
        st.html(markup.alert("This run is hidden: it counts as missing.", who, "busy"))
    if not source.person.admin:
        return
    seen = source.marks_changed(job.board)
    if known is not None:
        st.button("Show this run again", on_click=_do, args=(job.board, _show_again(job, index, seen)))
        return
    with st.popover("Hide this run"), st.form(f"hide-{job.uid}-{index}", border=False):
        st.html(
            markup.note("Its values then rank nowhere. Its entry has no rank, with your reason. Nothing is deleted.")
        )
        key = f"why-{job.uid}-{index}"
        st.text_area("Why?", key=key, max_chars=marking.LONGEST_NOTE)
        st.form_submit_button("Hide", on_click=_do, args=(job.board, _hide(job, index, key, seen)))


def history(source: ResultSource, board: str, found: Timeline, at: int | None) -> None:
    """Shows the marks on this entry and metric. An admin may accept the shown job's change, or pin its values."""
    _outcome()
    moments = found.moments
    moment = moments[-1] if at is None else min(moments, key=lambda one: abs(one.point.at.timestamp() - at))
    entry, key, uid = moment.point.entry, str(found.key), moment.point.job_uid
    pins = [one for one in source.baselines(board) if one.entry == entry and one.metric_key in ("", key)]
    accepted = [one for one in source.acknowledgements(board) if (one.entry, one.metric_key) == (entry, key)]
    names = {one.point.job_uid: one.point.job_name for one in moments}
    marks: list[Baseline | Acknowledgement] = [*pins, *accepted]
    for mark in marks:
        st.html(markup.note(*_mark_words(mark, names)))
    if not source.person.admin:
        return
    job, seen = source.job(uid), source.marks_changed(board)
    if job is None:
        return
    with st.container(horizontal=True):
        own = [one for one in accepted if one.job_uid == uid]
        if own:
            st.button("Accept it no longer", on_click=_do, args=(board, _withdraw(own[0], seen)))
        elif moment.verdict in ("Regressed", "Improved"):
            _form("Accept this change", _accept, job, moment, key, seen)
        pinned = [one for one in pins if one.job_uid == uid and one.metric_key == key]
        if pinned:
            st.button("Unpin this job", on_click=_do, args=(board, _withdraw(pinned[0], seen)))
        else:
            _form("Pin this job as baseline", _pin, job, moment, key, seen)


def log(source: ResultSource, board: str) -> None:
    """Shows the newest lines of the board's log: who pinned, accepted or hid what."""
    deeds = source.log(board)
    if not deeds:
        return
    with st.expander("What people did here"):
        columns = [markup.Column("When", short=True), markup.Column("What")]
        rows = [[markup.moment(deed.at, now(), zone()), markup.Cell(deed_words(deed))] for deed in deeds[:_SHOWN]]
        st.html(
            markup.table(columns, rows, f"The board's log, newest first: {min(len(deeds), _SHOWN)} of {len(deeds)}")
        )


Doing = Callable[[Desk], str]
Making = Callable[[JobInfo, Moment, str, str, int], Doing]


def _form(title: str, make: Making, job: JobInfo, moment: Moment, key: str, seen: int) -> None:
    name = f"{title}-{job.uid}-{moment.point.entry}-{key}"
    with st.popover(title), st.form(name, border=False):
        st.text_area("Why?", key=f"why-{name}", max_chars=marking.LONGEST_NOTE)
        st.form_submit_button("Do it", on_click=_do, args=(job.board, make(job, moment, key, f"why-{name}", seen)))


def _hide(job: JobInfo, index: int, key: str, seen: int) -> Doing:
    def do(at: Desk) -> str:
        mark = marking.hide(at.store, job, index, _note(key), at.admin.name, now(), seen)
        return f"hid the run of seed {mark.seed} of {mark.entry} in job {job.name} ({job.uid})"

    return do


def _show_again(job: JobInfo, index: int, seen: int) -> Doing:
    def do(at: Desk) -> str:
        mark = marking.show_again(at.store, job, index, at.admin.name, now(), seen)
        return f"showed the run of seed {mark.seed} of {mark.entry} in job {job.name} ({job.uid}) again"

    return do


def _accept(job: JobInfo, moment: Moment, key: str, note: str, seen: int) -> Doing:
    def do(at: Desk) -> str:
        entry = moment.point.entry
        for mark in marking.acceptances(job, entry, [key], _note(note), at.admin.name, now()):
            at.store.mark(mark, seen)
        return f"accepted what job {job.name} ({job.uid}) changed of {entry}'s {label_of(key)}"

    return do


def _pin(job: JobInfo, moment: Moment, key: str, note: str, seen: int) -> Doing:
    def do(at: Desk) -> str:
        entry = moment.point.entry
        marking.pin(at.store, job, entry, key, _note(note), at.admin.name, now(), seen)
        return f"pinned job {job.name} ({job.uid}) as the baseline of {entry}'s {label_of(key)}"

    return do


def _withdraw(mark: Baseline | Acknowledgement, seen: int) -> Doing:
    def do(at: Desk) -> str:
        if not at.store.unmark(mark.model_copy(update={"by": at.admin.name, "at": now()}), seen):
            raise marking.AlreadySo("somebody else has done this already")
        what = "unpinned" if isinstance(mark, Baseline) else "no longer accepts"
        return f"{what} job {mark.job_uid} of {mark.entry}"

    return do


def _do(board: str, doing: Doing) -> None:
    """Does it as the person who looks now, and keeps what came of it for the page, which is drawn next."""
    try:
        with desk(board) as at:
            said = doing(at)
            at.noted(said)
        st.session_state[_SAID] = ("Done.", f"You {said}.", True)
    except (VelodromeError, ValueError) as error:
        st.session_state[_SAID] = ("Nothing was changed.", f"{error}.", False)


def _outcome() -> None:
    found = st.session_state.pop(_SAID, None)
    if found is not None:
        title, words, well = found
        if well:
            st.toast(words)
        else:
            st.html(markup.alert(title, [words]))


def _note(key: str) -> str:
    return str(st.session_state.get(key, ""))


def _mark_words(mark: Baseline | Acknowledgement, names: dict[str, str]) -> list[markup.Part]:
    what = "Pinned as baseline: job " if isinstance(mark, Baseline) else "Accepted: what changed with job "
    by: list[markup.Part] = [" by ", markup.Cell(mark.by)] if mark.by else []
    note = f": {mark.note}" if mark.note else ""
    return [
        what,
        markup.Cell(names.get(mark.job_uid, mark.job_uid)),
        *by,
        ", ",
        markup.moment(mark.at, now(), zone()),
        note,
    ]
