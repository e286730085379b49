"""One trial from data to figures: load, train, evaluate, time. Returns everything that was measured."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.metrics.catalogue import cost
from velodrome.plan import Trial, TrialConfig
from velodrome.results.records import Checkpointing, DatasetFacts, Environment, Held, KeptFile, Phase
from velodrome.results.scores import SampleScores
from velodrome.spec.artifacts import Artifacts
from velodrome.tasks import kind_of
from velodrome.vocabulary import Keeping
from velodrome_runner import causes, checks, data, evaluation, models, preprocessing, tasks, timing
from velodrome_runner.artifacts import keep_weights
from velodrome_runner.augmentation import TORCHVISION
from velodrome_runner.energy import EnergyMeter, energy_meter
from velodrome_runner.environment import fingerprint
from velodrome_runner.footprint import flops, flops_definition
from velodrome_runner.inputs.log_mel import heard
from velodrome_runner.interference import Interference, gpu_reader
from velodrome_runner.keeping import Keeper
from velodrome_runner.peak import MemoryPeak, Unmeasurable, memory_peak
from velodrome_runner.precision import Autocast, autocast, round_products
from velodrome_runner.preprocessing import Prepared
from velodrome_runner.reporting import TrainingState
from velodrome_runner.settings import Settings
from velodrome_runner.tasks.base import QualityMeter
from velodrome_runner.together import checkpoints_of
from velodrome_runner.tracing import keep_trace
from velodrome_runner.training import Trained, train
from velodrome_runner.uncompiled import spare_the_compiler
from velodrome_runner.upheld import Upheld, initial_weights, seed_everything, trained_weights
from velodrome_runner.variants import Optimized, optimize

# Called at each phase, and during training with the progress.
OnPhase = Callable[[Phase, TrainingState | None], None]


# Samples by right and by predicted class; None for other tasks, and for too many classes.
Confusion = tuple[tuple[int, ...], ...] | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A trial's figures: `metrics` by key, `unavailable` with the reason for each key that could not be measured."""

    dataset: DatasetFacts
    environment: Environment
    trained: Trained
    metrics: dict[str, float] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    held: Held = field(default_factory=Held)
    confusion: Confusion = None
    scores: SampleScores | None = None
    optimized: tuple[str, ...] | None = None
    checkpoints: Checkpointing | None = None
    files: tuple[KeptFile, ...] = ()


def measure(  # noqa: PLR0915 - a trial is read in one piece
    trial: Trial,
    settings: Settings,
    *,
    artifacts: Artifacts | None = None,
    threads: int,
    device: torch.device,
    on_phase: OnPhase,
    timed: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured | None:
    """Runs the trial on `device`. Returns None on every rank but the first, which reports.

    `timed` says whether inference is timed (`velodrome.plan.times_inference`), and `artifacts` which files it keeps.
    The same seed on the same machine gives the same data, weights and quality on a CPU.

    Raises:
        ConfigurationError: the trial can't run with this configuration.
        TrialFailed: it ran and failed.
    """
    config = trial.config
    if config.model is None:
        raise ConfigurationError(
            f"entry {trial.entry} brings its own command: run it with `velodrome-runner exec`", "NoModel"
        )
    context = autocast(config.training.precision, device)
    settle(trial)
    environment = fingerprint(
        device=device,
        threads=threads,
        concurrent=settings.concurrent,
        training=config.training,
        nodes=settings.ranks.size,
        shared=_shared_libraries(config),
        model=model_libraries(config),
    )
    unavailable: dict[str, str] = {}
    for name in libraries(config):
        importlib.import_module(name)
    upheld = Upheld(trial.seed)
    memory = memory_peak(device)
    energy = _energy(device, settings.concurrent, unavailable)
    interference = Interference(concurrent=settings.concurrent, threads=threads, gpu=gpu_reader(device))

    on_phase("Loading", None)
    facts, prepared, keeper = _loaded(trial, settings.data, device, threads)
    task = prepared.task
    if own_module(config):
        models.find(config.model.name)
        upheld.restore("importing the entry's code", reseed=True)
    model = built(config, task)
    upheld.restore("building the model")
    spare_the_compiler()
    weights = initial_weights(model)
    model = placed(model, device)
    prepared = prepared.shown_to(model)
    facts = facts.model_copy(update={"batching": prepared.batching()})
    checks.check_model(
        model,
        prepared,
        name=config.model.name,
        batch_size=config.training.batch_size,
        seed=trial.seed,
        ranks=settings.ranks,
        context=context,
    )
    upheld.restore("checking the model")

    def on_progress(moment: TrainingState) -> None:
        memory.lap()
        on_phase("Training", moment)

    on_phase("Training", None)
    with settings.ranks.joined(device):
        checkpoints = checkpoints_of(trial, settings, artifacts, facts, weights, environment)
        with interference.watched("training"):
            trained = train(
                config,
                prepared,
                model,
                seed=trial.seed,
                device=device,
                clock=clock,
                on_progress=on_progress,
                meter=energy,
                ranks=settings.ranks,
                checkpoints=checkpoints,
            )
    upheld.restore("training")
    if not settings.ranks.leads:
        return None
    metrics = _training_metrics(config, trained, memory, energy, unavailable)
    metrics |= _shared(metrics, interference, device, unavailable)
    only_honest(metrics, unavailable, resumed=checkpoints.resumed, moved=checkpoints.moved)
    files = [keep_weights(model, settings.kept(trial.index))] if _keeps_weights(artifacts, config) else []
    learned = trained_weights(model)
    if config.optimize is not None:
        on_phase("Optimizing", None)
    variant = optimize(config, model, prepared, context=context, clock=clock)
    upheld.restore("optimizing the model")
    metrics |= variant.seconds
    on_phase("Evaluating", None)
    tested = config.searched is None  # a search chooses on validation data, and its trials see no test data
    meter = _tested(config, prepared, variant, keeper.keeping) if tested else None
    if meter is not None:
        metrics |= _quality(config, meter, trained, unavailable)
    on_phase("Timing", None)
    timed = timed and tested
    with interference.watched("timing") if timed else nullcontext():
        metrics |= _costs(config, prepared, variant, unavailable, timed=timed, seed=trial.seed)
    if config.evaluation.on_interference == "fail":
        interference.refuse()
    upheld.restore("predicting")
    held = Held(
        changed=tuple(upheld.changed),
        initial_weights=weights,
        pretrained="weights" in config.model.args,
        trained_weights=learned,
        disturbances=tuple(interference.found),
    )
    files += _traces(artifacts, settings, trial, prepared, context) if tested else []
    prepared.close()
    if "flops" in metrics:
        environment = environment.model_copy(update={"flops_definition": flops_definition()})
    made = Measured(
        facts,
        environment,
        trained,
        metrics,
        unavailable,
        held,
        optimized=tuple(variant.done) or None,
        checkpoints=checkpoints.told(),
        files=tuple(files),
    )
    return made if meter is None else replace(made, confusion=meter.confusion, scores=keeper.scores(meter))


def _loaded(trial: Trial, folder: Path, device: torch.device, threads: int) -> tuple[DatasetFacts, Prepared, Keeper]:
    """As `ready`, with what to keep of the test samples. What was read is in memory no longer than that takes."""
    read = opened(trial, folder)
    facts, prepared = ready(trial, read, device, threads)
    return facts, prepared, Keeper.made(trial.config, read.contents, facts)


def settle(trial: Trial) -> None:
    """Gives this process the trial's seed, determinism and precision."""
    seed_everything(trial.seed)
    be_deterministic(trial.config.training.deterministic)
    round_products(trial.config.training.precision)


def opened(trial: Trial, folder: Path) -> data.OpenedData:
    """The data as they were read. They are the same for all entries that have the same seed."""
    config = trial.config
    return data.open_contents(config.dataset, folder=folder, seed=trial.seed, task=config.task)


def ready(trial: Trial, read: data.OpenedData, device: torch.device, threads: int) -> tuple[DatasetFacts, Prepared]:
    """The facts of the data, and the data ready for the trial's task."""
    config = trial.config
    contents = heard(read.contents, config.preprocessing.log_mel)
    task = tasks.fit(config.task_name, contents, config.preprocessing, config.training, device=device, seed=trial.seed)
    task.refuse(config.quality)
    prepared = preprocessing.prepare(contents, task, cpus=threads)
    observed = {"reading": prepared.reading(config.training.batch_size), "fitted_samples": task.transform.fitted}
    return read.facts.model_copy(update=observed), prepared


def built(config: TrialConfig, task: tasks.Task) -> nn.Module:
    """The entry's network for the task's data, on the CPU, as `models.build` makes it."""
    assert config.model is not None
    dropout = config.training.regularization.dropout
    made = task.transform
    return models.build(config.model, kind=made.kind, shape=made.shape, **task.told, **made.told, dropout=dropout)


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on the device, in the memory format that images come in."""
    # torch's annotations allow `to` with a device or with a memory format, but not with both.
    return model.to(device).to(memory_format=torch.channels_last)


def own_module(config: TrialConfig) -> str:
    """The module of the entry's own factory; empty where the model is one of Velodrome's or torchvision's."""
    module, colon, _ = config.model.name.partition(":") if config.model is not None else ("", "", "")
    return module if colon else ""


def libraries(config: TrialConfig) -> list[str]:
    """The modules that this trial will need, and would otherwise import at their first use.

    They are imported before anything is measured, because a library's memory is not the trial's. The warm starter
    imports what any trial of a race needs, once. No other module of such weight is imported.
    """
    model = config.model
    own = ["torchvision.models"] if model is not None and model.name.startswith("torchvision/") else []
    return [*_shared_libraries(config), *own]


def model_libraries(config: TrialConfig) -> list[str]:
    """The library that the entry's model is of, if it is not Velodrome's own, and onnxruntime if that predicts."""
    library = config.model.name.partition("/")[0] if config.model is not None else ""
    exported = ["onnxruntime"] if "export" in config.optimized else []
    return ([library] if library in ("torchvision", "timm") else []) + exported


def _shared_libraries(config: TrialConfig) -> list[str]:
    """The modules that all entries of a job need: for its data, its preprocessing and its metrics."""
    preprocessing, dataset = config.preprocessing, config.dataset
    names = data.libraries(dataset)
    if kind_of(dataset.name, dataset.format) == "table":
        names += ["sklearn.impute", "sklearn.preprocessing", "sklearn.decomposition"]
    if kind_of(dataset.name, dataset.format) == "scenes":
        names += ["faster_coco_eval", "torchvision.models.detection", "torchvision.transforms.v2"]
    if kind_of(dataset.name, dataset.format) == "masks" and preprocessing.augmentations:
        names.append("torchvision.transforms.v2")
    if preprocessing.feature_selection is not None:
        names.append("sklearn.feature_selection")
    if not {"auroc", "average_precision"}.isdisjoint(config.quality):
        names.append("sklearn.metrics")
    if any(step.name in TORCHVISION or step.args.size is not None for step in preprocessing.augmentations):
        names.append("torchvision.transforms.v2.functional")
    return names


def be_deterministic(deterministic: bool) -> None:  # noqa: FBT001 - it is the field's value
    """Makes torch use only deterministic algorithms, or lets cuDNN search for its fastest algorithm here.

    `__main__` sets CUBLAS_WORKSPACE_CONFIG, which cuBLAS reads when CUDA starts and needs for determinism.
    """
    if deterministic:
        torch.use_deterministic_algorithms(True)  # imports the compiler, to tell it too
    else:
        torch.set_deterministic_debug_mode("default")
    torch.backends.cudnn.benchmark = not deterministic


def _energy(device: torch.device, concurrent: int, unavailable: dict[str, str]) -> EnergyMeter | None:
    try:
        return energy_meter(device, concurrent=concurrent)
    except Unmeasurable as error:
        unavailable["energy_joules"] = str(error)
        return None


def _keeps_weights(artifacts: Artifacts | None, config: TrialConfig) -> bool:
    """Whether the trial keeps its weights: those of a search are of no use, because its winners are trained again."""
    return artifacts is not None and artifacts.weights and config.searched is None


def _traces(
    artifacts: Artifacts | None, settings: Settings, trial: Trial, prepared: Prepared, context: Autocast
) -> list[KeptFile]:
    """The trace that the job wants, of a network of its own: that of the trial may be a variant by now."""
    steps, config, device = artifacts.trace_steps if artifacts else None, trial.config, prepared.device
    if steps is None:
        return []
    return [
        keep_trace(
            config,
            prepared,
            lambda: placed(built(config, prepared.task), device),
            settings.kept(trial.index),
            steps=steps,
            seed=trial.seed,
            device=device,
            context=context,
        )
    ]


# What is counted for one process, and so tells nothing about a trial that two of them trained.
_OF_ONE_PROCESS = ("energy_joules", "cpu_seconds", "peak_memory_bytes")
_OF_ONE_MACHINE = (
    *("train_seconds", "train_samples_per_second", "data_loading_share", "time_to_target_seconds"),
    "cost",
)


def only_honest(metrics: dict[str, float], unavailable: dict[str, str], *, resumed: bool, moved: bool) -> None:
    """Takes away the figures of training that a trial which went on from a checkpoint can't have, and says why."""
    gone = (*(_OF_ONE_PROCESS if resumed else ()), *(_OF_ONE_MACHINE if moved else ()))
    for key in gone:
        where = "on another machine or with another share of one" if moved else "in another process"
        if metrics.pop(key, None) is not None:
            unavailable[key] = f"training went on from a checkpoint {where}, and this holds for one alone"


def _training_metrics(
    config: TrialConfig,
    trained: Trained,
    memory: MemoryPeak,
    energy: EnergyMeter | None,
    unavailable: dict[str, str],
) -> dict[str, float]:
    metrics = {
        "train_seconds": trained.seconds,
        "train_samples_per_second": trained.samples / trained.seconds,
        "data_loading_share": min(trained.loading / trained.seconds, 1.0),
    }
    try:
        metrics["peak_memory_bytes"] = float(memory.read())
    except Unmeasurable as error:
        unavailable["peak_memory_bytes"] = str(error)
    if energy is not None:
        metrics["energy_joules"] = energy.joules
    if config.evaluation.price_per_hour is not None:
        metrics["cost"] = cost(trained.seconds, config.evaluation.price_per_hour)
    if trained.time_to_target is not None:
        metrics["time_to_target_seconds"] = trained.time_to_target
    elif config.budget.target is not None:
        target = config.budget.target
        unavailable["time_to_target_seconds"] = (
            f"{target.metric} {target.value:g} was not reached in {trained.epochs} epochs"
        )
    return metrics


def _shared(
    metrics: dict[str, float], interference: Interference, device: torch.device, unavailable: dict[str, str]
) -> dict[str, float]:
    """The CPU time of training. Takes away an energy that other programs have a part in: RAPL counts all of them."""
    if interference.others and device.type == "cpu" and metrics.pop("energy_joules", None) is not None:
        unavailable["energy_joules"] = f"{interference.others}, and the machine's energy counter includes them"
    if interference.cpu_seconds:
        return {"cpu_seconds": interference.cpu_seconds}
    unavailable["cpu_seconds"] = "this system does not show the CPU time of processes"
    return {}


def _tested(config: TrialConfig, prepared: Prepared, variant: Optimized, keeping: Keeping) -> QualityMeter:
    """The meter after the whole test split, in its order."""
    return evaluation.of_split(
        prepared,
        "test",
        variant.model,
        config.training.batch_size,
        keys=[key for key in config.quality if key != "validation_loss"],
        context=variant.context,
        keeping=keeping,
    )


def _quality(
    config: TrialConfig, meter: QualityMeter, trained: Trained, unavailable: dict[str, str]
) -> dict[str, float]:
    metrics = evaluation.values_of(meter, unavailable)
    if "validation_loss" in trained.validation and "validation_loss" in config.quality:
        metrics["validation_loss"] = trained.validation["validation_loss"]
    elif "validation_loss" in config.quality:
        unavailable["validation_loss"] = "there is no validation split: write a spec.dataset.validationFraction"
    return metrics


def _costs(
    config: TrialConfig,
    prepared: Prepared,
    variant: Optimized,
    unavailable: dict[str, str],
    *,
    timed: bool,
    seed: int,
) -> dict[str, float]:
    speeds = timing.Timed({}, {})
    if timed:
        speeds = timing.time_evaluation(
            variant.model,
            prepared.example,
            config.evaluation,
            seed=seed,
            call=prepared.task.call,
            context=variant.context,
        )
    unavailable |= speeds.unavailable
    metrics = speeds.metrics | {
        "model_bytes": float(variant.bytes),
        "parameters": float(variant.parameters),
        "nonzero_parameters": float(variant.nonzero),
    }
    if variant.uncounted:
        unavailable["flops"] = variant.uncounted
        return metrics
    try:
        metrics["flops"] = float(flops(variant.counted, prepared.example(1), call=prepared.task.call))
    except Unmeasurable as error:
        unavailable["flops"] = str(error) + causes.record(error, own_module(config))
    return metrics
