"""What a race says of regressions when it has ended, with a real Redis; the API server is one that keeps objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis

from velodrome import keys
from velodrome.results.marks import Acknowledgement
from velodrome.store import Store
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.cluster import Cluster, Refused, Unavailable
from velodrome_operator.controller import Controller

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

Run = Callable[..., "Race"]
LATENCY = "latency_p50_seconds{batch_size=1}"


class Objects(Cluster):
    """An API server's objects. `fail` names what it does not do next, by kind."""

    def __init__(self) -> None:
        self.created: dict[tuple[str, str], dict[str, Any]] = {}
        self.events: list[tuple[str, str]] = []
        self.statuses = 0
        self.fail: dict[str, Exception] = {}

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        if error := self.fail.pop(manifest["kind"], None):
            raise error
        where = manifest["kind"], manifest["metadata"]["name"]
        new = where not in self.created
        self.created.setdefault(where, manifest)
        if new and manifest["kind"] == "Event":
            self.events.append((manifest["regarding"]["name"], manifest["reason"]))
        return manifest if new else None

    async def write_status(self, parent: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any] | None:
        if error := self.fail.pop("status", None):
            raise error
        self.statuses += 1
        version = str(int(parent["metadata"]["resourceVersion"]) + 1)
        return {**parent, "metadata": {**parent["metadata"], "resourceVersion": version}, "status": dict(status)}

    @property
    def confirming(self) -> list[dict[str, Any]]:
        return [manifest for (kind, _), manifest in self.created.items() if kind == keys.KIND]


class NoUsers(Access):
    """Makes no users: Redis 6.2 has none of the kind, and nobody reports here."""

    def grant(self, uid: str) -> bool:
        return False

    def revoke(self, uid: str) -> None: ...

    def instruct(self, uid: str, outcomes: Mapping[int, bool]) -> None: ...


class Operator:
    """A controller that sees each race when all of its results are there."""

    def __init__(self, store: Store, client: redis.Redis, objects: Objects) -> None:
        self.objects = objects
        self.controller = Controller(objects, store, NoUsers(client, "secret", "redis:6379"), ChildSettings())

    def sees(self, race: Race, annotations: Mapping[str, str] | None = None) -> None:
        document = json.loads(race.plan.job.model_dump_json(by_alias=True, exclude_none=True))
        document["metadata"] |= {"uid": race.uid, "namespace": "default", "resourceVersion": "1"}
        document["metadata"]["creationTimestamp"] = race.info.created_at.isoformat()
        document["metadata"]["annotations"] = dict(annotations or {})
        self.controller.races.saw_parent(dict(document))

    def passes(self, *races: Race) -> None:
        """Passes over the races, one after the other, and over whatever those wake without a wait."""

        async def work() -> None:
            for race in races:
                self.controller.wakeups.wake(race.uid)
            while len(self.controller.wakeups):
                uid = await self.controller.wakeups.next()
                await self.controller.pass_over(uid)
                self.controller.wakeups.done(uid)

        with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
            thread.submit(asyncio.run, work()).result()

    def condition(self, race: Race) -> dict[str, Any]:
        known = self.controller.races.get(race.uid)
        assert known is not None
        return next((one for one in known.parent.status["conditions"] if one["type"] == "Regressed"), {})

    def says(self, race: Race) -> tuple[str, str]:
        return self.condition(race)["status"], self.condition(race)["reason"]


@pytest.fixture
def operator(store: Store, redis_server: RedisServer) -> Operator:
    return Operator(store, redis_server.client(), Objects())


def ended(operator: Operator, race: Race, annotations: Mapping[str, str] | None = None) -> Race:
    operator.sees(race, annotations)
    operator.passes(race)
    return race


def test_a_race_that_regressed_says_so_with_one_event(operator: Operator, run: Run) -> None:
    first = ended(operator, run({"cnn": (0.9, 0.010)}))
    second = ended(operator, run({"cnn": (0.9, 0.012)}))
    third = ended(operator, run({"cnn": (0.9, 0.010)}))

    assert operator.says(first) == ("Unknown", "NoBaseline")
    assert operator.says(second) == ("True", "SignificantlyWorse")
    assert operator.says(third) == ("False", "NoRegression")
    assert "cnn, speed: worse: 9.9" in operator.condition(second)["message"]
    written = operator.objects.statuses
    operator.passes(first, second, third)
    assert operator.objects.statuses == written, "nothing changed, so nothing is written"
    assert operator.objects.events.count(("night-2", "Regressed")) == 1
    assert [reason for _, reason in operator.objects.events].count("Regressed") == 1
    assert operator.objects.confirming == []


def test_a_status_that_could_not_be_written_is_written_later_with_its_events(operator: Operator, run: Run) -> None:
    ended(operator, run({"cnn": (0.9, 0.010)}))
    second = run({"cnn": (0.9, 0.012)})
    operator.objects.fail["status"] = Unavailable("PUT status: no answer")
    ended(operator, second)
    operator.passes(second)
    assert operator.says(second) == ("True", "SignificantlyWorse")
    assert operator.objects.events.count(("night-2", "Regressed")) == 1


def test_what_people_accept_is_said_of_races_that_ended_before(
    operator: Operator, store: Store, redis_server: RedisServer, run: Run
) -> None:
    first = ended(operator, run({"cnn": (0.9, 0.010)}))
    second = ended(operator, run({"cnn": (0.9, 0.012)}))
    mark = Acknowledgement(
        board="digits", entry="cnn", metric_key=LATENCY, job_uid=second.uid, at=second.info.created_at
    )
    store.mark(mark)
    operator.controller.judgement.marks["digits"] = 1  # as the exporter says
    operator.passes(first, second)
    assert operator.says(second) == ("False", "RegressionAccepted")
    assert operator.says(first) == ("Unknown", "NoBaseline")

    restarted = Operator(store, redis_server.client(), operator.objects)
    for race in (first, second):
        known = operator.controller.races.get(race.uid)
        assert known is not None
        restarted.controller.races.saw_parent(known.parent.raw)
    store.unmark(mark)
    restarted.controller.judgement.marks["digits"] = 2
    restarted.passes(first, second)
    assert restarted.says(second) == ("True", "SignificantlyWorse")
    assert operator.objects.events.count(("night-2", "Regressed")) == 1, "it was reported before"


def test_a_regression_that_is_to_be_confirmed_gets_one_more_job_which_decides(operator: Operator, run: Run) -> None:
    ended(operator, run({"cnn": (0.9, 0.010)}, confirm=True))
    second = run({"cnn": (0.9, 0.012)}, confirm=True)
    operator.objects.fail["status"] = Unavailable("PUT status: no answer")  # after the job was made
    ended(operator, second)
    operator.passes(second)
    [made] = operator.objects.confirming
    assert operator.says(second) == ("Unknown", "AwaitingConfirmation")
    assert f"BenchmarkJob {made['metadata']['name']} runs to confirm it." in operator.condition(second)["message"]
    assert made["metadata"]["annotations"] == {"velodrome.dev/confirms": second.uid}
    assert made["spec"]["trials"]["baseSeed"] == 5

    third = run({"cnn": (0.9, 0.012), "mlp": (0.9, 0.012)}, confirm=True, base_seed=5)
    ended(operator, third, made["metadata"]["annotations"])
    assert operator.says(third) == ("True", "SignificantlyWorse")
    assert operator.says(second) == ("True", "SignificantlyWorse")
    assert "as job night-3 confirmed" in operator.condition(second)["message"]
    reported = [name for name, reason in operator.objects.events if reason == "Regressed"]
    assert sorted(reported) == ["night-2", "night-3"]
    assert len(operator.objects.confirming) == 1


def test_what_is_not_confirmed_was_no_regression_and_a_confirming_job_is_not_confirmed(
    operator: Operator, run: Run
) -> None:
    ended(operator, run({"cnn": (0.9, 0.010), "mlp": (0.9, 0.010)}, confirm=True))
    second = ended(operator, run({"cnn": (0.9, 0.012), "mlp": (0.9, 0.010)}, confirm=True))
    [made] = operator.objects.confirming
    third = run({"cnn": (0.9, 0.010), "mlp": (0.9, 0.012)}, confirm=True, base_seed=5)
    ended(operator, third, made["metadata"]["annotations"])
    assert operator.says(second) == ("False", "NoRegression")
    assert operator.says(third) == ("Unknown", "AwaitingConfirmation"), "of the other entry"
    assert len(operator.objects.confirming) == 1
    assert "Regressed" not in [reason for _, reason in operator.objects.events]


def test_a_confirming_job_that_is_refused_holds_up_no_end(operator: Operator, run: Run) -> None:
    ended(operator, run({"cnn": (0.9, 0.010)}, confirm=True))
    operator.objects.fail[keys.KIND] = Refused("POST benchmarkjobs: forbidden")
    second = ended(operator, run({"cnn": (0.9, 0.012)}, confirm=True))
    assert operator.says(second) == ("Unknown", "AwaitingConfirmation")
    assert "can't be made: POST benchmarkjobs: forbidden" in operator.condition(second)["message"]


def test_a_race_that_failed_is_judged_by_what_it_has_and_confirmed_by_none(operator: Operator, run: Run) -> None:
    ended(operator, run({"cnn": (0.9, 0.010), "mlp": (0.9, 0.010)}, confirm=True))
    second = ended(operator, run({"cnn": (0.9, 0.010), "mlp": (0.9, 0.012)}, confirm=True, failed="cnn"))
    assert operator.says(second) == ("Unknown", "AwaitingConfirmation")
    assert operator.objects.confirming == []


def test_results_that_cannot_be_judged_hold_up_no_end(operator: Operator, redis_server: RedisServer, run: Run) -> None:
    ended(operator, run({"cnn": (0.9, 0.010)}))
    redis_server.client().set(keys.job("job-1", "samples"), "no hash")
    second = ended(operator, run({"cnn": (0.9, 0.012)}))
    assert operator.says(second) == ("Unknown", "StoreRefused")


def test_a_newer_job_of_the_board_takes_nothing_from_an_older_ones_status(operator: Operator, run: Run) -> None:
    older, newer = run({"cnn": (0.9, 0.010), "mlp": (0.5, 0.010)}), run({"cnn": (0.8, 0.010), "mlp": (0.5, 0.010)})
    for race in (older, newer):
        ended(operator, race)
    for race, mean in ((older, 0.9), (newer, 0.8)):
        known = operator.controller.races.get(race.uid)
        assert known is not None
        assert known.parent.status["leaders"]["accuracy"] == "cnn"
        assert [entry["name"] for entry in known.parent.status["entries"]] == ["cnn", "mlp"]
        (accuracy,) = (one for one in known.parent.status["entries"][0]["objectives"] if one["name"] == "accuracy")
        assert accuracy["mean"] == pytest.approx(mean, rel=0.01)
        assert accuracy["samples"] == 5
        assert known.parent.status["cohort"].startswith("digits")
