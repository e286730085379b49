"""Augmentations that draw several operations for each image: TrivialAugment, RandAugment, AutoAugment and AugMix.

They have torchvision's tables of operations and strengths, and its 8-bit arithmetic. Images are rounded to 8 bits for
them. A grey image has no colour: the operation `Color` does not change it, as in torchvision.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch

from velodrome.vocabulary import RAND_BINS, RAND_MAGNITUDE
from velodrome_runner.augmentation.operations import Choice, Space, Strengths, change_each, to_bytes
from velodrome_runner.augmentation.step import Shape, Step, column, uniform


class _Policy(Step):
    """Operations of a table for each image, one after another. `draw` returns one Choice after another."""

    needs_unit_range = True

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The operations that a Choice has the indexes of."""

    def apply(self, images: torch.Tensor, parameters: tuple[Choice, ...], black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        whole = to_bytes(images)
        for choice in parameters:
            whole = change_each(self.names, whole, choice)
        return whole.float() / 255


@dataclass(frozen=True)
class TrivialAugment(_Policy):
    """One of fourteen operations for each image, with one of `bins` strengths.

    Source: S. G. Müller, F. Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021,
    the variant "Wide".
    """

    shape: Shape
    bins: int = 31

    @property
    def names(self) -> tuple[str, ...]:
        return self._table.names

    @cached_property
    def _table(self) -> Strengths:
        return Strengths.of(_space("TrivialAugmentWide"), self.bins, self.shape)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Choice, ...]:
        operation, strength = _whole((count,), len(self.names), generator), _whole((count,), self.bins, generator)
        return (self._table.chosen(operation, strength, generator),)


@dataclass(frozen=True)
class RandAugment(_Policy):
    """`num_ops` of fourteen operations for each image, all with the strength `magnitude` of `num_magnitude_bins`.

    Source: E. D. Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space",
    NeurIPS 2020.
    """

    shape: Shape
    num_ops: int = 2
    magnitude: int = RAND_MAGNITUDE
    num_magnitude_bins: int = RAND_BINS

    @property
    def names(self) -> tuple[str, ...]:
        return self._table.names

    @cached_property
    def _table(self) -> Strengths:
        return Strengths.of(_space("RandAugment"), self.num_magnitude_bins, self.shape)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Choice, ...]:
        return tuple(self._one(count, generator) for _ in range(self.num_ops))

    def _one(self, count: int, generator: torch.Generator) -> Choice:
        operation = _whole((count,), len(self.names), generator)
        return self._table.chosen(operation, torch.full_like(operation, self.magnitude), generator)


@dataclass(frozen=True)
class AutoAugment(_Policy):
    """One of 25 pairs of operations for each image, as they were learned for a data set; each with its own probability.

    Source: E. D. Cubuk et al., "AutoAugment: Learning Augmentation Strategies from Data", CVPR 2019.
    """

    shape: Shape
    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet"

    @property
    def names(self) -> tuple[str, ...]:
        return (*self._table.names, "Identity")

    @cached_property
    def _table(self) -> Strengths:
        return Strengths.of(_space("AutoAugment"), 10, self.shape)

    @cached_property
    def _pairs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Operation, strength and probability of each pair's two: (pairs, 2) each."""
        from torchvision.transforms import v2

        pairs: Any = v2.AutoAugment(v2.AutoAugmentPolicy(self.policy))._policies  # noqa: SLF001 - as in `_space`
        operations = [[self.names.index(name) for name, _, _ in pair] for pair in pairs]
        strengths = [[strength or 0 for _, _, strength in pair] for pair in pairs]
        chances = [[chance for _, chance, _ in pair] for pair in pairs]
        return torch.tensor(operations), torch.tensor(strengths), torch.tensor(chances, dtype=torch.float64)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Choice, ...]:
        operations, strengths, chances = (each.to(generator.device) for each in self._pairs)
        pair = _whole((count,), len(operations), generator)
        return tuple(
            self._one(operations[pair, place], strengths[pair, place], chances[pair, place], generator)
            for place in range(2)
        )

    def _one(
        self, operation: torch.Tensor, strength: torch.Tensor, chance: torch.Tensor, generator: torch.Generator
    ) -> Choice:
        done = uniform(len(operation), 0, 1, generator) < chance
        choice = self._table.chosen(operation, strength, generator)
        return choice._replace(operation=torch.where(done, operation, self.names.index("Identity")))


class Chains(NamedTuple):
    """For each image, the share of itself and of each chain (n, 1 + chains), and the operations of each chain."""

    shares: torch.Tensor
    chains: tuple[tuple[Choice, ...], ...]


@dataclass(frozen=True)
class AugMix(Step):
    """A random mixture of each image and of `mixture_width` copies, each changed by a chain of operations.

    Source: D. Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty", ICLR
    2020. This is the mixture alone, without the loss of the paper.
    """

    shape: Shape
    severity: int = 3
    mixture_width: int = 3
    chain_depth: int | None = None
    alpha: float = 1.0
    all_ops: bool = True

    needs_unit_range = True

    _BINS = 10
    _DEEPEST = 3
    _OF_ALL = ("Brightness", "Color", "Contrast", "Sharpness")

    @property
    def names(self) -> tuple[str, ...]:
        """The operations that a Choice has the indexes of."""
        return (*self._table.names, "Identity")

    @cached_property
    def _table(self) -> Strengths:
        space = _space("AugMix")
        kept = space if self.all_ops else {name: space[name] for name in space if name not in self._OF_ALL}
        return Strengths.of(kept, self._BINS, self.shape)

    def draw(self, count: int, generator: torch.Generator) -> Chains:
        changed = shares(self.alpha, (count, 2), generator)
        parts = shares(self.alpha, (count, self.mixture_width), generator)
        mixture = torch.cat((changed[:, :1], parts * changed[:, 1:]), dim=1)
        return Chains(mixture, tuple(self._chain(count, generator) for _ in range(self.mixture_width)))

    def _chain(self, count: int, generator: torch.Generator) -> tuple[Choice, ...]:
        """A chain as long as the longest; in shorter ones the rest is Identity."""
        longest = self.chain_depth or self._DEEPEST
        depth = torch.full((count,), longest, device=generator.device)
        if self.chain_depth is None:
            depth = _whole((count,), self._DEEPEST, generator) + 1
        found = []
        for place in range(longest):
            operation = _whole((count,), len(self._table.names), generator)
            choice = self._table.chosen(operation, _whole((count,), self.severity, generator), generator)
            done = place < depth
            found.append(choice._replace(operation=torch.where(done, operation, self.names.index("Identity"))))
        return tuple(found)

    def apply(self, images: torch.Tensor, parameters: Chains, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        whole = to_bytes(images)
        mixed = column(parameters.shares[:, 0], images) * whole
        for place, chain in enumerate(parameters.chains, start=1):
            changed = whole.clone()
            for choice in chain:
                changed = change_each(self.names, changed, choice, "bilinear")
            mixed += column(parameters.shares[:, place], images) * changed
        return mixed.to(torch.uint8).float() / 255


def shares(alpha: float, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Shares whose sum over the last axis is 1, in double precision: a Dirichlet distribution of equal parameters."""
    parameters = torch.full(shape, alpha, dtype=torch.float64, device=generator.device)
    return torch._sample_dirichlet(parameters, generator)  # noqa: SLF001 - torch.distributions takes no generator


def _whole(shape: tuple[int, ...], below: int, generator: torch.Generator) -> torch.Tensor:
    """Whole numbers from 0, each as likely."""
    return torch.randint(0, below, shape, generator=generator, device=generator.device)


def _space(name: str) -> Space:
    from torchvision.transforms import v2

    space: Space = getattr(v2, name)._AUGMENTATION_SPACE  # noqa: SLF001 - torchvision has no public table of operations
    return space
