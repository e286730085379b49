"""The names that a BenchmarkJob may use for datasets, models and augmentations, with their meanings.

No I/O, and no imports of the libraries behind the names. The spec checks against these tables, and the runner
implements them. A test checks that the two agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

DataKind = Literal["images", "sequences", "table", "text", "documents", "scenes", "masks"]
AugmentationName = Literal[
    "RandomCrop",
    "RandomResizedCrop",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "RandomRotation",
    "RandomAffine",
    "RandomPerspective",
    "RandomErasing",
    "ColorJitter",
    "RandomGrayscale",
    "RandomInvert",
    "RandomPosterize",
    "RandomSolarize",
    "RandomAutocontrast",
    "RandomEqualize",
    "RandomAdjustSharpness",
    "GaussianBlur",
    "GaussianNoise",
    "TrivialAugment",
    "RandAugment",
    "AutoAugment",
    "AugMix",
    "MixUp",
    "CutMix",
]
OptimizerName = Literal["SGD", "Adam", "AdamW", "RMSprop"]
ScheduleName = Literal["Constant", "Step", "Cosine", "OneCycle"]
Precision = Literal["float32", "tf32", "bfloat16", "float16"]
DecayRule = Literal["torchvision", "matrices", "all"]
Keeping = Literal["none", "correct", "losses"]
Tokens = Literal["characters", "bytes"]
Quantization = Literal["int8-dynamic"]
ExportFormat = Literal["onnx"]
FeatureSelectionMethod = Literal["SelectKBest", "SelectPercentile", "VarianceThreshold", "RFE"]
FeatureScore = Literal[
    "f_classif", "mutual_info_classif", "chi2", "f_regression", "mutual_info_regression", "r_regression"
]

DATASETS: Mapping[str, str] = {
    "digits": "1,797 handwritten digits, 8x8 grey, shipped with scikit-learn: needs no files.",
    "MNIST": "70,000 handwritten digits, 28x28 grey, in torchvision's folder layout.",
    "FashionMNIST": "70,000 pictures of clothing, 28x28 grey, in torchvision's folder layout.",
    "CIFAR10": "60,000 pictures of 10 classes, 32x32 RGB, in torchvision's folder layout.",
    "CIFAR100": "60,000 pictures of 100 classes, 32x32 RGB, in torchvision's folder layout.",
    "SVHN": "99,289 pictures of house numbers, 32x32 RGB, in torchvision's folder layout.",
    "ImageNet": "1.3 million photographs of 1,000 classes (ILSVRC2012), in torchvision's folder layout.",
    "iris": "150 flowers of 3 classes, 4 numbers each, shipped with scikit-learn: needs no files.",
    "wine": "178 wines of 3 classes, 13 numbers each, shipped with scikit-learn: needs no files.",
    "breast_cancer": "569 tumours of 2 classes, 30 numbers each, shipped with scikit-learn: needs no files.",
    "diabetes": "442 patients, 10 numbers each, a number to predict, shipped with scikit-learn: needs no files.",
    "pydoc": "Half a million characters: the reference of Python's language, shipped with Python: needs no files.",
}

# How many classes each has; a set whose target is a number has none.
CLASSES: Mapping[str, int] = {
    "digits": 10,
    "MNIST": 10,
    "FashionMNIST": 10,
    "CIFAR10": 10,
    "CIFAR100": 100,
    "SVHN": 10,
    "ImageNet": 1000,
    "iris": 3,
    "wine": 3,
    "breast_cancer": 2,
}

# Those that ship with a library of the runner.
BUNDLED = frozenset({"digits", "iris", "wine", "breast_cancer", "diabetes", "pydoc"})

FORMATS: Mapping[str, str] = {
    "ImageFolder": "Images in a folder for each class; the folders train, test and maybe val, or declared splits.",
    "ImageNet": "The folders train and val of ILSVRC2012 and its devkit, as torchvision lays them out.",
    "SVHN": "train_32x32.mat and test_32x32.mat, or other files of the same form.",
    "COCO": "Images with boxes: COCO's annotations in JSON, and folders of images.",
    "VOC": "Images with boxes: Pascal VOC's folders Annotations (XML), JPEGImages and maybe ImageSets/Main.",
    "VOCSegmentation": "Images with masks: Pascal VOC's folders JPEGImages, SegmentationClass (PNG), maybe ImageSets.",
    "IDX": "Four files as MNIST has them: images and labels, for training and for the test.",
    "TimeSeries": "The .ts files of the UCR/UEA archive: univariate or multivariate, of equal or unequal lengths.",
    "SequenceCSV": "Sequences in a CSV file, one row a step; a column names the sequence. Lengths may differ.",
    "SpeechCommands": "Sounds (.wav) in a folder for each class, and lists of those that validate and test.",
    "CSV": "A table with a header: text, with any usual separator.",
    "Parquet": "A table whose columns are flat.",
    "Text": "A running text: a file, or all files of a folder, to predict each character or byte from those before.",
    "Documents": "Texts with labels: a CSV file with a header, or JSON Lines (.jsonl), one text a row.",
}

# What a sample is, for each known data set and each format; a factory's datasets say it themselves.
DATA_KINDS: Mapping[str, DataKind] = {
    **dict.fromkeys(("digits", "MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "SVHN", "ImageNet"), "images"),
    **dict.fromkeys(("iris", "wine", "breast_cancer", "diabetes"), "table"),
    **dict.fromkeys(("ImageFolder", "IDX"), "images"),
    **dict.fromkeys(("TimeSeries", "SequenceCSV", "SpeechCommands"), "sequences"),
    **dict.fromkeys(("CSV", "Parquet"), "table"),
    **dict.fromkeys(("Text", "pydoc"), "text"),
    "Documents": "documents",
    **dict.fromkeys(("COCO", "VOC"), "scenes"),
    "VOCSegmentation": "masks",
}

# How files of JSON Lines are called, an object a line.
JSON_LINES = (".jsonl", ".ndjson")
# The label of a mask's pixels that do not count. Those below are classes.
VOID = 255
# Characters of the name of a class.
MOST_CLASS_NAME = 128
# The classes of Pascal VOC, where `spec.dataset.classes` does not name others.
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

# Fields of `spec.dataset` that only some formats have, and the known data sets that are read as such a format.
FORMAT_FIELDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("ImageFolder", "COCO", "VOC"), frozenset({"splits", "imageSize"})),
    "VOCSegmentation": frozenset({"splits", "imageSize", "classes"}),
    "ImageNet": frozenset({"imageSize"}),
    "SVHN": frozenset(),
    "IDX": frozenset(),
    "TimeSeries": frozenset({"splits"}),
    "SpeechCommands": frozenset({"splits", "sampleRate", "seconds"}),
    **dict.fromkeys(("CSV", "Parquet", "SequenceCSV"), frozenset({"target", "columns", "splits"})),
    **dict.fromkeys(("Text", "pydoc"), frozenset({"tokens", "window", "splits"})),
    "Documents": frozenset({"text", "target", "splits"}),
    "package.module:factory": frozenset({"args", "splits"}),
}

# What a text is cut into where `spec.dataset` does not say it: what is predicted one by one, and how many at a time.
TOKENS: Tokens = "characters"
WINDOW = 128
# Of sounds: how many samples a second has, and how many seconds a clip, where `spec.dataset` does not say it.
SAMPLE_RATE, SECONDS = 16_000, 1.0
# Of texts with labels: how many words a model knows and reads where `spec.preprocessing` does not say it, and the most.
VOCABULARY, MOST_VOCABULARY = 10_000, 1_000_000
LENGTH, MOST_WORDS = 200, 10_000

# The formats whose files have columns with names.
COLUMNAR = tuple(name for name, fields in FORMAT_FIELDS.items() if "target" in fields)

# All of those fields.
DATASET_FIELDS = tuple(sorted(frozenset().union(*FORMAT_FIELDS.values())))

# The formats whose files are sounds.
SOUNDS = tuple(name for name, fields in FORMAT_FIELDS.items() if "sampleRate" in fields)

# Arguments of each augmentation, in addition to arguments of all augmentations (there are none today).
AUGMENTATION_ARGS: Mapping[str, frozenset[str]] = {
    "RandomCrop": frozenset({"size", "padding"}),
    "RandomResizedCrop": frozenset({"size", "scale", "ratio"}),
    "RandomHorizontalFlip": frozenset({"p"}),
    "RandomVerticalFlip": frozenset({"p"}),
    "RandomRotation": frozenset({"degrees"}),
    "RandomAffine": frozenset({"degrees", "translate", "scale", "shear"}),
    "RandomPerspective": frozenset({"distortionScale", "p"}),
    "RandomErasing": frozenset({"p", "scale", "ratio"}),
    "ColorJitter": frozenset({"brightness", "contrast", "saturation", "hue"}),
    "RandomGrayscale": frozenset({"p"}),
    "RandomInvert": frozenset({"p"}),
    "RandomPosterize": frozenset({"bits", "p"}),
    "RandomSolarize": frozenset({"threshold", "p"}),
    "RandomAutocontrast": frozenset({"p"}),
    "RandomEqualize": frozenset({"p"}),
    "RandomAdjustSharpness": frozenset({"sharpnessFactor", "p"}),
    "GaussianBlur": frozenset({"kernelSize", "sigma"}),
    "GaussianNoise": frozenset({"mean", "sigma", "clip"}),
    "TrivialAugment": frozenset({"bins"}),
    "RandAugment": frozenset({"numOps", "magnitude", "numMagnitudeBins"}),
    "AutoAugment": frozenset({"policy"}),
    "AugMix": frozenset({"severity", "mixtureWidth", "chainDepth", "alpha", "allOps"}),
    "MixUp": frozenset({"alpha"}),
    "CutMix": frozenset({"alpha"}),
}

# Arguments without a default.
AUGMENTATION_NEEDS: Mapping[str, str] = {
    "RandomPosterize": "bits",
    "RandomSolarize": "threshold",
    "RandomAdjustSharpness": "sharpnessFactor",
    "GaussianBlur": "kernelSize",
}
# Those that mix the samples of a batch, and so their labels too: for classification only, after all others.
MIXES = ("MixUp", "CutMix")
# Those that choose among many changes, some of which move pixels without boxes and masks: for classification only.
POLICIES = ("TrivialAugment", "RandAugment", "AutoAugment", "AugMix")
# The magnitude and the number of magnitudes that RandAugment has by default.
RAND_MAGNITUDE, RAND_BINS = 9, 31

# Velodrome's own models and the arguments of each (dropout comes from training.regularization).
MODEL_ARGS: Mapping[str, frozenset[str]] = {
    "velodrome/mlp": frozenset({"hidden", "layers"}),
    "velodrome/cnn": frozenset({"width"}),
    "velodrome/resnet9": frozenset({"width"}),
    "velodrome/lstm": frozenset({"hidden", "layers", "bidirectional"}),
    "velodrome/gru": frozenset({"hidden", "layers", "bidirectional"}),
    "velodrome/conv1d": frozenset({"width"}),
    "velodrome/inceptiontime": frozenset({"width", "depth"}),
    "velodrome/transformer": frozenset({"width", "layers", "heads"}),
    "velodrome/embeddingbag": frozenset({"width"}),
    "velodrome/fcos": frozenset({"width"}),
    "velodrome/unet": frozenset({"width"}),
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
    "RFE": frozenset({"k"}),
}

# The steps of an entry's optimize, in the only order in which they make sense.
OPTIMIZE_STEPS = ("prune", "quantize", "compile", "export")

# What the resources of GPUs begin with.
GPU_RESOURCES = ("nvidia.com/gpu", "nvidia.com/mig-", "amd.com/gpu", "gpu.intel.com/")

# The kinds of data that each part of spec.preprocessing is for.
PREPROCESSING_KINDS: Mapping[str, frozenset[DataKind]] = {
    "augmentations": frozenset({"images", "scenes", "masks"}),
    "featureSelection": frozenset({"images", "table"}),
    "scaling": frozenset({"sequences", "table"}),
    "imputation": frozenset({"table"}),
    "encoding": frozenset({"table"}),
    "reduction": frozenset({"table"}),
    "vocabulary": frozenset({"documents"}),
    "maxLength": frozenset({"documents"}),
}
