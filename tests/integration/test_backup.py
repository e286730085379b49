"""Backups of a real Redis in a folder and in a real object store: what is restored, and what a kill leaves behind."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from obstore.store import from_url

from tests.integration.conftest import any_redis
from velodrome.backup import document
from velodrome.backup.document import BackupDamaged, ResultsDeleted, check_backup, write_backup
from velodrome.backup.places import FolderPlace, PlaceRefused, PlaceUnavailable, place_at
from velodrome.backup.rotation import make_backup, newest_backup, restore_backup
from velodrome.board.kept import keep
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.connections.direct import open_directly
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.store import BoardTaken, Reader, Store, export_lines, import_lines, open_store
from velodrome.store.deletion import DeletionTarget, open_deleter
from velodrome.trends.regressions import judge

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

NOW = datetime(2026, 3, 1, 2, tzinfo=UTC)
MARKED = datetime(2026, 1, 2, tzinfo=UTC)
Run = Callable[..., "Race"]


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """One kind of Redis is enough here: the store's own tests look at every kind."""
    return any_redis()


@pytest.fixture
def other(redis_server: RedisServer) -> Iterator[Store]:
    """Another empty store."""
    with open_store(f"{redis_server.url}?db=1") as opened:
        yield opened


def nights(run: Run, store: Store, count: int = 4) -> None:
    """Some jobs on two boards, with marks."""
    for night in range(count):
        run({"cnn": (0.9, 0.010 + 0.002 * night), "mlp": (0.8, 0.02)})
    run({"cnn": (0.9, 0.010)}, board="other")
    jobs = store.jobs("digits")
    store.mark(Baseline(board="digits", entry="cnn", job_uid=jobs[-1].uid, at=MARKED, note="a good night"))
    store.mark(
        Acknowledgement(board="digits", entry="cnn", metric_key="accuracy", job_uid=jobs[0].uid, at=MARKED, note="ok")
    )


def shown(reader: Reader) -> dict[str, Any]:
    """All that any viewer sees of any board."""
    boards: dict[str, Any] = {}
    for board in reader.boards():
        objectives = objectives_of(reader, board.name)
        readings = read_objectives(reader, board.name, objectives, verdicts=True)
        jobs = list(reader.each_job(board.name))
        boards[board.name] = {
            "board": (board.jobs, board.entries),
            "owner": reader.owner(board.name),
            "objectives": objectives,
            "readings": readings,
            "jobs": [job.uid for job in jobs],
            "verdicts": {job.uid: judge(reader, job.uid) for job in jobs},
            "baselines": reader.baselines(board.name),
            "acknowledgements": reader.acknowledgements(board.name),
            "trials": {job.uid: (reader.records(job.uid, 0, job.trials), reader.trials(job.uid)) for job in jobs},
            "conflicts": {job.uid: reader.conflicts(job.uid) for job in jobs},
        }
    return boards


def test_a_restored_store_shows_the_same_boards(store: Store, other: Store, run: Run, tmp_path: Path) -> None:
    nights(run, store)
    for board in ("digits", "other"):
        keep(store, board)
    place = FolderPlace(tmp_path)
    made = make_backup(store, place, NOW, keep=3)
    assert (made.contents.jobs, made.contents.results) == (5, 45)
    report = restore_backup(other, place, newest_backup(place))
    assert (report.rejected_count, report.conflicts) == (0, 0)
    assert shown(other) == shown(store)
    assert other.boards() == store.boards()
    assert [line for line in shown(other)["digits"]["verdicts"].values() if line]
    again = restore_backup(other, place, made.name)
    assert (again.imported, again.conflicts, again.rejected_count) == (0, 0, 0)
    with pytest.raises(BoardTaken):
        other.register(
            next(other.each_job("digits")).model_copy(update={"uid": "x", "namespace": "team-b"}), exclusive=True
        )


def placeless(store: Store) -> list[dict[str, Any]]:
    """All that is exported, without the numbers that order jobs: a clock that went back shows there alone."""
    return [{**json.loads(line), "place": None} for line in export_lines(store)]


JOBS = st.lists(
    st.tuples(
        st.sampled_from(["digits", "other"]),
        st.sampled_from(["team-a", "team-b"]),
        st.integers(-3, 10**6),  # when the clock says that it was created
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.sampled_from(["a1", "a2"]),
                st.sampled_from([None, "OutOfMemory", "LossNotFinite"]),
                st.sampled_from(["Ryzen", "Xeon"]),
                st.floats(0, 1),
            ),
            max_size=10,
        ),
        st.booleans(),
        st.booleans(),
    ),
    max_size=6,
)


def test_any_store_comes_back_as_it_was(redis_server: RedisServer, make_race: type[Race]) -> None:
    @settings(max_examples=30, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # to shrink takes minutes
    @given(JOBS)
    def comes_back(jobs: list[Any]) -> None:
        with redis_server.client() as client:
            client.flushall()
        with open_store(redis_server.url) as store, open_store(f"{redis_server.url}?db=1") as other:
            clock = 0
            for number, (board, namespace, created, results, pinned, accepted) in enumerate(jobs):
                race = make_race(
                    uid=f"job-{number}", name=f"job-{number % 2}", board=board, created=created, entries=("cnn", "mlp")
                )
                store.register(race.info.model_copy(update={"namespace": namespace}))
                for index, attempt, failed, cpu, accuracy in results:
                    values = {"accuracy": accuracy}
                    clock = max(clock, created) + 1  # a result comes after its job, by whatever clock
                    record = race.record(
                        index, attempt=attempt, failed=failed, cpu=cpu, values=values, accepted=clock, finished=clock
                    )
                    store.accept(race.uid, 0, [record])
                mark: dict[str, Any] = {"board": board, "entry": "cnn", "job_uid": race.uid, "at": MARKED}
                if pinned:
                    store.mark(Baseline(**mark))
                if accepted:
                    store.mark(Acknowledgement(**mark, metric_key="accuracy"))
            stream = io.BytesIO()
            write_backup(store, stream)
            stream.seek(0)
            restored = document.read_backup(stream, "b")
            assert import_lines(other, restored).rejected_count == 0
            assert shown(other) == shown(store)
            assert [job.uid for job in other.jobs()] == [job.uid for job in store.jobs()]
            assert placeless(other) == placeless(store)

    comes_back()


def test_what_comes_while_a_backup_is_made_harms_nothing(
    store: Store, other: Store, make_race: type[Race], run: Run, redis_server: RedisServer
) -> None:
    nights(run, store)
    late = make_race(uid="late", name="late", created=99)
    stream = io.BytesIO()

    class Busy(Reader):
        def records(self, uid: str, start: int = 0, count: int = 100) -> Any:
            store.register(late.info)
            store.accept("late", 0, [late.record(0)])
            return super().records(uid, start, count)

    write_backup(Busy(redis_server.client()), stream)
    stream.seek(0)
    assert import_lines(other, document.read_backup(stream, "b")).rejected_count == 0
    assert len(other.jobs()) >= 5


@pytest.mark.parametrize("times", [1, document.TRIES])
def test_what_is_deleted_while_a_backup_is_made_is_not_in_it_by_half(
    store: Store, other: Store, run: Run, redis_server: RedisServer, times: int
) -> None:
    nights(run, store, count=8)
    deleted: list[str] = []
    begun: list[bool] = []

    class Deleting(Reader):
        """It has read a page of a job's results when somebody deletes that job: once in each of the first exports."""

        def records(self, uid: str, start: int = 0, count: int = 100) -> Any:
            found = super().records(uid, start, count)
            begun.append(uid == "job-9")  # the newest, with which each export begins
            if len(deleted) < min(times, sum(begun)) and uid != "job-9":
                deleted.append(uid)
                with open_deleter(redis_server.url) as deleter:
                    deleter.delete(DeletionTarget("digits", uid=uid), with_baselines=True)
            return found

    stream = io.BytesIO()
    if times == document.TRIES:
        with pytest.raises(ResultsDeleted):
            write_backup(Deleting(redis_server.client()), stream)
        return
    write_backup(Deleting(redis_server.client()), stream)
    stream.seek(0)
    import_lines(other, document.read_backup(stream, "b"))
    assert shown(other) == shown(store)
    assert deleted
    assert other.job(deleted[0]) is None


def test_older_backups_go_after_the_new_one_was_read_again(store: Store, run: Run, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    run({"cnn": (0.9, 0.01)})
    names = [make_backup(store, place, NOW + timedelta(days=day), keep=3).name for day in range(5)]
    assert place.names() == names[2:]
    assert (tmp_path / "notes.txt").exists()
    assert make_backup(store, place, NOW - timedelta(days=999), keep=3).name > names[-1], "the clock was set back"


def test_nothing_is_removed_when_the_new_one_can_not_be_read(
    store: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run({"cnn": (0.9, 0.01)})
    place = FolderPlace(tmp_path)
    first = make_backup(store, place, NOW, keep=1).name

    class Rotten(FolderPlace):
        """A disk that keeps something else than what was written."""

        def put(self, name: str, write: Any) -> Any:
            found = super().put(name, write)
            kept = (self.folder / name).read_bytes()
            (self.folder / name).write_bytes(kept[:-9])
            return found

    with pytest.raises(BackupDamaged):
        make_backup(store, Rotten(tmp_path), NOW, keep=1)
    assert first in place.names()


def test_a_damaged_backup_restores_nothing_and_an_older_one_everything(
    store: Store, other: Store, run: Run, tmp_path: Path
) -> None:
    nights(run, store)
    place = FolderPlace(tmp_path)
    good = make_backup(store, place, NOW, keep=0).name
    bad = make_backup(store, place, NOW + timedelta(days=1), keep=0).name
    text = (tmp_path / bad).read_bytes()
    (tmp_path / bad).write_bytes(text[: len(text) // 2])
    with pytest.raises(BackupDamaged, match="restore another one"):
        restore_backup(other, place, newest_backup(place))
    assert other.jobs() == []
    restore_backup(other, place, newest_backup(place, good))
    assert shown(other) == shown(store)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "velodrome", *words]


def test_a_backup_that_is_killed_at_any_moment_leaves_no_half_file(
    store: Store, make_race: type[Race], redis_server: RedisServer, tmp_path: Path
) -> None:
    race = make_race(repeats=100)
    store.register(race.info)
    store.accept(race.uid, 0, [race.record(index, epochs=60) for index in range(len(race.plan))])
    place = FolderPlace(tmp_path)
    before = make_backup(store, place, NOW, keep=0).name
    luck = random.Random(1)  # noqa: S311 - it opens nothing
    caught = 0
    for _ in range(8):
        process = subprocess.Popen(
            command("backup", str(tmp_path), "--redis", redis_server.url, "--keep", "2"), stdout=subprocess.DEVNULL
        )
        while process.poll() is None and not list(tmp_path.glob(".velodrome-*.part")):
            time.sleep(0.001)
        time.sleep(luck.uniform(0, 0.15))
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        caught += process.wait() == -signal.SIGKILL
        for name in place.names():
            with place.opened(name) as stream:
                check_backup(stream, name)
        assert place.names()
    assert caught >= 4, "most were killed while they wrote"
    assert list(tmp_path.glob(".velodrome-*.part")), "a part was left, and counts for nothing"
    for part in tmp_path.glob(".velodrome-*.part"):
        os.utime(part, (0, 0))
    make_backup(store, place, NOW, keep=1)
    assert not list(tmp_path.glob(".velodrome-*.part")), "what killed processes left is swept up a day later"
    assert len(place.names()) == 1
    assert before not in place.names()


def test_the_commands_make_list_and_restore(
    store: Store, other: Store, run: Run, redis_server: RedisServer, tmp_path: Path
) -> None:
    nights(run, store)

    def velodrome(*words: str, url: str = redis_server.url) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*words, "--redis", url), capture_output=True, text=True, check=False)

    made = velodrome("backup", str(tmp_path / "made"), "--keep", "1")
    assert made.returncode == 0, made.stderr
    assert ": 5 jobs, 45 results, " in made.stdout
    second = velodrome("backup", str(tmp_path / "made"), "--keep", "1")
    assert "removed velodrome-" in second.stdout
    listed = velodrome("restore", str(tmp_path / "made"), "--list")
    assert (listed.returncode, "whole" in listed.stdout) == (0, True)
    assert other.jobs() == []
    restored = velodrome("restore", str(tmp_path / "made"), url=f"{redis_server.url}?db=1")
    assert "imported 54" in restored.stdout
    assert shown(other) == shown(store)
    (name,) = FolderPlace(tmp_path / "made").names()
    imported = velodrome("import", str(tmp_path / "made" / name), url=f"{redis_server.url}?db=2")
    assert (imported.returncode, "imported 54" in imported.stdout) == (0, True), imported.stderr
    (tmp_path / "made" / name).write_bytes(b"broken")
    listed = velodrome("restore", str(tmp_path / "made"), "--list")
    assert (listed.returncode, "is damaged" in listed.stdout) == (1, True)
    for words in (("restore", str(tmp_path / "none")), ("restore", str(tmp_path)), ("backup", "ftp://x/y")):
        refused = velodrome(*words)
        assert refused.returncode == 3, refused
        assert refused.stderr.count("\n") == 1, refused.stderr


def test_a_folder_that_can_not_be_written_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(PlaceRefused, match="can't be used for backups"):
        place_at(str(tmp_path / "file" / "inside"), make=True)
    full = Path("/dev/full")

    class Full(FolderPlace):
        def put(self, name: str, write: Any) -> Any:
            with self._told(), full.open("wb", buffering=0) as stream:
                stream.write(b"x")

    with pytest.raises(PlaceRefused, match="No space left on device"):
        make_backup(store, Full(tmp_path), NOW, keep=1)


# A real object store


def _ports(count: int) -> list[int]:
    """Free ports, of which the gRPC ports of SeaweedFS, 10,000 above, are free too."""
    found: list[int] = []
    for port in range(20_100, 40_000, 7):
        with suppress(OSError), closing(socket.socket()) as one, closing(socket.socket()) as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a SeaweedFS, which speaks S3 and checks signatures."""
    folder = tmp_path_factory.mktemp("objects")
    identity = {
        "name": "backup",
        "credentials": [{"accessKey": "velodrome", "secretKey": "secret"}],
        "actions": ["Admin"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = _ports(4)
    options = [
        f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}", f"-volume.port={volume}",
        "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={folder}/s3.json", "-volume.max=8",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        weed = Path(sys.executable).with_name("weed")
        process = subprocess.Popen([weed, "-logtostderr=true", "server", *options], stdout=log, stderr=log, cwd=folder)
    end = time.monotonic() + 60
    while True:
        try:
            with open_directly(f"http://127.0.0.1:{s3}/healthz", timeout=2):
                break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.2)
    yield f"http://127.0.0.1:{s3}"
    process.kill()
    process.wait()


@pytest.fixture
def credentials(object_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of a process that may use the object store."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "velodrome", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": object_store,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for bucket in ("results", "large"):  # SeaweedFS makes a bucket for its first object
        obstore.put(from_url(f"s3://{bucket}", client_options={"allow_http": True}), "made", b"")
    return object_store


@pytest.mark.usefixtures("credentials")
def test_a_bucket_keeps_backups_as_a_folder_does(
    store: Store, other: Store, run: Run, make_race: type[Race], monkeypatch: pytest.MonkeyPatch
) -> None:
    nights(run, store)
    place = place_at("s3://results/of/teams")
    names = [make_backup(store, place, NOW + timedelta(days=day), keep=2).name for day in range(4)]
    assert place.names() == names[2:]
    restore_backup(other, place, newest_backup(place))
    assert shown(other) == shown(store)
    beside = place_at("s3://results/of")
    assert beside.names() == [], "another prefix is another place"
    with pytest.raises(PlaceRefused, match="there is no backup velodrome-x"):
        newest_backup(place, "velodrome-x")


@pytest.mark.usefixtures("credentials")
def test_a_large_backup_comes_back_from_a_bucket() -> None:
    """Above 5 MB an upload has several parts."""
    content = random.Random(3).randbytes(12_000_001)  # noqa: S311 - it opens nothing
    place, name = place_at("s3://large/b"), "velodrome-20260301T020000Z.jsonl.gz"
    place.put(name, lambda stream: stream.write(content))
    assert (place.names(), place.size(name)) == ([name], len(content))
    with place.opened(name) as stream:
        assert stream.read() == content


def test_a_bucket_that_can_not_be_used_says_why(
    credentials: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PlaceRefused, match="NoSuchBucket"):
        place_at("s3://nowhere/a").names()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(PlaceRefused, match="SignatureDoesNotMatch"):
        place_at("s3://results/a").names()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(PlaceUnavailable, match="is AWS_ENDPOINT_URL right"):
        place_at("s3://results/a").names()
    for where in ("s3:///a", "ftp://host/a"):
        with pytest.raises(PlaceRefused):
            place_at(where)
