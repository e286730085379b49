"""The Python API without a server: what importing it costs, what it reads, and how it shows and hands over tables."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest
from torch.utils.benchmark import Compare, Measurement

import velodrome
from tools.sample_results import race
from velodrome.api.measurements import measurements
from velodrome.api.places import place_at
from velodrome.api.tables import ValueTable, html_table
from velodrome.errors import LocalError, SpecError
from velodrome.results.records import TrialRecord

ROOT = Path(__file__).resolve().parents[2]
JOB = (ROOT / "deploy/examples/digits.yaml").read_text(encoding="utf-8")
LIGHT_WITHOUT = {"numpy", "pandas", "polars", "pydantic", "redis", "rich", "scipy", "torch", "typer", "yaml"}


def loaded_by(code: str) -> set[str]:
    """The top-level modules of a fresh interpreter after this code."""
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, timeout=100, check=True
    )
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_no_library() -> None:
    loaded = loaded_by("import velodrome; assert velodrome.__version__")
    assert "velodrome" in loaded
    assert not loaded & LIGHT_WITHOUT


def test_reading_jobs_needs_neither_a_server_nor_torch() -> None:
    loaded = loaded_by("import velodrome; velodrome.read_jobs")
    assert "pydantic" in loaded
    assert not loaded & {"numpy", "pandas", "redis", "scipy", "torch", "typer"}


def test_opening_results_loads_no_frames_and_no_torch() -> None:
    assert not loaded_by("import velodrome; velodrome.open_results; velodrome.run") & {"pandas", "polars", "torch"}


def test_the_stub_and_the_package_have_the_same_names() -> None:
    stub = ast.parse(files("velodrome").joinpath("__init__.pyi").read_text(encoding="utf-8"))
    told = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == {"VelodromeError", "open_results", "read_jobs", "run"}
    assert told < set(dir(velodrome))
    assert all(callable(getattr(velodrome, str(name))) for name in told)
    with pytest.raises(AttributeError, match="no attribute 'rank'"):
        velodrome.__getattr__("rank")


def test_the_package_says_that_it_is_typed() -> None:
    assert files("velodrome").joinpath("py.typed").is_file()


def test_jobs_are_read_from_a_path_a_text_and_json(tmp_path: Path) -> None:
    file = tmp_path / "race.yaml"
    file.write_text(JOB, encoding="utf-8")
    (of_text,) = velodrome.read_jobs(JOB)
    as_json = json.dumps(of_text.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert velodrome.read_jobs(file) == velodrome.read_jobs(str(file)) == (of_text,)
    assert velodrome.read_jobs(as_json)[0].spec.entries == of_text.spec.entries


def test_a_wrong_job_names_its_fields_and_lines() -> None:
    with pytest.raises(velodrome.VelodromeError, match=r"line \d+: spec.dataset.nam: ") as wrong:
        velodrome.read_jobs(JOB.replace("dataset: {name:", "dataset: {nam:"))
    assert isinstance(wrong.value, SpecError)
    assert any(problem.path == "spec.dataset.nam" and problem.line for problem in wrong.value.problems)


def test_a_path_that_is_missing_is_named() -> None:
    with pytest.raises(SpecError, match=r"no-such.yaml.*\n.*can't be read"):
        velodrome.read_jobs("no-such.yaml")


@pytest.mark.parametrize("job", ["race.yaml", None, {"kind": "BenchmarkJob"}])
def test_only_a_job_can_be_run(job: object) -> None:
    with pytest.raises(SpecError, match=r"job: is a .*velodrome.read_jobs"):
        velodrome.run(job)  # type: ignore[arg-type]


def test_a_share_of_nothing_is_refused_before_anything_starts() -> None:
    (job,) = velodrome.read_jobs(JOB)
    with pytest.raises(SpecError, match=r"parallel: is less than 1\n.*cpus: is less than 1"):
        velodrome.run(job, parallel=0, cpus=-1)


def test_a_folder_without_results_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="holds no results"), place_at(tmp_path / "typo", writes=False):
        pytest.fail("it was opened")
    assert list(tmp_path.iterdir()) == []


# Tables


class Line(NamedTuple):
    name: str
    value: float | None
    at: datetime


LINES = ValueTable(
    Line,
    [
        Line("<b>cnn</b>", 0.5, datetime(2026, 1, 1, tzinfo=UTC)),
        Line("\u202emlp", None, datetime(2026, 1, 2, tzinfo=UTC)),
    ],
)


def test_a_table_is_a_sequence_of_its_values() -> None:
    assert (len(LINES), LINES[0].value, [line.name for line in LINES[1:]]) == (2, 0.5, ["\u202emlp"])
    assert isinstance(LINES[1:], ValueTable)
    assert ValueTable(Line, list(LINES)) == LINES
    assert repr(ValueTable(Line, [])) == "[]"
    assert repr(LINES).count("\n") == 3


def test_a_table_becomes_a_frame_of_pandas() -> None:
    frame = LINES.to_pandas()
    assert list(frame.columns) == ["name", "value", "at"]
    assert frame["value"].isna().tolist() == [False, True]
    assert str(frame["at"].dt.tz) == "UTC"


def test_a_table_becomes_a_frame_of_polars() -> None:
    frame = LINES.to_polars()
    assert frame.columns == ["name", "value", "at"]
    assert frame.rows() == [tuple(line) for line in LINES]


def test_an_empty_table_keeps_its_columns() -> None:
    nothing = ValueTable(Line, [])
    assert list(nothing.to_pandas().columns) == nothing.to_polars().columns == ["name", "value", "at"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_missing_is_named_with_its_install_line(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(LocalError, match=rf"pip install 'velodrome\[{library}\]'"):
        getattr(LINES, f"to_{library}")()


def test_a_notebook_gets_escaped_text() -> None:
    shown = LINES._repr_html_()
    assert "&lt;b&gt;cnn&lt;/b&gt;" in shown
    assert "<b>" not in shown
    assert "\u202e" not in shown
    assert "\\u202emlp" in shown


def test_a_notebook_gets_a_part_of_a_long_table() -> None:
    shown = html_table(("n",), [(number,) for number in range(100)])
    assert shown.count("<tr>") == 61
    assert "40 more rows" in shown


def timed(seed: int, entry: str, **rates: float) -> TrialRecord:
    made = race("speeds", datetime(2026, 5, 1, tzinfo=UTC))
    trial = next(trial for trial in made.trials if trial.entry == entry and trial.repeat == seed)
    record = made.record(trial)
    metrics = {"accuracy": 0.5} | {
        f"inference_samples_per_second{{batch_size={size[1:]}}}": value for size, value in rates.items()
    }
    return record.model_copy(update={"result": record.result.model_copy(update={"metrics": metrics})})


def test_torchs_compare_prints_the_times_of_a_job() -> None:
    """Calls of 1, 1 and 3 ms at batch size 64: the median over seeds is 1 ms; and 2 ms for the other entry."""
    records = [timed(seed, "cnn", b64=64 / seconds) for seed, seconds in enumerate((1e-3, 1e-3, 3e-3))]
    records += [timed(0, "mlp", b64=64 / 2e-3, b1=1 / 5e-4)]
    found = measurements("speeds", records)
    assert [each.metadata["seed"] for each in found] == [0, 1, 2, 0, 0]
    assert all(isinstance(each, Measurement) for each in found)
    assert [each.mean for each in found] == pytest.approx([1e-3, 1e-3, 3e-3, 2e-3, 5e-4])
    table = str(Compare(found))
    assert "speeds: inference" in table
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()]
    columns = next(cells[1:] for cells in lines if "cnn" in cells)
    cells = {line[0]: line[1:] for line in lines if line[0].startswith("batch size")}
    row = dict(zip(columns, next(cells[name] for name in cells if name.startswith("batch size 64")), strict=True))
    assert float(row["mlp"]) == pytest.approx(2 * float(row["cnn"]))


def test_trials_that_were_not_timed_have_no_measurement() -> None:
    assert measurements("speeds", [timed(0, "cnn")]) == []
