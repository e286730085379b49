"""Checks what can be checked only on an NVIDIA GPU, in at most eight minutes. Prints "no GPU" elsewhere.

    python benchmarks/gpu.py [--seconds 400]

Each part prints its figure beside a peer of the same run:

- timings: latencies of one batch as the runner reports them, beside CUDA events around the same calls;
- energy: the counter of NVML over a busy and an idle second, beside its power reading times a second;
- precision: training steps a second in float32, bfloat16 and float16, and that the loss stays finite;
- determinism: two trainings with one seed end with the same weights if `deterministic` is on;
- ResNet-9 on CIFAR-shaped data: samples a second of the runner's loop, beside the shortest loop by hand;
- time to a target: seconds until a validation accuracy, on images that are easy to tell apart.

`--seconds` is the time after which no further part begins.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from velodrome.plan import TrialConfig, plan
from velodrome.spec import BenchmarkJob, Model
from velodrome_runner import data, models, preprocessing, tasks
from velodrome_runner.energy import energy_meter
from velodrome_runner.measuring import be_deterministic
from velodrome_runner.peak import Unmeasurable
from velodrome_runner.precision import supported
from velodrome_runner.timing import time_inference
from velodrome_runner.training import Trained, train
from velodrome_runner.upheld import seed_everything

SHAPE, CLASSES, BATCH, SAMPLES = (3, 32, 32), 10, 512, 20_480


def configured(epochs: int, target: float | None = None, **training: Any) -> TrialConfig:
    """ResNet-9 with SGD for so many epochs."""
    spec = {
        "dataset": {"name": "CIFAR10", "source": {"download": True}},  # the benchmark passes its own images
        "budget": {"maxEpochs": epochs, "target": target and {"metric": "accuracy", "value": target}},
        "training": {"batchSize": BATCH, "optimizer": {"name": "SGD", "learningRate": 0.02, "momentum": 0.9}}
        | training,
        "entries": [{"name": "resnet9", "model": {"name": "velodrome/resnet9"}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "b"}, "spec": spec}
    return plan(BenchmarkJob.model_validate(document)).trial(0).config


def network(device: torch.device) -> nn.Module:
    """The same weights each time."""
    seed_everything(0)
    model = Model.model_validate({"name": "velodrome/resnet9"})
    made = models.build(model, shape=SHAPE, classes=CLASSES, dropout=0.0)
    return made.to(device).to(memory_format=torch.channels_last)


def images(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, brighter in one tenth of the rows for each class: a network learns to tell the classes within an epoch."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % CLASSES
    noise = torch.randint(0, 128, (samples, *SHAPE), generator=generator, dtype=torch.uint8)
    for label in range(CLASSES):
        noise[labels == label, :, 3 * label : 3 * label + 3] += 100
    return noise, labels


def ready(config: TrialConfig, device: torch.device) -> preprocessing.Prepared:
    """The images on the device, the same for every split."""
    pixels, labels = images(SAMPLES)
    splits = {name: data.images(pixels[:count], labels[:count]) for name, count in SPLITS.items()}
    schema = data.Schema(SHAPE, tuple(map(str, range(CLASSES))))
    contents = data.Contents("images", splits, schema, "sha256:" + "0" * 64)
    task = tasks.fit("classification", contents, config.preprocessing, config.training, device=device, seed=0)
    return preprocessing.prepare(contents, task, in_memory=True)


SPLITS = {"train": SAMPLES, "validation": 2048, "test": 2048}


def trained(
    device: torch.device, epochs: int, target: float | None = None, **training: Any
) -> tuple[Trained, nn.Module]:
    """A training by the runner's loop, and its model."""
    config, model = configured(epochs, target, **training), network(device)
    return train(config, ready(config, device), model, seed=0, device=device), model


def timings(device: torch.device) -> None:
    """The runner's median latency, beside CUDA events around the same calls."""
    model = network(device).eval()
    batch = torch.randn(64, *SHAPE, device=device).contiguous(memory_format=torch.channels_last)
    timed = time_inference(model, batch, batch_sizes=[64], min_run_seconds=2.0)
    between = []
    with torch.inference_mode():
        for _ in range(300):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            model(batch)
            end.record()
            torch.cuda.synchronize(device)
            between.append(begin.elapsed_time(end) / 1000)
    ours, events = timed.metrics["latency_p50_seconds{batch_size=64}"], median(between[50:])
    print(f"timings: p50 {ours * 1e3:.3f} ms, CUDA events {events * 1e3:.3f} ms: {ours / events:.3f} x (at least 1)")


def energy(device: torch.device) -> None:
    """Joules of a busy and of an idle second, beside the power reading."""
    try:
        meter = energy_meter(device, concurrent=1)
    except Unmeasurable as error:
        print(f"energy: unavailable: {error}")
        return
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    factor = torch.randn(4096, 4096, device=device)
    for name in ("idle", "busy"):
        before, end, watts = meter.joules, time.perf_counter() + 3.0, []
        begin = time.perf_counter()
        meter.start()
        while time.perf_counter() < end:
            if name == "busy":
                for _ in range(20):
                    factor @ factor
                torch.cuda.synchronize(device)
            watts.append(pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)
        meter.stop()
        seconds = time.perf_counter() - begin
        print(f"energy, {name}: {(meter.joules - before) / seconds:.0f} J/s, power reading {median(watts):.0f} W")


def precision(device: torch.device) -> None:
    """Training speed in each precision that the GPU has."""
    speeds = {}
    for name in supported(device):
        trained(device, 1, precision=name)
        found, _ = trained(device, 3, precision=name)
        speeds[name] = found.samples / found.seconds
    first = speeds["float32"]
    said = ", ".join(f"{name} {speed:,.0f} ({speed / first:.2f} x)" for name, speed in speeds.items())
    print(f"precision, samples/s: {said}; every loss was finite")


def determinism(device: torch.device) -> None:
    """Whether two trainings with one seed give the same weights."""
    be_deterministic(True)
    try:
        (_, one), (_, other) = (trained(device, 2, deterministic=True) for _ in range(2))
    finally:
        be_deterministic(False)
    same = all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    print(f"determinism: two trainings with one seed have {'the same' if same else 'OTHER'} weights")


def bare(device: torch.device) -> float:
    """Samples a second of the shortest loop over images on the device."""
    pixels, labels = (part.to(device) for part in images(SAMPLES))
    inputs = (pixels.float() / 255).contiguous(memory_format=torch.channels_last)
    model = network(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, fused=True)
    torch.cuda.synchronize(device)
    begin = time.perf_counter()
    for _ in range(2):
        for chosen in torch.randperm(len(inputs), device=device).split(BATCH):
            loss = F.cross_entropy(model(inputs[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.cuda.synchronize(device)
    return 2 * len(inputs) / (time.perf_counter() - begin)


def loops(device: torch.device) -> None:
    """The runner's loop beside the shortest one, in turns."""
    bare(device)
    trained(device, 1)
    ratios, ours = [], []
    for _ in range(5):
        found, _ = trained(device, 2)
        ours.append(found.samples / found.seconds)
        ratios.append(ours[-1] / bare(device))
    print(f"ResNet-9: {median(ours):,.0f} samples/s, {median(ratios):.3f} x a bare loop (target: at least 0.97 x)")


def target(device: torch.device) -> None:
    """The time until a validation accuracy."""
    found, _ = trained(device, 20, 0.95)
    reached = "not reached" if found.time_to_target is None else f"after {found.time_to_target:.2f} s of training"
    print(f"time to a validation accuracy of 95 %: {reached}, {found.epochs} epochs")


PARTS: tuple[Callable[[torch.device], None], ...] = (timings, energy, determinism, loops, precision, target)


def main() -> int:
    """Runs the parts one after another."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=400.0)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU")
        return 0
    device = torch.device("cuda", 0)
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    be_deterministic(False)
    began = time.monotonic()
    for part in PARTS:
        if time.monotonic() - began > arguments.seconds:
            print(f"{part.__name__}: left out, {arguments.seconds:.0f} s are over")
            continue
        part(device)
        torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
