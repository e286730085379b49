"""Windows of a stream of tokens, cut when they are taken: in memory are the tokens, 1 to 4 bytes for each. Pure."""

from __future__ import annotations

import torch
from torch import Tensor

# The target of a token that is not to be predicted; torch's own number for it.
IGNORED = -100


def cut(stream: Tensor, starts: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The `size` tokens (k, size) int64 of a stream (n,) from each start (k,) on, and those one place further on."""
    if stream.device.type == "cpu":  # each window is copied whole
        found = stream.unfold(0, size + 1, 1).index_select(0, starts)
    else:
        found = gathered(stream, starts, size + 1)
    tokens, following = (
        each.to(torch.int64, copy=True, memory_format=torch.contiguous_format) for each in (found[:, :-1], found[:, 1:])
    )
    return tokens, following


def gathered(stream: Tensor, starts: Tensor, size: int) -> Tensor:
    """The `size` tokens (k, size) of a stream (n,) from each start (k,) on, each of which is taken by itself."""
    return stream[starts[:, None] + torch.arange(size, device=stream.device)]
