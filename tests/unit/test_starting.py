"""`init`, `example` and `schema`: what they write is valid, says what was found, and writes over nothing."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.sounds import speech_commands
from velodrome.cli.app import app
from velodrome.errors import SpecError
from velodrome.machine.race.race import joined
from velodrome.plan import plan
from velodrome.results.records import JobInfo
from velodrome.spec import BenchmarkJob, parse_jobs
from velodrome.starting.draft import TEMPLATES, draft, job_name, known
from velodrome.vocabulary import DATASETS

ROOT = Path(__file__).resolve().parents[2]
CUSTOMERS = "customer_id;age;plan;no;churned\n" + "".join(
    f"c-{number};{20 + number % 50};{'gold' if number % 3 else 'basic'};{number % 4};{'yes' if number % 2 else 'no'}\n"
    for number in range(60)
)


def init(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def written(file: Path) -> BenchmarkJob:
    (job,) = parse_jobs(file.read_text(encoding="utf-8"))
    assert len(plan(job))
    return job


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    file = tmp_path / "my customers: v1.2.csv"
    file.write_text(CUSTOMERS, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", DATASETS)
def test_a_draft_of_every_known_data_set_is_valid(name: str) -> None:
    (job,) = parse_jobs(draft(known(name)))
    assert job.spec.dataset.name == name
    assert job.board == job.spec.board == job_name(name)


def test_a_table_is_looked_at(customers: Path, tmp_path: Path) -> None:
    done = init(tmp_path / "race.yaml", "--csv", customers, "--target", "churned")
    assert done.exit_code == 0, done.output
    job = written(tmp_path / "race.yaml")
    dataset = job.spec.dataset
    assert (dataset.name, dataset.format, dataset.target) == ("my-customers-v1-2", "CSV", "churned")
    assert dataset.source is not None
    assert dataset.source.path == str(customers)
    assert dataset.columns is not None
    assert dataset.columns.ignore == ("customer_id",)
    assert job.spec.task == "classification"
    assert "60 rows, 5 columns; churned is predicted: 2 classes" in done.output


@pytest.mark.parametrize(
    ("target", "task"), [("no", "classification"), ("age", "regression"), ("plan", "classification")]
)
def test_the_values_of_a_target_tell_the_task(customers: Path, tmp_path: Path, target: str, task: str) -> None:
    assert init(tmp_path / "race.yaml", "--csv", customers, "--target", target).exit_code == 0
    job = written(tmp_path / "race.yaml")
    assert job.spec.task == task
    assert job.spec.objectives[0].metric == ("accuracy" if task == "classification" else "rmse")


@pytest.mark.parametrize("divided", [True, False])
def test_pictures_are_looked_at(tmp_path: Path, divided: bool) -> None:  # noqa: FBT001 - a parameter of the test
    for split in ("train", "test") if divided else (".",):
        for name in ("rose", "tulip"):
            folder = tmp_path / "flowers" / split / name
            folder.mkdir(parents=True)
            (folder / "1.png").write_bytes(b"")
    done = init(tmp_path / "race.yaml", "--images", tmp_path / "flowers", "--model", "torchvision/resnet18")
    assert done.exit_code == 0, done.output
    job = written(tmp_path / "race.yaml")
    assert (job.spec.dataset.splits is None) == divided
    assert [entry.model and entry.model.name for entry in job.spec.entries] == ["torchvision/resnet18"]
    assert "2 classes (rose, tulip)" in done.output


def test_a_pair_of_series_is_looked_at(tmp_path: Path) -> None:
    head = "@problemName Gun\n@timeStamps false\n@univariate true\n@classLabel true a b c\n@data\n1,2,3:a\n"
    for split in ("TRAIN", "TEST"):
        (tmp_path / f"Gun_{split}.ts").write_text(head, encoding="utf-8")
    done = init(tmp_path / "race.yaml", "--series", tmp_path / "Gun_TRAIN.ts")
    assert "3 classes" in done.output
    job = written(tmp_path / "race.yaml")
    assert (job.spec.dataset.name, job.spec.dataset.format) == ("Gun", "TimeSeries")
    (tmp_path / "Gun_TEST.ts").unlink()
    assert "has no Gun_TEST.ts" in init(tmp_path / "other.yaml", "--series", tmp_path).output


def test_sequences_in_a_csv_file_need_their_column(tmp_path: Path) -> None:
    file = tmp_path / "bearings.csv"
    file.write_text("window,operator,x,fault\n" + "a,Ann,1.5,no\na,Ann,2.5,no\nb,Bob,3,yes\n", encoding="utf-8")
    asked = ("--series", file, "--target", "fault")
    assert "--sequence" in init(tmp_path / "race.yaml", *asked).output
    assert init(tmp_path / "race.yaml", *asked, "--sequence", "window").exit_code == 0
    columns = written(tmp_path / "race.yaml").spec.dataset.columns
    assert columns is not None
    assert (columns.sequence, columns.ignore) == ("window", ("operator",))


FILES = {
    "COCO": ("annotations/instances_train2017.json", "annotations/instances_val2017.json", "annotations/captions.json"),
    "a single file": ("annotations/boxes.json",),
    "an export": ("train/_annotations.coco.json", "valid/_annotations.coco.json"),
    "VOC": tuple(
        f"VOC2012/{name}"
        for name in (
            "JPEGImages/a.jpg",
            "Annotations/a.xml",
            *(f"ImageSets/Main/{one}.txt" for one in ("train", "val")),
        )
    ),
    "VOC without lists": ("JPEGImages/a.jpg", "Annotations/a.xml"),
}


@pytest.mark.parametrize("layout", FILES)
def test_pictures_with_boxes_are_looked_at(tmp_path: Path, layout: str) -> None:
    for file in FILES[layout]:
        (tmp_path / "street" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "street" / file).write_text("{}")
    done = init(tmp_path / "race.yaml", "--images", tmp_path / "street")
    assert done.exit_code == 0, done.output
    job = written(tmp_path / "race.yaml")
    assert (job.spec.task_name, job.spec.objectives[0].metric) == ("detection", "box_map")
    assert job.spec.dataset.format == ("VOC" if "VOC" in layout else "COCO")
    assert (job.spec.dataset.splits is None) == (layout not in ("a single file", "VOC without lists"))
    assert "street: boxes in " in done.output


@pytest.mark.parametrize(("root", "listed"), [("VOC2012/", True), ("", False)])
def test_pictures_with_masks_are_looked_at(tmp_path: Path, root: str, listed: bool) -> None:  # noqa: FBT001 - a case
    lists = [f"ImageSets/Segmentation/{one}.txt" for one in ("train", "val")] if listed else []
    for file in ("JPEGImages/a.jpg", "SegmentationClass/a.png", *lists):
        (tmp_path / "yard" / root / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "yard" / root / file).write_text("")
    done = init(tmp_path / "race.yaml", "--images", tmp_path / "yard")
    assert done.exit_code == 0, done.output
    job = written(tmp_path / "race.yaml")
    assert (job.spec.task_name, job.spec.objectives[0].metric) == ("segmentation", "miou")
    assert (job.spec.dataset.format, job.spec.entries[0].model.name) == ("VOCSegmentation", "velodrome/unet")  # type: ignore[union-attr]
    assert (job.spec.dataset.splits is None) == listed
    assert job.spec.dataset.classes == (None if root else ("background", "object"))
    assert "yard: 1 mask of VOC" in done.output
    assert ("a guess" in done.output) == (not root)


def test_a_file_of_boxes_beside_its_pictures_is_told_from_other_json(tmp_path: Path) -> None:
    for name in ("rose", "tulip"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    (tmp_path / "about.json").write_text('{"images": 2}')
    assert init(tmp_path / "one.yaml", "--images", tmp_path).exit_code == 0
    assert written(tmp_path / "one.yaml").spec.dataset.format == "ImageFolder"
    (tmp_path / "about.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert init(tmp_path / "two.yaml", "--images", tmp_path).exit_code == 0
    assert written(tmp_path / "two.yaml").spec.dataset.format == "COCO"


@pytest.mark.parametrize("name", ["mail.csv", "mail.jsonl", "mail.ndjson"])
def test_texts_with_labels_are_looked_at(tmp_path: Path, name: str) -> None:
    said = [{"id": str(at), "said": f"a message of words {at}", "label": ("ham", "spam")[at % 2]} for at in range(9)]
    file = tmp_path / name
    if name != "mail.csv":
        file.write_text("".join(f"{json.dumps(row)}\n" for row in said))
    else:
        file.write_text("\n".join(["id,said,label", *(",".join(row.values()) for row in said)]))
    assert "name the column of the labels. " in init("-", "--text", file).output
    done = init(tmp_path / "race.yaml", "--text", file, "--target", "label")
    assert done.exit_code == 0, done.output
    job = written(tmp_path / "race.yaml")
    dataset = job.spec.dataset
    assert (dataset.format, dataset.text, dataset.target) == ("Documents", "said", "label")
    assert (job.spec.task_name, job.spec.preprocessing.vocabulary) == ("classification", 10_000)
    assert f"{file.name}: 9 rows; label has 2 classes." in done.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "can't be read as JSON Lines"),
        ("[1]\n", "needs an object a line"),
        ('{"label": 1}\n', "has no column beside"),
    ],
)
def test_a_file_of_texts_that_can_not_be_read_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "mail.jsonl").write_text(content)
    assert words in " ".join(init("-", "--text", tmp_path / "mail.jsonl", "--target", "label").output.split())


@pytest.mark.parametrize(("lists", "rate"), [(True, 16_000), (False, 8_000), (False, 1_000)])
def test_sounds_are_looked_at(tmp_path: Path, *, lists: bool, rate: int) -> None:
    speech_commands(tmp_path / "words", 5, lists=lists, rate=rate)
    done = init(tmp_path / "race.yaml", "--sound", tmp_path / "words")
    assert f"words: sounds of 3 classes (down, stop, up), {rate:,} samples a second" in done.output
    job = written(tmp_path / "race.yaml")
    dataset = job.spec.dataset
    assert (dataset.format, dataset.sample_rate) == ("SpeechCommands", rate)
    assert dataset.seconds is not None
    assert dataset.seconds in (1.0, 1.1)
    assert (dataset.splits is None) == lists == (", split by the lists" in done.output)
    assert (job.spec.preprocessing.log_mel is None) == (rate == 1_000), "40 bands need more frequencies"
    for split in ("train", "test"):
        shutil.copytree(tmp_path / "words", tmp_path / "divided" / split)
    assert init(tmp_path / "other.yaml", "--sound", tmp_path / "divided").exit_code == 0
    divided = written(tmp_path / "other.yaml").spec.dataset.splits
    assert divided is not None
    assert divided.files is not None
    (tmp_path / "words/stop/00000001_nohash_0.wav").write_bytes(b"RIFF")
    assert "00000001_nohash_0.wav can't be read as a WAV file" in init("-", "--sound", tmp_path / "words").output


@pytest.mark.parametrize(("content", "tokens"), [("Grüße! " * 200, "characters"), (b"\xff\x00" * 700, "bytes")])
def test_a_text_is_looked_at(tmp_path: Path, content: str | bytes, tokens: str) -> None:
    (tmp_path / "tales" / ".git").mkdir(parents=True)
    (tmp_path / "tales" / ".git" / "x").write_bytes(b"\xff")
    (tmp_path / "tales" / "one.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    done = init(tmp_path / "race.yaml", "--text", tmp_path / "tales")
    assert f"tales: 1 file, 1,400 {tokens}; the next one is predicted." in done.output
    job = written(tmp_path / "race.yaml")
    assert job.spec.task_name == "language-modelling"
    assert (job.spec.dataset.format, job.spec.dataset.tokens) == ("Text", tokens)
    assert job.spec.objectives[0].metric == "perplexity"


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"images", "table", "series", "sound", "text"}))
def test_every_template_is_valid_and_listed(tmp_path: Path, name: str) -> None:
    assert init(tmp_path / "race.yaml", "--template", name).exit_code == 0
    assert written(tmp_path / "race.yaml").spec.regression.confirm == (name == "nightly")
    assert f"  {name} " in init("--list").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--template", "tabel"), 'did you mean "table"?'),
        (("--template", "table"), "table needs --csv FILE --target COLUMN"),
        (("--template", "models", "--csv", "FILE", "--target", "churned"), "models takes --dataset"),
        (("--csv", "FILE"), "name the column to predict. my customers: v1.2.csv has: customer_id"),
        (("--csv", "FILE", "--target", "churn"), 'did you mean "churned"?'),
        (("--csv", "no-such.csv", "--target", "x"), "no-such.csv can't be read: No such file"),
        (("--text", "no-such"), "no-such: there is no such file, and no folder with files"),
        (("--template", "text"), "text needs --text FILE"),
        (("--images", "no-such"), "there is no such folder"),
        (("--sound", "no-such"), "there is no such folder"),
        (("--sound", "."), "needs a folder for each class, with .wav files: it has 0"),
        (("--template", "sound"), "sound needs --sound FOLDER"),
        (("--images", "."), "needs a folder for each class"),
        (("--dataset", "CIFAR"), 'did you mean "CIFAR10"?'),
        (("--dataset", "iris", "--csv", "FILE"), "choose one of --dataset and --csv"),
        (("--dataset", "iris", "--model", "velodrome/cnn"), "velodrome/cnn"),
    ],
)
def test_what_can_not_be_begun_with_is_said_and_nothing_is_written(
    customers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = init(*(str(customers) if argument == "FILE" else argument for argument in arguments))
    said = done.output if done.exception is None or isinstance(done.exception, SystemExit) else str(done.exception)
    assert done.exit_code
    assert words in said
    assert list(tmp_path.iterdir()) == [customers]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("mine", encoding="utf-8")
    done = init(file)
    assert (done.exit_code, file.read_text()) == (2, "mine")
    assert "add --force" in done.output
    assert init(file, "--force").exit_code == 0
    assert written(file).metadata.name == "digits"


def test_a_broken_header_of_a_csv_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00a")
    assert "not UTF-8" in init("-", "--csv", tmp_path / "x.csv", "--target", "a").output
    (tmp_path / "x.csv").write_text("a,b\n", encoding="utf-8")
    assert "needs a header and at least one row" in init("-", "--csv", tmp_path / "x.csv", "--target", "a").output


# Examples and the schema


def test_examples_are_those_of_the_folder(tmp_path: Path) -> None:
    listed = json.loads(CliRunner().invoke(app, ["example", "--json"]).output)["examples"]
    assert listed.keys() == {file.stem for file in (ROOT / "deploy/examples").glob("*.yaml")}
    shown = CliRunner().invoke(app, ["example", "digits"])
    assert shown.output == (ROOT / "deploy/examples/digits.yaml").read_text(encoding="utf-8")
    done = CliRunner().invoke(app, ["example", "numpy", "--to", str(tmp_path)])
    assert done.exit_code == 0
    for name in ("numpy.yaml", "numpy/train.py"):
        assert (tmp_path / name).read_bytes() == (ROOT / "deploy/examples" / name).read_bytes()
    again = CliRunner().invoke(app, ["example", "numpy", "--to", str(tmp_path)])
    assert again.exit_code == 2
    assert "is there already" in again.output


def test_an_example_that_does_not_exist_suggests_the_closest() -> None:
    done = CliRunner().invoke(app, ["example", "digit"])
    assert 'did you mean "digits"?' in str(done.exception)


def test_the_schema_is_the_one_of_the_reference() -> None:
    done = CliRunner().invoke(app, ["schema"])
    kept = json.loads((ROOT / "docs/reference/benchmarkjob.schema.json").read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == kept
    assert "# yaml-language-server: $schema=" in done.stderr


# Joining a board


def test_a_job_hears_whose_board_it_joins() -> None:
    jobs = [
        JobInfo(
            uid=f"u{number}", name=name, namespace="default", board="digits",
            created_at=datetime(2026, 1, 1, tzinfo=UTC), trials=1, repeats=1, entries=("a",), document={},
        )
        for number, name in enumerate(["e", "mine", "d", "e", "c", "b"])
    ]  # fmt: skip
    assert joined("mine", "digits", jobs[1:2]) == joined("mine", "digits", []) == []
    (said,) = joined("mine", "digits", jobs)
    assert said.startswith("it joins board digits, used by e, d, c and 1 more; ")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("resnet18", "torchvision/resnet18"),
        ("ResNet-18", "torchvision/resnet18"),
        ("vit_b_16", "torchvision/vit_b_16"),
        ("cnn", "velodrome/cnn"),
        ("mpl", "velodrome/mlp"),
        ("resnet9", "velodrome/resnet9"),
    ],
)
def test_a_model_without_its_library_is_recognised(written: str, meant: str) -> None:
    text = draft(known("digits"), ["velodrome/cnn"]).replace(
        "model: {name: velodrome/cnn}", f"model: {{name: {written}}}"
    )
    with pytest.raises(SpecError, match=f'did you mean "{meant}"'):
        parse_jobs(text)
