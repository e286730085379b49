from __future__ import annotations

import errno
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from velodrome.results.records import REPORT, EpochPoint, Progress, ProgressReport, ResultReport, TrialResult
from velodrome_runner.publish import Publisher, connect, write_durably

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# Far more than anything here takes: a hang fails, a slow machine does not.
PATIENCE = 30.0


class Server:
    """A Redis that fails, or hangs, exactly when a test says so."""

    def __init__(self) -> None:
        self.reports: list[ProgressReport | ResultReport] = []
        self.inboxes: set[str] = set()
        self.batches = 0
        self.faults: list[Exception] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def llen(self, _: str) -> int:
        return len(self.reports)

    def rpush(self, inbox: str, *documents: str) -> None:
        self.entered.set()
        assert self.open.wait(PATIENCE)
        if self.faults:
            raise self.faults.pop(0)
        self.batches += 1
        self.inboxes.add(inbox)
        self.reports += [REPORT.validate_json(document) for document in documents]

    @property
    def epochs(self) -> list[int]:
        return [report.progress.epoch for report in self.reports if isinstance(report, ProgressReport)]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.open.set()


def publisher(server: Server | None, log: list[str] | None = None) -> Publisher:
    client: Any = server
    return Publisher(client, "uid", log=(log if log is not None else []).append)


def progress(epoch: int, *, ended: bool = False) -> Progress:
    point = EpochPoint(
        epoch=epoch, seconds=1.0, train_loss=1.0, learning_rate=0.1, samples_per_second=1.0, validation={}
    )
    return Progress(
        job_uid="uid", index=0, attempt="a", phase="Training", epoch=epoch, at=NOW, point=point if ended else None
    )


def result() -> TrialResult:
    return TrialResult(
        job_uid="uid",
        index=0,
        entry="mlp",
        repeat=0,
        seed=0,
        trial_id="id",
        attempt="a",
        outcome="Failed",
        reason="LossNotFinite",
        started_at=NOW,
        finished_at=NOW,
    )


def until(met: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_of_progress_inside_an_epoch_only_the_newest_waits_and_every_ended_epoch_does(server: Server) -> None:
    server.open.clear()
    with publisher(server) as running:
        running.progress(progress(1))
        assert server.entered.wait(PATIENCE)  # the first one is on its way, and stuck
        running.progress(progress(2, ended=True))
        for epoch in (3, 4, 5):
            running.progress(progress(epoch))
        running.progress(progress(6, ended=True))
        running.progress(progress(7))
        server.open.set()
        until(lambda: 7 in server.epochs)
    assert server.epochs == [1, 2, 6, 7]
    assert server.batches == 2
    assert server.inboxes == {"velodrome:reports:uid"}


def test_handing_over_never_waits_and_never_grows_while_redis_hangs(server: Server) -> None:
    server.open.clear()
    with publisher(server) as running:
        for epoch in range(1, 1001):
            running.progress(progress(epoch, ended=True))
        assert not server.reports
        server.open.set()
        until(lambda: 1000 in server.epochs)
    assert len(server.epochs) <= 2 * 64 + 1


def test_progress_that_could_not_be_sent_is_sent_later_in_order(server: Server) -> None:
    log: list[str] = []
    server.faults = [redis.ConnectionError("gone"), redis.TimeoutError("slow")]
    with publisher(server, log) as running:
        running.progress(progress(1, ended=True))
        until(lambda: len(server.faults) < 2)
        running.progress(progress(2, ended=True))
        until(lambda: 2 in server.epochs)
    assert server.epochs == [1, 2]
    assert log == ["progress is not delivered, training goes on: ConnectionError: gone"]


def test_a_result_is_on_disk_before_it_is_sent_and_gone_after(server: Server, tmp_path: Path) -> None:
    spool = tmp_path / "scratch" / "result.json"
    server.open.clear()
    with publisher(server) as running:
        sender = threading.Thread(target=running.deliver, args=(result(), spool), kwargs={"deadline": 1.0})
        sender.start()
        assert server.entered.wait(PATIENCE)
        assert REPORT.validate_json(spool.read_bytes()) == ResultReport(result=result())
        server.open.set()
        sender.join(PATIENCE)
    assert server.reports == [ResultReport(result=result())]
    assert list(spool.parent.iterdir()) == []


def test_nothing_follows_the_result(server: Server, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with publisher(server) as running:
        (sender,) = set(threading.enumerate()) - before
        running.progress(progress(1, ended=True))
        assert running.deliver(result(), tmp_path / "result.json", deadline=1.0)
        running.progress(progress(2, ended=True))
        sender.join(PATIENCE)
        assert not sender.is_alive()  # nobody is left who could send
    assert isinstance(server.reports[-1], ResultReport)


def test_a_result_is_tried_again_until_redis_takes_it(server: Server, tmp_path: Path) -> None:
    log: list[str] = []
    server.faults = [redis.ConnectionError("gone"), redis.ConnectionError("gone"), redis.ResponseError("OOM")]
    with publisher(server, log) as running:
        assert running.deliver(result(), tmp_path / "result.json", deadline=PATIENCE)
    assert server.reports == [ResultReport(result=result())]
    assert log == [
        "the result is not delivered yet: ConnectionError: gone",
        "the result is not delivered yet: ResponseError: OOM",
    ]


def test_after_the_deadline_the_result_stays_in_the_spool(server: Server, tmp_path: Path) -> None:
    log: list[str] = []
    server.faults = [redis.ConnectionError("gone")] * 100
    spool = tmp_path / "result.json"
    with publisher(server, log) as running:
        assert not running.deliver(result(), spool, deadline=0.2)
    assert REPORT.validate_json(spool.read_bytes()) == ResultReport(result=result())
    assert log[-1] == "the result is not delivered, and the deadline is over: ConnectionError: gone"


def test_without_redis_the_spool_is_the_delivery(tmp_path: Path) -> None:
    spool = tmp_path / "result.json"
    with publisher(None) as running:
        running.progress(progress(1))
        assert running.deliver(result(), spool, deadline=0.0)
    assert REPORT.validate_json(spool.read_bytes()) == ResultReport(result=result())


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="scheme"):
        connect("http://localhost")


def test_a_full_disk_leaves_nothing_behind_and_says_so(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk's end: both fail inside write()."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        with pytest.raises(OSError, match="large") as caught:
            write_durably(tmp_path / "result.json", "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("older and longer")
    write_durably(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["result.json"]  # noqa: PTH208 - hidden files too


def test_while_redis_is_away_the_oldest_progress_gives_way(server: Server) -> None:
    server.faults = [redis.ConnectionError("gone")]
    server.open.clear()
    with publisher(server) as running:
        running.progress(progress(1, ended=True))
        assert server.entered.wait(PATIENCE)
        for epoch in range(2, 66):
            running.progress(progress(epoch, ended=True))
        server.open.set()
        until(lambda: 65 in server.epochs)
    assert server.epochs == list(range(2, 66))


def test_what_was_sent_is_not_sent_again(server: Server) -> None:
    with publisher(server) as running:
        running.progress(progress(1, ended=True))
        until(lambda: server.epochs)
        running.progress(progress(2, ended=True))
        until(lambda: 2 in server.epochs)
        running.progress(progress(3, ended=True))  # what is sent again would stand before it
        until(lambda: 3 in server.epochs)
    assert server.epochs == [1, 2, 3]
