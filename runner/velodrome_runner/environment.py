"""The fingerprint of a trial's environment: everything that its speed depends on, as this process sees it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import velodrome
from velodrome.kernel.limits import memory_limit
from velodrome.results.records import Environment, GrantedResources, Hardware, Software
from velodrome_runner.hardware import cpu_model, nvidia

if TYPE_CHECKING:
    import torch

    from velodrome.spec import Training

# Libraries that take part in a measurement, in addition to torch.
_LIBRARIES = ("numpy", "scikit-learn", "torchmetrics", "torchvision")


def fingerprint(
    *,
    device: torch.device,
    threads: int,
    concurrent: int,
    training: Training,
    nodes: int = 1,
    cpuinfo: Path = Path("/proc/cpuinfo"),
) -> Environment:
    """The machine, the software and the share of the machine that this trial has.

    It includes the rule that L1 and L2 follow. `threads` is the number of torch's threads. `concurrent` is the number
    of trials on the machine, this one included.
    """
    from velodrome_runner.optimization import decay_rule

    return environment(
        _hardware(device, cpuinfo),
        _software(device),
        accelerators=int(device.type != "cpu"),
        threads=threads,
        concurrent=concurrent,
        nodes=nodes,
        training=training,
    ).model_copy(update={"decay_rule": decay_rule(training.regularization)})


def environment(
    hardware: Hardware,
    software: Software,
    *,
    accelerators: int,
    threads: int,
    concurrent: int,
    nodes: int,
    training: Training,
) -> Environment:
    """The fingerprint of a trial that computes with these, for Velodrome's training and for own code."""
    return Environment(
        hardware=hardware,
        software=software,
        resources=GrantedResources(
            cpus=threads,
            memory_limit_bytes=memory_limit(),
            accelerators=accelerators,
            concurrent_trials=concurrent,
            nodes=nodes,
        ),
        precision=training.precision,
        deterministic=training.deterministic,
    )


def _hardware(device: torch.device, cpuinfo: Path) -> Hardware:
    model, count = cpu_model(cpuinfo), os.cpu_count() or 1
    if device.type != "cuda":
        return Hardware(cpu_model=model, cpu_count=count)
    import torch

    properties = torch.cuda.get_device_properties(device)
    return Hardware(
        cpu_model=model,
        cpu_count=count,
        accelerator=properties.name,
        accelerator_memory_bytes=properties.total_memory,
        driver=gpus[0].driver if (gpus := nvidia()) else None,
    )


def _software(device: torch.device) -> Software:
    import torch

    cuda = device.type == "cuda"
    cudnn = torch.backends.cudnn.version() if cuda else None
    return Software(
        velodrome=velodrome.__version__,
        python=platform.python_version(),
        framework=f"torch {torch.__version__}",
        libraries={name: metadata.version(name) for name in _LIBRARIES},
        cuda=torch.version.cuda if cuda else None,
        cudnn=None if cudnn is None else str(cudnn),
    )
