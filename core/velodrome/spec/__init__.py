"""BenchmarkJob v1alpha1: the models, the rules that span fields, and reading them from files.

Pure but for `read_jobs`, which reads one file. Imports pydantic and PyYAML, nothing heavier.
"""

from velodrome.spec.file import parse_jobs, read_jobs, validate
from velodrome.spec.model import (
    Augmentation,
    AugmentationArgs,
    BenchmarkJob,
    Budget,
    Dataset,
    EarlyStopping,
    Entry,
    Evaluation,
    FeatureSelection,
    Inference,
    Model,
    Objective,
    Optimizer,
    Preprocessing,
    Regularization,
    Schedule,
    Source,
    Strict,
    Target,
    Training,
)

__all__ = [
    "Augmentation",
    "AugmentationArgs",
    "BenchmarkJob",
    "Budget",
    "Dataset",
    "EarlyStopping",
    "Entry",
    "Evaluation",
    "FeatureSelection",
    "Inference",
    "Model",
    "Objective",
    "Optimizer",
    "Preprocessing",
    "Regularization",
    "Schedule",
    "Source",
    "Strict",
    "Target",
    "Training",
    "parse_jobs",
    "read_jobs",
    "validate",
]
