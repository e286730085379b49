"""The names of the machine's hardware. Does not import torch."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One NVIDIA GPU, as its driver reports it."""

    name: str
    memory_bytes: int
    driver: str


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The name of the processor, `EPYC 9555` for example; the architecture if it has no name."""
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
    if "CPU part" in fields:  # kernels on Arm show numbers: the implementer and the part together identify the core
        return f"{platform.machine()} {fields.get('CPU implementer', '?')}/{fields['CPU part']}"
    return platform.processor() or platform.machine() or "unknown"


def nvidia() -> tuple[Accelerator, ...]:
    """The NVIDIA GPUs that this process may see. None without a driver, or without a library to ask it."""
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
