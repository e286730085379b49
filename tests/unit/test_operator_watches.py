"""When a watch counts as silent."""

from __future__ import annotations

from velodrome_operator.watches import Watches


def test_what_events_reported_is_not_owed() -> None:
    watches = Watches()
    watches.reported("a", 5)
    watches.compare(watches.known, {"a": 5}, 100.0)
    assert watches.silent_for(400.0) == 0.0


def test_a_change_that_no_event_reports_counts_from_the_listing_that_showed_it() -> None:
    watches = Watches()
    watches.reported("a", 5)
    watches.compare(watches.known, {"a": 6}, 100.0)
    watches.compare(watches.known, {"a": 9}, 160.0)
    assert watches.silent_for(400.0) == 300.0


def test_an_event_that_comes_late_clears_it() -> None:
    watches = Watches()
    watches.compare(watches.known, {"a": 6}, 100.0)
    watches.reported("a", 6)
    watches.compare(watches.known, {"a": 6}, 160.0)
    assert watches.silent_for(400.0) == 0.0


def test_a_busy_watch_that_is_always_a_little_behind_is_not_silent() -> None:
    watches = Watches()
    for turn in range(20):
        watches.compare(watches.known, {"a": turn + 1}, 60.0 * turn)
        watches.reported("a", turn + 1)
    assert watches.silent_for(1200.0) <= 60.0


def test_what_is_gone_is_not_owed() -> None:
    watches = Watches()
    watches.compare(watches.known, {"a": 6, "b": 7}, 100.0)
    watches.gone("a")
    watches.compare(watches.known, {}, 160.0)
    assert watches.silent_for(400.0) == 0.0


def test_what_comes_to_be_while_all_is_listed_is_remembered_as_reported() -> None:
    watches = Watches()
    before = watches.known
    watches.reported("a", 6)
    watches.compare(before, {}, 100.0)
    watches.compare(watches.known, {"a": 6}, 160.0)
    assert watches.silent_for(600.0) == 0.0
