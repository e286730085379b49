"""Tries at trials, and what they leave behind."""

from __future__ import annotations

from pathlib import Path

from velodrome.machine.race.attempts import Attempts, read_spool
from velodrome.results.records import Progress, ProgressReport, ResultReport, TrialResult, utc


def report(attempt: str) -> ResultReport:
    result = TrialResult(
        job_uid="u",
        index=3,
        entry="a",
        repeat=0,
        seed=0,
        trial_id="t",
        attempt=attempt,
        outcome="Failed",
        reason="Tested",
        started_at=utc(0),
        finished_at=utc(1),
    )
    return ResultReport(result=result)


def test_only_what_this_folder_began_is_known(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, "here")
    first, second = attempts.begin(3, 100.0), attempts.begin(3, 200.0)
    assert (first.number, second.number) == (0, 1)
    assert first.name != second.name
    assert attempts.observe(3, "3-0-00000000") is None
    assert attempts.observe(4, first.name) is None
    observed = attempts.observe(3, second.name)
    assert observed is not None
    assert (observed.node, observed.retries, observed.run_seconds) == ("here", 1, None)
    attempts.ended(second, 207.5)
    ended = attempts.observe(3, second.name)
    assert ended is not None
    assert ended.run_seconds == 7.5


def test_the_next_executor_knows_them_too(tmp_path: Path) -> None:
    attempt = Attempts(tmp_path, "here").begin(3, 100.0)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "attempt.json").write_text('{"index": ')
    later = Attempts(tmp_path, "here")
    assert later.observe(3, attempt.name) is not None
    assert later.observe(3, "torn") is None
    assert later.begin(3, 300.0).number == 1


def test_how_many_ran_beside_a_try_is_known_to_the_next_executor(tmp_path: Path) -> None:
    attempt = Attempts(tmp_path, "here", 3).begin(3, 100.0)
    before = tmp_path / "3-9-00000000"
    before.mkdir()
    (before / "attempt.json").write_text('{"index": 3, "number": 9, "began": 1.0}')
    later = Attempts(tmp_path, "here", 1)
    seen, unknown = later.observe(3, attempt.name), later.observe(3, before.name)
    assert seen is not None
    assert unknown is not None
    assert (seen.concurrent_trials, seen.shared, unknown.concurrent_trials) == (3, None, None)


def test_results_in_the_spool_are_found_and_read(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, "here")
    late, early = attempts.begin(3, 200.0), attempts.begin(4, 100.0)
    for attempt in (late, early):
        path = attempt.folder / f"result-{attempt.index}-{attempt.name}.json"
        path.write_text(report(attempt.name).model_dump_json())
    found = Attempts(tmp_path, "here").spooled()
    assert [path.parent for path in found] == [early.folder, late.folder]
    assert attempts.spooled_by(late) == [found[1]]
    assert read_spool(found[1]) == report(late.name)


def test_what_is_no_result_is_set_aside(tmp_path: Path) -> None:
    progress = Progress(job_uid="u", index=3, attempt="x", phase="Training", at=utc(0))
    for text in ('{"type": "result", "resu', "", ProgressReport(progress=progress).model_dump_json()):
        path = tmp_path / "result-3-x.json"
        path.write_text(text)
        assert read_spool(path) is None
        assert not path.exists()
        assert (tmp_path / "result-3-x.json.corrupt").read_text() == text


def test_a_folder_that_is_discarded_leaves_the_try_known(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, "here")
    attempt, other = attempts.begin(3, 100.0), attempts.begin(4, 100.0)
    attempt.log.write_text("words")
    assert attempt.log_tail() == "words"
    attempts.discard_all({3})
    assert not attempt.folder.exists()
    assert other.folder.exists()
    assert attempts.observe(3, attempt.name) is not None
    assert attempt.log_tail() == ""
