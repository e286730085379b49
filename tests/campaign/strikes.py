"""Carries out the schedule on a real cluster: kills, deletions, nftables rules, an operator with a wrong clock.

It only ends processes of the test cluster, by the ids that the cluster or its containerd reports.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.campaign.races import NAMESPACE
from tests.campaign.schedule import PROCESSES, Stroke
from tests.cluster import images
from tests.cluster.build import install
from tests.e2e.beside import beside
from tests.e2e.conftest import Kube

Undo = Callable[[], None]
Pod = dict[str, Any]

_INSTALLED = {"operator": "app.kubernetes.io/component=operator", "redis": "app.kubernetes.io/component=redis"}
_INDEX = "batch.kubernetes.io/job-completion-index"
# An index fails at its third failure, and a killed runner may also fail by itself. So each index is hit only once.
COSTLY_HITS = 1
# Trials are short, so at a moment none may run. A stroke waits this long for a pod that it may hit.
_WAIT_SECONDS = 20.0
_TABLE = "campaign"
_FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
_STEPS = ("+10m", "-7m", "+2h", "-30s")


class Striker:
    """Strikes. Each stroke returns its target (empty if there was none) and how to end the stroke."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._hits: Counter[tuple[str, str]] = Counter()
        self._visited = False

    def strike(self, stroke: Stroke) -> tuple[str, Undo]:
        """Carries out a stroke.

        Raises:
            ClusterError: the API server does not answer.
        """
        if stroke.part in PROCESSES:
            return self._process(stroke.part)
        if stroke.way == "clock":
            return self._visitor(stroke)
        if stroke.way in ("partition", "loss"):
            return self._link(stroke)
        pod = self._pick(stroke)
        return (self._pod(stroke.way, pod) if pod else ""), _nothing

    def runs(self, part: str) -> bool:
        """Whether a pod of the part runs."""
        return bool(self._pods(part))

    # -- the cluster's own processes --------------------------------------------------------------------------------

    def _process(self, part: str) -> tuple[str, Undo]:
        cluster = self._kube.cluster
        pid = cluster.pid(part)
        cluster.kill(part)

        def again() -> None:
            cluster.start(part)
            cluster.up()

        return f"process {pid}", again

    # -- pods -------------------------------------------------------------------------------------------------------

    def _pick(self, stroke: Stroke) -> Pod | None:
        end = time.monotonic() + _WAIT_SECONDS
        while not (found := self._hittable(stroke)):
            if time.monotonic() >= end:
                return None
            time.sleep(0.5)
        pod = found[int(stroke.pick * len(found))]
        if stroke.part == "runner" and stroke.way != "evict":
            self._hits[_trial(pod)] += 1
        return pod

    def _hittable(self, stroke: Stroke) -> list[Pod]:
        found = self._pods(stroke.part)
        if stroke.part == "runner" and stroke.way != "evict":
            return [pod for pod in found if self._hits[_trial(pod)] < COSTLY_HITS]
        return found

    def _pods(self, part: str) -> list[Pod]:
        """Running pods of a part, in the order of their names."""
        where = ("-n", "velodrome", "-l", _INSTALLED[part]) if part in _INSTALLED else ("-n", NAMESPACE)
        listed = json.loads(self._kube("get", "pods", *where, "-o", "json"))["items"]
        running = [
            pod
            for pod in listed
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"] and _id(pod)
        ]
        return sorted(running, key=lambda pod: str(pod["metadata"]["name"]))

    def _pod(self, way: str, pod: Pod) -> str:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        delete = ("-n", namespace, "delete", "pod", name, "--ignore-not-found", "--wait=false")
        match way:
            case "SIGKILL":
                pid = self._pid(pod)
                if pid is None:
                    return ""
                with contextlib.suppress(ProcessLookupError):  # it has ended by itself meanwhile
                    os.kill(pid, signal.SIGKILL)
                if pod["status"]["containerStatuses"][0].get("restartCount", 0):
                    # The kubelet waits longer each time before it restarts a container. A new pod starts without that
                    # wait.
                    self._kube(*delete, "--grace-period=0", "--force")
            case "delete":
                self._kube(*delete)
            case "force":
                self._kube(*delete, "--grace-period=0", "--force")
            case "evict":
                body = {
                    "apiVersion": "policy/v1",
                    "kind": "Eviction",
                    "metadata": {"name": name, "namespace": namespace},
                }
                path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
                self._kube("create", "--raw", path, "-f", "-", stdin=json.dumps(body), check=False)
        return str(name)

    def _pid(self, pod: Pod) -> int | None:
        """The process of a pod's container; None if it no longer runs, or containerd does not answer."""
        lines = images.ctr(self._kube.cluster.at, "tasks", "ls", check=False).stdout.splitlines()[1:]
        found = {task: int(pid) for task, pid, state in (line.split() for line in lines) if state == "RUNNING"}
        return found.get(_id(pod))

    # -- the network ------------------------------------------------------------------------------------------------

    def _link(self, stroke: Stroke) -> tuple[str, Undo]:
        """Drops packets between two parts, all or three of ten, in the network namespace of one part's pods."""
        near, _, far = stroke.part.partition("-")
        if near == "runner":  # for every runner at once: the rule is in Redis' namespace, and leaves out the operator
            near, far = "redis", "runner"
        pod = next(iter(self._pods(near)), None)
        pid = self._pid(pod) if pod else None
        match = self._far(far)
        if pod is None or pid is None or not match:
            return "", _nothing
        chance = "numgen random mod 10 < 3 " if stroke.way == "loss" else ""
        rules = "".join(
            f"chain {hook} {{\ntype filter hook {hook} priority 0\n{words} {chance}drop\n}}\n"
            for hook, words in (("input", match[0]), ("output", match[1]))
        )
        try:
            # Held open: the namespace is the pod's, and outlives this container if that is killed meanwhile.
            network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return "", _nothing  # the pod has ended meanwhile
        said = _nft(network, f"table inet {_TABLE} {{\n{rules}}}\n")
        if said:
            os.close(network)
            raise RuntimeError(f"nft does not take the rules: {said}")

        def whole() -> None:
            said = _nft(network, f"delete table inet {_TABLE}\n")
            os.close(network)
            if said:
                raise RuntimeError(f"nft does not remove the rules: {said}")

        return f"{pod['metadata']['name']} and {far}", whole

    def _far(self, part: str) -> tuple[str, str] | None:
        """nft's expression for packets from and to a part."""
        if part == "apiserver":
            port = self._kube.cluster.at.port(6443)
            return f"tcp sport {{ 443, {port} }}", f"tcp dport {{ 443, {port} }}"
        if part == "redis":
            return "tcp sport 6379", "tcp dport 6379"
        addresses = ", ".join(sorted(pod["status"]["podIP"] for pod in self._pods(part) if pod["status"].get("podIP")))
        return (f"ip saddr {{ {addresses} }}", f"ip daddr {{ {addresses} }}") if addresses else None

    # -- the clock --------------------------------------------------------------------------------------------------

    def _visitor(self, stroke: Stroke) -> tuple[str, Undo]:
        """A second operator beside the cluster, with a wrong clock and late requests. It is killed in the end.

        Only one can run at a time, because its addresses are fixed.
        """
        if self._visited:
            return "", _nothing
        install(("faketime",))
        steps = _STEPS[int(stroke.pick * len(_STEPS)) :] + _STEPS[: int(stroke.pick * len(_STEPS))]
        clock = self._kube.cluster.at.run / "campaign-clock"
        clock.write_text(f"{steps[0]}\n")
        prefix = (
            "env", f"LD_PRELOAD={_FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={clock}", "FAKETIME_CACHE_DURATION=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )  # fmt: skip
        context: AbstractContextManager[Any] = beside(self._kube, NAMESPACE, prefix=prefix)
        visitor = context.__enter__()
        self._visited = True
        visitor.api.delay = visitor.redis.delay = 0.1 + stroke.pick

        def gone() -> None:
            context.__exit__(None, None, None)
            self._visited = False

        return f"an operator at {', then '.join(steps[:2])}", _stepping(clock, steps[1], gone)


def _stepping(clock: Path, step: str, last: Undo) -> Undo:
    """Steps the clock at the first call, and runs the last action at the second call."""
    asked: list[None] = []

    def undo() -> None:
        if asked:
            last()
        else:
            asked.append(None)
            clock.write_text(f"{step}\n")
            raise Unfinished

    return undo


class Unfinished(Exception):
    """A stroke has a second half: end it again after the same time."""


def _nothing() -> None:
    pass


def _id(pod: Pod) -> str:
    statuses = pod["status"].get("containerStatuses") or [{}]
    return str(statuses[0].get("containerID", "")).removeprefix("containerd://")


def _trial(pod: Pod) -> tuple[str, str]:
    """The Kubernetes Job of a runner's pod, and the pod's index there."""
    owners = pod["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("uid", "")), str(pod["metadata"].get("labels", {}).get(_INDEX, ""))


def _nft(network: int, text: str) -> str:
    """Lets nft read rules inside the network namespace of that file. Returns its complaint, empty on success."""
    line = ["nsenter", f"--net=/proc/self/fd/{network}", "nft", "-f", "-"]
    done = subprocess.run(line, input=text, text=True, capture_output=True, check=False, pass_fds=(network,))
    return "" if done.returncode == 0 else done.stderr or f"exit code {done.returncode}"
