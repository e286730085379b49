"""Sounds for tests: words are tones, and speakers have pitches of their own."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

WORDS = {"down": 400.0, "stop": 900.0, "up": 1900.0}  # hertz


def write_wav(
    path: Path, samples: npt.NDArray[np.floating], *, rate: int = 16_000, width: int = 2, channels: int = 1
) -> None:
    """A WAV file of samples from -1 to 1; every channel has the same ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scaled = np.clip(samples, -1, 1) * (2 ** (8 * width - 1) - 1)
    whole = scaled.astype("<i4") + (128 if width == 1 else 0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        kept = whole.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width]
        file.writeframes(np.repeat(kept, channels, axis=0).tobytes())


def tone(hertz: float, *, seconds: float = 1.0, rate: int = 16_000) -> npt.NDArray[np.float64]:
    """A tone of half the full scale."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def speech_commands(
    folder: Path, speakers: int = 20, *, words: Sequence[str] = tuple(WORDS), rate: int = 16_000, lists: bool = True
) -> Path:
    """The layout of Google's set: each speaker says each word once, in clips of unequal length with noise."""
    noise = np.random.default_rng(3)
    for speaker in range(speakers):
        for word in words:
            said = tone(WORDS[word] * (1 + 0.1 * noise.random()), seconds=0.6 + 0.5 * noise.random(), rate=rate)
            path = folder / word / f"{speaker:08x}_nohash_0.wav"
            write_wav(path, said + noise.normal(0, 0.05, len(said)), rate=rate)
    write_wav(folder / "_background_noise_" / "pink_noise.wav", noise.normal(0, 0.1, 4 * rate), rate=rate)
    (folder / "README.md").write_text("A set for tests.\n")
    if lists:
        fifth = speakers // 5
        for file, chosen in (("validation", range(fifth)), ("testing", range(fifth, 2 * fifth))):
            lines = [f"{word}/{speaker:08x}_nohash_0.wav\n" for word in words for speaker in chosen]
            (folder / f"{file}_list.txt").write_text("".join(lines))
    return folder
