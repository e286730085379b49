"""What people read twice: near-equal lines, and entries that somebody has given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from velodrome.board.reading import BoardReader
from velodrome.cli.app import app
from velodrome.store import Store

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

Run = Callable[..., "Race"]


def test_first_results_are_told_in_one_line(run: Run, redis_server: RedisServer) -> None:
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.002), "gru": (0.7, 0.05)})
    done = CliRunner().invoke(app, ["regressions"], env={"VELODROME_REDIS_URL": redis_server.url})
    (told,) = done.output.splitlines()
    assert told.startswith("Unknown  accuracy of cnn, mlp, gru; speed of cnn, mlp, gru: the first complete result")


def test_an_entry_that_failed_and_was_taken_out_of_its_file_is_gone(store: Store, make_race: type[Race]) -> None:
    def race(uid: str, name: str, entries: tuple[str, ...], created: int, fails: str = "") -> None:
        made = make_race(uid=uid, name=name, entries=entries, created=created)
        store.register(made.info)
        records = []
        for index in range(made.info.trials):
            failed = "LossNotFinite" if made.plan.trial(index).entry == fails else None
            records.append(made.record(index, failed=failed, values={} if failed else {"accuracy": 0.9}))
        store.accept(uid, 1, records)

    def unranked() -> list[str]:
        reader = BoardReader(store, "digits")
        return [row.entry for row in reader.objective(reader.objectives[0]).ranking.unranked]

    race("a", "mine", ("cnn", "typo"), 0, fails="typo")
    assert unranked() == ["typo"]
    race("b", "other", ("mlp",), 1)
    assert unranked() == ["typo"], "a job of another name gives nothing up"
    race("c", "mine", ("cnn",), 2)
    assert unranked() == []
