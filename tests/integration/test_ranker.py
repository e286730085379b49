"""The process that ranks: it answers as a thread of the operator would, and its end costs a question and no more."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.integration.conftest import any_redis
from velodrome.board.latest import latest
from velodrome.errors import StoreUnavailable
from velodrome.store import Store
from velodrome.trends.regressions import judge
from velodrome_operator.exporter import BoardResults
from velodrome_operator.ranker import Ranker, RankerLost
from velodrome_operator.standings import standings, standings_beside

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

Run = Callable[..., "Race"]
Answer = TypeVar("Answer")


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """One kind of Redis is enough here."""
    return any_redis()


def asked(work: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer, in a loop of its own: the thread of the tests may have one, that of a browser."""

    async def run() -> Answer:
        return await work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(pid: int) -> bool:
    end = time.monotonic() + 20
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_it_answers_as_this_process_does(run: Run, store: Store, redis_server: RedisServer) -> None:
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.02)})
    last = run({"cnn": (0.9, 0.012), "mlp": (0.8, 0.02)})

    async def work() -> Any:
        ranker = Ranker(redis_server.url)
        try:
            found = await ranker.ask("board", "digits"), await ranker.ask("comparisons", last.uid)
            ranked = await standings_beside(ranker, last.plan, last.uid)
            assert ranked == standings(store, last.plan, last.uid)
            assert [one.objective for one in ranked] == ["accuracy", "speed"]
            return *found, ranker.pid
        finally:
            ranker.end()

    board, comparisons, pid = asked(work)
    assert board == latest(store, "digits")
    assert comparisons == judge(store, last.uid)
    assert [one.verdict for one in comparisons].count("Regressed") == 1
    assert store.kept_reading("digits", ()).current, "it kept what it read for the next viewer"
    assert pid is not None
    assert not alive(pid)


def test_an_error_there_is_an_error_here_and_the_next_question_is_answered(
    run: Run, redis_server: RedisServer, store: Store
) -> None:
    race = run({"cnn": (0.9, 0.01)})

    async def work() -> Any:
        ranker = Ranker(redis_server.url)
        try:
            redis_server.kill()
            with pytest.raises(StoreUnavailable, match="does not answer"):
                await ranker.ask("board", "digits")
            before = ranker.pid
            redis_server.start()
            return before, ranker.pid, await ranker.ask("comparisons", race.uid)
        finally:
            ranker.end()

    before, after, found = asked(work)
    assert before == after, "an error ends nothing"
    assert found == ()


def running(ranker: Ranker) -> int:
    """The id of its process, which must be there."""
    assert ranker.pid is not None
    return ranker.pid


def test_its_end_costs_the_question_alone(run: Run, redis_server: RedisServer, store: Store) -> None:
    run({"cnn": (0.9, 0.01)})

    async def work() -> Any:
        ranker = Ranker(redis_server.url)
        try:
            await ranker.ask("load")
            os.kill(running(ranker), signal.SIGKILL)
            with pytest.raises(RankerLost, match="raise the memory limit"):
                await ranker.ask("board", "digits")
            assert ranker.pid is None
            return await ranker.ask("board", "digits")
        finally:
            ranker.end()

    assert asked(work) == latest(store, "digits")


def test_a_question_that_was_given_up_leaves_no_answer_for_the_next(
    run: Run, redis_server: RedisServer, store: Store
) -> None:
    race = run({"cnn": (0.9, 0.01)})

    async def work() -> Any:
        ranker = Ranker(redis_server.url)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(ranker.ask("board", "digits"), 0.05)
            return await ranker.ask("comparisons", race.uid)
        finally:
            ranker.end()

    assert asked(work) == judge(store, race.uid)


def test_a_question_that_was_given_up_while_the_process_starts_leaves_no_process(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    made: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def slow(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        begun.set()
        assert go_on.wait(10)
        made.append(start(*arguments, **options))
        return made[0]

    monkeypatch.setattr("velodrome_operator.ranker.subprocess.Popen", slow)

    async def work() -> int | None:
        ranker = Ranker(redis_server.url)
        asking = asyncio.create_task(ranker.ask("load"))
        assert await asyncio.to_thread(begun.wait, 10)
        asking.cancel()
        threading.Timer(0.2, go_on.set).start()
        with suppress(asyncio.CancelledError):
            await asking
        while not made:  # noqa: ASYNC110 - a thread makes it
            await asyncio.sleep(0.05)
        await asyncio.sleep(0)
        return ranker.pid

    assert asked(work) is None
    assert made[0].wait(10) == -signal.SIGKILL


def test_it_ends_when_it_is_quiet_and_starts_again(redis_server: RedisServer) -> None:
    async def work() -> tuple[int | None, int | None]:
        ranker = Ranker(redis_server.url, quiet=0.2)
        try:
            await ranker.ask("load")
            first = ranker.pid
            while ranker.pid is not None:  # noqa: ASYNC110 - a timer ends it
                await asyncio.sleep(0.05)
            await ranker.ask("load")
            return first, ranker.pid
        finally:
            ranker.end()

    first, second = asked(work)
    assert first is not None
    assert first != second
    assert gone(first)


def test_it_ends_with_its_parent_and_tells_no_password(redis_server: RedisServer) -> None:
    script = (
        "import asyncio, sys, time\n"
        "from velodrome_operator.ranker import Ranker\n"
        "async def main():\n"
        "    ranker = Ranker(sys.argv[1])\n"
        "    await ranker.ask('load')\n"
        "    print(ranker.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, redis_server.url], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        told = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"velodrome_operator.ranker" in told
        assert b"redis" not in told
        parent.kill()
    assert gone(pid)


def test_a_board_that_ends_it_holds_up_no_other(
    run: Run, store: Store, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run({"cnn": (0.9, 0.01)}, board="fatal")
    run({"cnn": (0.9, 0.01)}, board="good")

    class Fatal(Ranker):
        async def ask(self, question: Any, name: str = "", keys_of: Any = ()) -> Any:
            if name == "fatal":
                raise RankerLost("the process that ranks ended by -9")
            return await super().ask(question, name, keys_of)

    async def work() -> list[Any]:
        ranker = Fatal(redis_server.url)
        try:
            results = BoardResults(store, lambda *_: None, lambda: None, time.monotonic, ranker)  # type: ignore[arg-type, return-value]
            assert await results.judge_changed() is None, "a board is missing"
            return results.taken()
        finally:
            ranker.end()

    assert asked(work) == list(latest(store, "good"))
