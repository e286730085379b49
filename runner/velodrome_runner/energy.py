"""The energy of training, from the counters of GPUs and processors. Never an estimate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from velodrome_runner.peak import Unmeasurable

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of joules. It starts again from 0 at `wraps_at`, if that is set."""

    read: Callable[[], float]
    wraps_at: float | None = None


class EnergyMeter:
    """Joules of some counters between `start` and `stop`, summed over all such pairs."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._from: list[float] = []
        self.joules = 0.0

    def start(self) -> None:
        """Notes the values of the counters."""
        self._from = [counter.read() for counter in self._counters]

    def stop(self) -> None:
        """Adds the growth of the counters. A counter that wrapped is assumed to have wrapped once."""
        for counter, begin in zip(self._counters, self._from, strict=True):
            used = counter.read() - begin
            self.joules += used + (counter.wraps_at or 0.0) if used < 0 else used


def energy_meter(device: torch.device, *, concurrent: int, powercap: Path = Path("/sys/class/powercap")) -> EnergyMeter:
    """The meter of the training device: the GPU's own total (NVML), or that of the processor packages (RAPL).

    Raises:
        Unmeasurable: there is no counter, it can't be read, or other trials share the device.
    """
    if concurrent > 1:
        raise Unmeasurable(f"{concurrent} trials share the machine, and its energy counter can't tell them apart")
    return EnergyMeter([_gpu(device)] if device.type == "cuda" else _packages(powercap))


def _gpu(device: torch.device) -> Counter:
    import pynvml
    import torch

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        raise Unmeasurable(f"this GPU's energy counter can't be read: {error}") from error
    return Counter(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000)


def _packages(powercap: Path) -> list[Counter]:
    """One counter for each processor package of the machine: zones `intel-rapl:0`, `intel-rapl:1`, …, on AMD too."""
    zones = sorted(zone for zone in powercap.glob("intel-rapl:*") if zone.name.count(":") == 1)
    if not zones:
        raise Unmeasurable("the system shows no energy counter of this machine's processor (RAPL)")
    try:
        counters = [_package(zone) for zone in zones]
        for counter in counters:
            counter.read()
    except PermissionError as error:
        raise Unmeasurable(f"the processor's energy counter may not be read by this user: {error.filename}") from error
    except (OSError, ValueError) as error:
        raise Unmeasurable(f"the processor's energy counter can't be read: {error}") from error
    return counters


def _package(zone: Path) -> Counter:
    return Counter(lambda: _joules(zone / "energy_uj"), _joules(zone / "max_energy_range_uj"))


def _joules(path: Path) -> float:
    return int(path.read_text(encoding="ascii")) / 1e6
