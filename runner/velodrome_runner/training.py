"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from velodrome.errors import TrialFailed
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import TrialConfig
from velodrome.results.records import CURVES, EpochPoint, StoppedBy
from velodrome_runner.checkpoints import Checkpoints
from velodrome_runner.evaluation import of_split, values_of
from velodrome_runner.precision import Autocast, autocast
from velodrome_runner.preprocessing import Prepared
from velodrome_runner.ranks import ALONE, Ranks
from velodrome_runner.recipe import Recipe
from velodrome_runner.reporting import TrainingState
from velodrome_runner.states import generators, give_weights, set_generators, weights_of
from velodrome_runner.stopping import EarlyStopper, reached
from velodrome_runner.stopwatch import Loading, Meter, Stopwatch
from velodrome_runner.together import SharedCheckpoints

# Seconds between two readings of the loss inside an epoch. A reading makes a GPU finish its queued work, which costs
# well under a thousandth of that.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Trained:
    """The outcome of training. The model that was passed in contains the kept weights.

    `seconds` is the time of all training steps, without evaluation, and `loading` the part of it in which the loop
    waited for batches; `samples` is the number of samples in these steps.
    `best_epoch` is the epoch whose weights early stopping kept; it is None if the last epoch's weights were kept.
    `time_to_target` is None if there was no target or it was not reached. `validation` belongs to the kept weights.
    """

    curves: tuple[EpochPoint, ...]
    epochs: int
    best_epoch: int | None
    stopped_by: StoppedBy
    seconds: float
    samples: int
    loading: float
    time_to_target: float | None
    validation: Mapping[str, float]


def train(  # noqa: PLR0912, PLR0913, PLR0915, C901 - a training loop is read in one piece
    config: TrialConfig,
    prepared: Prepared,
    model: nn.Module,
    *,
    seed: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
    on_progress: Callable[[TrainingState], None] = lambda _: None,
    meter: Meter | None = None,
    ranks: Ranks = ALONE,
    checkpoints: Checkpoints | None = None,
) -> Trained:
    """Trains `model`, which is on `device`, until the budget is used or early stopping ends the training.

    `Recipe` says how weights are updated. With `emaDecay`, the averaged weights are evaluated and kept.

    The same seed, data, model, threads and machine give the same weights on a CPU. Only training steps are timed, with
    the device idle at both ends. Making batches is part of them; evaluation and `on_progress` are not. `maxSeconds`
    limits that time; a step that has begun is finished. `train_loss` is the mean over the epoch of the minimised loss,
    including label smoothing and L1.

    If there are several `ranks`, each trains on its share of every batch, and steps by the mean gradient over the whole
    batch. The first rank evaluates, and all ranks use its values. Batch normalisation uses a rank's own share.

    With `checkpoints`, training goes on from the last one, with the bits that an undisturbed one would have. Its steps
    count as if they had been made here, with their seconds. Saving is not timed. If there are several `ranks`, those of
    the first one count, and all go on from the same one.

    Raises:
        TrialFailed: `LossNotFinite` or `OutputNotFinite`, with the epoch.
        ConfigurationError: `PrecisionUnsupported`.
    """
    training, budget = config.training, config.budget
    task, batch_size = prepared.task, training.batch_size
    samples_per_epoch = len(prepared.train)
    lengths = prepared.lengths(batch_size, ranks.size)
    together = ranks.wrap(model, device)
    context = autocast(training.precision, device)
    generator = torch.Generator(device).manual_seed(seed)
    recipe = Recipe(
        model, training, epochs=budget.max_epochs, batches=len(lengths), device=device, most=budget.max_steps
    )
    shared = SharedCheckpoints(checkpoints or Checkpoints(), ranks)

    stopper = EarlyStopper(training.early_stopping) if training.early_stopping else None
    needed = {spec.metric for spec in (training.early_stopping, budget.target) if spec is not None}
    watched = task.watched | needed | per_epoch(config.searched)
    max_seconds = math.inf if budget.max_seconds is None else budget.max_seconds
    max_steps = math.inf if budget.max_steps is None else budget.max_steps

    curves: list[EpochPoint] = []
    kept: dict[str, Any] = {}
    time_to_target: float | None = None
    stopped_by: StoppedBy | None = None
    samples = epoch = done = seen = 0
    weights_sum: int | torch.Tensor = 0
    seconds = before = rate = 0.0
    order, loss_sum = generator.get_state(), torch.zeros((), device=device)
    augmenting = generator if ranks.size == 1 else torch.Generator(device)
    watch = Stopwatch(clock, device, meter)
    loading = Loading()

    def state() -> dict[str, Any]:
        """Everything that training goes on from, between two steps, and that is the same on all ranks."""
        return {
            "place": (epoch, done, seen, int(weights_sum), samples, before, rate, loading.seconds, time_to_target),
            "order": order,
            "curves": CURVES.dump_json(tuple(curves)).decode(),
            "kept": kept,
            "stopper": stopper.memory if stopper else None,
            "recipe": recipe.state(),
            "model": weights_of(model),
        }

    def own() -> dict[str, Any]:
        """What each rank has for itself."""
        return {"generator": augmenting.get_state(), "loss_sum": loss_sum.cpu(), "generators": generators()}

    saved = shared.restored()
    if saved is not None:
        if ranks.size > 1:
            _make_a_step(together, prepared, batch_size, ranks, context)
        epoch, done, seen, weights_sum, samples, before, rate, loaded, time_to_target = saved["place"]
        order, loss_sum = saved["order"], saved["own"]["loss_sum"].to(device)
        watch, loading = Stopwatch(clock, device, meter, before=saved["seconds"]), Loading(loaded)
        curves, kept = list(CURVES.validate_json(saved["curves"])), saved["kept"]
        if stopper:
            stopper.memory = saved["stopper"]
        recipe.restore(saved["recipe"])
        give_weights(model, saved["model"])
        generator.set_state(order)

    while stopped_by is None:
        if saved is None:
            epoch += 1
            rate, before, seen, done, weights_sum = recipe.rate, watch.seconds, 0, 0, 0
            order, loss_sum = generator.get_state(), torch.zeros((), device=device)
        next_look = watch.seconds + _LOOK_SECONDS
        model.train()
        watch.start()
        batches = loading.timed(prepared.batches(batch_size, generator, ranks=ranks, own=augmenting, start=done))
        if saved is not None:  # the order of this epoch is drawn, and what is drawn next follows the last step
            augmenting.set_state(saved["own"]["generator"])
            set_generators(saved["own"]["generators"])
            saved = None
        for length, batch in zip(lengths[done:], batches, strict=True):
            with context():
                loss, weight = task.loss(task.call_in_training(together, batch), batch.targets)
            # A weight that is a tensor stays one: to read it would wait for the GPU in each step.
            whole = length if isinstance(weight, int) else ranks.total(weight.clone()).clamp(min=1)
            if ranks.size > 1:  # gradients are averaged over ranks, whose shares may differ
                loss = loss * (weight * ranks.size / whole)
            loss = recipe.backward(loss, whole)
            if isinstance(whole, int):
                loss_sum.add_(loss, alpha=whole / ranks.size)
            else:
                loss_sum.addcmul_(loss, (whole.double() / ranks.size).to(loss_sum.dtype))
            weights_sum += whole
            seen += length
            done += 1
            now = watch.seconds
            used = 0.0 if budget.max_seconds is None else ranks.agreed(now / max_seconds)
            recipe.advance(used)
            if used >= 1:
                stopped_by = "maxSeconds"
                break
            if recipe.steps >= max_steps:
                stopped_by = "maxSteps"
                break
            if recipe.between_steps and shared.due(recipe.steps, now):
                now = watch.stop()
                shared.save(recipe.steps, now, state, own())
                watch.start()
            if now >= next_look and ranks.leads:
                now = watch.stop()
                mean = _finite(loss_sum.item() * ranks.size / int(weights_sum), epoch)
                passed = (epoch - 1 + seen / samples_per_epoch) / budget.max_epochs
                fraction = max(passed, recipe.steps / max_steps, now / max_seconds)
                on_progress(TrainingState(epoch, fraction, mean, seen / (now - before)))
                next_look = now + _LOOK_SECONDS
                watch.start()
        recipe.flush()
        seconds = watch.stop()
        samples += seen
        mean = _finite(ranks.total(loss_sum).item() / int(weights_sum), epoch)

        where = f"the validation split after epoch {epoch}"
        found: dict[str, float] = {}
        if ranks.leads and prepared.validation is not None:
            keys = sorted(watched)
            quality = of_split(
                prepared, "validation", recipe.evaluated, batch_size, keys=keys, where=where, context=context
            )
            found = values_of(quality, {})
            _check(needed - found.keys(), where)
        validation = ranks.agreed(found)
        curves.append(
            EpochPoint(
                epoch=epoch,
                seconds=seconds,
                train_loss=mean,
                learning_rate=rate,
                samples_per_second=seen / (seconds - before),
                validation=validation,
            )
        )
        if budget.target and time_to_target is None and reached(budget.target, validation[budget.target.metric]):
            time_to_target = seconds
        if stopper and training.early_stopping and stopper.improves(validation[training.early_stopping.metric]):
            kept = copy.deepcopy(recipe.evaluated.state_dict())  # which may hold more than tensors
        if stopped_by is None and epoch == budget.max_epochs:
            stopped_by = "maxEpochs"
        if stopped_by is None and recipe.steps >= max_steps:  # an epoch's last step may have fewer batches
            stopped_by = "maxSteps"
        if stopped_by is None and stopper and stopper.exhausted:
            stopped_by = "earlyStopping"
        passed = max(epoch / budget.max_epochs, recipe.steps / max_steps, seconds / max_seconds)
        fraction = 1.0 if stopped_by else passed
        on_progress(TrainingState(epoch, fraction, mean, curves[-1].samples_per_second, curves[-1]))

    recipe.finish()
    if stopper:
        model.load_state_dict(kept)
    best = stopper.best_epoch if stopper else None
    return Trained(
        curves=tuple(curves),
        epochs=epoch,
        best_epoch=best,
        stopped_by=stopped_by,
        seconds=seconds,
        samples=samples,
        loading=loading.seconds,
        time_to_target=time_to_target,
        validation=curves[(best or epoch) - 1].validation,
    )


def _make_a_step(together: nn.Module, prepared: Prepared, batch_size: int, ranks: Ranks, context: Autocast) -> None:
    """Makes a step that counts nowhere, before a state is restored: it changes what that state has, and nothing else.

    After its first backward pass, DistributedDataParallel puts gradients in another order, once. In which order three
    or more ranks add them up depends on it, and so do the last bits of the sums.
    """
    together.train()
    batch = next(prepared.batches(batch_size, torch.Generator(prepared.device), ranks=ranks))
    with context():
        loss, _ = prepared.task.loss(prepared.task.call_in_training(together, batch), batch.targets)
    loss.backward()
    together.zero_grad(set_to_none=True)


def per_epoch(keys: Collection[str] | None) -> set[str]:
    """Those of a search's keys that are measured on the validation split each epoch."""
    return {key for key in keys or () if MetricKey.parse(key).metric.per_epoch}


def _check(missing: Collection[str], where: str) -> None:
    if missing:
        raise TrialFailed(
            "MetricsUnavailable",
            f"{', '.join(sorted(missing))} has no value on {where}, which lacks what it needs, such as a sample of two "
            "classes: use another metric, or a larger spec.dataset.validationFraction",
        )


def _finite(loss: float, epoch: int) -> float:
    if math.isfinite(loss):
        return loss
    raise TrialFailed(
        "LossNotFinite",
        f"the training loss became {loss} in epoch {epoch}: lower training.optimizer.learningRate, or use float32",
    )
