"""Data that are read by worker processes while training goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from velodrome.errors import ConfigurationError, TrialFailed
from velodrome_runner.data import Memory, Part, Samples
from velodrome_runner.data.stream import Stream, Way, shared_memory_free, way


class Numbered:
    """Image i is filled with i, and says which process made it."""

    def __init__(self, count: int, side: int = 4, broken: int = -1, fatal: int = -1) -> None:
        self.count, self.side, self.broken, self.fatal = count, side, broken, fatal

    def __len__(self) -> int:
        return self.count

    @property
    def targets(self) -> torch.Tensor:
        return torch.arange(self.count)

    lengths = None

    @property
    def nbytes(self) -> int:
        return self.count * self.side**2

    def take(self, indices: torch.Tensor) -> Samples:
        if self.broken in indices.tolist():
            raise ConfigurationError("b.jpg is no image", "DatasetCorrupt")
        if self.fatal in indices.tolist():
            os.kill(os.getpid(), signal.SIGBUS)
        images = indices.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, self.side, self.side).contiguous()
        process = torch.full((len(indices),), os.getpid())
        return Samples({"images": images, "process": process}, indices)


ORDER = torch.randperm(40, generator=torch.Generator().manual_seed(0)).split(7)


@pytest.mark.parametrize("given", [Way(0, why="no worker"), Way(1), Way(2), Way(2, shared=False, why="small")], ids=str)
def test_every_way_gives_the_batches_in_the_order_that_is_asked_for(given: Way) -> None:
    with Stream(Numbered(40), given) as stream:
        processes = set()
        for order in (ORDER, ORDER[::-1]):  # a second pass uses the same workers
            batches = list(stream.batches(order))
            assert [batch.targets.tolist() for batch in batches] == [each.tolist() for each in order]
            assert all(torch.equal(batch.inputs["images"][:, 0, 0, 0].long(), batch.targets) for batch in batches)
            assert {batch.inputs["images"].dtype for batch in batches} == {torch.uint8}
            processes |= {int(number) for batch in batches for number in batch.inputs["process"]}
    assert len(processes) == max(given.workers, 1)
    assert (os.getpid() in processes) == (given.workers == 0)


def test_a_pass_that_is_broken_off_leaves_the_next_one_whole() -> None:
    with Stream(Numbered(40), Way(2)) as stream:
        assert next(stream.batches(ORDER)).targets.tolist() == ORDER[0].tolist()
        assert [batch.targets.tolist() for batch in stream.batches(ORDER)] == [each.tolist() for each in ORDER]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_can_not_be_read_keeps_its_reason(workers: int) -> None:
    with (
        Stream(Numbered(40, broken=5), Way(workers)) as stream,
        pytest.raises(ConfigurationError, match=r"^b\.jpg is no image$") as caught,
    ):
        list(stream.batches(ORDER))
    assert caught.value.reason == "DatasetCorrupt"


def test_a_lost_worker_fails_the_trial_and_names_the_ways_out() -> None:
    with Stream(Numbered(40, fatal=5), Way(1)) as stream, pytest.raises(TrialFailed) as caught:
        list(stream.batches(ORDER))
    assert caught.value.reason == "DataWorkerLost"
    assert "runner.shmSize" in str(caught.value)


def test_workers_leave_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with Stream(Numbered(40), Way(1)) as stream:
        list(stream.batches(ORDER))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    ("cpus", "batch_size", "free", "expected"),
    [
        (4, 64, 1e9, Way(4)),
        (1, 64, 1e9, Way(1)),
        (16, 64, 1e9, Way(10)),  # no more workers than batches
    ],
)
def test_there_is_a_worker_for_each_cpu(cpus: int, batch_size: int, free: float, expected: Way) -> None:
    assert way(Numbered(640), batch_size, cpus=cpus, shared_bytes=free) == expected


def test_small_shared_memory_is_left_alone() -> None:
    source = Numbered(640, side=256)
    small = way(source, 64, cpus=4, shared_bytes=71 * 2**20)
    assert (small.workers, small.shared) == (4, True)
    smaller = way(source, 64, cpus=4, shared_bytes=69 * 2**20)
    assert (smaller.workers, smaller.shared) == (4, False)
    assert "has 69 MiB free, and batches need 56 MiB" in str(smaller)
    assert "raise runner.shmSize" in str(smaller)
    assert not way(source, 64, cpus=4, shared_bytes=0).shared


def test_pipes_are_used_and_shared_memory_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = "torch.multiprocessing.reductions.reduce_storage"
    monkeypatch.setattr(shared, lambda *_: pytest.fail("shared memory was used"))
    with Stream(Numbered(40), Way(1, shared=False, why="small")) as stream:
        assert len(list(stream.batches(ORDER))) == len(ORDER)


def test_what_is_in_memory_needs_no_worker() -> None:
    memory = Memory(Numbered(8).take(torch.arange(8)))
    assert way(memory, 4, cpus=4) == way(Part(memory, torch.arange(2)), 4, cpus=4) == Way(0)
    assert str(Way(0)) == "in memory"


def test_free_shared_memory_is_what_the_system_says(tmp_path: Path) -> None:
    state = os.statvfs(tmp_path)
    assert shared_memory_free(tmp_path) == pytest.approx(state.f_bavail * state.f_frsize, rel=0.2)
    assert shared_memory_free(tmp_path / "none") == 0
