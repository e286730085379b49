"""Watches for what disturbs a trial while it is measured: other programs, a hot processor, a slowed or shared GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from velodrome.errors import TrialFailed
from velodrome.kernel.descendants import descendants
from velodrome.kernel.pressure import Snapshot, disturbances, snapshot

if TYPE_CHECKING:
    import torch

# The share of the time from which on a GPU that its driver held back counts as disturbed.
_HELD_BACK = 0.01


@dataclass(frozen=True, slots=True)
class GpuState:
    """One GPU at one moment: seconds by reason in which its driver held it back, its users, and its clock in MHz."""

    held_back: Mapping[str, float] = field(default_factory=dict)
    users: frozenset[int] = frozenset()
    slowed: bool = False
    clock: int | None = None
    most: int | None = None


class Interference:
    """Everything that disturbed a trial in the parts of it that were `watched`.

    `gpu` reads the state of the GPU that computes, if there is one. `concurrent` is the number of trials that share the
    machine by intent, `threads` the number of threads that compute.
    """

    def __init__(
        self,
        *,
        concurrent: int,
        threads: int,
        gpu: Callable[[], GpuState] | None = None,
        look: Callable[[], Snapshot] = snapshot,
    ) -> None:
        self._concurrent, self._threads = concurrent, threads
        self._gpu = gpu or GpuState
        self._look = look
        self.found: list[str] = []
        self.cpu_seconds: float | None = None
        self.others = ""

    @contextmanager
    def watched(self, what: str) -> Iterator[None]:
        """Watches while the context is open. What disturbed it goes to `found`, with `what` it disturbed.

        Afterwards, `cpu_seconds` is the CPU time that this process and all below it used meanwhile, and `others` says
        which programs took part in the use of the CPUs, if any did.
        """
        gpu, before = self._gpu(), self._look()
        try:
            yield
        finally:
            after, gpu_after = self._look(), self._gpu()
            said = disturbances(before, after, concurrent=self._concurrent, threads=self._threads)
            said += gpu_disturbances(gpu, gpu_after, after.at - before.at, own=_own())
            if before.own is not None and after.own is not None:
                self.cpu_seconds = after.own - before.own
            self.others = next((one for one in said if one.startswith("other programs")), "")
            self.found += [f"{what}: {one}" for one in said]

    def refuse(self) -> None:
        """For `evaluation.onInterference: fail`.

        Raises:
            TrialFailed: `Interference`, something disturbed the trial.
        """
        if self.found:
            raise TrialFailed(
                "Interference",
                f"something disturbed the measuring ({'; '.join(self.found)}): run it again on a quiet machine, or set "
                "evaluation.onInterference to record",
            )


def gpu_disturbances(before: GpuState, after: GpuState, seconds: float, own: Iterable[int]) -> list[str]:
    """What disturbed the GPU between two moments, in words. Pure.

    Processes count as others only if this one is among the GPU's users: in some containers, the driver's numbers are
    those of the host, and nobody can tell whose they are. Then more than one user is said.
    """
    said = []
    for reason, total in after.held_back.items():
        share = (total - before.held_back.get(reason, total)) / seconds if seconds > 0 else 0.0
        if share >= _HELD_BACK:
            said.append(f"its driver held the GPU back {share:.0%} of the time ({reason})")
    if not said and (before.slowed or after.slowed):
        clock = f", at {after.clock} of {after.most} MHz" if after.clock and after.most else ""
        said.append(f"the GPU was slowed{clock}")
    users, own = before.users | after.users, frozenset(own)
    others = len(users - own) if users & own else max(0, len(users) - 1)
    if others:
        said.append(f"{others} other process{'' if others == 1 else 'es'} used the GPU")
    return said


def gpu_reader(device: torch.device) -> Callable[[], GpuState] | None:
    """Reads the state of this device; None if it is no GPU, or if its driver can't be asked."""
    if device.type != "cuda":
        return None
    import torch

    with suppress(ImportError):
        import pynvml

        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
            return lambda: _state(pynvml, handle)
    return None


def _state(nvml: Any, handle: Any) -> GpuState:
    """What the driver says. A GPU that lacks a counter, or a slice of one, leaves it out."""
    held_back: dict[str, float] = {}
    for name, policy in (
        ("temperature", nvml.NVML_PERF_POLICY_THERMAL),
        ("the board's limit", nvml.NVML_PERF_POLICY_BOARD_LIMIT),
        ("reliability", nvml.NVML_PERF_POLICY_RELIABILITY),
    ):
        with suppress(nvml.NVMLError):
            held_back[name] = nvml.nvmlDeviceGetViolationStatus(handle, policy).violationTime / 1e9
    slowing = (
        nvml.nvmlClocksThrottleReasonHwSlowdown
        | nvml.nvmlClocksThrottleReasonHwThermalSlowdown
        | nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
        | nvml.nvmlClocksThrottleReasonSwThermalSlowdown
    )
    return GpuState(
        held_back=held_back,
        users=frozenset(one.pid for one in _asked(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()),
        slowed=bool((_asked(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0) & slowing),
        clock=_asked(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        most=_asked(nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
    )


def _asked(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """The driver's answer; None if it has none."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None


def _own() -> list[int]:
    """This process and all below it."""
    return [os.getpid(), *(found.pid for found in descendants(os.getpid()))]
