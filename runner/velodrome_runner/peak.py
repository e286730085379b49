"""The most memory that a trial held at once: of the device where it has its own, else resident in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from velodrome.errors import VelodromeError

if TYPE_CHECKING:
    import torch


class Unmeasurable(VelodromeError):
    """A quantity can't be measured here. The message says why; it ends in a result's `unavailable`."""


class MemoryPeak(Protocol):
    """Follows memory from when it is made, which is after the imports and before data are loaded."""

    def lap(self) -> None:
        """To be called now and then outside timed regions, at the end of each epoch for example."""

    def read(self) -> int:
        """The most bytes held at once since this was made, beyond what was held then.

        Raises:
            Unmeasurable: this system does not tell.
        """


def memory_peak(device: torch.device) -> MemoryPeak:
    """The peak of the device that trains."""
    return DevicePeak(device) if device.type == "cuda" else ResidentPeak()


class DevicePeak:
    """What torch's allocator had handed out on a CUDA device at most; its cache and the context are not in it."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device = device
        torch.cuda.reset_peak_memory_stats(device)

    def lap(self) -> None:
        """The allocator keeps the peak by itself."""

    def read(self) -> int:
        """Bytes, from `torch.cuda.max_memory_allocated`."""
        import torch

        return int(torch.cuda.max_memory_allocated(self._device))


class ResidentPeak:
    """Growth of this process's resident memory, less the pages of files (libraries) that it merely maps.

    Linux keeps the peak of a process's resident size (VmHWM) and resets it when 5 is written to clear_refs. That peak
    includes pages of libraries, which come in as their code is first used and are shared by every process, so each lap
    takes off those that are there at its end. A lap in which many of them came in is therefore a little low; the laps
    that repeat the same work after it are not, and the highest lap counts.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._proc = proc
        self._highest = 0
        self._base = 0
        self._reason: str | None = None
        try:
            status = self._status()
            self._base = status["RssAnon"] + status["RssShmem"]
            self._reset()
        except (OSError, KeyError) as error:
            self._reason = f"this system does not tell a process's peak resident memory: {error!r}"

    def lap(self) -> None:
        """Takes the peak since the last lap and starts a new one."""
        if self._reason is None:
            status = self._status()
            self._highest = max(self._highest, status["VmHWM"] - status["RssFile"])
            self._reset()

    def read(self) -> int:
        """Bytes beyond those at the start."""
        self.lap()
        if self._reason is not None:
            raise Unmeasurable(self._reason)
        return max(0, self._highest - self._base)

    def _status(self) -> dict[str, int]:
        lines = (self._proc / "status").read_text(encoding="ascii", errors="replace").splitlines()
        fields = (line.partition(":")[::2] for line in lines)
        return {name: int(value.split()[0]) * 1024 for name, value in fields if value.endswith(" kB")}

    def _reset(self) -> None:
        (self._proc / "clear_refs").write_text("5", encoding="ascii")
