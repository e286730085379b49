"""When a part of an open page is woken: Redis' answers and a clock go in, yes or no comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from velodrome.store.markers import Marker, of_board, of_boards
from velodrome_leaderboard import watching
from velodrome_leaderboard.memory import KEPT_SECONDS
from velodrome_leaderboard.watching import Answers, PageWatch, Watcher

BOARD = of_board("digits")
SOON, LATER = 0.5, 100.0


@dataclass
class Part:
    """A part of a page in no browser."""

    state: Literal["open", "absent", "gone"] = "open"
    woken: int = field(default=0)

    def wake(self) -> None:
        self.woken += 1


def drawn(every: float | None = None, *, away: bool = False) -> Watcher:
    return Watcher(Part(), "redis://", (BOARD,), float(KEPT_SECONDS), every=every, away=away)


def said(number: int) -> Answers:
    return {BOARD: (number,)}


def test_it_is_woken_once_after_it_was_drawn_and_then_rests() -> None:
    part = drawn()
    assert [part.look(said(1), at) for at in (SOON, KEPT_SECONDS, 2.0, 3.0, 1000.0)] == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_a_change_wakes_it_when_no_shared_answer_is_older_than_the_change() -> None:
    part = drawn()
    part.look(said(1), LATER)
    assert not part.look(said(2), LATER + 1)
    assert not part.look(said(2), LATER + 1 + KEPT_SECONDS - 0.1)
    assert part.look(said(2), LATER + 1 + KEPT_SECONDS)
    assert not part.look(said(2), LATER + 60)


def test_changes_without_end_wake_it_again_and_again_and_no_more_often_than_answers_are_shared() -> None:
    part = drawn()
    part.look(said(0), LATER)
    looks = [part.look(said(number), LATER + number / 4) for number in range(1, 41)]
    assert sum(looks) == pytest.approx(40 / 4 / KEPT_SECONDS, abs=3)


def test_redis_going_away_and_coming_back_wakes_it_at_once_and_its_age_is_told_again() -> None:
    part = drawn()
    part.look(said(1), LATER)
    assert part.look(None, LATER + 1)
    assert not part.look(None, LATER + 2)
    assert part.look(None, LATER + 30)
    assert part.look(said(1), LATER + 31)
    assert not part.look(said(1), LATER + 99)


def test_what_changed_while_redis_was_away_wakes_it() -> None:
    part = drawn(away=True)
    assert not part.look(None, SOON)
    assert part.look(said(7), SOON + 0.1)


def test_the_end_of_a_session_wakes_it_once() -> None:
    part = drawn()
    part.look(said(1), LATER)
    assert part.look(said(1), LATER + 1, over=True)
    assert not part.look(said(1), LATER + 2, over=True)


def test_a_part_that_time_changes_is_woken_again() -> None:
    part = drawn(every=30)
    assert part.look(said(1), LATER)
    assert not part.look(said(1), LATER + 29)
    assert part.look(said(1), LATER + 30)


def test_one_look_asks_each_marker_once_and_forgets_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[Marker]] = []

    def ask(_url: str, markers: list[Marker]) -> Answers:
        asked.append(markers)
        return dict.fromkeys(markers, (1,))

    monkeypatch.setattr(watching, "_ask", ask)
    watch = PageWatch()
    here, absent, gone = Part(), Part("absent"), Part("gone")
    for key, part in enumerate((here, absent, gone)):
        watch.add(key, Watcher(part, "redis://", (BOARD, of_boards()), 1.0))
        watch.add(f"twin of {key}", Watcher(part, "redis://", (BOARD,), 1.0))
    assert watch.look(5.0) == [here, here]
    assert asked == [[BOARD, of_boards()]]
    assert len(watch) == 4
    absent.state = "open"
    assert watch.look(6.0) == [absent, absent], "what came back is woken, as it may have missed something"
    here.state = "absent"
    watch.look(7.0)
    assert len(watch) == 4
    watch.look(1000.0)
    assert len(watch) == 2
