"""How an entry learns: the job's defaults, and the parts that an entry overrides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from velodrome.spec.base import Strict
from velodrome.spec.override import partial
from velodrome.spec.types import Finite, Fraction, MetricName
from velodrome.vocabulary import DecayRule, OptimizerName, Precision, ScheduleName

Decay = Annotated[Finite, Field(ge=0, lt=1)]


class Optimizer(Strict):
    """How weights are updated."""

    name: OptimizerName = Field(default="SGD", description="Optimizer, by its name in torch.optim.")
    learning_rate: Finite = Field(
        default=0.05, gt=0, le=1000, description="Learning rate; for a schedule with a peak, the peak."
    )
    momentum: Decay | None = Field(default=None, description="SGD, RMSprop: momentum; 0 if absent.")
    nesterov: bool | None = Field(default=None, description="SGD: whether to use Nesterov's momentum; false if absent.")
    betas: tuple[Decay, Decay] | None = Field(
        default=None, description="Adam, AdamW: decay of the two moments; [0.9, 0.999] if absent."
    )
    eps: Finite | None = Field(
        default=None, gt=0, le=1, description="Adam, AdamW, RMSprop: value added to the denominator; 1e-8 if absent."
    )
    alpha: Decay | None = Field(
        default=None, description="RMSprop: decay of the mean of squared gradients; 0.99 if absent."
    )


class Schedule(Strict):
    """How the learning rate changes over the budget: its epochs or its seconds, whichever are used up further."""

    name: ScheduleName = Field(default="Constant", description="Constant, Step, Cosine or OneCycle.")
    step_epochs: int | None = Field(
        default=None, ge=1, le=100_000, description="Step: epochs between two drops; a third of maxEpochs if absent."
    )
    gamma: Finite | None = Field(default=None, gt=0, le=1, description="Step: factor of each drop; 0.1 if absent.")
    final_factor: Fraction | None = Field(
        default=None, description="Cosine: last learning rate divided by the first; 0 if absent."
    )
    warmup_fraction: Finite | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="OneCycle: share of the budget during which the rate rises; 0.3 if absent.",
    )
    linear_warmup: Finite | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Constant, Step, Cosine: share of the budget during which the rate rises linearly from a hundredth;"
        " none if absent.",
    )


class Regularization(Strict):
    """What works against overfitting."""

    l1: Finite = Field(default=0.0, ge=0, le=10, description="Factor of the sum of absolute weights in the loss.")
    l2: Finite = Field(
        default=0.0, ge=0, le=10, description="Weight decay: coupled in SGD and Adam, decoupled in AdamW."
    )
    dropout: Finite = Field(
        default=0.0, ge=0, lt=1, description="Probability of dropping a unit, if the model has dropout."
    )
    label_smoothing: Finite = Field(
        default=0.0, ge=0, lt=1, description="Share of the target that is spread over all classes."
    )
    decay_rule: DecayRule | None = Field(
        default=None,
        description="Which parameters l1 and l2 shrink: those of torchvision's recipes, all matrices, or all;"
        " torchvision if absent.",
    )


class EarlyStopping(Strict):
    """Stops training when a metric on the validation split no longer improves; the best epoch's weights are kept."""

    metric: MetricName = Field(default="validation_loss", description="A metric that is measured each epoch.")
    patience: int = Field(
        default=3, ge=1, le=100_000, description="Number of epochs without improvement before training stops."
    )
    min_delta: Finite = Field(default=0.0, ge=0, le=1e6, description="Smallest change that counts as an improvement.")


class Training(Strict):
    """How an entry learns; the job's value is the default, and an entry may override any part."""

    batch_size: int = Field(default=128, ge=1, le=65536, description="Samples in one batch.")
    optimizer: Optimizer = Field(default=Optimizer(), description="How weights are updated.")
    schedule: Schedule = Field(default=Schedule(), description="How the learning rate changes.")
    regularization: Regularization = Field(default=Regularization(), description="What works against overfitting.")
    early_stopping: EarlyStopping | None = Field(
        default=None, description="When to stop before the budget is used; null: never."
    )
    precision: Precision = Field(
        default="float32",
        description="float32; tf32, or mixed precision in bfloat16 or float16, if the hardware supports it.",
    )
    deterministic: bool = Field(
        default=False, description="Whether torch must use deterministic algorithms, even if they are slower."
    )
    accumulate_batches: int | None = Field(
        default=None, ge=1, le=4096, description="Batches whose mean gradient makes one step; 1 if absent."
    )
    clip_norm: Finite | None = Field(
        default=None, gt=0, le=1e6, description="Largest 2-norm of all gradients together; null: no limit."
    )
    clip_value: Finite | None = Field(
        default=None, gt=0, le=1e6, description="Largest absolute value of a gradient's elements; null: no limit."
    )
    ema_decay: Finite | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Decay of the exponential moving average of the weights, which are evaluated; null: no average.",
    )


if TYPE_CHECKING:

    class TrainingOverride(BaseModel):
        """Parts of Training. Fields that were not written are absent from dumps."""
else:
    TrainingOverride = partial(Training)
