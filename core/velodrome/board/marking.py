"""What people do to results: they hide a run, show it again, pin a baseline, or accept a change.

The command line and the pages of admins both use this module. `by` is who does it, and `at` when. `seen` is how often
the board's marks had changed when the person looked; with it, nothing is done if somebody else changed one since.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from velodrome.errors import ActionNeeded, NotThere
from velodrome.metrics.catalogue import label_of
from velodrome.results.marks import Acknowledgement, Baseline, Deed, Hiding
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Store

LONGEST_NOTE = 500


class AlreadySo(ActionNeeded):
    """What the person wants is so already, perhaps by somebody else. Nothing was changed."""

    reason = "AlreadySo"


def hide(store: Store, job: JobInfo, index: int, note: str, by: str, at: datetime, seen: int | None = None) -> Hiding:
    """Hides a run: from now on it counts as missing, and its entry is unranked with the note as reason.

    Raises:
        ValueError: the note says nothing, or is too long.
        NotThere: the trial has no result.
        AlreadySo: it is hidden. The first person's reason stays.
        As the store does.
    """
    note = checked_note(note)
    if not note:
        raise ValueError("say why: the reason stands wherever the entry has no rank")
    trial = store.trials(job.uid).get(index)
    if trial is None:
        raise NotThere("run", f"trial {index} of job {job.name} has no result, so there is nothing to hide")
    mark = Hiding(
        board=job.board, entry=trial.entry, job_uid=job.uid, index=index, seed=trial.seed, at=at, note=note, by=by
    )
    if not store.mark(mark, seen):
        known = next((one for one in store.hidden([job.uid]).get(job.uid, ()) if one.index == index), None)
        who = f" by {known.by}" if known is not None and known.by else ""
        why = "" if known is None else f": {known.note}"
        raise AlreadySo(line(f"trial {index} of job {job.name} is hidden already{who}{why}"))
    return mark


def show_again(store: Store, job: JobInfo, index: int, by: str, at: datetime, seen: int | None = None) -> Hiding:
    """Shows a hidden run again: its values count. Returns what it was hidden with.

    Raises:
        AlreadySo: it is not hidden.
        As the store does.
    """
    known = next((one for one in store.hidden([job.uid]).get(job.uid, ()) if one.index == index), None)
    if known is None or not store.unmark(known.model_copy(update={"by": by, "at": at}), seen):
        raise AlreadySo(f"trial {index} of job {job.name} is not hidden")
    return known


def pin(
    store: Store, job: JobInfo, entry: str, key: str, note: str, by: str, at: datetime, seen: int | None = None
) -> None:
    """Makes this job the baseline of the entry's later values of the metric `key`, or of all if that is empty.

    Raises:
        ValueError: the note is too long.
        As the store does.
    """
    note = checked_note(note)
    store.mark(Baseline(board=job.board, entry=entry, metric_key=key, job_uid=job.uid, at=at, note=note, by=by), seen)


def acceptances(
    job: JobInfo, entry: str, metric_keys: list[str], note: str, by: str, at: datetime
) -> list[Acknowledgement]:
    """The marks that accept what the job's values of these metrics changed.

    Raises:
        ValueError: the note is too long.
    """
    note = checked_note(note)
    return [
        Acknowledgement(board=job.board, entry=entry, metric_key=key, job_uid=job.uid, at=at, note=note, by=by)
        for key in metric_keys
    ]


def deed_words(deed: Deed) -> str:
    """What a person did, in words: `ann hid run 3 of cnn in job u-1: its data were wrong`."""
    who = deed.by or "somebody"
    run = "" if deed.index is None else f"run {deed.index} of "
    what = f" for {label_of(deed.metric_key)}" if deed.metric_key else ""
    note = f": {deed.note}" if deed.note else ""
    return f"{who} {deed.did} {run}{deed.entry} in job {deed.job_uid}{what}{note}"


def checked_note(note: str) -> str:
    """The note without blanks around it.

    Raises:
        ValueError: it is too long.
    """
    note = note.strip()
    if len(note) > LONGEST_NOTE:
        raise ValueError(f"write at most {LONGEST_NOTE} letters: these are {len(note)}")
    return note
