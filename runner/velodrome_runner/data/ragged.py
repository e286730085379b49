"""Rows of unequal lengths in one tensor, one behind the other: nothing is kept for what lies behind a row's end. Pure.

Only what is taken of it is padded, to the longest row that was taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_AT_ONCE = 2**20  # steps that are copied at a time, each of which needs an index of 8 bytes


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows (length, *) of any type, and of one trailing shape.

    `flat` (`steps` + the longest length + 1, *) has the steps of all rows, and zeros at its end. `starts` (n,) and
    `lengths` (n,) int64 say which steps are whose. All are on one device.
    """

    flat: Tensor
    starts: Tensor
    lengths: Tensor
    steps: int

    @classmethod
    def joined(cls, pieces: Iterable[Tensor], lengths: Tensor) -> Ragged:
        """The rows of these lengths (n,), whose steps come in pieces (steps, *) of any size."""
        at, flat = 0, torch.empty(0)
        for piece in pieces:
            if not at:
                flat = _room(piece, lengths)
            flat[at : at + len(piece)] = piece
            at += len(piece)
        assert at == int(lengths.sum())
        return cls(flat, lengths.cumsum(0) - lengths, lengths, at)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.flat.nbytes + self.starts.nbytes + self.lengths.nbytes

    def pieces(self, size: int) -> Iterator[Tensor]:
        """All steps in their order, (`size`, *) at a time, without a copy."""
        return iter(self.flat[: self.steps].split(size))

    def padded(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The rows at those indices (n, *, longest of them), 0 after each row's end, and their lengths (n,)."""
        lengths = self.lengths.index_select(0, indices)
        longest = int(lengths.max()) if len(lengths) else 0
        steps, starts = torch.arange(longest, device=lengths.device), self.starts.index_select(0, indices)
        outside = steps >= lengths[:, None]
        if longest and self.flat.ndim == 1 and self.flat.device.type == "cpu":
            # All windows of the length of the longest row, as a view: rows are copied whole, twice as quickly.
            return self.flat.unfold(0, longest, 1).index_select(0, starts).masked_fill_(outside, 0), lengths
        places = (starts[:, None] + steps).masked_fill_(outside, self.steps)
        return self.flat.index_select(0, places.view(-1)).unflatten(0, places.shape).movedim(1, -1), lengths

    def chosen(self, indices: Tensor) -> Ragged:
        """A copy of the rows at those indices, in that order."""
        return self._copied(self.starts[indices], self.lengths[indices])

    def cut(self, most: int) -> Ragged:
        """The first `most` steps of each row; itself if no row has more."""
        if not bool((self.lengths > most).any()):
            return self
        return self._copied(self.starts, self.lengths.clamp(max=most))

    def _copied(self, starts: Tensor, lengths: Tensor) -> Ragged:
        """The steps from each start on, as many as its length says."""
        ends = lengths.cumsum(0)
        flat, total = _room(self.flat, lengths), int(lengths.sum())
        shifts = starts - ends + lengths
        for first in range(0, total, _AT_ONCE):
            last = min(first + _AT_ONCE, total)
            places = torch.arange(first, last, device=flat.device)
            flat[first:last] = self.flat[places + shifts[torch.searchsorted(ends, places, right=True)]]
        return Ragged(flat, ends - lengths, lengths, total)


def _room(like: Tensor, lengths: Tensor) -> Tensor:
    """Zeros for rows of these lengths, and behind them for one more that is as long as the longest, and a step."""
    behind = int(lengths.max()) + 1 if len(lengths) else 1
    return like.new_zeros((int(lengths.sum()) + behind, *like.shape[1:]))
