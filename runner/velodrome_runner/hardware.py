"""What the machine calls itself. Imports no torch."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One NVIDIA GPU, as its driver tells."""

    name: str
    memory_bytes: int
    driver: str


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor calls itself, `EPYC 9555` for example; the architecture where it doesn't say."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    if fields.get("model name"):
        return fields["model name"]
    if "CPU part" in fields:  # Arm's kernels print numbers: the implementer and the part together name the core
        return f"{platform.machine()} {fields.get('CPU implementer', '?')}/{fields['CPU part']}"
    return platform.processor() or platform.machine() or "unknown"


def nvidia() -> tuple[Accelerator, ...]:
    """The NVIDIA GPUs that this process may see; none where there is no driver, or no library to ask it with."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        devices = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        return tuple(
            Accelerator(
                str(pynvml.nvmlDeviceGetName(device)), int(pynvml.nvmlDeviceGetMemoryInfo(device).total), driver
            )
            for device in devices
        )
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()
