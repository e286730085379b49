"""A store and an export that version 0.1.0 wrote open, with the same values: tests/fixtures/release_0_1_0/make.py."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.fixtures.release_0_1_0.answers import answers
from velodrome.collector import Collector
from velodrome.plan import plan
from velodrome.results.records import Observed
from velodrome.spec import BenchmarkJob
from velodrome.store import Store, import_lines, open_store

if TYPE_CHECKING:
    from tests.integration.conftest import RedisServer

FOLDER = Path(__file__).parents[1] / "fixtures" / "release_0_1_0"
EXPECTED = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))


def raw(value: str | dict[str, str]) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def restore(client: redis.Redis) -> None:
    """Puts every key of the store back, by commands that every server has."""
    for key, kept in json.loads((FOLDER / "store.json").read_text(encoding="utf-8")).items():
        content: Any = kept["content"]
        match kept["type"]:
            case "string":
                client.set(key, raw(content))
            case "hash":
                client.hset(key, mapping={raw(field): raw(value) for field, value in content})
            case "list":
                client.rpush(key, *map(raw, content))
            case "zset":
                client.zadd(key, {raw(member): score for member, score in content})
            case "stream":
                for id_, parts in content:
                    client.execute_command("XADD", key, raw(id_), *map(raw, parts))
            case other:
                raise AssertionError(other)


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """The same values; what is computed may differ in its last digits from one processor to another."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            assert_same(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), f"{where}: {found} {expected}"
        for place, value in enumerate(expected):
            assert_same(found[place], value, f"{where}[{place}]")
    elif isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12), f"{where}: {found} {expected}"
    else:
        assert found == expected, where


@pytest.fixture
def restored(redis_server: RedisServer) -> Iterator[Store]:
    client = redis_server.client()
    restore(client)
    client.close()
    with open_store(redis_server.url) as store:
        yield store


def test_its_store_answers_as_it_did(restored: Store) -> None:
    assert_same(json.loads(json.dumps(answers(restored))), EXPECTED)


def test_its_export_answers_as_it_did(store: Store) -> None:
    with (FOLDER / "export.jsonl").open(encoding="utf-8") as lines:
        report = import_lines(store, lines)

    assert report.rejected == ()
    assert_same(json.loads(json.dumps(answers(store))), EXPECTED)


def test_its_store_takes_its_own_export_as_known(restored: Store) -> None:
    with (FOLDER / "export.jsonl").open(encoding="utf-8") as lines:
        report = import_lines(restored, lines)

    assert (report.imported, report.conflicts, report.rejected) == (0, 0, ())
    assert report.duplicates > 0
    assert_same(json.loads(json.dumps(answers(restored))), EXPECTED)


def test_reports_that_waited_in_its_inbox_are_collected(restored: Store) -> None:
    job = restored.job("uid-3")
    assert job is not None
    planned = plan(BenchmarkJob.model_validate(job.document))
    seen = Observed(executor="kubernetes")
    collector = Collector(restored, planned, job.uid, lambda index, attempt: seen, lambda: 1_767_700_000.0)

    found = collector.collect_once()

    assert [(record.result.index, verdict) for record, verdict in found.verdicts] == [(4, "accepted")]
    assert [(one.index, one.epoch) for one in found.progress] == [(4, 2)]
    assert [one.reason for one in found.rejected] == ["UnplannedTrial"]
    assert sorted(restored.trials(job.uid)) == [0, 1, 2, 3, 4]
    assert collector.collect_once().verdicts == ()
