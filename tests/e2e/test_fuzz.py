"""Every edge of the operator, tried with what strangers may write: nothing ends a task, and a bystander never notices.

A real operator, API server and Redis; in CI the same examples each time. The whole file takes two to three minutes.
"""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.e2e import strategies
from tests.e2e.conftest import ROOT, race
from tests.e2e.fuzzing import HOME, OTHERS, TEAM, Edge, Open, edge, ended, jobs_of, parents_of, pods_of
from velodrome import keys
from velodrome.cli.app import app
from velodrome.cli.exit_codes import EXIT_CODES
from velodrome.collector import REASONS
from velodrome.errors import VelodromeError

pytestmark = pytest.mark.smoke

# Shrinking would send the same hostile objects again and again: what an operator logs says which one it was.
FUZZ = settings(
    deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck), database=None
)
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with edge(tmp_path_factory.mktemp("fuzz")) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_ended(at: Edge) -> Iterator[None]:
    """After each test all tasks run on as they did, and a race that begins now ends as ever."""
    yield
    at.is_well()
    at.finishes(at.begun(HOME))


# -- objects of the API -----------------------------------------


def put(at: Edge, namespace: str, child: dict[str, Any], status: dict[str, Any], *, leave: bool) -> None:
    """Creates a child, gives it a status, and deletes it again or not; as far as the API server lets it."""
    where = (pods_of if child["kind"] == "Pod" else jobs_of)(namespace)
    code, made = at.api("POST", where, child)
    if code != 201:
        assert made["message"]
        return
    path = f"{where}/{made['metadata']['name']}"
    at.api("PATCH", f"{path}/status", {"status": status}, STRATEGIC)
    at.api("PATCH", path, {"metadata": {"labels": {"touched": "yes"}}}, MERGE)
    if not leave:
        at.api("DELETE", f"{path}?gracePeriodSeconds=0")


def attacked(at: Edge, namespace: str, victims: list[Open], *, owned: bool, examples: int) -> None:
    """Makes so many objects in a namespace that claim to be the victims' children."""
    facts = [victim.facts for victim in victims]

    @given(
        child=strategies.children(facts, owned=owned),
        pod=strategies.pod_statuses,
        job=strategies.job_statuses,
        leave=st.booleans(),
    )
    @settings(FUZZ, max_examples=examples)
    def one(child: dict[str, Any], pod: dict[str, Any], job: dict[str, Any], leave: bool) -> None:  # noqa: FBT001
        put(at, namespace, child, pod if child["kind"] == "Pod" else job, leave=leave)

    one()


def test_objects_of_strangers_change_nothing(at: Edge) -> None:
    bystander, own = at.begun(HOME), at.begun(TEAM)
    attacked(at, OTHERS, [bystander, own], owned=True, examples=80)  # forged owners too: another namespace is no matter
    attacked(at, HOME, [bystander], owned=False, examples=60)
    attacked(at, TEAM, [own], owned=True, examples=80)  # who may write here may harm this race, and no other
    at.is_well()
    at.finishes(bystander)
    at.stop()
    later = at.log.stat().st_size
    at.start()  # everything is listed now at once
    at.is_well()
    assert "Traceback" not in at.log.read_text(errors="replace")[later:]


def test_events_of_strangers_change_nothing(at: Edge) -> None:
    bystander = at.begun(HOME)
    wanted = {
        "apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": "Started", "message": "",
        "metadata": {"generateName": "x-"}, "source": {"host": "node1", "component": "kubelet"},
        "involvedObject": {"kind": "Pod", "namespace": HOME, "name": f"{bystander.facts['job']}-0-abc", "uid": "u"},
    }  # fmt: skip

    @given(event=strategies.changed(wanted), reason=st.sampled_from(("Started", "FailedCreate", "Scheduled")))
    @settings(FUZZ, max_examples=60)
    def one(event: dict[str, Any], reason: str) -> None:
        if isinstance(event, dict):
            at.api("POST", f"api/v1/namespaces/{HOME}/events", {**event, "reason": reason})

    one()
    at.run_pods(bystander)
    forged = {**bystander.report(0)["result"], "attempt": "nobody"}
    bystander.send(json.dumps({"type": "result", "result": forged}).encode())  # Events are asked who that was
    at.finishes(bystander)


# -- reports -----------------------------------------


def test_reports_are_taken_or_rejected_with_a_reason(at: Edge) -> None:
    opened = at.begun(TEAM, trials=3, bears=3)  # a result that can't be ends its trial as failed
    at.run_pods(opened)
    valid, last = opened.report(0), len(opened.plan) - 1
    progress = {"type": "progress", "proof": opened.secrets["report-key-0-1"], "progress": {
        "job_uid": opened.uid, "index": 1, "attempt": opened.pods[1], "phase": "Training", "epoch": 1, "epochs": 3,
        "fraction": 0.5, "loss": 1.0, "samples_per_second": 10.0, "at": "2026-01-01T00:00:00Z",
    }}  # fmt: skip
    junk = 0

    @given(
        report=st.one_of(
            strategies.changed(valid),
            strategies.changed(valid, strategies.scalars),
            strategies.changed(progress),
            strategies.json_values(),
            st.binary(max_size=200),
        )
    )
    @settings(FUZZ, max_examples=300)
    def one(report: Any) -> None:
        nonlocal junk
        junk += isinstance(report, bytes)
        # What Python's own module writes for floats that JSON has no form for is among what may come.
        opened.send(report if isinstance(report, bytes) else json.dumps(report).encode("utf-8", "surrogatepass"))

    one()
    hostile = {f'f1{{label="{number}"}}': 0.5 for number in range(5000)}
    many = {**opened.result(1).model_dump(mode="json"), "metrics": hostile}
    proof = opened.secrets["report-key-0-1"]
    opened.send(
        json.dumps({"type": "result", "proof": proof, "result": many}).encode(), b"[" * 100_000, b"\x00" * 2_000_000
    )
    opened.send(json.dumps(opened.report(last)).encode())  # behind all of them
    with at.store() as store:
        at.until("the reports to be judged", lambda: store.trial(opened.uid, last) is not None)
        counts, samples = store.counts(opened.uid), store.rejections(opened.uid)
        records = store.records(opened.uid)
    assert set(counts.rejected) <= set(REASONS)
    assert sum(counts.rejected.values()) >= junk + 2
    assert all(sample.reason in REASONS and sample.message for sample in samples)
    for record in records:
        assert all(0 <= value <= 1 for value in record.result.metrics.values()), record.result.metrics


def test_the_user_that_reports_may_do_nothing_else(at: Edge) -> None:
    """Any command, on the race's own keys and others': what was reported before is still there, and is accepted."""
    opened, bystander = at.begun(TEAM), at.begun(HOME)
    at.run_pods(opened)
    at.run_pods(bystander)
    names = [line["name"].decode() if isinstance(line["name"], bytes) else line["name"]
             for line in at.client(at.redis_url).command().values()]  # fmt: skip
    luck = random.Random(1)  # noqa: S311 - it opens nothing
    for name in names:
        target = luck.choice([keys.inbox(opened.uid), keys.inbox(bystander.uid), keys.instructions(opened.uid),
                              keys.job(bystander.uid, "records"), "x"])  # fmt: skip
        for arguments in ((target,), (target, "0"), (target, "MAXLEN", "0", "*", "x", "y"), (target, "0", "x")):
            if name.lower() in ("monitor", "subscribe", "psubscribe", "ssubscribe", "blpop", "brpop", "quit", "reset"):
                continue
            try:
                opened.client.execute_command(name, *arguments)
            except redis.RedisError:
                opened.client.connection_pool.reset()
    at.finishes(bystander)
    at.finishes(opened)


# -- stored records -----------------------------------------


def clean(text: str) -> bool:
    """Whether a text does nothing to a terminal but fill it: no control characters, nothing that turns it around.

    Joiners are letters of some scripts.
    """
    return all(
        character in "\n\t\u200c\u200d" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
        for character in text
    )


def test_viewers_survive_whatever_is_stored(at: Edge) -> None:
    opened = at.begun(TEAM)
    at.finishes(opened)
    board, client = opened.name, at.client(at.redis_url)
    own = [key for key in client.scan_iter(f"{keys.PREFIX}:*")
           if opened.uid.encode() in key or f":board:{board}:".encode() in key]  # fmt: skip
    saved = {key: client.dump(key) or b"" for key in own}
    hashes = sorted(key for key in own if client.type(key) == b"hash")
    others = sorted(set(own) - set(hashes))
    runner = CliRunner()
    commands = (
        ("jobs",), ("jobs", "--board", board), ("results", board), ("show", f"{board}/mlp/0"),
        ("show", f"{board}/mlp/0", "--json"), ("regressions", opened.name), ("export", "-"),
    )  # fmt: skip

    records = keys.job(opened.uid, "records").encode()
    (first,) = cast("list[bytes]", client.hmget(records, ["0"]))
    hostile = json.loads(first)
    hostile["result"] |= {"outcome": "Failed", "reason": "Odd", "message": "\x1b]0;title\x07\u202e"}
    client.hset(records, "0", json.dumps(hostile))
    reported = runner.invoke(app, ["show", f"{board}/mlp/0", "--redis", at.redis_url])
    assert clean(reported.output)
    assert "\\x1b]0;title\\x07\\u202e" in reported.output, "what is shown here is what is changed below"
    client.restore(records, 0, saved[records], replace=True)

    @given(data=st.data())
    @settings(FUZZ, max_examples=25)
    def one(data: st.DataObject) -> None:
        # Half of them in what most of what is shown comes from.
        key = data.draw(st.one_of(st.just(records), st.sampled_from(hashes + others)))
        if key in hashes:
            fields = cast("dict[bytes, bytes]", client.hgetall(key))
            name = data.draw(st.sampled_from(sorted(fields)))
            client.hset(key, name, _odd(data, fields[name]))
        else:
            client.delete(key)
            client.set(key, data.draw(st.binary(max_size=50)))
        try:
            for line in commands:
                done = runner.invoke(app, [*line, "--redis", at.redis_url])
                known = done.exception is None or isinstance(done.exception, (SystemExit, VelodromeError))
                assert known, (line, key, done.exc_info)
                assert done.exit_code in EXIT_CODES
                if isinstance(done.exception, VelodromeError):
                    assert str(done.exception)
                # Programs read the other two, and get what is stored.
                assert clean(done.output) or line[0] == "export" or "--json" in line, (line, key)
        finally:
            for saved_key, dumped in saved.items():
                client.restore(saved_key, 0, dumped, replace=True)

    one()
    assert at.probe("/metrics")[0] == 200


def _odd(data: st.DataObject, value: bytes) -> bytes:
    """Another value: JSON that is changed somewhere, where it is JSON; else anything."""
    try:
        document = json.loads(value)
    except ValueError:
        document = None
    if not isinstance(document, (dict, list)) or data.draw(st.integers(0, 3)) == 0:
        return data.draw(st.one_of(st.binary(max_size=60), st.sampled_from([b"nan", b"1e999", b"9" * 40, b"{}"])))
    if data.draw(st.booleans()):
        changed = data.draw(strategies.retold(document))
    else:
        changed = data.draw(strategies.changed(document, strategies.scalars))
    return json.dumps(changed).encode("utf-8", "surrogatepass")


# -- BenchmarkJobs -----------------------------------------

CRD = yaml.safe_load((ROOT / "deploy/crd/benchmarkjobs.yaml").read_text(encoding="utf-8"))
SPEC = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def test_every_benchmarkjob_is_refused_or_answered(at: Edge) -> None:
    """What the API server takes, the operator answers with a condition; what it refuses, it says why."""
    base = race("fuzzed", suspend=True)  # nothing of it has to be made before it is answered
    taken: dict[str, dict[str, Any]] = {}
    refused = 0

    @given(document=strategies.benchmark_jobs(SPEC, base), labels=st.dictionaries(
        st.sampled_from(("a", "kueue.x-k8s.io/queue-name", keys.LABEL_JOB_UID)), strategies.label_values, max_size=2),
        going=st.booleans())  # fmt: skip
    @settings(FUZZ, max_examples=120)
    def one(document: dict[str, Any], labels: dict[str, str], going: bool) -> None:  # noqa: FBT001
        nonlocal refused
        document["metadata"] = {"name": f"fuzzed-{len(taken) + refused}", "labels": labels}
        if going and isinstance(document["spec"], dict):
            document["spec"].pop("suspend", None)
        code, answer = at.api("POST", f"{parents_of(TEAM)}?fieldValidation=Strict", document)
        if code == 201:
            taken[answer["metadata"]["name"]] = document
        else:
            assert 400 <= code < 500, answer
            assert answer["message"]
            refused += 1

    one()
    assert taken, "nothing was taken: the strategy is of no use"
    assert refused, "nothing was refused: the strategy is of no use"

    def unanswered() -> list[str]:
        listed = {item["metadata"]["name"]: item for item in at.api.done("GET", parents_of(TEAM))["items"]}
        # One that is over at once and has a short time to live may be gone again.
        return [name for name in taken if name in listed and not listed[name].get("status", {}).get("conditions")]

    at.until("every BenchmarkJob to be answered", lambda: not unanswered())
    listed = at.api.done("GET", parents_of(TEAM))["items"]
    for item in listed:
        for condition in item["status"]["conditions"]:
            assert condition["reason"]
            if ended(item) == "Failed" and condition["type"] == "Failed":
                assert condition["message"]
                assert clean(condition["message"]), item["metadata"]["name"]
