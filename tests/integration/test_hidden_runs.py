"""A hidden run counts as missing wherever results are read, and what is said of it goes where the results go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tools.sample_results import CLEAR, Race, finish, race
from velodrome.board.pairing import NotPaired, read_pairing
from velodrome.board.reading import read_job
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.errors import StoreRefused
from velodrome.results.marks import Baseline, Hiding, deed_of
from velodrome.store import Store, export_lines, import_lines, open_store
from velodrome.store.deletion import DeletionTarget, open_deleter
from velodrome.store.store import MarksChanged
from velodrome.trends.regressions import judge

AT = datetime.now(UTC) - timedelta(days=2)
WHY = "the data of this run were wrong"


def hiding(made: Race, index: int = 0, **changed: Any) -> Hiding:
    job = made.info
    entry = job.entries[index % len(job.entries)]
    known = {"board": job.board, "entry": entry, "job_uid": job.uid, "index": index, "seed": index // len(job.entries)}
    return Hiding(**{**known, "at": AT, "note": WHY, "by": "ann", **changed})


def unranked(store: Store, board: str) -> dict[str, dict[str, tuple[str, str]]]:
    """By objective and entry, why it has no rank."""
    return {
        one.objective.name: {row.entry: (row.why, row.reason) for row in one.ranking.unranked}
        for one in read_objectives(store, board, objectives_of(store, board))
    }


@pytest.fixture
def made(store: Store) -> Race:
    found = race("done", AT, riders=CLEAR)
    finish(store, found)
    return found


def test_an_entry_with_a_hidden_run_has_no_rank_and_says_why(store: Store, made: Race) -> None:
    entry = made.info.entries[0]
    before = {
        one.objective.name: one.ranking.entries
        for one in read_objectives(store, "digits", objectives_of(store, "digits"))
    }
    version = store.board_version("digits")
    assert store.mark(hiding(made))
    assert store.board_version("digits") != version  # what was kept of the board is read again
    for name, rows in unranked(store, "digits").items():
        assert rows == {entry: ("Hidden", f"the run of seed 0 is hidden: {WHY}")}, name
    for one in read_job(store, "done", [found.key for found in objectives_of(store, "digits")]):
        assert [(row.entry, row.why) for row in one.ranking.unranked] == [(entry, "Hidden")]
    assert {point.entry: len(point.values) for point in store.samples(["done"])[0] if point.metric_key == "accuracy"}[
        entry
    ] == 4
    assert len(store.measured("done")) == len(store.samples(["done"])[0])
    assert store.unmark(hiding(made))
    assert {
        one.objective.name: one.ranking.entries
        for one in read_objectives(store, "digits", objectives_of(store, "digits"))
    } == before


def test_an_entry_of_which_all_runs_are_hidden_does_not_fall_back_to_an_older_job(store: Store, made: Race) -> None:
    newer = race("newer", AT + timedelta(days=1), riders=CLEAR)
    finish(store, newer)
    entries = len(newer.info.entries)
    for index in range(0, newer.info.trials, entries):
        store.mark(hiding(newer, index, note=f"reason {index // entries % 2}"))
    for rows in unranked(store, "digits").values():
        assert rows == {
            newer.info.entries[0]: ("Hidden", "the runs of seeds 0, 1, 2, 3, 4 are hidden: reason 0; reason 1")
        }
    assert newer.info.entries[0] not in {one.entry for one in judge(store, "newer") if one.verdict != "Unknown"}
    assert store.trials("newer").keys() == set(range(newer.info.trials))  # the race has them all the same


def test_the_first_reason_counts_and_what_was_done_is_logged(store: Store, made: Race) -> None:
    assert store.mark(hiding(made))
    assert not store.mark(hiding(made, note="another", by="bob", at=AT + timedelta(hours=1)))
    (kept,) = store.hidden(["done"])["done"]
    assert (kept.by, kept.note) == ("ann", WHY)
    store.unmark(hiding(made, by="bob", at=AT + timedelta(hours=2)))
    assert not store.unmark(hiding(made, by="eve", at=AT + timedelta(hours=3)))
    assert [(deed.by, deed.did, deed.index, deed.note) for deed in store.log("digits")] == [
        ("bob", "showed again", 0, ""),
        ("ann", "hid", 0, WHY),
    ]


def test_who_decides_on_what_somebody_else_changed_is_told_so(store: Store, made: Race) -> None:
    seen = store.marks_changed("digits")
    pin = Baseline(board="digits", entry=made.info.entries[0], job_uid="done", at=AT, by="ann")
    assert store.mark(pin, seen)
    for late in (pin.model_copy(update={"by": "bob"}), hiding(made, by="bob")):
        with pytest.raises(MarksChanged, match="somebody else changed a mark of board digits"):
            store.mark(late, seen)
    with pytest.raises(MarksChanged):
        store.unmark(pin, seen)
    assert [(deed.by, deed.did) for deed in store.log("digits")] == [("ann", "pinned")]


def test_nothing_is_said_of_a_job_that_is_gone(store: Store, made: Race, redis_server: Any) -> None:
    with open_deleter(redis_server.url) as deleter:
        deleter.delete(DeletionTarget("digits", "done"))
    with pytest.raises(StoreRefused, match="job done is not here any more"):
        store.mark(hiding(made))
    assert b"velodrome:job:done:hidden" not in redis_server.contents()


def test_a_log_keeps_its_newest_lines(store: Store, made: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velodrome.keys.LOG_MOST", 3)
    for hour in range(4):
        store.mark(hiding(made, at=AT + timedelta(hours=2 * hour)))
        store.unmark(hiding(made, at=AT + timedelta(hours=2 * hour + 1)))
    assert [deed.at - AT for deed in store.log("digits")] == [timedelta(hours=hour) for hour in (7, 6, 5)]


def test_exports_and_imports_carry_what_is_hidden_and_the_log(store: Store, made: Race, redis_server: Any) -> None:
    store.mark(hiding(made))
    store.mark(hiding(made, 4))
    store.unmark(hiding(made, 4, at=AT + timedelta(hours=1), by="bob"))
    lines = list(export_lines(store))
    with redis_server.client() as client:
        client.flushall()
    with open_store(redis_server.url) as fresh:
        assert import_lines(fresh, lines).rejected == ()
        assert list(export_lines(fresh)) == lines
        assert {why for rows in unranked(fresh, "digits").values() for why, _ in rows.values()} == {"Hidden"}
        again = import_lines(fresh, lines)
        assert (again.imported, again.rejected) == (0, ())
        forged = hiding(made, 0, entry="nobody").model_dump_json()
        odd = import_lines(fresh, ['{"type":"hiding","mark":' + forged + "}", '{"type":"deed","deed":{"did":"ate"}}'])
        assert (odd.rejected_count, "has no trial 0 of 'nobody'" in odd.rejected[0].why) == (2, True)


@pytest.mark.parametrize("entry", [None, CLEAR and next(iter(CLEAR))])
def test_deleting_leaves_nothing_of_what_was_hidden(
    store: Store, made: Race, redis_server: Any, entry: str | None
) -> None:
    finish(store, race("other", AT + timedelta(days=1), riders=CLEAR))
    clean = redis_server.contents()
    store.mark(hiding(made))
    with open_deleter(redis_server.url) as deleter:
        deleter.delete(DeletionTarget("digits", "done", entry))
    left = redis_server.contents()
    assert not [key for key in left if key.endswith((b":hidden", b":log"))]
    assert left.keys() <= clean.keys()


def test_scores_of_a_hidden_run_are_not_compared(store: Store, made: Race) -> None:
    for index in range(0, made.info.trials, len(made.info.entries)):
        store.mark(hiding(made, index))
    with pytest.raises(NotPaired):
        read_pairing(store, "digits", made.info.entries[0], made.info.entries[1])


def test_what_a_hiding_leaves_behind_is_written_as_it_was_read(made: Race) -> None:
    old = Baseline(board="b", entry="e", job_uid="u", at=AT)
    assert "by" not in old.model_dump_json()
    assert deed_of(hiding(made)).note == WHY
    with pytest.raises(ValueError, match="note"):
        hiding(made, note="")
