"""A password is never part of what is said about a Redis' URL."""

from __future__ import annotations

import pytest
import redis

from velodrome.connections.addresses import wrong_url
from velodrome.errors import StoreRefused, VelodromeError
from velodrome.machine.checks import named_redis
from velodrome.store import open_store
from velodrome.store.edge import translate
from velodrome_runner.publish import connect

MALFORMED = [
    "redis://:hunter2@host:port",
    "redis:/:hunter2@host",
    "hunter2",
    "hunter2://host",
    "http://user:hunter2@host",
    "redis://:12/hunter2@host",
    "redis://:12?hunter2@host",
    "redis://:12#hunter2@host",
    "redis://user:a@b/hunter2@host",
    "redis://hunter2%40host",
    "redis://:hunter2@[::1:1",
    "redis://:hunter2@[zz]:1",
    "redis://:hunter2@host:99999",
    "redis://host?password=hunter2&db=first",
    "unix://:hunter2/x@/path",
    "unix://hunter2/path",
    "",
]
UNANSWERED = [
    "redis://:hunter2@127.0.0.1:1",
    "redis://user:hunter2@127.0.0.1:1/2",
    "redis://:hunter2%40%2F@[::1]:1",
    "redis://127.0.0.1:1?password=hunter2",
    "rediss://:hunter2@127.0.0.1:1",
    "unix://:hunter2@/nowhere/redis.sock",
    "unix://user:hunter2@/no@where/redis.sock?db=1",
    "unix:///nowhere/redis.sock?password=hunter2",
]


@pytest.mark.parametrize("url", MALFORMED)
def test_a_url_that_can_not_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreRefused, match="the Redis URL can't be used") as refused:
        open_store(url)
    with pytest.raises(ValueError, match="the Redis URL can't be used") as caught:
        connect(url)
    for words in (str(refused.value), str(caught.value)):
        assert "hunter2" not in words
        assert "redis://:PASSWORD@HOST:PORT" in words
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("url", UNANSWERED)
def test_a_redis_that_does_not_answer_is_named_without_its_password(url: str) -> None:
    assert wrong_url(url) == ""
    with open_store(url) as store, pytest.raises(VelodromeError) as caught:
        store.ping()
    assert "hunter2" not in str(caught.value)
    found = named_redis(url)
    assert found.status == "missing"
    assert "hunter2" not in f"{found}"


def test_a_server_that_quotes_what_it_was_sent_is_not_quoted() -> None:
    said = "unknown command `AUTH`, with args beginning with: `hunter2`, "
    assert "hunter2" not in str(translate(redis.ResponseError(said), "host:1"))
