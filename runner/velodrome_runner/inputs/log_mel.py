"""Log-mel energies of sounds, as `spec.preprocessing.logMel` declares them, in place of the waveforms.

A clip is cut into windows that begin a hop apart, and the last one ends within the clip. Of each window, weighted by
Hann's function, the squared magnitudes of the Fourier transform are summed in bands (`velodrome.spec.sound`), and the
logarithm of that sum is what a model gets, bands as channels and windows as steps. Nothing here is learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from velodrome.errors import ConfigurationError
from velodrome.spec import LogMel
from velodrome.spec.sound import corners, samples_of, wrong_bands
from velodrome_runner.data import Contents, Memory, Samples, SampleSource
from velodrome_runner.memory import fits

# Is added to each energy, so that silence has a logarithm. A full-scale tone has an energy of thousands.
_FLOOR = 1e-6
_AT_ONCE = 256  # sounds that are converted at a time


@dataclass(frozen=True)
class Bands:
    """Makes (n, bins, windows) float32 of waveforms (n, length). The sums are of double precision.

    `filters` (bins, frequencies) has the weight of each frequency in each band, `window` (samples,) Hann's function.
    """

    filters: Tensor
    window: Tensor
    hop: int

    @classmethod
    def of(cls, log_mel: LogMel, rate: int) -> Bands:
        """The bands that are declared, for so many samples a second."""
        length = samples_of(log_mel.window_seconds, rate)
        window = torch.hann_window(length, dtype=torch.float64)
        return cls(filters(log_mel.bins, rate, length), window, samples_of(log_mel.hop_seconds, rate))

    def shape(self, length: int) -> tuple[int, int]:
        """The bands and the windows of a clip of so many samples."""
        return len(self.filters), 1 + (length - len(self.window)) // self.hop

    def __call__(self, waveforms: Tensor) -> Tensor:
        spectrum = torch.stft(
            waveforms.double(),
            n_fft=len(self.window),
            hop_length=self.hop,
            window=self.window,
            center=False,
            return_complex=True,
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        return (self.filters @ power).add_(_FLOOR).log_().float()


def filters(bins: int, rate: int, length: int) -> Tensor:
    """The weight of each frequency of a window's spectrum in each band (bins, length // 2 + 1), from 0 to 1."""
    frequencies = torch.arange(length // 2 + 1, dtype=torch.float64) * rate / length
    edges = torch.tensor(corners(bins, rate), dtype=torch.float64)
    low, middle, high = (each[:, None] for each in (edges[:-2], edges[1:-1], edges[2:]))
    return torch.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle)).clamp(min=0.0)


@dataclass(frozen=True)
class BandsOfSounds:
    """A source of sounds as their bands, which are computed when they are taken."""

    sounds: SampleSource
    bands: Bands
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.sounds)

    @property
    def targets(self) -> Tensor:
        """The targets of all samples."""
        return self.sounds.targets

    @property
    def lengths(self) -> Tensor:
        """All clips have as many windows."""
        return torch.full((len(self),), self.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all bands, lengths and targets in memory."""
        return len(self) * (4 * math.prod(self.shape) + 8) + self.targets.nbytes

    def take(self, indices: Tensor) -> Samples:
        """The bands of the sounds at those indices. Raises as the source of the sounds does."""
        samples = self.sounds.take(indices)
        values = self.bands(samples.inputs["values"][:, 0])
        return Samples({"values": values, "lengths": torch.full_like(indices, self.shape[1])}, samples.targets)

    def kept(self) -> Memory:
        """All of them, computed now."""
        values = torch.empty((len(self), *self.shape))
        for rows in torch.arange(len(self)).split(_AT_ONCE):
            values[rows] = self.take(rows).inputs["values"]
        return Memory(Samples({"values": values, "lengths": self.lengths}, self.targets))


def heard(contents: Contents, log_mel: LogMel | None) -> Contents:
    """The same sounds by their bands, if those are declared; other data as they are.

    Bands are computed here, once, if all of them fit in memory. Else they are computed in each epoch, by the processes
    that read the sounds.

    Raises:
        ConfigurationError: the data are no sounds, or no clip has such bands.
    """
    if log_mel is None:
        return contents
    rate, length = contents.schema.rate, contents.schema.shape[-1]
    if rate is None:
        raise ConfigurationError(
            "spec.preprocessing.logMel is for sounds, whose samples a second are known, and these data have none: "
            "leave it out"
        )
    wrong = wrong_bands(log_mel, rate, length / rate)
    if wrong is not None:
        raise ConfigurationError(f"spec.preprocessing.logMel.{wrong.field}: {wrong.message}: {wrong.hint}")
    bands = Bands.of(log_mel, rate)
    shape = bands.shape(length)
    sources = {name: BandsOfSounds(source, bands, shape) for name, source in contents.splits.items()}
    in_memory = fits(sum(source.nbytes for source in sources.values()), torch.device("cpu"))
    splits = {name: source.kept() if in_memory else source for name, source in sources.items()}
    return replace(contents, splits=splits, schema=replace(contents.schema, shape=shape, rate=None))
