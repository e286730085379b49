"""The names that a BenchmarkJob may use for datasets, models and augmentations, with their meanings.

No I/O, and no imports of the libraries behind the names. The spec checks against these tables, and the runner
implements them. A test checks that the two agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

DatasetName = Literal["digits", "MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"]
AugmentationName = Literal[
    "RandomCrop", "RandomHorizontalFlip", "RandomRotation", "ColorJitter", "RandomErasing", "TrivialAugment"
]
OptimizerName = Literal["SGD", "Adam", "AdamW", "RMSprop"]
ScheduleName = Literal["Constant", "Step", "Cosine", "OneCycle"]
Precision = Literal["float32", "tf32", "bfloat16", "float16"]
DecayRule = Literal["torchvision", "matrices", "all"]
FeatureSelectionMethod = Literal["SelectKBest", "SelectPercentile", "VarianceThreshold"]

DATASETS: Mapping[str, str] = {
    "digits": "1,797 handwritten digits, 8x8 grey, shipped with scikit-learn: needs no files.",
    "MNIST": "70,000 handwritten digits, 28x28 grey, in torchvision's folder layout.",
    "FashionMNIST": "70,000 pictures of clothing, 28x28 grey, in torchvision's folder layout.",
    "CIFAR10": "60,000 pictures of 10 classes, 32x32 RGB, in torchvision's folder layout.",
    "CIFAR100": "60,000 pictures of 100 classes, 32x32 RGB, in torchvision's folder layout.",
}

# How many classes each has.
CLASSES: Mapping[str, int] = {"digits": 10, "MNIST": 10, "FashionMNIST": 10, "CIFAR10": 10, "CIFAR100": 100}

# Arguments of each augmentation, in addition to arguments of all augmentations (there are none today).
AUGMENTATION_ARGS: Mapping[str, frozenset[str]] = {
    "RandomCrop": frozenset({"size", "padding"}),
    "RandomHorizontalFlip": frozenset({"p"}),
    "RandomRotation": frozenset({"degrees"}),
    "ColorJitter": frozenset({"brightness", "contrast", "saturation", "hue"}),
    "RandomErasing": frozenset({"p", "scale", "ratio"}),
    "TrivialAugment": frozenset({"bins"}),
}

# Velodrome's own models and the arguments of each (dropout comes from training.regularization).
MODEL_ARGS: Mapping[str, frozenset[str]] = {
    "velodrome/mlp": frozenset({"hidden", "layers"}),
    "velodrome/cnn": frozenset({"width"}),
    "velodrome/resnet9": frozenset({"width"}),
    "velodrome/lstm": frozenset({"hidden", "layers", "bidirectional"}),
    "velodrome/gru": frozenset({"hidden", "layers", "bidirectional"}),
}

# Fields of training.optimizer and training.schedule that only some names use.
OPTIMIZER_FIELDS: Mapping[str, frozenset[str]] = {
    "SGD": frozenset({"momentum", "nesterov"}),
    "Adam": frozenset({"betas", "eps"}),
    "AdamW": frozenset({"betas", "eps"}),
    "RMSprop": frozenset({"momentum", "alpha", "eps"}),
}
SCHEDULE_FIELDS: Mapping[str, frozenset[str]] = {
    "Constant": frozenset({"linearWarmup"}),
    "Step": frozenset({"linearWarmup", "stepEpochs", "gamma"}),
    "Cosine": frozenset({"linearWarmup", "finalFactor"}),
    "OneCycle": frozenset({"warmupFraction"}),
}
FEATURE_SELECTION_FIELDS: Mapping[str, frozenset[str]] = {
    "SelectKBest": frozenset({"k", "score"}),
    "SelectPercentile": frozenset({"percentile", "score"}),
    "VarianceThreshold": frozenset({"threshold"}),
}
