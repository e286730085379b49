"""The IDX format of MNIST's files.

A file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit integer, and the
values (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"). Only unsigned bytes occur here.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import torch

from velodrome.errors import ConfigurationError
from velodrome_runner.data.format import UNREADABLE

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, *, dimensions: int) -> torch.Tensor:
    """The values of an IDX file of unsigned bytes, plain or (by its suffix .gz) compressed, as a uint8 tensor.

    Raises:
        ConfigurationError: reason DatasetCorrupt: the file can't be read, is not an IDX file, or is incomplete.
    """
    content = _content(path)
    header = 4 + 4 * dimensions
    if len(content) < 4 or content[0] or content[1] or content[2] != _UNSIGNED_BYTE or content[3] != dimensions:
        expected = bytes((0, 0, _UNSIGNED_BYTE, dimensions)).hex(" ")
        raise _corrupt(path, f"it begins with {content[:4].hex(' ') or 'nothing'} instead of {expected}")
    if len(content) < header:
        raise _corrupt(path, f"it ends inside its header, after {len(content)} bytes")
    sizes = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) != header + math.prod(sizes):
        shape = " x ".join(str(size) for size in sizes)
        raise _corrupt(path, f"its header says {shape}, {header + math.prod(sizes)} bytes, but it has {len(content)}")
    if math.prod(sizes) == 0:
        return torch.empty(sizes, dtype=torch.uint8)
    return torch.frombuffer(content, dtype=torch.uint8, offset=header).reshape(sizes)


def _content(path: Path) -> bytearray:
    """The content as a bytearray, because torch requires writable memory."""
    try:
        content = path.read_bytes()
        return bytearray(gzip.decompress(content) if path.suffix == ".gz" else content)
    except UNREADABLE as error:
        raise _corrupt(path, f"it can't be read ({error})") from error


def _corrupt(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not the IDX file that it should be: {problem}; delete it and get it again", "DatasetCorrupt"
    )
