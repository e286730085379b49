"""The peak memory of a trial: of the device if it has its own memory, else of this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from velodrome.errors import ActionNeeded

if TYPE_CHECKING:
    import torch


class Unmeasurable(ActionNeeded):
    """A quantity can't be measured here. The message says why, and goes into the result's `unavailable`."""

    reason = "Unmeasurable"


class MemoryPeak(Protocol):
    """Follows memory from its creation on, which is after the imports and before data are loaded."""

    def lap(self) -> None:
        """Call this regularly outside timed regions, for example at the end of each epoch."""

    def read(self) -> int:
        """The largest number of bytes held at once since the creation, minus the bytes held at the creation.

        Raises:
            Unmeasurable: this system does not report it.
        """


def memory_peak(device: torch.device) -> MemoryPeak:
    """The peak of the device that trains."""
    return DevicePeak(device) if device.type == "cuda" else ResidentPeak()


class DevicePeak:
    """The peak of torch's allocations on a CUDA device, without its cache and the context."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device = device
        torch.cuda.reset_peak_memory_stats(device)

    def lap(self) -> None:
        """Nothing to do: the allocator keeps the peak."""

    def read(self) -> int:
        """Bytes, from `torch.cuda.max_memory_allocated`."""
        import torch

        return int(torch.cuda.max_memory_allocated(self._device))


class ResidentPeak:
    """Growth of this process's resident memory, without the pages of files (libraries) that it only maps.

    Linux keeps the peak of a process's resident size (VmHWM) and resets it when 5 is written to clear_refs. That peak
    includes pages of libraries, which are loaded when their code is first used and are shared by all processes. So each
    lap subtracts the library pages that exist at its end. A lap that loads many of them is therefore a little too low.
    Later laps repeat the same work and are not, and the highest lap counts.
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
            self._reason = f"this system does not show a process's peak resident memory: {error!r}"

    def lap(self) -> None:
        """Takes the peak since the last lap, and starts a new lap."""
        if self._reason is None:
            status = self._status()
            self._highest = max(self._highest, status["VmHWM"] - status["RssFile"])
            self._reset()

    def read(self) -> int:
        """Bytes, minus those at the start."""
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
