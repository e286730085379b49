"""The API on the port of the pages: the same answers, in JSON, for those who may see them."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest

from tests.integration.leaderboard.test_untrusted_pages import HOSTILE
from tools.sample_results import CLEAR, finish, many, race
from velodrome import keys
from velodrome.board.comparing import read_comparison
from velodrome.board.comparison_document import comparison_document
from velodrome.board.document import objective_document
from velodrome.board.page import page_of
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.connections.direct import open_directly
from velodrome.store import Store
from velodrome_leaderboard.api.badge import badge

AT = datetime.now(UTC) - timedelta(minutes=10)
Answer = tuple[int, Any, dict[str, str]]


@pytest.fixture
def ask(store: Store, redis_server: Any, serve: Callable[[str], str]) -> Callable[[str], Answer]:
    """Asks the API of a leaderboard, which starts at the first question: `ask("/v1/boards")`."""
    address: list[str] = []

    def answer(path: str) -> Answer:
        if not address:
            address.append(serve(redis_server.url))
        try:
            with open_directly(f"{address[0]}/api{path}", timeout=30) as reply:
                return reply.status, reply.read(), dict(reply.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)

    return answer


def found(answer: Answer) -> Any:
    status, body, _ = answer
    assert status == 200, body
    return json.loads(body)


def refused(answer: Answer, status: int) -> str:
    assert answer[0] == status, answer
    assert answer[2]["content-type"] == "application/problem+json"
    problem = json.loads(answer[1])
    assert problem["status"] == status
    return str(problem["detail"])


def test_a_ranking_is_the_one_of_the_command_line(store: Store, ask: Callable[[str], Answer]) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    assert [board["name"] for board in found(ask("/v1/boards"))["items"]] == ["digits"]
    whole = found(ask("/v1/boards/digits"))
    assert [one["name"] for one in whole["objectives"]] == ["accuracy", "speed", "efficiency"]
    readings = read_objectives(store, "digits", objectives_of(store, "digits"), verdicts=True)
    for reading in readings:
        expected = objective_document(reading).model_dump(mode="json")
        ranking = found(ask(f"/v1/boards/digits/objectives/{reading.objective.name}"))
        assert ranking["ranked"]["items"] == [row | {"verdict": None} for row in expected["ranked"]]
        assert {name: ranking[name] for name in ("summary", "unit", "direction", "confidence")} == {
            name: expected[name] for name in ("summary", "unit", "direction", "confidence")
        }
    job = found(ask("/v1/jobs/done"))
    assert (job["trials"], job["succeeded"], [state["entry"] for state in job["states"]]) == (15, 15, list(CLEAR))
    assert job["document"]["kind"] == "BenchmarkJob"
    assert len(found(ask("/v1/jobs/done/trials"))["items"]) == 15
    (moment,) = found(ask("/v1/boards/digits/objectives/accuracy/history?entry=slow"))["items"]
    assert (moment["job_uid"], moment["verdict"]) == ("done", "Unknown")


def test_a_comparison_is_the_one_of_the_pages(store: Store, ask: Callable[[str], Answer]) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    read = read_comparison(store, "digits", ["slow", "quick"], objectives_of(store, "digits"))
    compared = found(ask("/v1/boards/digits/comparison?entry=slow&entry=quick"))
    assert compared == comparison_document(read).model_dump(mode="json")
    assert [one["pairs"][0]["better"] for one in compared["objectives"]] == ["slow", "quick", "quick"]
    assert [one["entry"] for one in compared["entries"]] == ["slow", "quick"]
    assert "name two to 8" in refused(ask("/v1/boards/digits/comparison?entry=slow"), 404)
    assert "did you mean" in refused(ask("/v1/boards/digits/comparison?entry=slow&entry=quik"), 404)
    assert "entry" in refused(ask("/v1/boards/digits/comparison"), 400)
    assert "did you mean digits" in refused(ask("/v1/boards/digit/comparison?entry=slow&entry=quick"), 404)


def test_lists_come_in_pages(store: Store, ask: Callable[[str], Answer]) -> None:
    finish(store, many(AT, 60, repeats=2))
    where = "/v1/boards/sweep-60/objectives/accuracy"
    pages = [found(ask(f"{where}?page={page}&size=25"))["ranked"] for page in (1, 2, 3, 4)]
    assert [len(page["items"]) for page in pages] == [25, 25, 10, 0]
    assert {(page["pages"], page["total"]) for page in pages} == {(3, 60)}
    assert len({row["entry"] for page in pages for row in page["items"]}) == 60
    for wild in ("page=0", "page=-1", "page=x", "size=0", "size=501"):
        assert wild.split("=")[0] in refused(ask(f"{where}?{wild}"), 400)
    jobs = found(ask("/v1/boards/sweep-60/jobs?size=1&page=2"))
    assert (jobs["total"], jobs["items"]) == (1, [])


def test_what_is_not_there_is_named_with_the_closest_name(store: Store, ask: Callable[[str], Answer]) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    assert "did you mean digits" in refused(ask("/v1/boards/digit"), 404)
    assert "did you mean accuracy" in refused(ask("/v1/boards/digits/objectives/acuracy"), 404)
    assert "no cohort nowhere" in refused(ask("/v1/boards/digits/objectives/accuracy?cohort=nowhere"), 404)
    assert "entry nobody" in refused(ask("/v1/boards/digits/objectives/accuracy/history?entry=nobody"), 404)
    assert "entry" in refused(ask("/v1/boards/digits/objectives/accuracy/history"), 400)
    assert "no job gone" in refused(ask("/v1/jobs/gone"), 404)
    assert refused(ask("/v1/nothing"), 404)


def test_boards_of_others_do_not_exist(
    store: Store, ask: Callable[[str], Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keys.ENV_BOARDS, "team-a-*")
    finish(store, race("ours", AT, board="team-a-digits", riders=CLEAR))
    finish(store, race("theirs", AT, board="team-b-secret", riders=CLEAR))
    assert [board["name"] for board in found(ask("/v1/boards"))["items"]] == ["team-a-digits"]
    assert found(ask("/v1/jobs/ours"))["uid"] == "ours"
    hidden = "/v1/boards/team-b-secret"
    for path in (
        hidden,
        f"{hidden}/jobs",
        f"{hidden}/objectives/accuracy",
        f"{hidden}/objectives/accuracy/history?entry=slow",
        f"{hidden}/objectives/accuracy/badge.svg",
        "/v1/jobs/theirs",
        "/v1/jobs/theirs/trials",
    ):
        text = refused(ask(path), 404)
        assert "did you mean" not in text
        assert "slow" not in text


def test_a_badge_names_the_leader_and_is_safe(store: Store, ask: Callable[[str], Answer]) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    status, body, headers = ask("/v1/boards/digits/objectives/accuracy/badge.svg")
    assert (status, headers["content-type"]) == (200, "image/svg+xml")
    text = " ".join(ET.fromstring(body).itertext())  # noqa: S314 - made by the leaderboard
    assert "accuracy: slow 98" in text
    (objective, *_) = objectives_of(store, "digits")
    page = page_of(read_objectives(store, "digits", [objective])[0])
    page = replace(page, head=replace(page.head, leaders=(HOSTILE, *page.head.leaders)))
    tags = {element.tag.split("}")[-1] for element in ET.fromstring(badge(HOSTILE, page)).iter()}  # noqa: S314
    assert tags == {"svg", "title", "rect", "g", "text"}
    empty = replace(page, ranked=(), head=replace(page.head, names=(), leaders=()))
    assert "nothing ranked yet" in badge("accuracy", empty)


def test_the_description_names_every_address_and_is_closed(store: Store, ask: Callable[[str], Answer]) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    described = found(ask("/v1/openapi.json"))
    text = json.dumps(described)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in described["components"]["schemas"]
    values = {"board": "digits", "objective": "accuracy", "uid": "done"}
    for path, methods in described["paths"].items():
        assert set(methods) == {"get"}
        wanted = path.format_map({name: quote(value) for name, value in values.items()})
        entries = {"history": "?entry=slow", "comparison": "?entry=slow&entry=quick"}.get(path.rpartition("/")[2], "")
        assert ask(wanted + entries)[0] == 200, path


def test_without_redis_the_api_says_to_come_back(start_redis: Callable[..., Any], serve: Callable[[str], str]) -> None:
    server = start_redis()
    address = serve(server.url)
    server.kill()
    with pytest.raises(urllib.error.HTTPError) as caught:
        open_directly(f"{address}/api/v1/boards", timeout=30)
    with caught.value as error:
        assert error.code == 503
        assert error.headers["Retry-After"] == "3"
