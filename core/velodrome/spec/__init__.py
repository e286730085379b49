"""BenchmarkJob v1alpha1: the models, the rules that span fields, and reading them from files.

Pure, except that `read_jobs` reads one file. Imports only pydantic and PyYAML.
"""

from velodrome.spec.base import Strict
from velodrome.spec.conditions import (
    Augmentation,
    AugmentationArgs,
    Budget,
    Evaluation,
    FeatureSelection,
    Inference,
    LogMel,
    Offline,
    Preprocessing,
    Serving,
    Target,
)
from velodrome.spec.dataset import Columns, Dataset, DatasetSplits, Source, SplitFiles, SplitFractions
from velodrome.spec.file import decode_jobs, parse_jobs, read_jobs, validate
from velodrome.spec.job import (
    BenchmarkJob,
    BenchmarkJobSpec,
    Entry,
    Model,
    Objective,
    Regression,
    Threshold,
    Trials,
    UntilDecided,
)
from velodrome.spec.metrics import MetricRange, OwnMetric
from velodrome.spec.optimize import OptimizeStep, Prune
from velodrome.spec.pods import Execution, Runner
from velodrome.spec.search import Search, SearchParameter, SearchPruner, SearchTerminator
from velodrome.spec.training import EarlyStopping, Optimizer, Regularization, Schedule, Training

__all__ = [
    "Augmentation",
    "AugmentationArgs",
    "BenchmarkJob",
    "BenchmarkJobSpec",
    "Budget",
    "Columns",
    "Dataset",
    "DatasetSplits",
    "EarlyStopping",
    "Entry",
    "Evaluation",
    "Execution",
    "FeatureSelection",
    "Inference",
    "LogMel",
    "MetricRange",
    "Model",
    "Objective",
    "Offline",
    "OptimizeStep",
    "Optimizer",
    "OwnMetric",
    "Preprocessing",
    "Prune",
    "Regression",
    "Regularization",
    "Runner",
    "Schedule",
    "Search",
    "SearchParameter",
    "SearchPruner",
    "SearchTerminator",
    "Serving",
    "Source",
    "SplitFiles",
    "SplitFractions",
    "Strict",
    "Target",
    "Threshold",
    "Training",
    "Trials",
    "UntilDecided",
    "decode_jobs",
    "parse_jobs",
    "read_jobs",
    "validate",
]
