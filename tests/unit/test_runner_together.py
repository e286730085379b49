"""Checkpoints of several ranks: all go on from the first one's, or all start again. Ranks are threads here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.unit.test_runner_resuming import IDENTITY, a_program, cut, gone, half_a_manifest, of_other_code
from velodrome import keys
from velodrome.plan import plan
from velodrome.results.records import DatasetFacts, Environment, GrantedResources, Hardware, Software
from velodrome.spec import BenchmarkJob
from velodrome_runner.checkpoints import Checkpoints
from velodrome_runner.ranks import Ranks
from velodrome_runner.settings import Settings
from velodrome_runner.together import SharedCheckpoints, checkpoints_of, until_next

T = TypeVar("T")
PATIENCE = 20.0


@dataclass
class Meeting:
    """Where the threads of a test exchange what processes send each other."""

    size: int
    said: dict[int, Any] = field(default_factory=dict)
    barrier: threading.Barrier = field(init=False)
    rounds: int = 0

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size)

    def all(self, rank: int, value: T) -> list[T]:
        self.said[rank] = value
        self.barrier.wait(PATIENCE)
        found = [self.said[each] for each in range(self.size)]
        self.rounds += rank == 0
        self.barrier.wait(PATIENCE)
        return found


@dataclass(frozen=True)
class Threads(Ranks):
    """Ranks that meet without a network."""

    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def agreed(self, value: Any) -> Any:
        return self.meeting.all(self.rank, value)[0]

    def gathered(self, value: T) -> list[T] | None:
        found = self.meeting.all(self.rank, value)
        return found if self.leads else None


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def together(size: int, work: Callable[[Threads], T]) -> tuple[list[T], Meeting]:
    """What the work of each rank returned."""
    meeting = Meeting(size)
    with ThreadPoolExecutor(size) as pool:
        made = [pool.submit(work, Threads(rank, size, meeting=meeting)) for rank in range(size)]
        return [each.result(PATIENCE) for each in made], meeting


def shared(folder: Path, ranks: Ranks, **options: Any) -> SharedCheckpoints:
    kept = Checkpoints(folder, 0.0, identity=IDENTITY, attempt="pod", **options) if ranks.leads else Checkpoints()
    return SharedCheckpoints(kept, ranks)


def saved_by_two(folder: Path) -> None:
    def work(ranks: Threads) -> None:
        checkpoints = shared(folder, ranks)
        assert checkpoints.restored() is None
        checkpoints.save(7, 1.5, lambda: {"weights": ranks.rank}, {"drawn": ranks.rank * 10})

    together(2, work)


def test_each_rank_gets_what_all_share_and_its_own_part(tmp_path: Path) -> None:
    saved_by_two(tmp_path)
    found, _ = together(2, lambda ranks: shared(tmp_path, ranks).restored())
    assert found == [{"weights": 0, "seconds": 1.5, "own": {"drawn": rank * 10}} for rank in range(2)]


@pytest.mark.parametrize("damage", [cut, gone, of_other_code, half_a_manifest, a_program])
def test_if_the_first_rank_can_not_use_it_all_start_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    saved_by_two(tmp_path)
    damage(tmp_path)
    found, _ = together(2, lambda ranks: shared(tmp_path, ranks).restored())
    assert found == [None, None]


def test_ranks_save_at_the_same_steps_and_ask_the_first_one_seldom(tmp_path: Path) -> None:
    """A step takes a millisecond, and a checkpoint is due after each second: by the first rank's clock alone."""

    def work(ranks: Threads) -> list[int]:
        clock = Clock()
        kept = Checkpoints(tmp_path, 1.0, IDENTITY, clock=clock) if ranks.leads else Checkpoints()
        checkpoints = SharedCheckpoints(kept, ranks)
        checkpoints.restored()
        saved = []
        for step in range(1, 5001):
            clock.now = step / 1000 if ranks.leads else 1e6 / step
            if checkpoints.due(step, clock.now):
                checkpoints.save(step, clock.now, dict, {})
                saved.append(step)
        return saved

    (first, second), meeting = together(2, work)
    assert first == second
    assert 3 <= len(first) <= 5
    assert meeting.rounds < 50, "not in each of 5,000 steps"


def test_ranks_ask_no_more_when_no_checkpoints_are_kept() -> None:
    def work(ranks: Threads) -> bool:
        checkpoints = SharedCheckpoints(Checkpoints(), ranks)
        assert checkpoints.restored() is None
        return any(checkpoints.due(step, float(step)) for step in range(100))

    found, meeting = together(2, work)
    assert found == [False, False]
    assert meeting.rounds == 1


def test_a_state_that_is_no_plain_data_ends_checkpoints_on_all_ranks(tmp_path: Path) -> None:
    def work(ranks: Threads) -> list[int]:
        checkpoints = shared(tmp_path, ranks)
        checkpoints.restored()
        due = [step for step in range(1, 9) if checkpoints.due(step, float(step))]
        checkpoints.save(9, 9.0, lambda: {"path": Path()}, {})
        return due + [step for step in range(10, 99) if checkpoints.due(step, float(step))]

    found, _ = together(2, work)
    assert found[0] == found[1]
    assert max(found[0]) < 9
    assert not list(tmp_path.glob("*.pt"))


def goes_on(folder: Path, budget: dict[str, int], threads: tuple[int, ...]) -> tuple[bool, str]:
    """Whether a trial of as many ranks as there are numbers of threads finds a checkpoint, and else why not."""
    spec = {
        "dataset": {"name": "digits"},
        "budget": budget,
        "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
        "artifacts": {"checkpointSeconds": 1},
    }
    job = BenchmarkJob.model_validate(
        {"apiVersion": keys.API_VERSION, "kind": keys.KIND, "metadata": {"name": "t"}, "spec": spec}
    )
    facts = DatasetFacts(
        name="digits", digest="sha256:" + "0" * 64, train_samples=10, validation_samples=2, test_samples=3, shape=(4,),
        classes=("0", "1"),
    )  # fmt: skip
    environ = {keys.ENV_SPEC: "job.json", keys.ENV_INDEX: "0", keys.ENV_JOB_UID: "uid", keys.ENV_ATTEMPT: "pod"}
    settings = Settings.read({**environ, keys.ENV_SCRATCH: str(folder)})

    def work(ranks: Threads) -> tuple[bool, str]:
        seen = Environment(
            hardware=Hardware(cpu_model="Ryzen", cpu_count=2),
            software=Software(velodrome="0.1.0", python="3.11.7", framework="torch 2.15.0"),
            resources=GrantedResources(cpus=threads[ranks.rank]),
        )
        mine = replace(settings, ranks=ranks)
        kept = checkpoints_of(plan(job).trial(0), mine, job.spec.artifacts, facts, None, seen)
        checkpoints = SharedCheckpoints(kept, ranks)
        found = checkpoints.restored()
        if found is None:
            checkpoints.save(5, 1.0, dict, {})
        return found is not None, kept.problem or ("moved" if kept.moved else "")

    (first, *others), _ = together(len(threads), work)
    assert all(found is first[0] for found, _ in others)
    return first


EPOCHS, SECONDS = {"maxEpochs": 2}, {"maxEpochs": 2, "maxSeconds": 9}


@pytest.mark.parametrize(
    ("budget", "before", "after", "expected"),
    [
        (EPOCHS, (1, 2), (1, 2), (True, "")),
        (EPOCHS, (1, 1), (1, 2), (True, "moved")),  # the second pod has another share of its machine
        (SECONDS, (1, 1), (1, 2), (False, "the checkpoint is of another machine, so training starts again")),
        (EPOCHS, (1, 1), (1, 1, 1), (False, "the checkpoint is of another number of pods, so training starts again")),
        (EPOCHS, (1, 1), (1,), (False, "the checkpoint is of another number of pods, so training starts again")),
    ],
)
def test_a_checkpoint_is_of_all_machines_and_of_their_number(
    tmp_path: Path, budget: dict[str, int], before: tuple[int, ...], after: tuple[int, ...], expected: tuple[bool, str]
) -> None:
    assert goes_on(tmp_path, budget, before) == (False, "")
    assert goes_on(tmp_path, budget, after) == expected


@pytest.mark.parametrize(
    ("steps", "seconds", "expected"),
    [(100, 1.0, 100), (100, 2.0, 50), (10, 0.01, 100), (1, 30.0, 1), (0, 0.0, 10), (5, 0.0, 50)],
)
def test_when_to_ask_again_follows_from_the_pace(steps: int, seconds: float, expected: int) -> None:
    assert until_next(steps, seconds, pace=1.0) == expected
