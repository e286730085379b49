"""Checks what can be checked only on an NVIDIA GPU, in at most eight minutes. Prints "no GPU" elsewhere.

    python benchmarks/gpu.py [--seconds 300] [--data FOLDER]

Each part prints its figure beside a peer of the same run:

- timings: latencies of one batch as the runner reports them, beside CUDA events around the same calls;
- energy: the counter of NVML over a busy and an idle second, beside its power reading times a second;
- determinism: two trainings with one seed end with the same weights if `deterministic` is on;
- ResNet-9 on CIFAR-shaped data: samples a second of the runner's loop, beside the shortest loop by hand;
- precision: samples a second and joules for each sample in float32, TF32, bfloat16 and float16, with finite losses;
- compile: the latency of one batch of a compiled network, beside the same network as it is, and what compiling took;
- time to a target: seconds until a validation accuracy, on images that are easy to tell apart;
- CIFAR-10: seconds until 94 % of the test images are right, as in airbench, where FOLDER has torchvision's files.

`--seconds` is the time after which no further part begins. A part takes two minutes at most.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.machine.home import locate_home
from velodrome.plan import TrialConfig, plan
from velodrome.spec import BenchmarkJob, Model
from velodrome_runner import data, models, preprocessing, tasks
from velodrome_runner.data.files import read_files
from velodrome_runner.energy import EnergyMeter, energy_meter
from velodrome_runner.log import first_line
from velodrome_runner.measuring import be_deterministic
from velodrome_runner.peak import Unmeasurable
from velodrome_runner.precision import round_products, supported
from velodrome_runner.timing import time_inference
from velodrome_runner.training import Trained, train
from velodrome_runner.upheld import seed_everything
from velodrome_runner.variants.compiling import compiled, require_compiler

SHAPE, CLASSES = (3, 32, 32), 10
TARGET = 0.94  # of CIFAR-10's test images, as in airbench
# Those of deploy/examples/cifar10.yaml, in batches of 512 and with softer targets.
AUGMENTATIONS: list[dict[str, Any]] = [
    {"name": "RandomCrop", "args": {"padding": 4}},
    {"name": "RandomHorizontalFlip"},
    {"name": "RandomErasing", "args": {"p": 1, "scale": [0.0625, 0.0625], "ratio": [1, 1]}},
]
RECIPE: dict[str, Any] = {
    "optimizer": {"name": "SGD", "learningRate": 0.4, "momentum": 0.9, "nesterov": True},
    "schedule": {"name": "OneCycle", "warmupFraction": 0.2},
    "regularization": {"l2": 0.0005, "labelSmoothing": 0.1},
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much the parts do. `side` is of the matrices that keep a device busy."""

    samples: int = 20_480
    checked: int = 2048
    batch: int = 512
    width: int = 64
    calls: int = 300
    side: int = 4096
    timed_seconds: float = 2.0
    metered_seconds: float = 3.0
    repeats: int = 5
    epochs: int = 20
    seeds: int = 3
    most_seconds: float = 40.0  # of a training until the target


Part = Callable[[torch.device, Scale], None]


def configured(scale: Scale, epochs: int, target: float | None = None, **fields: Any) -> TrialConfig:
    """ResNet-9 with SGD for so many epochs."""
    budget = {"maxEpochs": epochs, "target": target and {"metric": "accuracy", "value": target}}
    training = {"batchSize": scale.batch, "optimizer": {"name": "SGD", "learningRate": 0.02, "momentum": 0.9}}
    spec = {
        "dataset": {"name": "CIFAR10", "source": {"download": True}},  # the benchmark passes its own images
        "budget": budget | fields.pop("budget", {}),
        "preprocessing": {"augmentations": fields.pop("augmentations", [])},
        "training": training | fields,
        "entries": [{"name": "resnet9", "model": {"name": "velodrome/resnet9", "args": {"width": scale.width}}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "b"}, "spec": spec}
    return plan(BenchmarkJob.model_validate(document)).trial(0).config


def network(device: torch.device, scale: Scale, seed: int = 0) -> nn.Module:
    """The same weights each time."""
    seed_everything(seed)
    model = Model.model_validate({"name": "velodrome/resnet9", "args": {"width": scale.width}})
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


def drawn(scale: Scale) -> data.Contents:
    """The images of `images`; those that check are the first of those that train."""
    pixels, labels = images(scale.samples)
    counts = {"train": scale.samples, "validation": scale.checked, "test": scale.checked}
    return contents({name: data.images(pixels[:count], labels[:count]) for name, count in counts.items()})


def contents(splits: dict[str, data.Memory]) -> data.Contents:
    """Splits of ten classes as a data set."""
    schema = data.Schema(SHAPE, tuple(map(str, range(CLASSES))))
    return data.Contents("images", dict(splits), schema, "sha256:" + "0" * 64)


def ready(config: TrialConfig, found: data.Contents, device: torch.device) -> preprocessing.Prepared:
    """The images on the device."""
    task = tasks.fit("classification", found, config.preprocessing, config.training, device=device, seed=0)
    return preprocessing.prepare(found, task, in_memory=True)


def trained(
    device: torch.device,
    scale: Scale,
    epochs: int,
    target: float | None = None,
    *,
    meter: EnergyMeter | None = None,
    found: data.Contents | None = None,
    seed: int = 0,
    **fields: Any,
) -> tuple[Trained, nn.Module]:
    """A training by the runner's loop, and its model."""
    config, model = configured(scale, epochs, target, **fields), network(device, scale, seed)
    prepared = ready(config, found or drawn(scale), device)
    return train(config, prepared, model, seed=seed, device=device, meter=meter), model


def wait(device: torch.device) -> None:
    """Returns once the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def between(device: torch.device, call: Callable[[], object]) -> float:
    """Seconds of a call, by CUDA events; by the clock on a CPU."""
    if device.type != "cuda":
        begun = time.perf_counter()
        call()
        return time.perf_counter() - begun
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize(device)
    return float(begin.elapsed_time(end)) / 1000


def of_a_batch(device: torch.device, scale: Scale) -> torch.Tensor:
    """A batch of noise to predict."""
    size = min(64, scale.batch)
    return torch.randn(size, *SHAPE, device=device).contiguous(memory_format=torch.channels_last)


def latency(model: nn.Module, batch: torch.Tensor, scale: Scale) -> float:
    """The median latency of that batch, as the runner reports it."""
    size = len(batch)
    timed = time_inference(model, batch, batch_sizes=[size], min_run_seconds=scale.timed_seconds)
    return timed.metrics[f"latency_p50_seconds{{batch_size={size}}}"]


def timings(device: torch.device, scale: Scale) -> None:
    """The runner's median latency, beside CUDA events around the same calls."""
    model, batch = network(device, scale).eval(), of_a_batch(device, scale)
    ours = latency(model, batch, scale)
    with torch.inference_mode():
        seconds = [between(device, lambda: model(batch)) for _ in range(scale.calls)]
    events = median(seconds[len(seconds) // 6 :])
    print(f"timings: p50 {ours * 1e3:.3f} ms, CUDA events {events * 1e3:.3f} ms: {ours / events:.3f} x (at least 1)")


def metered(device: torch.device) -> tuple[EnergyMeter | None, str]:
    """The meter of the device's energy, or why there is none."""
    try:
        return energy_meter(device, concurrent=1), ""
    except Unmeasurable as error:
        return None, str(error)


def power(device: torch.device) -> Callable[[], float]:
    """Reads the watts of a GPU; a CPU shows none."""
    if device.type != "cuda":
        return lambda: 0.0
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    return lambda: float(pynvml.nvmlDeviceGetPowerUsage(handle)) / 1000


def energy(device: torch.device, scale: Scale) -> None:
    """Joules of a busy and of an idle second, beside the power reading."""
    meter, why = metered(device)
    if meter is None:
        print(f"energy: unavailable: {why}")
        return
    factor, watt = torch.randn(scale.side, scale.side, device=device), power(device)
    for name in ("idle", "busy"):
        before, end, watts = meter.joules, time.perf_counter() + scale.metered_seconds, []
        begin = time.perf_counter()
        meter.start()
        while time.perf_counter() < end:
            if name == "busy":
                for _ in range(20):
                    factor @ factor
                wait(device)
            watts.append(watt())
        meter.stop()
        seconds = time.perf_counter() - begin
        print(f"energy, {name}: {(meter.joules - before) / seconds:.0f} J/s, power reading {median(watts):.0f} W")


def precision(device: torch.device, scale: Scale) -> None:
    """Training speed and energy in each precision that the device has."""
    speeds, joules = {}, {}
    for name in supported(device):
        with rounded(name):
            trained(device, scale, 1, precision=name)
            meter, _ = metered(device)
            found, _ = trained(device, scale, 3, precision=name, meter=meter)
        speeds[name] = found.samples / found.seconds
        joules[name] = "no energy counter" if meter is None else f"{meter.joules / found.samples * 1e3:.3g} mJ a sample"
    first = speeds["float32"]
    for name, speed in speeds.items():
        print(f"precision, {name}: {speed:,.0f} samples/s, {speed / first:.2f} x float32, {joules[name]}")


@contextmanager
def rounded(name: Any) -> Iterator[None]:
    """Products as this precision has them; after it, float32's."""
    round_products(name)
    try:
        yield
    finally:
        round_products("float32")


def determinism(device: torch.device, scale: Scale) -> None:
    """Whether two trainings with one seed give the same weights."""
    be_deterministic(True)
    try:
        (_, one), (_, other) = (trained(device, scale, 2, deterministic=True) for _ in range(2))
    finally:
        be_deterministic(False)
    same = all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    print(f"determinism: two trainings with one seed have {'the same' if same else 'OTHER'} weights")


def bare(device: torch.device, scale: Scale) -> float:
    """Samples a second of the shortest loop over images on the device."""
    pixels, labels = (part.to(device) for part in images(scale.samples))
    inputs = (pixels.float() / 255).contiguous(memory_format=torch.channels_last)
    model = network(device, scale).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, fused=device.type == "cuda")
    wait(device)
    begin = time.perf_counter()
    for _ in range(2):
        for chosen in torch.randperm(len(inputs), device=device).split(scale.batch):
            loss = F.cross_entropy(model(inputs[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    wait(device)
    return 2 * len(inputs) / (time.perf_counter() - begin)


def loops(device: torch.device, scale: Scale) -> None:
    """The runner's loop beside the shortest one, in turns."""
    bare(device, scale)
    trained(device, scale, 1)
    ratios, ours = [], []
    for _ in range(scale.repeats):
        found, _ = trained(device, scale, 2)
        ours.append(found.samples / found.seconds)
        ratios.append(ours[-1] / bare(device, scale))
    print(f"ResNet-9: {median(ours):,.0f} samples/s, {median(ratios):.3f} x a bare loop (target: at least 0.97 x)")


def compiling(device: torch.device, scale: Scale) -> None:
    """The latency of a compiled network, beside the same network as it is."""
    model, batch = network(device, scale).eval(), of_a_batch(device, scale)
    plain = latency(model, batch, scale)
    try:
        require_compiler()
        begun = time.perf_counter()
        made, _ = compiled(model, lambda each, _: called(each, batch), [len(batch)], "resnet9")
        wait(device)
        seconds = time.perf_counter() - begun
    except ConfigurationError as error:
        print(f"compile: unavailable: {error}")
        return
    fast = latency(made, batch, scale)
    print(
        f"compile: p50 {fast * 1e3:.3f} ms, as it is {plain * 1e3:.3f} ms: {fast / plain:.3f} x, "
        f"compiled in {seconds:.1f} s"
    )


def called(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """The answers, as when a model is timed."""
    with torch.inference_mode():
        answers: torch.Tensor = model(batch)
    return answers


def target(device: torch.device, scale: Scale) -> None:
    """The time until a validation accuracy."""
    found, _ = trained(device, scale, scale.epochs, 0.95)
    print(f"time to a validation accuracy of 95 %: {when(found)}, {found.epochs} epochs")


def when(found: Trained) -> str:
    """When the target was reached, in words."""
    return "not reached" if found.time_to_target is None else f"after {found.time_to_target:.2f} s of training"


def cifar10(folder: Path) -> data.Contents:
    """CIFAR-10 whose test images check each epoch, as in airbench. Raises ConfigurationError: it is not there."""
    raw = read_files("CIFAR10", folder, download=False)
    tested = data.images(raw.test.images, raw.test.labels)
    return contents({"train": data.images(raw.train.images, raw.train.labels), "validation": tested, "test": tested})


def airbench(device: torch.device, scale: Scale, found: data.Contents, goal: float = TARGET) -> None:
    """The time until that share of the test images is right, for some seeds, in half precision where there is one.

    It is the time of training alone, at the end of an epoch: evaluation and reading the files are no part of it.
    """
    able = supported(device)
    name = next(each for each in ("bfloat16", "float16", "float32") if each in able)
    reached: list[float] = []
    for seed in range(scale.seeds):
        done, _ = trained(
            device, scale, scale.epochs, goal, found=found, seed=seed, precision=name, augmentations=AUGMENTATIONS,
            budget={"maxSeconds": scale.most_seconds}, **RECIPE,
        )  # fmt: skip
        best = max(point.validation["accuracy"] for point in done.curves)
        print(f"CIFAR-10, seed {seed}, {name}: {goal:.0%} {when(done)}, best {best:.2%} in {done.epochs} epochs")
        reached += [] if done.time_to_target is None else [done.time_to_target]
    if reached:
        print(f"CIFAR-10: {goal:.0%} after {mean(reached):.2f} s on average, n = {len(reached)} of {scale.seeds}")


def with_files(folder: Path) -> Part:
    """The part of CIFAR-10, where its files are there."""

    def cifar(device: torch.device, scale: Scale) -> None:
        try:
            found = cifar10(folder)
        except ConfigurationError as error:
            print(f"CIFAR-10: left out: {error}")
            return
        airbench(device, scale, found)

    return cifar


PARTS: tuple[Part, ...] = (timings, energy, determinism, loops, precision, compiling, target)


def main() -> int:
    """Runs the parts one after another."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="the time after which no further part begins")
    parser.add_argument("--data", type=Path, help="the folder with cifar-10-batches-py")
    arguments = parser.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, cuBLAS refuses to be deterministic
    if not torch.cuda.is_available():
        print("no GPU")
        return 0
    device = torch.device("cuda", 0)
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    be_deterministic(False)
    round_products("float32")
    parts = (*PARTS, with_files(arguments.data or locate_home().data))
    return 0 if ran(parts, device, Scale(), arguments.seconds) else 1


def ran(parts: Iterable[Part], device: torch.device, scale: Scale, seconds: float) -> bool:
    """Runs those parts that begin within so many seconds. Whether none failed: one that does ends no other."""
    began, whole = time.monotonic(), True
    for part in parts:
        if time.monotonic() - began > seconds:
            print(f"{part.__name__}: left out, {seconds:.0f} s are over")
            continue
        try:
            part(device, scale)
        except Exception as error:  # what torch or a driver raises on this GPU is what the part found
            whole = False
            print(f"{part.__name__}: FAILED: {type(error).__name__}: {first_line(error)}")
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return whole


if __name__ == "__main__":
    sys.exit(main())
