"""What each page says, drawn by Streamlit's own test runner over a real Redis."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tools.sample_results import CLEAR, DIGITS, OBJECTIVES, Race, Rider, accept, finish, many, race
from velodrome.board.kept import keep
from velodrome.results.marks import Acknowledgement
from velodrome.results.objectives import BoardObjective
from velodrome.results.records import Checkpointing, KeptFile, Observed, Resumption
from velodrome.spec import parse_jobs
from velodrome.store import Store
from velodrome.trends.regressions import judge
from velodrome_leaderboard.documents import trials_csv
from velodrome_leaderboard.views import kept as kept_files

Draw = Callable[..., AppTest]

AT = datetime.now(UTC) - timedelta(minutes=10)
NAN = ("LossNotFinite", "the loss became nan in epoch 4")


def bare(html: str) -> str:
    """The text of some HTML, each stretch of blanks as one."""
    return re.sub(r"[ \n]+", " ", unescape(re.sub(r"<[^>]*>", " ", html))).strip(" ")


def text_of(app: AppTest) -> str:
    """All that the page says, tags left out."""
    parts = [html.body for html in app.html] + [text.value for text in app.text] + [code.value for code in app.code]
    parts += [heading.value for heading in app.header]
    return bare(" ".join(parts))


def table_of(app: AppTest, label: str) -> list[list[str]]:
    """The cells of the table with this label, row by row."""
    (table,) = [
        part for html in app.html for part in re.findall(r"<table.*?</table>", html.body) if f'"{label}"' in part
    ]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table)[1:]
    return [[bare(cell) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]


def links_of(app: AppTest) -> list[str]:
    return [unescape(href) for html in app.html for href in re.findall(r'href="([^"]*)"', html.body)]


def started(store: Store, done: int, board: str = "digits") -> Race:
    """A race of which `done` trials have a result and the next one is training."""
    made = race("running", AT + timedelta(minutes=1), name="again", board=board)
    store.register(made.info)
    at_work = [made.progress(made.trials[done], 0.4, datetime.now(UTC))]
    accept(store, made, [made.record(trial) for trial in made.trials[:done]], at_work)
    return made


def test_without_results_the_first_page_shows_the_command_to_run(page_of: Draw) -> None:
    app = page_of("boards")
    assert app.code[0].value == "velodrome run deploy/examples/digits.yaml"
    assert "No results yet" in text_of(app)


def test_five_hundred_boards_are_searched_sorted_and_turned_over(
    store: Store, page_of: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    from velodrome_leaderboard.data import ResultSource

    for number in range(500):
        made = race(
            f"job-{number}", AT + timedelta(seconds=number), board=f"board-{number:03}", riders=CLEAR, repeats=1
        )
        store.register(made.info)
    read: list[str] = []
    asked = ResultSource.objectives

    def noted(source: ResultSource, board: str) -> tuple[BoardObjective, ...]:
        read.append(board)
        return asked(source, board)

    monkeypatch.setattr(ResultSource, "objectives", noted)
    assert card_names(page_of("boards")) == [f"board-{number:03}" for number in range(499, 487, -1)]
    assert set(read) == {f"board-{number:03}" for number in range(499, 487, -1)}, "only what is shown is read"
    assert card_names(page_of("boards", page="42")) == [f"board-{number:03}" for number in range(7, -1, -1)]
    assert card_names(page_of("boards", order="name"))[:2] == ["board-000", "board-001"]
    app = page_of("boards", find="BOARD 13")
    assert card_names(app) == [f"board-{number:03}" for number in (413, 313, 213, *range(139, 130, -1))]
    assert "15 of 500 boards" in text_of(app)
    app = page_of("boards", find="bord-017")
    assert "Did you mean board-017" in text_of(app)
    app = page_of("boards")
    app.text_input[0].set_value("board-250").run()
    assert card_names(app) == ["board-250"]
    assert app.query_params["find"] in ("board-250", ["board-250"])


def card_names(app: AppTest) -> list[str]:
    """The names of the boards that the page shows, in order."""
    return [name for html in app.html for name in re.findall(r"<h2><a [^>]*>([^<]*)</a>", html.body)]


def test_a_board_with_an_open_regression_says_so_until_somebody_accepts_it(store: Store, page_of: Draw) -> None:
    from tools.sample_results import nights

    made = list(nights(AT, 20))
    for each in made:
        finish(store, each)
    app = page_of("boards")
    assert "1 open regression" in text_of(app)
    (link,) = [href for href in links_of(app) if href.startswith("history?")]
    assert "entry=cnn" in link
    assert "objective=speed" in link
    (regressed,) = [one for one in judge(store, made[-1].info.uid) if one.verdict == "Regressed"]
    mark = Acknowledgement(
        board="nightly",
        entry="cnn",
        metric_key=regressed.metric_key,
        job_uid=made[-1].info.uid,
        at=AT,
        note="on purpose",
    )
    store.mark(mark)
    assert "open regression" not in text_of(page_of("boards"))


def test_the_first_page_names_each_boards_leaders(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    finish(store, race("other", AT, name="other", riders={"alone": DIGITS["mlp"]}))
    started(store, 7, board="busy")
    page = text_of(page_of("boards"))
    assert "5 entries" in page
    assert "1 job " in page
    assert "running, 7 of 25 trials done" in page
    assert "alone" in page
    assert re.search(r"accuracy slow 98\.\d+ ± 0\.\d+ %", page)
    assert re.search(r"speed quick 1\.\d+ ± 0\.\d+ ms", page)


def test_a_board_ranks_entries_with_their_intervals(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    app = page_of("board", name="digits", objective="speed")
    rows = table_of(app, "Ranking by latency_p50_seconds{batch_size=1}")
    assert [row[1] for row in rows] == ["quick", "middle", "slow"]
    assert rows[0][0] == "1"
    assert re.fullmatch(r"\d\.\d+", rows[0][2])
    assert re.fullmatch(r"± 0\.\d+", rows[0][3])
    assert rows[0][4] == "5"
    page = text_of(app)
    assert "quick is best: significantly better than each of the other 2 entries at 95 %." in page
    assert "lower is better" in page
    assert "Student's t" in page
    assert "Sample CPU @ 2.00GHz · torch 2.15.0 · 2 CPUs" in page


def test_entries_that_cannot_be_told_apart_have_the_ranks_that_they_may_have(store: Store, page_of: Draw) -> None:
    twins = {name: Rider("velodrome/cnn", 0.97, 0.0003, 4e8, spread=0.01) for name in ("left", "right")}
    finish(store, race("done", AT, riders=twins))
    rows = table_of(page_of("board", name="digits"), "Ranking by accuracy")
    assert [row[0] for row in rows] == ["1-2", "1-2"]


def test_failed_and_unfinished_entries_are_listed_with_the_reason(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT), {"gru": NAN})
    app = page_of("board", name="digits")
    assert len(table_of(app, "Ranking by accuracy")) == 4
    ((entry, why, _, count, job),) = table_of(app, "Entries without a rank")
    assert (entry, why, count, job) == ("gru", "2 of 5 trials failed: LossNotFinite", "3 / 5", "digits")

    started(store, 3)
    again = page_of("board", name="digits")
    assert [row[0] for row in table_of(again, "Entries without a rank")] == ["cnn", "cnn-l1", "gru", "mlp"]
    ((_, entry, *_),) = table_of(again, "Ranking by accuracy")
    assert entry == "lstm (1)"
    assert "(1) lstm: from digits; the newer job again has no value here yet." in text_of(again)


def test_a_metric_that_cannot_be_measured_here_says_why(store: Store, page_of: Draw) -> None:
    objectives = [*OBJECTIVES, {"name": "energy", "metric": "energy_joules"}]
    finish(store, race("done", AT, riders=CLEAR, objectives=objectives))
    app = page_of("board", name="digits", objective="energy")
    assert "Nothing can be ranked yet." in text_of(app)
    assert {row[1] for row in table_of(app, "Entries without a rank")} == {
        "energy_joules was not measured: this device has no energy counter"
    }


# Pages show the same, whether the operator has kept what it read of the board, or nobody has.
as_kept = pytest.mark.parametrize("kept", [False, True], ids=["anew", "kept"])


@as_kept
def test_results_of_two_machines_are_never_in_one_table(store: Store, page_of: Draw, *, kept: bool) -> None:
    finish(store, race("old", AT - timedelta(days=1), machine="Old CPU", riders={"first": DIGITS["cnn"]}))
    finish(store, race("new", AT, machine="New CPU", riders={"second": DIGITS["mlp"]}))
    if kept:
        keep(store, "digits")
    app = page_of("board", name="digits", objective="speed")
    label = "Ranking by latency_p50_seconds{batch_size=1}"
    assert [row[1] for row in table_of(app, label)] == ["second"]
    assert "CPU differs: New CPU here, Old CPU there" in text_of(app)
    assert text_of(app).count("can't be compared with these") == 1
    (choice,) = app.selectbox
    assert choice.options == ["CPU: New CPU (1 entry)", "CPU: Old CPU (1 entry)"]
    choice.select_index(1).run()
    assert [row[1] for row in table_of(app, label)] == ["first"]
    assert app.query_params["cohort"]
    again = page_of("board", name="digits", objective="speed", cohort=app.query_params["cohort"])
    assert [row[1] for row in table_of(again, label)] == ["first"]
    quality = page_of("board", name="digits", objective="accuracy")
    assert {row[1] for row in table_of(quality, "Ranking by accuracy")} == {"first", "second"}


def test_trade_offs_name_the_front(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT, riders={**CLEAR, "poor": Rider("velodrome/mlp", 0.7, 0.05, 6e8, 0.001)}))
    app = page_of("board", name="digits", objective="Trade-offs")
    assert "slow and quick are on the front" in text_of(app)
    rows = table_of(app, "Entries by accuracy and speed")
    assert [(row[0], row[1]) for row in rows] == [
        ("slow", "on the front"),
        ("quick", "on the front"),
        ("middle", "dominated"),
        ("poor", "dominated"),
    ]
    three = page_of("board", name="digits", objective="Trade-offs", by=["accuracy", "speed", "efficiency"])
    assert table_of(three, "Entries by accuracy, speed and efficiency")


@as_kept
def test_a_long_ranking_comes_in_pages_and_can_be_searched(store: Store, page_of: Draw, *, kept: bool) -> None:
    finish(store, many(AT, 60, repeats=2))
    if kept:
        keep(store, "sweep-60")
    app = page_of("board", name="sweep-60")
    first = table_of(app, "Ranking by accuracy")
    assert len(first) == 25
    last = page_of("board", name="sweep-60", page="3")
    assert len(table_of(last, "Ranking by accuracy")) == 10
    for wild in ("99", "-1", "nonsense", "9" * 30):
        assert table_of(page_of("board", name="sweep-60", page=wild), "Ranking by accuracy")
    (field,) = app.text_input
    field.set_value("0042").run()
    assert [row[1] for row in table_of(app, "Ranking by accuracy")] == ["sweep-0042"]
    assert app.query_params["filter"] == "0042"


def test_a_search_without_a_hit_says_so_and_keeps_its_field(store: Store, page_of: Draw) -> None:
    finish(store, many(AT, 60, repeats=2))
    for name, find in (("sweep-60", "zzz"), ("sweep-60", "<b>"), ("sweep-60", " ")):
        app = page_of("board", name=name, find=find)
        assert "could not be shown" not in text_of(app)
        assert f'has "{find}" in its name' in text_of(app) or find == " "
        assert [field.value for field in app.text_input] == [find]


def test_a_search_finds_unranked_entries_too(store: Store, page_of: Draw) -> None:
    made = many(AT, 60, repeats=2)
    finish(store, made, {"sweep-0007": NAN})
    app = page_of("board", name="sweep-60", find="0007")
    assert [row[0] for row in table_of(app, "Entries without a rank")] == ["sweep-0007"]
    app = page_of("board", name="sweep-60", find="0042")
    assert [row[1] for row in table_of(app, "Ranking by accuracy")] == ["sweep-0042"]
    assert not any("Entries without a rank" in html.body for html in app.html)


def test_an_unforeseen_error_shows_a_reference_and_the_rest_of_the_page(
    store: Store, page_of: Draw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finish(store, race("done", AT))

    def broken(*_: object, **__: object) -> None:
        raise KeyError("names")

    monkeypatch.setattr("velodrome_leaderboard.views.ranking._table", broken)
    app = page_of("board", name="digits")
    (reference,) = re.findall(r"the reference ([0-9a-f]{8}) :", text_of(app))
    assert f"reference {reference}" in caplog.text
    assert "KeyError: 'names'" in caplog.text
    assert "names" not in text_of(app)
    assert table_of(app, "Jobs of digits")


def test_a_long_log_scrolls_and_can_be_taken_away(store: Store, page_of: Draw) -> None:
    made = race("done", AT)
    store.register(made.info)
    short, long = made.record(made.trials[5], NAN), made.record(made.trials[6], NAN)
    text = "\n".join(f"step {step}: loss 0.5" for step in range(1200))
    long = long.model_copy(update={"result": long.result.model_copy(update={"log_tail": text})})
    accept(store, made, [short, long])
    assert not page_of("run", job="done", trial="5").download_button
    app = page_of("run", job="done", trial="6")
    assert [button.label for button in app.download_button] == [f"Download it ({len(text) / 1000:.0f} kB)"]


def test_an_entry_that_was_found_has_its_kept_verdict(store: Store, page_of: Draw) -> None:
    first = many(AT - timedelta(days=1), 27, repeats=5)
    finish(store, first)
    finish(store, race("again", AT, name="sweep-27", riders=first.riders, repeats=5))
    keep(store, "sweep-27")
    (_, last) = table_of(page_of("board", name="sweep-27", page="2"), "Ranking by accuracy")
    (found,) = table_of(page_of("board", name="sweep-27", find=last[1]), "Ranking by accuracy")
    updated = 9  # in minutes, of which one may end in between
    assert found[:updated] + found[updated + 1 :] == last[:updated] + last[updated + 1 :]
    assert last[6].startswith("unchanged ")


def test_a_running_job_shows_its_trials(store: Store, page_of: Draw) -> None:
    started(store, 4)
    app = page_of("board", name="digits")
    assert [row[:3] for row in table_of(app, "Running trials of again")] == [["gru repeat 1", "Training", "6 / 15"]]


def test_a_job_shows_every_trial_and_the_file_to_run_it_again(store: Store, page_of: Draw) -> None:
    made = race("done", AT)
    finish(store, made, {"gru": NAN})
    app = page_of("job", uid="done")
    squares = [
        part
        for html in app.html
        for part in re.findall(r'<a href="run\?job=done&amp;trial=\d+" class="square (\w+)"', html.body)
    ]
    assert squares.count("good") == 23
    assert squares.count("bad") == 2
    (spec,) = parse_jobs(next(code.value for code in app.code if "apiVersion" in code.value))
    assert spec == made.plan.job


def test_an_entrys_runs_and_the_file_to_run_it_alone(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT), {"gru": NAN})
    app = page_of("job", uid="done", entry="gru")
    rows = table_of(app, "Runs of gru")
    assert [row[1] for row in rows] == ["succeeded", "LossNotFinite", "succeeded", "LossNotFinite", "succeeded"]
    assert re.fullmatch(r"9\d\.\d\d %", rows[0][2])
    assert "run?job=done&trial=4" in links_of(app)
    (spec,) = parse_jobs(next(code.value for code in app.code if "apiVersion" in code.value))
    assert [entry.name for entry in spec.spec.entries] == ["gru"]
    assert app.code[0].value == "velodrome run digits-gru.yaml"


def test_a_run_shows_what_it_did_and_where(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT))
    page = text_of(page_of("run", job="done", trial="7"))
    for part in ("mlp · seed 1", "velodrome/mlp", "sha256:5a5a", "torch 2.15.0", "batchSize", "RandomCrop", "ran"):
        assert part in page
    assert "energy_joules not measured: this device has no energy counter" in page


def test_a_run_shows_what_was_lost_and_which_files_it_kept(store: Store, page_of: Draw) -> None:
    made = race("done", AT)
    store.register(made.info)
    lost = Resumption(attempt="7-0-ab", step=1200, repeated_steps=30, lost_seconds=2.0)
    record = made.record(made.trials[7])
    told = {
        "checkpoints": Checkpointing(saved=3, seconds=0.5, resumed=(lost,)),
        "artifacts": (KeptFile(name="weights.pt", sha256="ab" * 32, bytes=4096),),
    }
    accept(store, made, [record.model_copy(update={"result": record.result.model_copy(update=told)})])
    page = text_of(page_of("run", job="done", trial="7"))
    assert "The trial was lost and went on." in page
    assert "7-0-ab was lost: went on from step 1,200, 30 steps of 2 s were made again" in page
    assert "ab" * 32 in page
    assert f"jobs/{made.info.uid}/artifacts/trials/7" in page


def test_files_that_this_machine_has_are_downloaded_from_the_page_of_their_run(
    store: Store, page_of: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELODROME_HOME", str(tmp_path))
    made = race("done", AT)
    store.register(made.info)
    record = made.record(made.trials[7])
    files = ("trace.json.gz", "weights.pt", "gone.pt", "cut.pt", "outside.pt")
    kept = tuple(KeptFile(name=name, sha256="ab" * 32, bytes=4) for name in files)
    accept(store, made, [record.model_copy(update={"result": record.result.model_copy(update={"artifacts": kept})})])
    folder = tmp_path / "jobs" / made.info.uid / "artifacts/trials/7"
    folder.mkdir(parents=True)
    for name in ("trace.json.gz", "weights.pt"):
        (folder / name).write_bytes(b"1234")
    (folder / "cut.pt").write_bytes(b"1")
    (tmp_path / "secret").write_bytes(b"1234")
    (folder / "outside.pt").symlink_to(tmp_path / "secret")
    app = page_of("run", job="done", trial="7")
    assert [button.label for button in app.download_button] == ["Download trace.json.gz", "Download weights.pt"]
    monkeypatch.setattr(kept_files, "_MOST", 3)
    app = page_of("run", job="done", trial="7")
    assert [code.value for code in app.code] == [f"cp {folder / name} ." for name in ("trace.json.gz", "weights.pt")]


def test_a_failed_run_shows_why_and_the_end_of_its_log(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT), {"cnn": NAN})
    app = page_of("run", job="done", trial="5")
    assert "the loss became nan in epoch 4" in text_of(app)
    assert "epoch 2/15: loss nan" in app.code[0].value


def test_a_running_trial_shows_its_live_curve(store: Store, page_of: Draw) -> None:
    started(store, 2)
    app = page_of("run", job="running", trial="2")
    assert "training" in text_of(app)
    assert "epoch 6 of 15" in text_of(app)
    waiting = page_of("run", job="running", trial="3")
    assert "not started yet" in text_of(waiting)


def test_a_conflict_is_shown_on_the_job_and_on_the_run(store: Store, page_of: Draw) -> None:
    made = race("done", AT)
    finish(store, made)
    accept(store, made, [made.record(made.trials[3], attempt="second")])
    job = page_of("job", uid="done")
    assert "two results that differ" in text_of(job)
    assert "run?job=done&trial=3" in links_of(job)
    app = page_of("run", job="done", trial="3")
    assert "reported results that differ" in text_of(app)
    rows = {row[0]: row[1:] for row in table_of(app, "Conflicting results")}
    assert rows["outcome"] == ["Succeeded", "Succeeded"]
    first, second = rows["accuracy"]
    assert first != second
    assert "differ" not in text_of(page_of("run", job="done", trial="4"))


def test_no_page_shows_a_pods_uid(store: Store, page_of: Draw) -> None:
    """Whoever knows the uid of a pod can report in its name."""
    made = race("done", AT)
    store.register(made.info)
    records = [made.record(made.trials[3], attempt=uid) for uid in ("uid-of-one", "uid-of-two")]
    records.append(made.record(made.trials[4], failure=NAN, attempt="uid-of-three"))
    seen = Observed(executor="kubernetes", node="node", pod="done-0-abcde")
    accept(store, made, [record.model_copy(update={"observed": seen}) for record in records])
    pages = [page_of("run", job="done", trial=trial) for trial in ("3", "4")]
    pages += [page_of("job", uid="done"), page_of("board", name="digits")]
    assert "done-0-abcde" in text_of(pages[0])
    for app in pages:
        assert "uid-of" not in " ".join(html.body for html in app.html) + text_of(app)
    table = trials_csv(store.records("done"))
    assert "done-0-abcde" in table
    assert "uid-of" not in table


@pytest.mark.parametrize(
    ("page", "query", "reported"),
    [
        ("board", {"name": "digit"}, ["There is no such board.", "Did you mean", "digits"]),
        ("board", {}, ["The address names no board."]),
        ("job", {"uid": "gone"}, ["There is no such job.", "gone"]),
        ("job", {"uid": "done", "entry": "gone"}, ["There is no such entry."]),
        ("run", {"job": "gone", "trial": "1"}, ["There is no such job."]),
        ("run", {"job": "done", "trial": "25"}, ["There is no such trial.", "trials 0 to 24"]),
        ("run", {"job": "done", "trial": "-1"}, ["There is no such trial."]),
        ("run", {"job": "done", "trial": "٣"}, ["There is no such trial."]),
        ("board", {"name": "digits", "objective": "gone", "cohort": "gone"}, ["cnn"]),
    ],
)
def test_an_address_that_leads_nowhere_says_so(
    store: Store, page_of: Draw, page: str, query: dict[str, str], reported: Sequence[str]
) -> None:
    finish(store, race("done", AT))
    found = text_of(page_of(page, **query))
    for part in reported:
        assert part in found


def test_a_redis_that_holds_something_else_is_named(store: Store, page_of: Draw, redis_server: object) -> None:
    finish(store, race("done", AT))
    with redis_server.client() as client:  # type: ignore[attr-defined]
        client.delete("velodrome:boards")
        client.set("velodrome:boards", "something else")
    page = text_of(page_of("boards"))
    assert "before somebody changes something" in page
    assert "velodrome:boards" in page or "use another database" in page


def test_without_an_address_of_redis_the_page_says_how_to_start(page_of: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VELODROME_REDIS_URL")
    assert "velodrome leaderboard" in text_of(page_of("boards"))


# How entries went over time


def nightly(store: Store) -> list[Race]:
    """Three nights, of which the last made the entry in front slow."""
    slow = {**CLEAR, "quick": Rider("velodrome/mlp", 0.9, 0.002, 3e8, 0.001)}
    made = [
        race(f"night-{night}", AT + timedelta(minutes=night), name=f"night-{night}", board="digits", riders=riders)
        for night, riders in enumerate((CLEAR, CLEAR, slow))
    ]
    for one in made:
        finish(store, one)
    return made


def test_a_row_shows_what_regressed_and_leads_to_its_history(store: Store, page_of: Draw) -> None:
    nightly(store)
    app = page_of("board", name="digits", objective="speed")
    trend = {row[1].split()[0]: row[6] for row in table_of(app, "Ranking by latency_p50_seconds{batch_size=1}")}
    assert trend["quick"].startswith("regressed +")
    for entry in ("slow", "middle"):
        assert re.fullmatch(r"unchanged \d+ % would have been seen", trend[entry])
    assert "history?board=digits&entry=quick&objective=speed" in links_of(app)


def test_a_history_shows_each_job_against_its_baseline_and_accepted_changes_as_such(
    store: Store, page_of: Draw
) -> None:
    *_, last = nightly(store)
    where = {"board": "digits", "entry": "quick", "objective": "speed"}
    app = page_of("history", **where)
    assert "quick regressed by speed." in text_of(app)
    rows = table_of(app, "Jobs, newest first")
    assert [(row[0], row[4]) for row in rows] == [
        ("night-2", "regressed"), ("night-1", "unchanged"), ("night-0", "first result"),
    ]  # fmt: skip
    key = "latency_p50_seconds{batch_size=1}"
    store.mark(
        Acknowledgement(board="digits", entry="quick", metric_key=key, job_uid=last.info.uid, at=last.info.created_at)
    )
    app = page_of("history", **where)
    assert "regressed by" not in text_of(app)
    assert table_of(app, "Jobs, newest first")[0][4] == "accepted"


def test_a_link_of_an_alert_shows_the_two_runs_that_were_compared(store: Store, page_of: Draw) -> None:
    _, before, last = nightly(store)
    where = {"board": "digits", "entry": "quick", "objective": "speed"}
    app = page_of("history", **where, at=f"{last.info.created_at.timestamp():.0f}")
    assert "quick regressed by speed." in text_of(app)
    this, baseline = table_of(app, "The runs compared")
    assert (this[:2], baseline[:2]) == (["This run", "night-2"], ["The newest of its level", "night-1"])
    assert float(this[2]) == pytest.approx(2.0, rel=0.1)
    assert float(baseline[2]) == pytest.approx(1.2, rel=0.1)
    assert this[4] == baseline[4] == "5 / 5"
    assert {"job?uid=night-2&entry=quick", "job?uid=night-1&entry=quick"} <= set(links_of(app))
    assert "newer jobs" not in text_of(app)

    app = page_of("history", **where, at=f"{before.info.created_at.timestamp():.0f}")
    assert "regressed by" not in text_of(app)
    assert [row[1] for row in table_of(app, "The runs compared")] == ["night-1", "night-0"]
    assert "There are newer jobs: see the newest one" in text_of(app)
    assert "history?board=digits&entry=quick&objective=speed" in links_of(app)


@pytest.mark.parametrize("at", ["1", "next", "99999999999999"])
def test_a_link_to_a_job_that_is_gone_shows_how_it_stands_now(store: Store, page_of: Draw, at: str) -> None:
    nightly(store)
    page = text_of(page_of("history", board="digits", entry="quick", objective="speed", at=at))
    assert ("That job is not here any more." in page) == (at == "1")
    assert "quick regressed by speed." in page


def test_a_history_of_nothing_says_so(store: Store, page_of: Draw) -> None:
    nightly(store)
    assert "There is no such objective" in text_of(page_of("history", board="digits", entry="quick", objective="x"))
    assert "There is nothing to show" in text_of(page_of("history", board="digits", entry="gru", objective="speed"))


def test_every_page_leads_to_the_guide_and_the_guide_explains_the_words_of_a_ranking(
    page_of: Draw,
) -> None:
    assert "How to read these pages" in text_of(page_of("boards"))
    text = "\n".join(part.value for part in page_of("guide").markdown)
    for word in ("Rank", "Tied with", "Measured under", "Not ranked", "Trend", "Noise floor", "Run again"):
        assert f"**{word}.**" in text
