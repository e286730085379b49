"""docs/own-models.md: each snippet runs, and the tables say what the runner does."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob, Model, parse_jobs
from velodrome.vocabulary import MODEL_ARGS
from velodrome_runner.models import build

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-models.md"
TEXT = PAGE.read_text(encoding="utf-8")

# What `build` is told of each kind of data, and a batch of it.
IMAGES: dict[str, Any] = {"shape": (3, 16, 16), "classes": 5, "outputs": 5}
SEQUENCES: dict[str, Any] = {"shape": (2, None), "classes": 3, "outputs": 3}
SCENES: dict[str, Any] = {"shape": (3, 64, 64), "classes": 2, "outputs": 3, "kind": "scenes"}
MASKS: dict[str, Any] = {"shape": (3, 32, 32), "classes": 4, "outputs": 4, "kind": "masks"}
TABLE: dict[str, Any] = {"shape": (7,), "outputs": 1, "cardinalities": (4, 3), "numeric": 2}


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """All of the page's Python in the one file that it names, as a reader would have it."""
    sources = snippets("python")
    assert all(source.startswith("# mymodels.py\n") for source in sources)
    (tmp_path / "mymodels.py").write_text("\n".join(sources), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("mymodels", None)


def job(entries: str) -> BenchmarkJob:
    """A race with these entries, indented as in a file."""
    spec = {"dataset": {"name": "digits"}, **yaml.safe_load(entries)}
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "t"}, "spec": spec}
    return BenchmarkJob.model_validate(document)


def made(name: str, told: dict[str, Any], **args: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(Model(name=name, args=args), dropout=0.1, **told)


def test_every_snippet_is_known() -> None:
    """Whoever adds a snippet adds its test."""
    found = {language: len(snippets(language)) for language in re.findall(r"```([a-z]+)\n", TEXT)}
    assert found == {"yaml": 3, "python": 6, "dockerfile": 1}


def test_the_entries_are_valid_and_the_own_model_is_built(written: Path) -> None:
    race = job(snippets("yaml")[0])
    own = next(config.model for name, config in plan(race).configs.items() if name == "ours")
    assert own is not None
    network = build(own, dropout=0.2, **IMAGES)
    assert network(torch.randn(2, 3, 16, 16)).shape == (2, 5)
    assert [part.p for part in network.modules() if isinstance(part, nn.Dropout)] == [0.2]
    assert (written / "mymodels.py").is_file()


@pytest.mark.usefixtures("written")
def test_the_model_for_sequences_ignores_padding() -> None:
    model = made("mymodels:Averaged", SEQUENCES).eval()
    values, lengths = torch.randn(2, 2, 9), torch.tensor([9, 4])
    answers = model(values, lengths=lengths)
    values[1, :, 4:] = 5.0
    assert answers.shape == (2, 3)
    torch.testing.assert_close(model(values, lengths=lengths), answers)


@pytest.mark.usefixtures("written")
def test_the_model_for_tables_embeds_categories() -> None:
    model = made("mymodels:Embedded", TABLE)
    assert model(numeric=torch.randn(3, 2), categorical=torch.tensor([[0, 0], [3, 2], [1, 1]])).shape == (3, 1)


@pytest.mark.usefixtures("written")
def test_the_detector_learns_from_boxes_and_answers_with_boxes() -> None:
    network = build(Model(name="mymodels:two_steps"), dropout=0.0, **SCENES)
    images, boxes = [torch.rand(3, 64, 64)], torch.tensor([[5.0, 5, 40, 50]])
    losses = network(images, [{"boxes": boxes, "labels": torch.tensor([2])}])
    assert all(loss.numel() == 1 for loss in losses.values())
    assert {"boxes", "labels", "scores"} <= set(network.eval()(images)[0])


@pytest.mark.usefixtures("written")
def test_the_model_of_masks_answers_with_logits_and_those_of_its_second_head() -> None:
    network = made("mymodels:painter", MASKS)
    assert {name: tuple(each.shape) for name, each in network(torch.rand(2, 3, 32, 32)).items()} == dict.fromkeys(
        ("out", "aux"), (2, 4, 32, 32)
    )


def test_the_job_with_a_mounted_module_is_valid() -> None:
    (race,) = parse_jobs(snippets("yaml")[1], PAGE.name)
    (volume,), (variable,) = race.spec.runner.volumes or (), race.spec.runner.env or ()
    assert volume.mount_path in (variable.value or "").split(":")


def test_the_image_holds_the_module_where_python_searches() -> None:
    image = snippets("dockerfile")[0]
    folder = re.search(r"COPY mymodels.py (/\w+)/mymodels.py", image)
    path = re.search(r"ENV PYTHONPATH=(\S+)", image)
    assert folder is not None
    assert path is not None
    assert folder[1] in path[1].split(":")
    runner = PAGE.parents[1] / "deploy" / "images" / "runner.Dockerfile"
    assert f"PYTHONPATH={path[1].split(':')[0]} " in runner.read_text(encoding="utf-8")


def test_pretrained_weights_are_checked(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    (model,) = (config.model for config in plan(job(snippets("yaml")[2])).configs.values())
    assert model is not None
    file = tmp_path / "resnet18.pt"
    torch.save(resnet18(num_classes=5).state_dict(), file)
    args = {**model.args, "weights": str(file)}
    with pytest.raises(ConfigurationError) as refused:
        made(model.name, IMAGES, **args)
    assert refused.value.reason == "WeightsDigestMismatch"
    made(model.name, IMAGES, **{**args, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()})


def test_the_tables_are_what_the_runner_does() -> None:
    rows = dict(re.findall(r"^\| (`velodrome/.*?) \| .* \| (.*) \|$", TEXT, flags=re.MULTILINE))
    listed = {name: set(args.split(", ")) for names, args in rows.items() for name in re.findall(r"`(.*?)`", names)}
    assert listed == {name: set(args) for name, args in MODEL_ARGS.items()}
    told = re.findall(r"^\| `(\w+)` \| ", TEXT.partition("## What a model is called with")[0], flags=re.MULTILINE)
    assert set(told) == set(inspect.signature(build).parameters) - {"model", "kind"}
