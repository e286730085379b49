"""A WAV file of 16-bit PCM with one channel, as samples from -1 to 1. Pure."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np

from velodrome_runner.data.format import corrupt, invalid

_FULL_SCALE = 32_768.0  # of 16 bits
# Of RIFF: where its chunks begin, how long the head of one is, and the tags of plain and extensible PCM.
_FIRST_CHUNK, _CHUNK_HEAD = 12, 8
_PCM, _EXTENSIBLE = b"\x01\x00", b"\xfe\xff"
_PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
# What a writer to a pipe puts where it can't know a size: nothing, the most (FFmpeg), or almost 2 GiB (SoX).
_PIPED = (0, 0x7FFFF000, 0xFFFFFFFF)
_FIX = "convert it to 16-bit PCM with one channel"

Waveform = np.ndarray[Any, np.dtype[np.float32]]


def decoded(content: bytes, path: Path, rate: int) -> Waveform:
    """The samples (length,) of a WAV file's content, from -1 to 1.

    Raises:
        ConfigurationError: DatasetCorrupt or DatasetInvalid, it is no whole file of the declared kind.
    """
    if not content:
        raise corrupt(f"{path} is empty: get it again, or remove it")
    whole = _ended(content)
    try:
        with wave.open(io.BytesIO(_plain(whole))) as file:
            channels, width, found, count = file.getparams()[:4]
            frames = file.readframes(count)
    except (wave.Error, EOFError, RuntimeError) as error:
        if (content[:4], content[8:12]) != (b"RIFF", b"WAVE"):
            raise corrupt(f"{path} is no WAV file: replace or remove it") from error
        if isinstance(error, wave.Error):
            raise invalid(f"{path} is a WAV file that can't be read ({error}): {_FIX}, or get it again") from error
        raise corrupt(f"{path} is cut off in its header: get it again, or remove it") from error
    if channels != 1:
        raise invalid(f"{path} has {channels} channels, and a sound has one: {_FIX}")
    if width != 2:
        raise invalid(f"{path} has {8 * width} bits a sample, and a sound has 16: {_FIX}")
    if found != rate:
        raise invalid(
            f"{path} has {found:,} samples a second, and the data have {rate:,}: write spec.dataset.sampleRate if all "
            "files are so, or convert this one"
        )
    _check_end(path, len(frames) // width, count, torn=whole is not content and bool(len(content) % width))
    return np.frombuffer(frames, dtype=np.int16).astype(np.float32) / np.float32(_FULL_SCALE)


def _check_end(path: Path, read: int, count: int, *, torn: bool) -> None:
    if torn:
        raise corrupt(f"{path} ends in the middle of a sample: get it again, or remove it")
    if read < count:
        raise corrupt(f"{path} ends after {read:,} of its {count:,} samples: get it again, or remove it")
    if not count:
        raise invalid(f"{path} has no samples: record it again, or remove it")


def _plain(content: bytes) -> bytes:
    """The file with the plain tag of PCM if it has the extensible one, which `wave` knows from Python 3.12 on alone.

    Of the chunk `fmt `, bytes 8 and 9 are the tag, and 32 to 47 the GUID of what an extensible file really has.
    """
    at = _chunk(content, b"fmt ")
    if content[at + 8 : at + 10] != _EXTENSIBLE or content[at + 32 : at + 48] != _PCM_GUID:
        return content
    return content[: at + 8] + _PCM + content[at + 10 :]


def _ended(content: bytes) -> bytes:
    """The file with the sizes of itself and of its samples, if it was written to a pipe, whose end the head can't know.

    Such a file has samples up to its end. Both sizes must be those of no file: a file that has one of them is torn.
    """
    at = _chunk(content, b"data")
    whole, samples = (int.from_bytes(content[place + 4 : place + _CHUNK_HEAD], "little") for place in (0, at))
    if at + _CHUNK_HEAD > len(content) or samples not in _PIPED or 0 < whole < _PIPED[1]:
        return content
    sizes = [(len(content) - place - _CHUNK_HEAD).to_bytes(4, "little") for place in (0, at)]
    return content[:4] + sizes[0] + content[_CHUNK_HEAD : at + 4] + sizes[1] + content[at + _CHUNK_HEAD :]


def _chunk(content: bytes, name: bytes) -> int:
    """Where the chunk of that name begins; the end of the file, or behind it, if there is none."""
    at = _FIRST_CHUNK
    while at + _CHUNK_HEAD <= len(content) and content[at : at + 4] != name:
        size = int.from_bytes(content[at + 4 : at + _CHUNK_HEAD], "little")
        at += _CHUNK_HEAD + size + size % 2
    return at
