"""Log-mel bands: equal to torchaudio's, the same whenever they are computed, and refused where a clip has none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torchaudio import functional, transforms

from tests.sounds import speech_commands, tone
from velodrome.errors import ConfigurationError
from velodrome.plan import plan
from velodrome.spec import Dataset, LogMel, Preprocessing, Training, validate
from velodrome_runner import tasks
from velodrome_runner.data import Contents, Memory, Samples, Schema, whole
from velodrome_runner.data.loading import read
from velodrome_runner.inputs import base, log_mel
from velodrome_runner.inputs.log_mel import Bands, filters, heard
from velodrome_runner.measuring import opened, ready
from velodrome_runner.preprocessing import Prepared, prepare

CPU = torch.device("cpu")
FORTY = LogMel(bins=40)


@pytest.mark.parametrize(
    ("bins", "rate", "length"),
    [(40, 16_000, 400), (64, 16_000, 480), (80, 16_000, 400), (1, 8_000, 200), (128, 44_100, 2204)],
)
def test_the_filters_are_torchaudios(bins: int, rate: int, length: int) -> None:
    peer = functional.melscale_fbanks(length // 2 + 1, 0.0, rate / 2, bins, rate, norm=None, mel_scale="htk")
    torch.testing.assert_close(filters(bins, rate, length), peer.T.double(), rtol=0, atol=1e-4)


def test_a_corner_of_a_filter_is_where_the_formula_has_it() -> None:
    # 1000 mels are 999.99 Hz by 2595 log10(1 + f / 700), and 3 bands up to there have corners at 250, 500 and 750.
    rate = 2 * 700 * (10 ** (1000 / 2595) - 1)
    edges = [700 * (10 ** (mels / 2595) - 1) for mels in (0, 250, 500, 750, 1000)]
    found = filters(3, 2_000, 2_000)  # a frequency a hertz
    assert rate == pytest.approx(2_000, rel=1e-4)
    for band, (low, middle, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        half = (low + middle) / 2
        assert float(found[band, round(half)]) == pytest.approx((round(half) - low) / (middle - low), abs=1e-3)
        assert not found[band, math.ceil(high) + 1 :].any()
        assert int(found[band].argmax()) == pytest.approx(middle, abs=1)


@pytest.mark.parametrize("given", [FORTY, LogMel(bins=64, window_seconds=0.03, hop_seconds=0.02)])
def test_the_energies_are_torchaudios(given: LogMel) -> None:
    waveforms = 0.3 * torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0))
    window, hop = (round(16_000 * seconds) for seconds in (given.window_seconds, given.hop_seconds))
    peer = transforms.MelSpectrogram(16_000, n_fft=window, hop_length=hop, n_mels=given.bins, center=False, power=2.0)
    bands = Bands.of(given, 16_000)
    found = bands(waveforms)
    assert found.shape == (3, *bands.shape(16_000)) == peer(waveforms).shape
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, (peer(waveforms) + 1e-6).log(), rtol=1e-4, atol=1e-3)


def test_a_tone_is_loudest_in_the_band_of_its_frequency_and_silence_has_the_floor() -> None:
    bands = Bands.of(FORTY, 16_000)
    middles = 700 * (10 ** (torch.arange(1, 41) * 2595 * math.log10(1 + 8_000 / 700) / 41 / 2595) - 1)
    for hertz in (300.0, 1_000.0, 3_500.0):
        loudest = bands(torch.tensor(tone(hertz))[None])[0].mean(1).argmax()
        assert int(loudest) == int((middles - hertz).abs().argmin())
    assert bands(torch.zeros(1, 16_000)).unique().tolist() == pytest.approx([math.log(1e-6)])


def words(folder: Path) -> Contents:
    speech_commands(folder / "words")
    given = {"name": "words", "format": "SpeechCommands", "source": {"path": "words"}}
    return read(Dataset.model_validate(given), folder)


def prepared(contents: Contents, *, in_memory: bool | None = None, **fields: Any) -> Prepared:
    made = tasks.fit("classification", contents, Preprocessing(**fields), Training(), device=CPU, seed=0)
    return prepare(contents, made, in_memory=in_memory)


def test_bands_are_channels_and_windows_are_steps(tmp_path: Path) -> None:
    contents = heard(words(tmp_path), FORTY)
    assert contents.schema.shape == (40, 98)
    assert all(isinstance(source, Memory) for source in contents.splits.values())
    ready_ = prepared(contents)
    assert ready_.task.transform.shape == (40, 98)
    values = torch.cat([batch.inputs["values"] for batch in ready_.batches(8, torch.Generator())])
    assert values.shape == (36, 40, 98)
    # Each band is normalised by the training split.
    torch.testing.assert_close(values.mean((0, 2)), torch.zeros(40), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.square().mean((0, 2)), torch.ones(40), atol=1e-4, rtol=0)


def test_what_is_planted_outside_the_training_split_changes_no_training_sample(tmp_path: Path) -> None:
    contents = words(tmp_path)
    test = whole(contents.splits["test"])
    loud = Memory(Samples({**test.inputs, "values": test.inputs["values"] * 100}, test.targets))
    first, second = (
        next(prepared(heard(each, FORTY)).batches(36, torch.Generator().manual_seed(0))).inputs["values"]
        for each in (contents, contents.with_splits(test=loud))
    )
    assert torch.equal(first, second)


def test_batches_are_the_same_bits_in_memory_and_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = words(tmp_path)
    kept = prepared(heard(contents, FORTY), in_memory=True)
    monkeypatch.setattr("velodrome_runner.data.loading.fits", lambda *_: False)
    monkeypatch.setattr(log_mel, "fits", lambda *_: False)
    late = heard(
        read(
            Dataset.model_validate({"name": "words", "format": "SpeechCommands", "source": {"path": "words"}}), tmp_path
        ),
        FORTY,
    )
    assert not any(isinstance(source, Memory) for source in late.splits.values())
    streamed = prepared(late, in_memory=False)
    for split in ("train", "test"):
        pairs = zip(
            *(each.batches(5, torch.Generator().manual_seed(1), split=split) for each in (kept, streamed)), strict=True
        )
        for one, other in pairs:
            assert torch.equal(one.inputs["values"], other.inputs["values"])
            assert torch.equal(one.targets, other.targets)
    assert "worker" in str(streamed.reading(5))
    streamed.close()


def test_statistics_of_many_sounds_from_files_come_from_some_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words(tmp_path)
    monkeypatch.setattr(base, "FITTED", 5)
    spec = {
        "dataset": {"name": "words", "format": "SpeechCommands", "source": {"path": "words"}},
        "preprocessing": {"logMel": {"bins": 40}},
        "entries": [{"name": "a", "model": {"name": "velodrome/conv1d"}}],
    }
    document = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "race"},
        "spec": spec,
    }
    trial = plan(validate(document)).trial(0)
    for stream in (False, True):
        for module in ("velodrome_runner.data.loading", "velodrome_runner.inputs.log_mel"):
            monkeypatch.setattr(f"{module}.fits", lambda *_, stream=stream: not stream)
        facts, found = ready(trial, opened(trial, tmp_path), CPU, 1)
        found.close()
        assert facts.fitted_samples == (5 if stream else None)
        assert facts.shape == (1, 16_000)
        assert found.task.transform.shape == (40, 98)


def test_without_bands_a_sound_is_its_waveform(tmp_path: Path) -> None:
    contents = words(tmp_path)
    assert heard(contents, None) is contents
    assert prepared(contents).task.transform.shape == (1, 16_000)
    (values,) = {tuple(batch.inputs["values"].shape) for batch in prepared(contents).batches(12, split="test")}
    assert values == (12, 1, 16_000)


def test_sequences_that_are_no_sounds_have_no_bands() -> None:
    samples = Samples({"values": torch.zeros(2, 1, 9), "lengths": torch.tensor([9, 9])}, torch.tensor([0, 1]))
    contents = Contents("sequences", dict.fromkeys(("train", "test"), Memory(samples)), Schema((1, 9), ("a", "b")), "")
    with pytest.raises(ConfigurationError, match=r"spec\.preprocessing\.logMel is for sounds"):
        heard(contents, FORTY)


def test_bands_that_a_clip_can_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"spec\.preprocessing\.logMel\.bins: .* some of 90 bands would have none"
    ):
        heard(words(tmp_path), LogMel(bins=90))
