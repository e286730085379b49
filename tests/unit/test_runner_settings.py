from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from velodrome import keys
from velodrome.errors import ConfigurationError
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob
from velodrome_runner.log import Tail
from velodrome_runner.orders import planned
from velodrome_runner.settings import Settings
from velodrome_runner.trial import explain

LEAST = {
    keys.ENV_SPEC: "/job.json",
    keys.ENV_INDEX: "4",
    keys.ENV_JOB_UID: "uid",
    keys.ENV_ATTEMPT: "pod-x",
    keys.ENV_SCRATCH: "/scratch",
}


def job() -> BenchmarkJob:
    entries = [{"name": name, "model": {"name": "velodrome/mlp"}} for name in ("a", "b", "c")]
    spec: dict[str, Any] = {"dataset": {"name": "digits"}, "entries": entries, "trials": {"repeats": 2, "baseSeed": 10}}
    return BenchmarkJob.model_validate(
        {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "three"}, "spec": spec}
    )


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "job.json"
    path.write_text(job().model_dump_json(), encoding="utf-8")
    return str(path)


def test_what_is_not_said_has_a_default() -> None:
    assert Settings.read(LEAST) == Settings(
        spec=Path("/job.json"), index=4, job_uid="uid", attempt="pod-x", redis_url=None, data=Path(),
        scratch=Path("/scratch"), concurrent=1, deadline=600.0, entries=(),
    )  # fmt: skip


def test_everything_can_be_said() -> None:
    said = {
        keys.ENV_REDIS_URL: "redis://host/0",
        keys.ENV_DATA: "/data",
        keys.ENV_CONCURRENT: "3",
        keys.ENV_DEADLINE: "1.5",
        keys.ENV_ENTRIES: "0,2",
        keys.ENV_PUSHGATEWAY: "http://gateway:9091",
    }
    settings = Settings.read({**LEAST, **said})
    assert (settings.redis_url, settings.data, settings.concurrent) == ("redis://host/0", Path("/data"), 3)
    assert (settings.deadline, settings.entries) == (1.5, (0, 2))
    assert settings.pushgateway == "http://gateway:9091"


@pytest.mark.parametrize("name", sorted(LEAST))
@pytest.mark.parametrize("value", [None, ""])
def test_what_must_be_said_is_named(name: str, value: str | None) -> None:
    environ = {key: text for key, text in {**LEAST, name: value}.items() if text is not None}
    with pytest.raises(ConfigurationError, match=f"{name} is not set: set it to"):
        Settings.read(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((keys.ENV_INDEX, text) for text in ("-1", "1.0", "x", "²", " 1")),
        *((keys.ENV_CONCURRENT, text) for text in ("0", "-1", "1.5")),
        *((keys.ENV_DEADLINE, text) for text in ("-1", "nan", "inf", "soon")),
        *((keys.ENV_ENTRIES, text) for text in ("a", "0;1", "-1", "0, 1")),
        *((keys.ENV_ATTEMPT, text) for text in ("a/b", "../x", "a" * 201, "a\0b")),
    ],
)
def test_what_makes_no_sense_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is .*(set it to|use a name)"):
        Settings.read({**LEAST, name: value})


def test_the_index_counts_all_trials(spec: str) -> None:
    trials = [planned(Settings.read({**LEAST, keys.ENV_SPEC: spec, keys.ENV_INDEX: str(i)}))[1] for i in range(6)]
    assert [trial.entry for trial in trials] == ["a", "b", "c"] * 2
    assert trials == list(plan(job()).trials)


@pytest.mark.parametrize("positions", [(0,), (1,), (0, 2), (1, 2), (0, 1, 2)])
def test_the_index_counts_the_trials_of_the_named_entries(spec: str, positions: tuple[int, ...]) -> None:
    environ = {**LEAST, keys.ENV_SPEC: spec, keys.ENV_ENTRIES: ",".join(map(str, positions))}
    count = 2 * len(positions)
    trials = [planned(Settings.read({**environ, keys.ENV_INDEX: str(index)}))[1] for index in range(count)]
    expected = [trial for trial in plan(job()).trials if "abc".index(trial.entry) in positions]
    assert trials == expected
    with pytest.raises(ConfigurationError, match=f"{keys.ENV_INDEX} is {count}, .* use 0 to {count - 1}"):
        planned(Settings.read({**environ, keys.ENV_INDEX: str(count)}))


@pytest.mark.parametrize(("taken", "left"), [("0-2", [3, 4, 5]), ("1,3", [0, 2, 4, 5]), ("", [0, 1, 2, 3, 4, 5])])
def test_trials_that_were_taken_over_have_no_index(spec: str, taken: str, left: list[int]) -> None:
    environ = {**LEAST, keys.ENV_SPEC: spec, keys.ENV_TAKEN_OVER: taken}
    found = [planned(Settings.read({**environ, keys.ENV_INDEX: str(index)}))[1].index for index in range(len(left))]
    assert found == left
    of_one = {**environ, keys.ENV_ENTRIES: "1", keys.ENV_INDEX: "0"}
    assert planned(Settings.read(of_one))[1].index == next(index for index in left if index % 3 == 1)


def test_trials_taken_over_that_can_not_be_read_are_refused(spec: str) -> None:
    with pytest.raises(ConfigurationError, match="'0;3' are no indexes such as 0-3,7"):
        planned(Settings.read({**LEAST, keys.ENV_SPEC: spec, keys.ENV_TAKEN_OVER: "0;3"}))


def test_an_entry_that_the_job_lacks_is_no_other_entry(spec: str) -> None:
    environ = {**LEAST, keys.ENV_SPEC: spec, keys.ENV_ENTRIES: "0,3", keys.ENV_INDEX: "1"}
    with pytest.raises(ConfigurationError, match=f"{keys.ENV_ENTRIES} names position 3, .* 3 entries: use 0 to 2"):
        planned(Settings.read(environ))


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no: [yaml"])
def test_a_file_that_is_no_job_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        planned(Settings.read({**LEAST, keys.ENV_SPEC: str(path)}))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{keys.ENV_SPEC} names .*No such file"):
        planned(Settings.read({**LEAST, keys.ENV_SPEC: str(tmp_path / "none.json")}))


@pytest.mark.parametrize(
    ("error", "reason", "final"),
    [
        (MemoryError(), "OutOfMemory", False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "OutOfMemory", False),
        (OSError(28, "No space left on device", "/scratch/x"), "OutOfDisk", False),
        (RuntimeError("x does not have a deterministic implementation"), "DeterminismUnsupported", True),
        (ConfigurationError("no", "ModelNotFound"), "ModelNotFound", True),
        (ValueError("a\nb"), "UnexpectedError", False),
        (ValueError(), "UnexpectedError", False),
    ],
    ids=["memory", "allocator", "disk", "deterministic", "configuration", "other", "silent"],
)
def test_an_exception_has_a_reason(error: Exception, reason: str, final: bool) -> None:  # noqa: FBT001 - a parameter
    failure = explain(error)
    assert (failure.reason, failure.final) == (reason, final)
    assert failure.message
    assert "\n" not in failure.message


def test_the_logs_end_is_kept_from_the_start_of_a_line() -> None:
    tail = Tail(limit=20)
    for number in range(100):
        tail.note(f"line {number}\n")
    assert tail.text() == "line 98\nline 99\n"
