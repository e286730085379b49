"""Reports in place of the runners, because kwok's pods run nothing.

It watches the pods that kwok simulates. As soon as a pod has succeeded, it sends that trial's result to the job's
inbox: a valid report, made from the runner's own records, with this pod as the attempt. It sends as the job's Redis
user, whose password it reads from the job's Secret. A real runner reports before its pod ends, so results here are late
rather than early. The operator really attributes, judges, accepts and counts the results. Only the runner is not
measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any

import redis.asyncio

from benchmarks.cluster.api import Api
from velodrome import keys
from velodrome.plan import Plan, plan
from velodrome.results.records import (
    DatasetFacts,
    Environment,
    GrantedResources,
    Hardware,
    ResultReport,
    Software,
    TrialResult,
)
from velodrome.spec import validate

_INDEX = "batch.kubernetes.io/job-completion-index"
_DATASET = DatasetFacts(
    name="digits", digest="sha256:" + "0" * 64, train_samples=1294, validation_samples=143, test_samples=360,
    shape=(1, 8, 8), classes=tuple("0123456789"),
)  # fmt: skip
_ENVIRONMENT = Environment(
    hardware=Hardware(cpu_model="simulated", cpu_count=1),
    software=Software(velodrome="0.1.0", python="3.11.7", framework="torch 2.15.0"),
    resources=GrantedResources(cpus=1),
)


class StandIn:
    """Reports for every simulated pod of a namespace. `sent` counts results."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._jobs: dict[str, asyncio.Task[tuple[Plan, redis.asyncio.Redis, dict[str, str]]]] = {}
        self._reported: set[str] = set()
        self.sent = 0
        self.last_end: dict[str, float] = {}
        """By job uid: when the last of its pods was seen to have ended."""

    async def work(self) -> None:
        """Reports until it is cancelled."""
        try:
            await self._watch()
        finally:
            for job in self._jobs.values():
                _, client, _ = await job
                await client.aclose()

    async def _watch(self) -> None:
        path = f"api/v1/namespaces/{self._namespace}/pods?labelSelector={keys.LABEL_JOB_UID}"
        async for at, kind, pod in self._api.watch(path):
            uid = pod["metadata"]["uid"]
            if kind == "DELETED" or uid in self._reported or pod["status"].get("phase") != "Succeeded":
                continue
            self._reported.add(uid)
            await self._report(pod)
            self.last_end[pod["metadata"]["labels"][keys.LABEL_JOB_UID]] = at

    async def _report(self, pod: dict[str, Any]) -> None:
        job_uid = pod["metadata"]["labels"][keys.LABEL_JOB_UID]
        if job_uid not in self._jobs:
            self._jobs[job_uid] = asyncio.create_task(self._job(pod))
        planned, client, report_keys = await self._jobs[job_uid]
        completion = int(pod["metadata"]["labels"][_INDEX])
        trial, now = planned.trial(completion), datetime.now(UTC)
        result = TrialResult(
            job_uid=job_uid,
            index=trial.index,
            entry=trial.entry,
            repeat=trial.repeat,
            seed=trial.seed,
            trial_id=trial.id,
            attempt=pod["metadata"]["uid"],
            outcome="Succeeded",
            metrics={"accuracy": 0.9 + 0.0001 * trial.index},
            dataset=_DATASET,
            environment=_ENVIRONMENT,
            started_at=now,
            finished_at=now,
        )
        report = ResultReport(result=result, proof=report_keys.get(f"report-key-0-{completion}")).model_dump_json()
        await client.rpush(keys.inbox(job_uid), report)
        self.sent += 1

    async def _job(self, pod: dict[str, Any]) -> tuple[Plan, redis.asyncio.Redis, dict[str, str]]:
        """What pods would read: the job from its ConfigMap, the address and keys of reports from Secrets."""
        [name] = (v["configMap"]["name"] for v in pod["spec"]["volumes"] if "configMap" in v)
        base = f"api/v1/namespaces/{self._namespace}"
        config = await self._api.call("GET", f"{base}/configmaps/{name}")
        secret = await self._api.call("GET", f"{base}/secrets/{name}")
        url = base64.b64decode(secret["data"][keys.ENV_REDIS_URL]).decode()
        planned = plan(validate(json.loads(config["data"]["job.json"]), source=name))
        shown = [v["secret"]["secretName"] for v in pod["spec"]["volumes"] if v["name"] == keys.VOLUME_REPORT_KEYS]
        told = [await self._api.call("GET", f"{base}/secrets/{each}") for each in shown]
        report_keys = {key: base64.b64decode(text).decode() for one in told for key, text in one["data"].items()}
        return planned, redis.asyncio.Redis.from_url(url), report_keys
