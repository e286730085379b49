"""A real Prometheus, Alertmanager, Pushgateway and a webhook for tests, on ports of the loopback interface.

Each may be killed and started again, on the same port and with the same data. Nothing here asserts a duration: a wait
ends when what is waited for is there, and its limit is only there to end a test that hangs.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from velodrome.connections.direct import open_directly

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "deploy/monitoring/rules/velodrome.rules.yaml"
EXAMPLE = ROOT / "deploy/monitoring/examples/prometheus.yaml"
HEARTBEAT = "test:evaluated"
OPERATOR_JOB, GATEWAY_JOB = "velodrome-operator", "velodrome-pushgateway"

Labels = Mapping[str, str]
Found = TypeVar("Found")


def until(found: Callable[[], Found], what: str, seconds: float = 100.0) -> Found:
    """What `found` gives as soon as it is true."""
    end = time.monotonic() + seconds
    while True:
        try:
            got = found()
        except (OSError, urllib.error.URLError):  # what is asked is starting
            got = None
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.05)


def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str) -> bytes:
    """The body of the answer."""
    with open_directly(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


@dataclass
class Program:
    """A server that listens on `port` and answers at `ready` when it can work; its output goes to `folder`/log."""

    command: Sequence[str | Path]
    folder: Path
    port: int
    ready: str
    environment: Mapping[str, str] | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Returns when it can work."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment)
        until(self._is_ready, f"{self.command[0]} on port {self.port}")
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return bool(fetch(self.url + self.ready) is not None)

    def kill(self) -> None:
        """SIGKILL: no chance to write or to send anything."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends it, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


class Prometheus(Program):
    """A Prometheus that scrapes and evaluates twice a second, as deploy/monitoring/examples has it, by its rules.

    Among them is a heartbeat, in the group that reports regressions: a series with one sample for each evaluation.
    """

    @classmethod
    def of(cls, folder: Path, targets: Mapping[str, str], alertmanager: str, interval: str = "500ms") -> Self:
        """Scrapes the addresses HOST:PORT that are given for jobs of the example; alerts go to an Alertmanager."""
        rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
        rules["groups"][0]["rules"].append({"record": HEARTBEAT, "expr": "vector(1)"})
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
        config = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
        config["rule_files"] = ["rules.yaml"]
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
        config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in targets]
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        assert {job["job_name"] for job in config["scrape_configs"]} == targets.keys()
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        port = unused_port()
        command = [
            program("prometheus"), f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        ]  # fmt: skip
        return cls(command, folder, port, "/-/ready")

    def query(self, expression: str) -> list[tuple[dict[str, str], Any]]:
        """Labels with a value, or with (time, value) pairs for a range."""
        body = fetch(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        found = json.loads(body)["data"]["result"]
        return [(one["metric"], one["value"][1] if "value" in one else one["values"]) for one in found]

    def samples(self, selector: str) -> list[tuple[float, float]]:
        """All samples of the series that are selected, oldest first."""
        found = self.query(f"{selector}[1h]")
        return sorted((float(at), float(value)) for _, values in found for at, value in values)

    def evaluations(self) -> list[float]:
        """When the rules were evaluated."""
        return [at for at, _ in self.samples(HEARTBEAT)]

    def settle(self, evaluations: int = 3) -> None:
        """Returns after so many evaluations that begin from now on."""
        known = len(until(self.evaluations, "an evaluation"))
        until(lambda: len(self.evaluations()) >= known + 1 + evaluations, f"{evaluations} evaluations")

    def firing(self, alertname: str = "Velodrome.+") -> list[dict[str, str]]:
        """The labels of the alerts that fire."""
        found = self.query(f'ALERTS{{alertname=~"{alertname}", alertstate="firing"}}')
        return [{name: value for name, value in labels.items() if name != "alertstate" and name[0] != "_"}
                for labels, _ in found]  # fmt: skip


class Alertmanager(Program):
    """An Alertmanager that reports each alert by itself, at once, and when it resolves."""

    @classmethod
    def of(cls, folder: Path, webhook: str) -> Self:
        """Reports to the URL of a webhook."""
        route = {"receiver": "webhook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s",
                 "repeat_interval": "24h"}  # fmt: skip
        receiver = {"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}))
        port = unused_port()
        command = [
            program("prometheus-alertmanager", "alertmanager"), f"--config.file={folder / 'alertmanager.yaml'}",
            f"--storage.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=", "--log.level=warn",
        ]  # fmt: skip
        return cls(command, folder, port, "/-/ready")


class Pushgateway(Program):
    """A Pushgateway that keeps nothing on its disk."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        port = unused_port()
        command = [program("prometheus-pushgateway", "pushgateway"), f"--web.listen-address=127.0.0.1:{port}"]
        return cls(command, folder, port, "/-/ready")

    def push(self, job: str, text: str) -> None:
        """Pushes series in the text format."""
        request = urllib.request.Request(f"{self.url}/metrics/job/{job}", text.encode(), method="PUT")  # noqa: S310
        open_directly(request, timeout=10).close()


@dataclass(frozen=True)
class Message:
    """One alert as the webhook got it: `firing` or `resolved`."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Webhook:
    """Keeps what Alertmanager reports, in `messages`."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        messages = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                reported = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                messages.extend(Message(one["status"], one["labels"], one["annotations"]) for one in reported["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def assert_it_fired_all_the_time(prometheus: Prometheus, labels: Mapping[str, str]) -> None:
    """From the first evaluation after the first scrape that shows it, up to the first after one that shows it fixed,
    and at every one between. An evaluation that began before a scrape had ended does not see it, and is counted out.
    """
    of = ", ".join(f'{name}="{labels[name]}"' for name in ("board", "entry", "objective", "cohort"))
    verdicts = prometheus.samples(f'velodrome_result_verdict{{verdict="Regressed", {of}}}')
    # What the alert is evaluated from. Its own series starts two evaluations late after a restart of Prometheus.
    fired = [at for at, _ in prometheus.samples(f'velodrome:result_regressed:facts{{fact="change_ratio", {of}}}')]
    evaluations = prometheus.evaluations()
    assert fired == [at for at in evaluations if fired[0] <= at <= fired[-1]]
    shown = min(at for at, value in verdicts if value == 1)
    fixed = min(at for at, value in verdicts if value == 0 and at > shown)
    assert len([at for at in evaluations if shown < at < fired[0]]) <= 1
    assert len([at for at in evaluations if fixed < at <= fired[-1]]) <= 1


def program(*names: str) -> str:
    """The path of a program, by the name that it has on this system."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    raise AssertionError(f"{' or '.join(names)} is not on PATH: tools/system installs it")
