"""One answer to every question about a board, whoever asks: terminal, browser, /metrics and a race's status."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import streamlit as st
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from prometheus_client.parser import text_string_to_metric_families as parse
from typer.testing import CliRunner

from velodrome import keys
from velodrome.board.document import objective_document
from velodrome.board.kept import keep, kept_objective, kept_objectives, kept_page
from velodrome.board.page import PAGE, page_of
from velodrome.board.reading import BoardReader, ObjectiveReading
from velodrome.board.viewing import read_objectives, read_page
from velodrome.cli.app import app
from velodrome.results.marks import Acknowledgement
from velodrome.store import Store, open_store
from velodrome.store.deletion import DeletionTarget, open_deleter
from velodrome.trends.regressions import Comparison, judge
from velodrome.trends.timeline import timeline
from velodrome_leaderboard.data import ResultSource
from velodrome_operator.exporter import Exporter
from velodrome_operator.families import Exposed
from velodrome_operator.operator_facts import OperatorFacts
from velodrome_operator.page import RaceReport
from velodrome_operator.regressed import regressed
from velodrome_operator.standings import standings

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

Run = Callable[..., "Race"]
ACCURACY = {"name": "accuracy", "metric": "accuracy"}
SPEED = {"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1}
LATENCY = "latency_p50_seconds{batch_size=1}"


@dataclass
class Viewers:
    """Everything that shows a board, asked as people ask it."""

    server: RedisServer
    store: Store
    board: str = "digits"

    def terminal(self, *arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"VELODROME_REDIS_URL": self.server.url, "TZ": "UTC"})
        assert done.exit_code in (0, 1), done.output + str(done.exception)
        return done.stdout

    def documents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.terminal("results", self.board, "--json"))["objectives"]
        return found

    def table(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.terminal("results", self.board, "--csv"))))

    def pages(self) -> list[dict[str, Any]]:
        """What the leaderboard's pages are drawn from, as documents; verdicts as its badges have them."""
        st.cache_resource.clear()
        source = ResultSource(self.server.url)
        found = []
        for objective in source.objectives(self.board):
            document = objective_document(source.objective(self.board, objective)).model_dump(mode="json")
            for row in document["ranked"]:
                judged = {(one.entry, one.metric_key): one for one in source.verdicts(row["job_uid"])}
                one = judged.get((row["entry"], document["metric"]))
                row["verdict"] = None if one is None else plain(one)
            found.append(document)
        return found

    def metrics(self) -> dict[tuple[str, str, str], str]:
        """By entry, objective and cohort, the verdict that /metrics exposes."""
        exporter = Exporter(
            self.store, RaceReport, facts, lambda board, times: None, 100_000,
            lambda: datetime(2026, 1, 2, tzinfo=UTC),
        )  # fmt: skip
        in_a_loop(exporter.round())
        text, _ = in_a_loop(exporter.scrape(""))
        samples = [one for family in parse(text.decode()) for one in family.samples if one.value == 1]
        return {
            (one.labels["entry"], one.labels["objective"], one.labels["cohort"]): one.labels["verdict"]
            for one in samples
            if one.name == "velodrome_result_verdict" and one.labels["board"] == self.board
        }


def verdict_in_metrics(one: Comparison) -> str:
    """How /metrics names the verdict: it tells three kinds of regressions apart."""
    if one.verdict != "Regressed":
        return one.verdict
    return "Accepted" if one.acknowledged else "MovedTogether" if one.together else "Regressed"


def plain(value: Any) -> Any:
    """A dataclass as JSON has it."""
    return json.loads(json.dumps(asdict(value)))


def facts(shown: Exposed) -> OperatorFacts:
    return OperatorFacts("0.1.0", "https://board", True, shown.series, 100_000, shown.dropped)


def in_a_loop(work: Any) -> Any:
    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        return thread.submit(asyncio.run, work).result()


@pytest.fixture
def viewers(redis_server: RedisServer, store: Store) -> Viewers:
    return Viewers(redis_server, store)


def race_with(
    store: Store, make_race: type[Race], number: int, objectives: Sequence[Mapping[str, Any]], cpu: str = "Ryzen",
    entries: Mapping[str, float] | None = None, values: Mapping[str, float] | None = None,
) -> Race:  # fmt: skip
    """A job of two trials an entry, with these objectives, which measures what they ask for."""
    levels = entries or {"cnn": 0.9}
    race = make_race(
        uid=f"job-{number}", name=f"night-{number}", created=number, entries=tuple(levels),
        spec={"objectives": list(objectives)},
    )  # fmt: skip
    store.register(race.info)
    records = []
    for index in range(race.info.trials):
        wanted = {"accuracy": levels[race.plan.trial(index).entry] - index / 1000, **(values or {})}
        records.append(race.record(index, cpu=cpu, values=wanted, accepted=100.0 + number))
    store.accept(race.uid, 1, records)
    return race


# One window


@pytest.mark.parametrize("others", [21, 51, 61])
def test_every_viewer_finds_the_same_objectives_however_many_jobs_lack_one(
    viewers: Viewers, store: Store, make_race: type[Race], others: int
) -> None:
    for number in range(2):
        race_with(store, make_race, number, [ACCURACY, SPEED], values={LATENCY: 0.01})
    for number in range(2, 2 + others):
        race_with(store, make_race, number, [ACCURACY])

    names = [one["name"] for one in viewers.documents()]

    assert names == (["accuracy", "speed"] if others < 60 else ["accuracy"])
    assert list(dict.fromkeys(line["objective"] for line in viewers.table())) == names
    assert [one["name"] for one in viewers.pages()] == names
    assert list(dict.fromkeys(objective for _, objective, _ in viewers.metrics())) == names
    kept = kept_objectives(store, "digits")
    assert kept is not None
    assert [one.name for one in kept] == names


def test_a_name_that_two_keys_share_is_the_same_everywhere(
    viewers: Viewers, store: Store, make_race: type[Race]
) -> None:
    race_with(store, make_race, 0, [{"name": "quality", "metric": "accuracy"}])
    for number in range(1, 25):
        race_with(store, make_race, number, [{"name": "quality", "metric": "f1"}], values={"f1": 0.8})

    names = [one["name"] for one in viewers.documents()]

    assert names == ["quality (f1)", "quality (accuracy)"]
    assert [one["name"] for one in viewers.pages()] == names
    assert {objective for _, objective, _ in viewers.metrics()} == set(names)


def test_an_entry_without_a_value_has_one_reason_whoever_asks(
    viewers: Viewers, store: Store, make_race: type[Race]
) -> None:
    """Values of the metric exist under other conditions, and a trial says why it has none here."""
    energy = {"name": "energy", "metric": "energy_joules"}
    race_with(store, make_race, 0, [energy], cpu="Xeon", entries={"old": 0.5}, values={"energy_joules": 3.0})
    race_with(store, make_race, 1, [energy], cpu="Ryzen", entries={"new": 0.5}, values={"energy_joules": 3.0})
    race = make_race(uid="job-2", name="night-2", created=2, entries=("cnn",), spec={"objectives": [energy]})
    store.register(race.info)
    for index in range(race.info.trials):
        record = race.record(index, values={"accuracy": 0.5})
        said = record.result.model_copy(update={"unavailable": {"energy_joules": "this device has no energy counter"}})
        store.accept(race.uid, 1 + index, [record.model_copy(update={"result": said})])

    (terminal,), (page,) = viewers.documents(), viewers.pages()

    reasons = {row["entry"]: (row["why"], row["reason"]) for row in terminal["unranked"]}
    assert reasons["cnn"] == ("NotMeasured", "energy_joules was not measured: this device has no energy counter")
    assert reasons["old"] == ("OtherConditions", "has no result under these conditions")
    assert {row["entry"]: (row["why"], row["reason"]) for row in page["unranked"]} == reasons
    assert {line["entry"]: line["unranked"] for line in viewers.table() if line["unranked"]} == {
        entry: reason for entry, (_, reason) in reasons.items()
    }
    assert standings(store, race.plan, race.uid) == [], "a job that has no value at all has no standing"


# One verdict


def night(
    store: Store, make_race: type[Race], number: int, slower: Mapping[str, Sequence[float]], **rules: Any
) -> Race:
    """A job of 30 entries and five seeds whose latencies are those of every night, but for what is given."""
    names = [f"entry-{place:02}" for place in range(30)]
    race = make_race(
        uid=f"job-{number}", name=f"night-{number}", created=number, entries=tuple(names), repeats=5,
        spec={"objectives": [SPEED], "regression": rules},
    )  # fmt: skip
    store.register(race.info)
    noise = (0.0, 0.0002, -0.0002, 0.0001, -0.0001)
    records = []
    for index in range(race.info.trials):
        trial = race.plan.trial(index)
        turned = noise[(trial.repeat + number + names.index(trial.entry)) % 5]
        factor = slower.get(trial.entry, (1.0,) * 5)[trial.repeat]
        records.append(race.record(index, values={LATENCY: (0.01 + turned) * factor}))
    store.accept(race.uid, 1, records)
    return race


# Clearly slower for a comparison that stands alone, by 7.6 to 18.4 %; no longer so for one of thirty.
DOUBTFUL = (1.10, 1.16, 1.13, 1.15, 1.11)


def test_a_verdict_is_corrected_for_its_family_wherever_it_is_shown(
    viewers: Viewers, store: Store, make_race: type[Race]
) -> None:
    night(store, make_race, 0, {})
    races = [night(store, make_race, number, {"entry-07": DOUBTFUL}) for number in (1, 2, 3)]

    for race in races:
        one = next(one for one in judge(store, race.uid) if one.entry == "entry-07")
        assert (one.verdict, one.reason) == ("Unchanged", "NotSignificant")
        assert one.p_value is not None
        assert one.p_value / 30 < 0.01 < one.p_value, "its own p-value alone would say otherwise"
        assert one.low is not None
        assert one.high is not None
        assert one.low < 0 < one.high, "the interval agrees with the verdict"
        assert "no significant change" in one.sentence
        assert "99 % interval corrected for 30 comparisons -" in one.sentence

    moments = timeline(store, "digits", "entry-07", LATENCY).moments
    assert [(moment.verdict, moment.reason) for moment in moments[1:]] == [("Unchanged", "NotSignificant")] * 3
    (terminal,), (page,) = viewers.documents(), viewers.pages()
    for document in (terminal, page):
        assert {row["verdict"]["verdict"] for row in document["ranked"]} == {"Unchanged"}
    assert set(viewers.metrics().values()) == {"Unchanged"}
    assert regressed(judge(store, races[-1].uid)).status == "False"
    reported = json.loads(viewers.terminal("regressions", races[-1].uid, "--json"))["comparisons"]
    assert {row["entry"]: row["verdict"] for row in terminal["ranked"]} == {one["entry"]: one for one in reported}


def test_one_comparison_of_the_same_values_is_a_regression_wherever_it_is_shown(
    viewers: Viewers, store: Store, run: Run
) -> None:
    """The kin: what a family of thirty can't say, a real regression says, and its interval excludes 0."""
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.002)})
    second = run({"cnn": (0.9, 0.012), "mlp": (0.8, 0.002)})
    one = next(one for one in judge(store, second.uid) if (one.entry, one.metric_key) == ("cnn", LATENCY))
    assert one.verdict == "Regressed"
    assert one.low is not None
    assert one.low > 0
    assert timeline(store, "digits", "cnn", LATENCY).moments[-1].verdict == "Regressed"
    assert {
        verdict for (entry, name, _), verdict in viewers.metrics().items() if (entry, name) == ("cnn", "speed")
    } == {"Regressed"}
    assert regressed(judge(store, second.uid)).status == "True"


# What the catalogue calls deterministic


def test_seeds_of_different_models_are_not_averaged(viewers: Viewers, store: Store, make_race: type[Race]) -> None:
    race = make_race(entries=("own", "fine"), repeats=4, spec={"objectives": [ACCURACY]})
    store.register(race.info)
    records = []
    for index in range(race.info.trials):
        trial = race.plan.trial(index)
        size = 310.0 if trial.entry == "fine" or trial.repeat < 2 else 19_210.0
        records.append(race.record(index, values={"accuracy": 0.9 - index / 1000, "parameters": size}))
    store.accept(race.uid, 1, records)

    (terminal,), (page,) = viewers.documents(), viewers.pages()
    (standing,) = standings(store, race.plan, race.uid)

    why = "its seeds did not train the same model: parameters is 310 for one and 19,210 for another"
    for document in (terminal, page):
        assert [row["entry"] for row in document["ranked"]] == ["fine"]
        assert [(row["entry"], row["why"], row["reason"]) for row in document["unranked"]] == [
            ("own", "SeedsDiffer", why)
        ]
    assert [(row.entry, row.why, row.reason) for row in standing.ranking.unranked] == [("own", "SeedsDiffer", why)]


# What is kept


def test_what_is_kept_is_what_would_be_worked_out_until_the_board_changes(
    store: Store, run: Run, redis_server: RedisServer
) -> None:
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.002)})
    second = run({"cnn": (0.9, 0.012), "mlp": (0.8, 0.002), "gru": (0.7, 0.003)}, failed="gru")
    before = redis_server.contents()
    assert kept_objectives(store, "digits") is None
    here = BoardReader(store, "digits")
    expected = [here.judged(here.objective(objective)) for objective in here.objectives]
    assert redis_server.contents() == before, "viewers never write"

    keep(store, "digits")

    assert kept_objectives(store, "digits") == here.objectives
    for reading in expected:
        key = str(reading.objective.key)
        assert kept_objective(store, "digits", key) == reading
    assert read_objectives(store, "digits", here.objectives, verdicts=True) == tuple(expected)

    for change in (
        lambda: store.mark(Acknowledgement(
            board="digits", entry="cnn", metric_key=LATENCY, job_uid=second.uid, at=second.info.created_at)),
        lambda: run({"cnn": (0.9, 0.010)}, done=0),
        lambda: run({"cnn": (0.9, 0.010)}),
    ):  # fmt: skip
        change()
        assert kept_objective(store, "digits", LATENCY) is None
        keep(store, "digits")
        assert kept_objective(store, "digits", LATENCY) is not None


def test_a_page_is_read_in_one_round_trip(store: Store, make_race: type[Race], redis_server: RedisServer) -> None:
    levels = {f"entry-{place:03}": 0.9 - place / 200 for place in range(2 * PAGE + 3)}
    race_with(store, make_race, 0, [ACCURACY], entries=levels)
    keep(store, "digits")
    waiting = tuple(f"waiting-{place}" for place in range(PAGE + 1))
    store.register(make_race(uid="job-1", name="night-1", created=1, entries=waiting).info)
    keep(store, "digits")
    whole = kept_objective(store, "digits", "accuracy")
    assert whole is not None
    pages = [kept_page(store, "digits", "accuracy", number, number) for number in (1, 2, 3, 4, 99)]
    assert pages == [page_of(whole, number, number) for number in (1, 2, 3, 4, 99)]
    assert pages[2] == pages[3] == pages[4], "behind the last page is the last one"
    assert [len(page.ranked) for page in pages[:3] if page] == [PAGE, PAGE, 3]
    assert [len(page.unranked) for page in pages[:3] if page] == [PAGE, 1, 1]
    rows = [row for page in pages[:3] if page is not None for row in page.ranked]
    assert tuple(rows) == whole.ranking.ranked
    assert kept_page(store, "digits", "loss") is None

    cohort = None if whole.cohort is None else whole.cohort.cohort_id
    with closing(redis_server.client()) as client:
        for number, wanted in ((1, None), (2, cohort), (3, None)):
            before: Any = client.info("stats")
            page = read_page(store, "digits", whole.objective, wanted, (number, 1), never)
            after: Any = client.info("stats")
            assert page == page_of(whole, number)
            reads = after["total_reads_processed"] - before["total_reads_processed"]
            assert reads == 2, "one for the page, and the question itself"
    st.cache_resource.clear()
    assert ResultSource(redis_server.url).page("digits", whole.objective, None, (2, 1)) == page_of(whole, 2)


def never() -> ObjectiveReading:
    raise AssertionError("all of the objective is read for a page of it")


def test_a_page_of_other_conditions_is_cut_from_the_whole(store: Store, make_race: type[Race]) -> None:
    levels = {f"entry-{place:03}": 0.9 - place / 200 for place in range(PAGE + 3)}
    for number, cpu in enumerate(("Ryzen", "EPYC")):
        race_with(store, make_race, number, [SPEED], cpu=cpu, entries=levels, values={LATENCY: 0.01})
    keep(store, "digits")
    here = BoardReader(store, "digits")
    (objective,) = here.objectives
    newest, older = here.objective(objective).cohorts
    assert newest.cohort_id != older.cohort_id

    def whole() -> ObjectiveReading:
        return here.objective(objective, older.cohort_id)

    page = read_page(store, "digits", objective, older.cohort_id, (2, 1), whole)
    assert page.head.cohort == older
    assert page.ranked == whole().ranking.ranked[PAGE:]
    assert page.verdicts is None


def test_a_reading_of_a_board_that_changed_meanwhile_is_not_kept(store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    version = store.board_version("digits")
    run({"cnn": (0.9, 0.010)})
    assert not store.keep_reading("digits", version, {"objectives": b"{}"})
    assert store.keep_reading("digits", store.board_version("digits"), {"objectives": b"{}"})
    assert not store.keep_reading("nosuch", store.board_version("nosuch"), {"objectives": b"{}"})


@pytest.mark.parametrize("part", [b'{"form": "0", "objectives": [], "names": []}', b"[]", b"{", b"\xff"])
def test_what_another_version_kept_or_nobody_can_read_is_worked_out(
    viewers: Viewers, store: Store, run: Run, part: bytes
) -> None:
    run({"cnn": (0.9, 0.010)})
    documents = viewers.documents()
    parts = {"objectives": part, "head:accuracy": part, f"head:{LATENCY}": part}
    assert store.keep_reading("digits", store.board_version("digits"), parts)
    assert kept_objectives(store, "digits") is None
    assert kept_page(store, "digits", "accuracy") is None
    assert viewers.documents() == documents


# All of it, on boards that nobody thought of

JOB = some.fixed_dictionaries(
    {
        "entries": some.lists(some.sampled_from(["cnn", "mlp", "gru", "lstm"]), min_size=1, max_size=4, unique=True),
        "objectives": some.sampled_from([[ACCURACY], [ACCURACY, SPEED], [SPEED], [{**SPEED, "name": "accuracy"}]]),
        "cpu": some.sampled_from(["Ryzen", "Xeon"]),
        "level": some.sampled_from([0.6, 0.75, 0.9]),
        "repeats": some.integers(1, 4),
        "missing": some.integers(0, 3),
        "failed": some.booleans(),
        "confirm": some.booleans(),
        "sizes": some.sampled_from([(310.0,), (310.0, 19_210.0)]),
    }
)


def fill(store: Store, make_race: type[Race], jobs: Sequence[Mapping[str, Any]], *, accepted: bool) -> list[Race]:
    races = []
    for number, job in enumerate(jobs):
        race = make_race(
            uid=f"job-{number}", name=f"night-{number}", created=number, entries=tuple(job["entries"]),
            repeats=job["repeats"], spec={"objectives": job["objectives"], "regression": {"confirm": job["confirm"]}},
        )  # fmt: skip
        store.register(race.info)
        records = []
        for index in range(max(0, race.info.trials - job["missing"])):
            step = (index * 7 + number * 3) % 11 / 1000
            values = {"accuracy": job["level"] + step, LATENCY: 0.01 / job["level"] + step / 10,
                      "parameters": job["sizes"][index % len(job["sizes"])]}  # fmt: skip
            failed = "LossNotFinite" if job["failed"] and index == 0 else None
            records.append(race.record(index, cpu=job["cpu"], values=values, failed=failed))
        store.accept(race.uid, 1, records)
        races.append(race)
    if accepted:
        store.mark(
            Acknowledgement(
                board="digits", entry="cnn", metric_key=LATENCY, job_uid=races[-1].uid, at=races[-1].info.created_at
            )
        )
    return races


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(jobs=some.lists(JOB, min_size=1, max_size=6), accepted=some.booleans())
def test_every_viewer_gives_the_same_answer(
    redis_server: RedisServer, make_race: type[Race], *, jobs: list[dict[str, Any]], accepted: bool
) -> None:
    with closing(redis_server.client()) as client:
        client.flushall()
    with open_store(redis_server.url) as store:
        viewers = Viewers(redis_server, store)
        races = fill(store, make_race, jobs, accepted=accepted)

        documents = viewers.documents()
        assert viewers.pages() == documents
        exposed = viewers.metrics()  # keeps what it read
        keeps = "digits" in store.changes()  # a board without any result is not worth keeping
        assert (kept_objectives(store, "digits") is not None) == keeps
        assert viewers.documents() == documents, "what is kept is what was worked out"
        assert viewers.pages() == documents

        rows = [
            (one["name"], row["entry"]) for one in documents for kind in ("ranked", "unranked") for row in one[kind]
        ]
        assert [(line["objective"], line["entry"]) for line in viewers.table()] == rows
        names = {one["metric"]: one["name"] for one in documents}
        assert {name for _, name, _ in exposed} <= set(names.values())
        for race in races:
            reported = {(one.entry, one.metric_key): one for one in judge(store, race.uid)}
            for document in documents:
                for row in document["ranked"]:
                    if row["job_uid"] == race.uid:
                        one = reported.get((row["entry"], document["metric"]))
                        assert row["verdict"] == (None if one is None else plain(one))
            for (entry, key), one in reported.items():
                moment = next(
                    found for found in timeline(store, "digits", entry, key).moments if found.point.job_uid == race.uid
                )
                assert (moment.verdict, moment.reason, moment.acknowledged) == (
                    one.verdict, one.reason, one.acknowledged
                )  # fmt: skip
                where = entry, names.get(key, ""), one.cohort_id
                newest = [other for other in races if entry in other.entries]
                if where in exposed and newest[-1] is race and one.reason not in ("Incomplete", "TooFewSamples"):
                    assert exposed[where] == verdict_in_metrics(one)
        if len(races) == 1:
            standing = {str(one.ranking.key): one.ranking for one in standings(store, races[0].plan, races[0].uid)}
            for document in documents:
                own = standing.get(document["metric"])
                if own is not None:
                    assert [(row.rank, row.entry) for row in own.ranked] == [
                        (row["rank"], row["entry"]) for row in document["ranked"]
                    ]
                    assert [(row.entry, row.why, row.reason) for row in own.unranked] == [
                        (row["entry"], row["why"], row["reason"]) for row in document["unranked"]
                    ]
        before = redis_server.contents()
        viewers.documents()
        viewers.pages()
        assert redis_server.contents() == before, "viewers never write"
        assert (keys.board_reading("digits").encode() in before) == keeps


def test_deleting_a_board_deletes_what_was_kept_and_exports_do_without(
    viewers: Viewers, store: Store, run: Run, redis_server: RedisServer
) -> None:
    run({"cnn": (0.9, 0.010)})
    exported = viewers.terminal("export")
    assert exported
    keep(store, "digits")
    where = keys.board_reading("digits").encode()
    assert where in redis_server.contents()
    assert viewers.terminal("export") == exported
    with open_deleter(redis_server.url) as deleter:
        deleter.delete(DeletionTarget("digits"))
    assert where not in redis_server.contents()
