"""The fingerprint of a trial's environment: everything that its speed depends on, as this process sees it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
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

# The packages of modules whose names differ.
_PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn"}


def fingerprint(
    *,
    device: torch.device,
    threads: int,
    concurrent: int,
    training: Training,
    nodes: int = 1,
    shared: Iterable[str] = (),
    model: Iterable[str] = (),
    cpuinfo: Path = Path("/proc/cpuinfo"),
) -> Environment:
    """The machine, the software and the share of the machine that this trial has.

    It includes the rule that L1 and L2 follow. `shared` are the modules that the trial's conditions need beside torch,
    and `model` those that its model comes from. `threads` is the number of torch's threads. `concurrent` is the number
    of trials on the machine, this one included.
    """
    from velodrome_runner.optimization import decay_rule

    return environment(
        _hardware(device, cpuinfo),
        _software(device, shared, model),
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


def _software(device: torch.device, shared: Iterable[str], model: Iterable[str]) -> Software:
    import torch

    cuda = device.type == "cuda"
    cudnn = torch.backends.cudnn.version() if cuda else None
    return Software(
        velodrome=velodrome.__version__,
        python=platform.python_version(),
        framework=f"torch {torch.__version__}",
        libraries=_versions(["numpy", *shared]),
        model_libraries=_versions(model) or None,
        cuda=torch.version.cuda if cuda else None,
        cudnn=None if cudnn is None else str(cudnn),
    )


def _versions(modules: Iterable[str]) -> dict[str, str]:
    """The versions of the packages that these modules are of, by name. What is not installed is left out."""
    names = {module.partition(".")[0] for module in modules}
    packages = sorted(_PACKAGES.get(name, name) for name in names)
    found = {}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
