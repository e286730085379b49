"""Tables and sequences as models get them: what is fitted, on which rows, and how batches are made."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import numpy as np
import pytest
import torch
from sklearn import decomposition, feature_selection, impute, linear_model, preprocessing
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.spec import Model, Preprocessing, Training
from velodrome_runner import tasks
from velodrome_runner.data import Contents, Memory, Samples, Schema
from velodrome_runner.evaluation import measured, of_split
from velodrome_runner.inputs import sequences as sequence_inputs
from velodrome_runner.inputs.base import PackedInputs, taken
from velodrome_runner.inputs.sequences import Statistics
from velodrome_runner.models import build
from velodrome_runner.preprocessing import Prepared, ReadySplit, bucketed, prepare

CPU = torch.device("cpu")
CATEGORIES = ("red", "green", "blue")
SIZES = {"train": 40, "validation": 12, "test": 16}


def table(*, planted: float | None = None, classes: bool = False, columns: int = 4) -> Contents:
    """A table of numbers, some of them missing, and of one category that training lacks; `planted` is in no training
    row.
    """
    random = np.random.default_rng(0)
    splits = {}
    for name, rows in SIZES.items():
        numeric = random.normal(3, 2, (rows, columns))
        numeric[::7, 0] = np.nan
        codes = random.integers(0, 2 if name == "train" else 3, (rows, 1))
        codes[::9] = -1
        target = np.nan_to_num(numeric[:, 0]) * 2 + numeric[:, 1] + random.normal(0, 0.1, rows) + 100
        if planted is not None and name != "train":
            numeric[1], codes[1], target[1] = planted, 2, planted
        labels = (target > 109).astype(np.int64)
        splits[name] = Memory(
            Samples(
                {"numeric": torch.from_numpy(numeric), "categorical": torch.from_numpy(codes)},
                torch.from_numpy(labels if classes else target),
            )
        )
    schema = Schema(
        (columns + 1,), ("low", "high") if classes else None, tuple(f"x{place}" for place in range(columns)),
        {"colour": CATEGORIES}, "y",
    )  # fmt: skip
    return Contents("table", splits, schema, "sha256:" + "0" * 64)


def sequences(lengths: list[int], channels: int = 2, *, planted: float | None = None) -> Contents:
    """Noise of these lengths in every split, after which other values stand that no model may see."""
    generator = torch.Generator().manual_seed(0)
    longest, splits = max(lengths), {}
    for name in SIZES:
        values = torch.randn(len(lengths), channels, longest, generator=generator) * 3 + 5
        known = torch.tensor(lengths)
        values = values.masked_fill((torch.arange(longest) >= known[:, None])[:, None], 0.0)
        if planted is not None and name != "train":
            values[0, 0, 0] = planted
        splits[name] = Memory(Samples({"values": values, "lengths": known}, torch.arange(len(lengths)) % 3))
    schema = Schema((channels, longest), ("a", "b", "c"), equal=len(set(lengths)) == 1)
    return Contents("sequences", splits, schema, "sha256:" + "0" * 64)


def prepared(contents: Contents, task: str = "regression", **fields: Any) -> Prepared:
    made = tasks.fit(task, contents, Preprocessing.model_validate(fields), Training(), device=CPU, seed=0)
    return prepare(contents, made, in_memory=True)


def inputs(part: object) -> Any:
    assert isinstance(part, ReadySplit)
    return taken(part.inputs, torch.arange(len(part))) if isinstance(part.inputs, PackedInputs) else part.inputs


def raw(contents: Contents, name: str, field: str = "numeric") -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = contents.splits[name].take(torch.arange(SIZES[name])).inputs[field].numpy()
    return found


class Columns(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


class Embedding(nn.Module):
    def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
        return torch.cat([numeric, categorical.float()], dim=1)


class Recurrent(nn.Module):
    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return x.sum(2) + lengths[:, None]


# Tables


def test_numbers_are_imputed_and_scaled_as_scikit_learn_does_on_the_training_rows() -> None:
    data = table()
    ready = prepared(data)
    imputer = impute.SimpleImputer().fit(raw(data, "train"))
    scaler = preprocessing.StandardScaler().fit(imputer.transform(raw(data, "train")))
    for name, part in (("train", ready.train), ("validation", ready.validation), ("test", ready.test)):
        expected = scaler.transform(imputer.transform(raw(data, name)))
        np.testing.assert_allclose(inputs(part)["numeric"], expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(inputs(part)["features"][:, :4], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent"])
def test_the_declared_imputation_and_scaling_are_used(strategy: str) -> None:
    data = table()
    ready = prepared(data, imputation=strategy, scaling="MinMaxScaler")
    imputer = impute.SimpleImputer(strategy=strategy).fit(raw(data, "train"))
    scaler = preprocessing.MinMaxScaler().fit(imputer.transform(raw(data, "train")))
    expected = scaler.transform(imputer.transform(raw(data, "test")))
    np.testing.assert_allclose(inputs(ready.test)["numeric"], expected, rtol=1e-6, atol=1e-6)


def test_a_category_that_training_lacks_and_a_missing_one_are_zeros() -> None:
    data = table()
    ready = prepared(data)
    codes = raw(data, "test", "categorical")[:, 0]
    assert {-1, 0, 1, 2} == set(codes.tolist())
    hot = inputs(ready.test)["features"][:, 4:]
    assert hot.shape[1] == 2
    assert hot.tolist() == [[float(code == 0), float(code == 1)] for code in codes]
    places = inputs(ready.test)["categorical"][:, 0].tolist()
    assert places == [code + 1 if code in (0, 1) else 0 for code in codes]
    assert ready.task.transform.told["cardinalities"] == (len(CATEGORIES) + 1,)


def test_ordinal_categories_are_one_feature() -> None:
    data = table()
    ready = prepared(data, encoding="OrdinalEncoder")
    codes = raw(data, "test", "categorical")[:, 0]
    expected = [code if code in (0, 1) else -1.0 for code in codes]
    assert inputs(ready.test)["features"][:, 4].tolist() == expected


PCA = {"method": "PCA", "components": 2}
PIPELINES: list[dict[str, Any]] = [
    {},
    {"scaling": "MinMaxScaler", "imputation": "median"},
    {"featureSelection": {"method": "SelectKBest", "k": 3}},
    {"featureSelection": {"method": "SelectKBest", "k": 3, "score": "mutual_info_regression"}},
    {"featureSelection": {"method": "VarianceThreshold", "threshold": 0.3}},
    {"featureSelection": {"method": "RFE", "k": 2}},
    {"encoding": "OrdinalEncoder", "reduction": PCA},
    {
        "featureSelection": {"method": "SelectPercentile", "percentile": 60},
        "reduction": {"method": "PCA", "components": 2},
    },
]


@pytest.mark.parametrize("fields", PIPELINES, ids=str)
def test_what_is_planted_outside_the_training_split_changes_nothing(fields: dict[str, Any]) -> None:
    """A value far from all others, a category of its own and a target: in validation and test rows only."""
    clean, planted = prepared(table(), **fields), prepared(table(planted=1e6), **fields)
    assert torch.equal(inputs(clean.train)["features"], inputs(planted.train)["features"])
    for one, other in ((clean.validation, planted.validation), (clean.test, planted.test)):
        same = torch.arange(len(inputs(one)["features"])) != 1
        assert torch.equal(inputs(one)["features"][same], inputs(other)["features"][same])
    assert clean.task.__dict__.keys() == planted.task.__dict__.keys()
    assert (clean.task.mean, clean.task.deviation) == (planted.task.mean, planted.task.deviation)  # type: ignore[attr-defined]


def test_selected_features_are_scikit_learns() -> None:
    data = table()
    numeric = impute.SimpleImputer().fit_transform(raw(data, "train"))
    hot = np.stack([raw(data, "train", "categorical")[:, 0] == code for code in (0, 1)], axis=1)
    features, target = np.hstack([numeric, hot]), data.splits["train"].targets.numpy()
    scaled = preprocessing.StandardScaler().fit_transform(features)
    selections = {
        "SelectKBest": feature_selection.SelectKBest(feature_selection.f_regression, k=2).fit(features, target),
        "RFE": feature_selection.RFE(linear_model.Ridge(), n_features_to_select=2).fit(scaled, target),
    }
    everything = inputs(prepared(data).train)["features"]
    for method, fitted in selections.items():
        ready = prepared(data, featureSelection={"method": method, "k": 2})
        kept = torch.from_numpy(fitted.get_support())
        assert 0 < kept.sum() == 2
        assert torch.equal(inputs(ready.train)["features"], everything[:, kept])
        assert ready.task.transform.shape == (2,)


def test_principal_components_are_scikit_learns() -> None:
    data = table()
    everything = prepared(data)
    ready = prepared(data, reduction={"method": "PCA", "components": 3})
    fitted = decomposition.PCA(3, svd_solver="full").fit(inputs(everything.train)["features"].double().numpy())
    expected = fitted.transform(inputs(everything.test)["features"].double().numpy())
    np.testing.assert_allclose(inputs(ready.test)["features"], expected, rtol=1e-4, atol=1e-4)
    assert ready.task.transform.shape == (3,)


def test_more_components_than_there_are_is_refused_with_the_most() -> None:
    with pytest.raises(ConfigurationError, match=r"components is 9, .* have 6 at most: write at most that"):
        prepared(table(), reduction={"method": "PCA", "components": 9})


def test_a_model_gets_the_parts_of_a_row_that_its_forward_names() -> None:
    ready = prepared(table())
    assert torch.equal(inputs(ready.shown_to(Columns()).test), inputs(ready.test)["features"])
    shown = inputs(ready.shown_to(Embedding()).test)
    assert set(shown) == {"numeric", "categorical"}
    outputs = ready.task.call(Embedding(), shown)
    assert outputs.shape == (SIZES["test"], 5)


def test_a_perceptron_embeds_categories_unless_features_are_selected() -> None:
    selection: dict[str, Any] = {"featureSelection": {"method": "SelectKBest", "k": 3}}
    for fields, told in (({}, {"cardinalities": (4,), "numeric": 4}), (selection, {})):
        ready = prepared(table(), **fields)
        transform = ready.task.transform
        assert transform.told == told
        model = build(
            Model(name="velodrome/mlp"), shape=transform.shape, **ready.task.told, **transform.told, dropout=0.0
        )
        assert any(isinstance(part, nn.Embedding) for part in model.modules()) is bool(told)
        batch = next(ready.shown_to(model).batches(8, torch.Generator()))
        assert ready.task.call(model, batch.inputs).shape == (8, 1)


def test_embeddings_and_a_selection_of_features_do_not_go_together() -> None:
    ready = prepared(table(), featureSelection={"method": "SelectKBest", "k": 2})
    with pytest.raises(ConfigurationError, match="embeds categories"):
        ready.shown_to(Embedding())


@pytest.mark.parametrize("in_memory", [True, False])
def test_batches_of_a_table_are_the_same_in_memory_and_streamed(*, in_memory: bool) -> None:
    data = table()
    task = tasks.fit("regression", data, Preprocessing(), Training(), device=CPU, seed=0)
    ready = prepare(data, task, in_memory=in_memory).shown_to(Embedding())
    expected = prepare(data, task, in_memory=True).shown_to(Embedding())
    for generator in (None, 3):
        options = {"split": "test"} if generator is None else {}
        one, other = (
            part.batches(7, None if generator is None else torch.Generator().manual_seed(generator), **options)  # type: ignore[arg-type]
            for part in (ready, expected)
        )
        for (found, targets), (wanted, theirs) in zip(one, other, strict=True):
            assert torch.equal(targets, theirs)
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)


# Sequences


def test_channels_are_normalised_by_what_lies_inside_training_sequences() -> None:
    data = sequences([3, 9, 5, 7])
    ready = prepared(data, "classification")
    samples = data.splits["train"].take(torch.arange(4)).inputs
    known = [samples["values"][place, :, :length] for place, length in enumerate(samples["lengths"].tolist())]
    mean, deviation = torch.cat(known, dim=1).double().mean(1), torch.cat(known, dim=1).double().std(1, correction=0)
    for place, part in enumerate(known):
        expected = (part - mean[:, None]) / deviation[:, None]
        found = inputs(ready.train)["values"][place]
        torch.testing.assert_close(found[:, : part.shape[1]].double(), expected, rtol=1e-5, atol=1e-5)
        assert not found[:, part.shape[1] :].any()
    assert ready.task.transform.shape == (2, None)


@pytest.mark.parametrize("scaling", ["StandardScaler", "MinMaxScaler", None])
def test_statistics_of_parts_are_those_of_the_whole(scaling: str | None) -> None:
    values = torch.randn(3, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4 + 1000
    values[0, 7], values[1, 100:300], values[2] = torch.nan, torch.nan, torch.nan
    statistics = Statistics(3)
    for part in values.split([1, 99, 200, 150, 50], dim=1):
        statistics.add(part)
    fitted = statistics.fitted(scaling)
    for channel, row in enumerate(values[:2]):
        known = row[~row.isnan()].numpy()
        expected = {
            "StandardScaler": (known.mean(), known.std()), "MinMaxScaler": (known.min(), np.ptp(known)), None: (0, 1),
        }[scaling]  # fmt: skip
        assert float(fitted.mean[channel]) == pytest.approx(known.mean(), rel=1e-14)
        assert (float(fitted.shift[channel]), float(fitted.scale[channel])) == pytest.approx(expected, rel=1e-12)
    assert [float(each[2]) for each in fitted] == [0, 0, 1], "a channel without values stays as it is"


def test_sequences_that_are_converted_a_few_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sequences([3, 20, 4, 19, 5])
    whole = prepared(data, "classification")
    monkeypatch.setattr(sequence_inputs, "_VALUES_AT_ONCE", 2 * 2 * 20)
    parts = prepared(data, "classification")
    assert (whole.task.transform.at_once, parts.task.transform.at_once) == (4096, 2)
    for name in ("values", "lengths"):
        torch.testing.assert_close(inputs(parts.train)[name], inputs(whole.train)[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scaling", ["StandardScaler", "MinMaxScaler"])
def test_a_planted_value_of_another_split_moves_no_sequence(scaling: str) -> None:
    lengths = [4, 6, 6, 5]
    clean, planted = (
        prepared(sequences(lengths, planted=value), "classification", scaling=scaling) for value in (None, 1e6)
    )
    assert torch.equal(inputs(clean.train)["values"], inputs(planted.train)["values"])
    assert torch.equal(inputs(clean.test)["values"][1:], inputs(planted.test)["values"][1:])


def test_a_missing_value_is_the_channels_mean() -> None:
    data = sequences([4, 4, 4])
    data.splits["train"].take(torch.arange(3))
    data.splits["test"].samples.inputs["values"][0, 1, 2] = torch.nan  # type: ignore[attr-defined]
    ready = prepared(data, "classification")
    assert inputs(ready.test)["values"][0, 1, 2] == pytest.approx(0.0, abs=1e-6)


def test_a_model_that_takes_lengths_gets_short_batches_and_the_true_lengths() -> None:
    lengths = [3, 20, 4, 19, 5, 18, 3, 20]
    ready = prepared(sequences(lengths), "classification").shown_to(Recurrent())
    seen = []
    for batch, _ in ready.batches(2, torch.Generator().manual_seed(0)):
        assert set(batch) == {"x", "lengths"}
        assert batch["x"].shape[2] == int(batch["lengths"].max())
        seen += batch["lengths"].tolist()
    assert sorted(seen) == sorted(lengths)
    for batch, _ in ready.batches(3, split="test"):
        assert batch["x"].shape[2] == int(batch["lengths"].max())


def test_a_model_without_lengths_gets_every_batch_as_long_as_the_longest() -> None:
    ready = prepared(sequences([3, 20, 4, 19]), "classification").shown_to(Columns())
    for batch, _ in itertools.chain(
        ready.batches(2, torch.Generator().manual_seed(0)), ready.batches(2, split="validation")
    ):
        assert batch.shape == (2, 2, 20)


def test_a_batch_has_sequences_of_similar_length_also_where_they_do_not_stay_in_memory() -> None:
    lengths = torch.randint(1, 90, (70,), generator=torch.Generator().manual_seed(1)).tolist()
    data = sequences(lengths)
    task = tasks.fit("classification", data, Preprocessing(), Training(), device=CPU, seed=0)
    kept, streamed = (prepare(data, task, in_memory=in_memory).shown_to(Recurrent()) for in_memory in (True, False))
    batches = [list(ready.batches(8, torch.Generator().manual_seed(2))) for ready in (kept, streamed)]
    for (one, targets), (other, theirs) in zip(*batches, strict=True):
        assert torch.equal(targets, theirs)
        assert all(torch.equal(one[name], other[name]) for name in one)
    spreads = [int(batch["lengths"].max() - batch["lengths"].min()) for batch, _ in batches[1][:-1]]
    assert max(spreads) < 30
    assert kept.batching() == streamed.batching() == "by length, within 16 batches of random sequences"


@pytest.mark.parametrize("in_memory", [True, False])
def test_batches_are_of_random_sequences_for_a_model_that_takes_no_lengths(*, in_memory: bool) -> None:
    data = sequences([3, 20, 4, 19])
    task = tasks.fit("classification", data, Preprocessing(), Training(), device=CPU, seed=0)
    assert prepare(data, task, in_memory=in_memory).shown_to(Columns()).batching() is None


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_by_length_gives_the_same_as_in_order_with_less_padding(
    split: Literal["validation", "test"], *, in_memory: bool
) -> None:
    lengths = torch.randint(1, 90, (200,), generator=torch.Generator().manual_seed(1))
    data = sequences(lengths.tolist())
    task = tasks.fit("classification", data, Preprocessing(), Training(), device=CPU, seed=0)
    torch.manual_seed(0)
    model = build(
        Model(name="velodrome/gru"), shape=task.transform.shape, **task.told, **task.transform.told, dropout=0
    )
    ready = prepare(data, task, in_memory=in_memory).shown_to(model)
    keys = ["accuracy", "loss", "auroc"]

    apart = measured(task, model, ready.batches(64, split=split), keys=keys, keeping="losses")
    together = of_split(ready, split, model, 1, keys=keys, keeping="losses")

    assert together.read().values == pytest.approx(apart.read().values, rel=1e-6)
    assert torch.equal(together.of_each["right"], apart.of_each["right"])
    torch.testing.assert_close(together.of_each["losses"], apart.of_each["losses"], rtol=1e-5, atol=1e-7)
    assert not torch.equal(together.all("right"), apart.all("right")), "they came in another order"
    order = ready.by_length(split)
    assert order is not None
    assert order.sort().values.tolist() == list(range(200))
    assert padding(order.split(64), lengths) < padding(torch.arange(200).split(64), lengths) / 3
    plain = prepare(data, task, in_memory=in_memory).shown_to(Columns())
    assert plain.by_length(split) is None


def padding(batches: tuple[torch.Tensor, ...], lengths: torch.Tensor) -> int:
    return sum(int(len(batch) * lengths[batch].max() - lengths[batch].sum()) for batch in batches)


def test_buckets_hold_every_sample_once_with_little_padding_and_differ_from_epoch_to_epoch() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 200, (500,), generator=generator)
    orders = [torch.randperm(500, generator=generator).split([32] * 15 + [20]) for _ in range(2)]
    first, second = (bucketed(order, lengths, generator) for order in orders)
    assert [len(batch) for batch in first] == [32] * 15 + [20]
    assert torch.cat(first).sort().values.tolist() == list(range(500))
    assert padding(first, lengths) < padding(orders[0], lengths) / 4
    assert {tuple(batch.tolist()) for batch in first}.isdisjoint(tuple(batch.tolist()) for batch in second)
