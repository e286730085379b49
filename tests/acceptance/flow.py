"""The steps of the acceptance, in order. What one leaves behind, the next ones use."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import expect, sync_playwright

from tests.acceptance.installation import NAMESPACE, RELEASE, ROOT, TEAM, Installation
from tests.acceptance.steps import Step, StepFailed, Way
from tests.monitors import OPERATOR_JOB, Prometheus, until
from tools.screenshot import ARGUMENTS, CHROMIUM

INSTALL, ROW = "helm install from the packaged chart", "helm test: a race to its row"
# From `helm install` to the first row, with the images present.
ROW_SECONDS = 300.0
EXAMPLE = ROOT / "deploy/examples/digits.yaml"
RUNNER = "velodrome.dev/role=runner"

# Classifying takes as long as it is told: the values have the clock's own noise and no other.
PROGRAM = """
import random, time
from velodrome import report
trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
luck = random.Random(f"NIGHT {trial.seed}")
time.sleep(REST)
trial.result({"accuracy": ACCURACY + luck.gauss(0, 0.001)})
"""


class Acceptance:
    """One way through the installation."""

    def __init__(self, at: Installation, own_image: str) -> None:
        self.at = at
        self._image = own_image
        self._before: dict[str, Any] = {}

    def steps(self) -> Sequence[Step]:
        """All steps, in order."""
        at = self.at
        return (
            Step("package the chart", at.pack),
            Step("make namespaces and volumes", at.prepare),
            Step(INSTALL, self.installs),
            Step(ROW, self.tests),
            Step("kubectl apply deploy/examples/digits.yaml, to Complete", self.races),
            Step("the row in a browser, through the Service", lambda: self.browses("digits", "cnn")),
            Step("a regression fires in Prometheus", self.regresses),
            Step("upgrade during a race: nothing runs again", self.upgrades),
            Step("backup", self.backs_up),
            Step("uninstall, and lose Redis' volume", self.uninstalls),
            Step("install again: nothing is there", self.installs_again),
            Step("restore: the same boards", self.restores),
            Step("the restored row in a browser", lambda: self.browses("digits", "cnn")),
        )

    def installs(self) -> str:
        self.at.install()
        return f"{RELEASE} in {NAMESPACE} is ready"

    def tests(self) -> str:
        said = self.at.helm("test", RELEASE, "-n", NAMESPACE, "--logs", "--timeout", "10m")
        rows = [line for line in said.splitlines() if "the leaderboard shows" in line]
        if not rows:
            raise StepFailed(f"helm test shows no row: {said}")
        return rows[-1].strip()

    def races(self) -> str:
        self.at.kubectl("apply", "-f", str(EXAMPLE), space=TEAM)
        return self.completes("digits", 3600)

    def completes(self, name: str, seconds: float = 900) -> str:
        """Waits for a race's end. Returns its message."""

        def ended() -> str:
            status = self.at.get("bmj", name, space=TEAM).get("status", {})
            held = {one["type"]: one["message"] for one in status.get("conditions", []) if one["status"] == "True"}
            if "Failed" in held:
                raise StepFailed(f"{name} failed: {held['Failed']}")
            return str(held.get("Complete", ""))

        return str(self.at.wait(f"{name} to be complete", ended, seconds))

    def browses(self, board: str, entry: str) -> str:
        with self.at.forwarded("service/velodrome-leaderboard", 80) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            page = browser.new_page()
            page.goto(f"http://{address}/board?name={board}")

            def shown() -> str:
                """Chromium gives up what it is loading when a network interface comes or goes, as those of pods do."""
                row = page.locator("tr", has=page.get_by_text(entry, exact=True)).first
                try:
                    expect(row).to_be_visible(timeout=20_000)
                    return row.inner_text()
                except AssertionError:
                    page.reload()
                    return ""

            row = str(self.at.wait(f"the row of {entry} on the page of {board}", shown, 120))
            browser.close()
        return " ".join(row.split())

    def night(self, name: str, accuracy: float, *, rest: float = 0.0, repeats: int = 5, parallelism: int = 2) -> None:
        """Applies a race of one program, whose trials rest for so many seconds and report about this accuracy."""
        program = PROGRAM.replace("ACCURACY", str(accuracy)).replace("NIGHT", name).replace("REST", str(rest))
        document = {
            "apiVersion": "velodrome.dev/v1alpha1",
            "kind": "BenchmarkJob",
            "metadata": {"name": name, "namespace": TEAM},
            "spec": {
                "board": "nightly",
                "dataset": {"name": "digits"},
                "objectives": [{"name": "accuracy", "metric": "accuracy"}],
                "evaluation": {"metrics": ["accuracy"]},
                "entries": [{"name": "own", "image": self._image, "command": ["python", "-c", program]}],
                "trials": {"repeats": repeats},
                "execution": {"isolation": "None", "parallelism": parallelism},
            },
        }
        self.at.kubectl("apply", "-f", "-", space=TEAM, stdin=yaml.safe_dump(document))

    def regresses(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            pod = self.at.kubectl("get", "pods", "-l", "app.kubernetes.io/component=operator", "-o", "name").split()[0]
            with self.at.forwarded(pod, 8080) as address:
                prometheus = Prometheus.of(Path(folder), {OPERATOR_JOB: address}, "127.0.0.1:1", interval="1s").start()
                try:
                    return self._regresses(prometheus)
                finally:
                    prometheus.stop()

    def _regresses(self, prometheus: Prometheus) -> str:
        until(lambda: prometheus.query(f'up{{job="{OPERATOR_JOB}"}} == 1'), "the operator to be scraped")
        for name, accuracy in (("night-1", 0.9), ("night-2", 0.9), ("night-3", 0.85)):
            if fired := self._alerts(prometheus):
                raise StepFailed(f"alerts before {name}: {fired}")
            self.night(name, accuracy)
            self.completes(name)
        alert = until(lambda: self._alerts(prometheus), "the alert VelodromeRegression")[0]
        reason = next(
            one["reason"]
            for one in self.at.get("bmj", "night-3", space=TEAM)["status"]["conditions"]
            if one["type"] == "Regressed"
        )
        return f"VelodromeRegression of {alert['entry']}, {alert['objective']}; condition Regressed: {reason}"

    @staticmethod
    def _alerts(prometheus: Prometheus) -> list[dict[str, str]]:
        return [one for one in prometheus.firing("VelodromeRegression") if one["board"] == "nightly"]

    def upgrades(self) -> str:
        self.night("night-4", 0.9, rest=20.0, repeats=6)
        selector = "velodrome.dev/job-name=night-4"
        self.at.wait("trials that run", lambda: self._running(selector), 240)
        jobs = self._uids("jobs", selector)
        pods = self._uids("pods", selector)
        operator = self._uids("pods", "app.kubernetes.io/component=operator", NAMESPACE)
        change = ("--reuse-values", "--set", "operator.logLevel=DEBUG", "--wait", "--timeout", "10m")
        self.at.helm("upgrade", RELEASE, str(self.at.package), "-n", NAMESPACE, *change)
        if self._uids("pods", "app.kubernetes.io/component=operator", NAMESPACE) & operator:
            raise StepFailed("the upgrade did not replace the operator's pod, so it shows nothing")
        self.completes("night-4")
        if self._uids("jobs", selector) != jobs:
            raise StepFailed("the race has other Kubernetes Jobs than before the upgrade")
        after = self.at.get("pods", selector=selector, space=TEAM)["items"]
        if not pods <= {pod["metadata"]["uid"] for pod in after}:
            raise StepFailed("pods that ran before the upgrade are gone")
        status = self.at.get("bmj", "night-4", space=TEAM)["status"]["trials"]
        if (len(after), status["succeeded"], status["disrupted"]) != (6, 6, 0):
            raise StepFailed(f"{len(after)} pods ran 6 trials: {status}")
        return f"{len(pods)} pods ran through it; 6 pods for 6 trials, the same Jobs"

    def _running(self, selector: str) -> bool:
        found = self.at.get("pods", selector=selector, space=TEAM)["items"]
        return any(pod["status"]["phase"] == "Running" for pod in found)

    def _uids(self, kind: str, selector: str, space: str = TEAM) -> set[str]:
        return {one["metadata"]["uid"] for one in self.at.get(kind, selector=selector, space=space)["items"]}

    def backs_up(self) -> str:
        self._before = self.boards()
        said = self.at.run_cron_job("backup")
        return said.splitlines()[-1]

    def boards(self) -> dict[str, Any]:
        """What the store holds and what viewers read of it, without what only orders."""
        lines = [json.loads(line) for line in self.at.velodrome("export").splitlines()]
        results = {board: json.loads(self.at.velodrome("results", board, "--json")) for board in ("digits", "nightly")}
        return {"export": [{**line, "place": None} for line in lines], "results": results}

    def uninstalls(self) -> str:
        self.at.uninstall()
        left = self.at.kubectl("get", "pvc", "-o", "name").split()
        if "persistentvolumeclaim/velodrome-backup" not in left:
            raise StepFailed(f"the backups went with the release: {left}")
        races = [one["metadata"]["name"] for one in self.at.get("bmj", space=TEAM)["items"]]
        self.at.kubectl("delete", "pvc", "data-velodrome-redis-0", "--wait=true")
        self.at.volume("redis")
        return f"the backups and {len(races)} BenchmarkJobs stay"

    def installs_again(self) -> str:
        self.at.install()
        lines = self.at.velodrome("export").splitlines()
        if lines:
            raise StepFailed(f"the new Redis is not empty: {len(lines)} lines")
        return "the new Redis is empty"

    def restores(self) -> str:
        said = self.at.run_cron_job("restore")
        after = self.boards()
        for part, before in self._before.items():
            if after[part] != before:
                raise StepFailed(f"the restored {part} differ: {json.dumps(after[part])[:500]} …")
        return said.splitlines()[-1]


def in_time(way: Way) -> str:
    """Why the first row came too late; empty if it came in time."""
    seconds = way.between(INSTALL, ROW)
    if seconds <= ROW_SECONDS:
        return ""
    return f"from `helm install` to the first row it took {seconds:.0f} s, more than {ROW_SECONDS:.0f} s"
