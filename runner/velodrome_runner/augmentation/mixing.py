"""Mixing the samples of a batch with each other: MixUp and CutMix. See `Mixing`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch

from velodrome_runner.augmentation.policies import shares


class Kept(NamedTuple):
    """What stays of each image: the share of each pixel (height, width), and of its label ()."""

    pixels: torch.Tensor
    label: torch.Tensor


class Mix(ABC):
    """One way of mixing. `alpha` is the parameter of the symmetric Beta distribution of the shares."""

    alpha: float

    @abstractmethod
    def draw(self, height: int, width: int, generator: torch.Generator) -> Kept:
        """What stays of every image of a batch, on the generator's device, in double precision."""

    def _share(self, generator: torch.Generator) -> torch.Tensor:
        return shares(self.alpha, (2,), generator)[0]


@dataclass(frozen=True)
class MixUp(Mix):
    """Mixes whole images. Source: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018."""

    alpha: float = 1.0

    def draw(self, height: int, width: int, generator: torch.Generator) -> Kept:
        share = self._share(generator)
        return Kept(share.expand(height, width), share)


@dataclass(frozen=True)
class CutMix(Mix):
    """Replaces a rectangle by that of another image; labels mix by its area.

    Source: S. Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV
    2019.
    """

    alpha: float = 1.0

    def draw(self, height: int, width: int, generator: torch.Generator) -> Kept:
        half = 0.5 * (1 - self._share(generator)).sqrt()
        inside = [self._inside(side, half, generator) for side in (height, width)]
        cut = inside[0][:, None] & inside[1]
        pixels = 1 - cut.double()
        return Kept(pixels, pixels.mean())

    @staticmethod
    def _inside(side: int, half: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Which places of a side of the image are in the rectangle, whose middle is a random place."""
        middle = torch.randint(0, side, (), generator=generator, device=generator.device)
        reach = (half * side).floor()
        places = torch.arange(side, device=generator.device)
        return (places >= middle - reach) & (places < middle + reach)


@dataclass(frozen=True)
class Mixing:
    """One of these ways for each batch, each as likely. Every sample is mixed with the one before it in its batch.

    Nothing here waits for a GPU.
    """

    ways: tuple[Mix, ...]

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, classes: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (n, c, h, w) on any scale, and labels (n,), mixed: images, and shares of the classes (n, classes)."""
        kept = self.draw(images.shape[2], images.shape[3], generator)
        known = (labels[:, None] == torch.arange(classes, device=labels.device)).to(images.dtype)
        return _mixed(images, kept.pixels).contiguous(memory_format=torch.channels_last), _mixed(known, kept.label)

    def draw(self, height: int, width: int, generator: torch.Generator) -> Kept:
        """What stays of every image of a batch."""
        drawn = [way.draw(height, width, generator) for way in self.ways]
        if len(drawn) == 1:
            return drawn[0]
        which = torch.randint(0, len(drawn), (1,), generator=generator, device=generator.device)
        pixels, label = (torch.stack(each).index_select(0, which).squeeze(0) for each in zip(*drawn, strict=True))
        return Kept(pixels, label)


def _mixed(values: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The values with their share of those of the sample before, the first axis being the sample."""
    share = kept.to(values.device)
    return values * share.to(values.dtype) + values.roll(1, 0) * (1 - share).to(values.dtype)
