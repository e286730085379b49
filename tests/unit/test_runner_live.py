from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from velodrome.monitoring import telemetry
from velodrome.monitoring.pushgateway import Group, grouping
from velodrome.results.records import Phase, Progress
from velodrome_runner.live import LiveState, Pusher, Readings
from velodrome_runner.usage import Gauges, Use, opened, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Far more than anything here takes: a hang fails, a slow machine does not.
PATIENCE = 30.0
KEY = grouping("ns", "race", "a", 0)


def progress(phase: Phase, epoch: int = 0, **values: Any) -> Progress:
    return Progress(
        job_uid="uid", index=0, attempt="a", phase=phase, epoch=epoch, epochs=4, fraction=epoch / 4,
        at=datetime(2026, 1, 1, tzinfo=UTC), **values,
    )  # fmt: skip


def collected(readings: Readings) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        metric.name: {tuple(sample.labels.values()): sample.value for sample in metric.samples}
        for metric in readings.collect()
    }


def test_what_training_came_to_stays_after_it_and_its_speed_does_not() -> None:
    standing = LiveState().after(progress("Starting")).after(progress("Loading"))
    assert (standing.fraction, standing.epoch, standing.loss) == (0.0, 0, None)
    standing = standing.after(progress("Training", 3, loss=0.5, samples_per_second=7.0))
    assert (standing.fraction, standing.epoch, standing.loss, standing.samples_per_second) == (0.75, 3, 0.5, 7.0)
    standing = standing.after(progress("Evaluating"))
    assert (standing.fraction, standing.epoch, standing.loss, standing.samples_per_second) == (1.0, 3, 0.5, None)
    assert not standing.quiet
    assert standing.after(progress("Timing")).quiet, "a push would disturb what is timed"
    assert not standing.after(progress("Timing")).after(progress("Finished")).quiet


def test_a_family_has_the_samples_that_are_known_and_no_others() -> None:
    standing = LiveState("Training", 0.5, 2, 0.25, 1000.0)
    uses = [Use("cpu", 10), Use("gpu0", 20, 0.75), Use("gpu1", 30)]
    assert collected(Readings(standing, uses)) == {
        telemetry.TRIAL_FRACTION.name: {(): 0.5},
        telemetry.TRIAL_EPOCH.name: {(): 2.0},
        telemetry.TRIAL_LOSS.name: {(): 0.25},
        telemetry.TRIAL_THROUGHPUT.name: {(): 1000.0},
        telemetry.TRIAL_MEMORY.name: {("cpu",): 10.0, ("gpu0",): 20.0, ("gpu1",): 30.0},
        telemetry.TRIAL_GPU.name: {("gpu0",): 0.75},
    }
    assert collected(Readings(LiveState("Loading"), [])).keys() == {
        telemetry.TRIAL_FRACTION.name,
        telemetry.TRIAL_EPOCH.name,
    }
    reported = {metric.name: (metric.documentation, metric.type) for metric in Readings(standing, uses).collect()}
    assert reported == {family.name: (family.help, family.type) for family in telemetry.LIVE}


def test_memory_is_that_of_the_process_and_of_all_that_it_started() -> None:
    block = 64 * 1024 * 1024
    hold = f"import sys; held = b'x' * {block}; print(flush=True); sys.stdin.read()"
    between = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {hold!r}]))"
    before = resident_bytes(os.getpid())
    with subprocess.Popen([sys.executable, "-c", between], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdin
        child.stdout.readline()
        assert resident_bytes(child.pid) > block
        assert resident_bytes(os.getpid()) - before > block
        child.stdin.close()
        assert child.wait(PATIENCE) == 0
    assert resident_bytes(child.pid) == 0, "it is gone"


def test_where_nothing_can_be_read_nothing_is_shown(tmp_path: Path) -> None:
    assert Gauges(proc=tmp_path).read() == []
    with opened() as gauges:
        (own, *_) = gauges.read()
    assert own.device == "cpu"


@pytest.mark.gpu
def test_a_gpu_shows_its_memory_and_how_busy_it_is() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    block = torch.zeros(256 * 1024 * 1024, dtype=torch.uint8, device="cuda")
    with opened() as gauges:
        uses = {use.device: use for use in gauges.read()}
    assert uses["gpu0"].memory_bytes > block.numel()
    assert uses["gpu0"].busy is None or 0 <= uses["gpu0"].busy <= 1


class Gateway:
    """A Pushgateway that answers as a test says, and remembers; the real one is in the integration tests."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, float]]] = []
        self.code = 200
        self.arrived = threading.Condition()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                values = {family.name: family.samples[0].value for family in text_string_to_metric_families(text)}
                with gateway.arrived:
                    gateway.asked.append((self.command, self.path, values))
                    gateway.arrived.notify_all()
                self.send_response(gateway.code)
                self.end_headers()

            do_DELETE = do_PUT  # noqa: N815 - the standard library's name

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def await_asked(self, number: int) -> None:
        self.await_that(lambda: len(self.asked) >= number)

    def await_that(self, holds: Callable[[], bool]) -> None:
        with self.arrived:
            assert self.arrived.wait_for(holds, PATIENCE), self.asked

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


def test_a_group_is_pushed_at_each_phase_and_now_and_then_and_deleted_at_the_end(gateway: Gateway) -> None:
    with Pusher(gateway.url, KEY, period=0.02, gap=0.0) as pusher:
        pusher.show(progress("Starting"))
        gateway.await_asked(3)
        pusher.show(progress("Training", 2, loss=0.5, samples_per_second=3.0))
        seen = len(gateway.asked)
        gateway.await_asked(seen + 2)
    method, path, values = gateway.asked[-2]
    assert (method, path) == (
        "PUT",
        "/metrics/job/velodrome_trial/benchmarkjob/race/entry/a/namespace/ns/repeat/0",
    )
    assert values[telemetry.TRIAL_EPOCH.name] == 2.0
    assert [asked[0] for asked in gateway.asked[-2:]] == ["PUT", "DELETE"]
    assert gateway.asked[-1][1] == path


def test_nothing_is_pushed_while_inference_is_timed(gateway: Gateway) -> None:
    def own_fractions() -> set[float]:
        return {values[telemetry.TRIAL_FRACTION.name] for _, path, values in gateway.asked if "/another/" not in path}

    another = Pusher(gateway.url, grouping("ns", "race", "another", 0), period=0.01, gap=0.0)
    with another, Pusher(gateway.url, KEY, period=0.01, gap=0.0) as pusher:
        pusher.show(progress("Training", 1, loss=0.5, samples_per_second=3.0))
        gateway.await_asked(1)
        pusher.show(progress("Timing"))
        another.show(progress("Starting"))
        gateway.await_asked(len(gateway.asked) + 20)  # meanwhile it would have pushed as often
        assert own_fractions() == {0.25}
        pusher.show(progress("Finished"))
        gateway.await_that(lambda: 1.0 in own_fractions())


def test_a_trial_that_showed_nothing_leaves_nothing(gateway: Gateway) -> None:
    with Pusher(gateway.url, KEY):
        pass
    assert gateway.asked == []


def test_a_gateway_that_refuses_is_logged_once_and_tried_again(gateway: Gateway) -> None:
    reported: list[str] = []
    gateway.code = 500
    with Pusher(gateway.url, KEY, log=reported.append, period=0.01, gap=0.0) as pusher:
        pusher.show(progress("Starting"))
        gateway.await_asked(3)
        gateway.code = 202
        gateway.await_asked(8)
        gateway.code = 500
        gateway.await_asked(len(gateway.asked) + 2)
    assert len(reported) == 1
    assert reported[0].startswith("live metrics are not pushed, the trial goes on: HTTPError: HTTP Error 500")
    assert {asked[0] for asked in gateway.asked} == {"PUT"}, "a gateway that is away is asked no more at the end"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "127.0.0.1:1", "", "http://", "http://[", "ftp://x/", "http://a b"]
)
def test_a_url_that_leads_nowhere_is_logged(url: str) -> None:
    reported: list[str] = []
    with Pusher(url, KEY, log=reported.append) as pusher:
        pusher.show(progress("Starting"))
        end = time.monotonic() + PATIENCE
        while not reported and time.monotonic() < end:
            time.sleep(0.01)
    assert len(reported) == 1
    assert "live metrics are not pushed" in reported[0]


def test_without_a_gateway_there_is_no_thread() -> None:
    before = threading.active_count()
    with Pusher(None, KEY) as pusher:
        pusher.show(progress("Starting"))
        assert threading.active_count() == before


def test_the_groups_that_are_pushed_are_those_that_are_cleaned_up() -> None:
    labels = tuple(sorted({"job": telemetry.PUSH_JOB, **KEY}.items()))
    assert Group(labels).trial == tuple(KEY.values())
