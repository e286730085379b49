"""Velodrome's small convolutional network in TensorFlow's Keras, which races under a BenchmarkJob's conditions.

Run it by hand with `python deploy/examples/tensorflow/train.py`: it trains one epoch with seed 0 and reports on
standard output. In a race, `velodrome run deploy/examples/tensorflow.yaml` runs it for each seed.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from velodrome import report

WIDTH = 32
Values = np.ndarray[Any, np.dtype[Any]]


def main() -> None:
    """Loads, trains, evaluates and reports."""
    trial = report.trial()
    wanted = trial.conditions.get("preprocessing", {})
    if wanted.get("augmentations") or wanted.get("featureSelection"):
        raise SystemExit("this program can't augment or select features: leave both out of spec.preprocessing")
    tf.keras.utils.set_random_seed(trial.seed)
    tf.config.threading.set_intra_op_parallelism_threads(trial.cpus)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    found = load_digits()
    images, labels = found.images.astype(np.uint8)[:, None], found.target
    test = fifth_of_each_class(labels)
    fraction = trial.conditions.get("dataset", {}).get("validationFraction", 0.1)
    kept, held_out = train_test_split(
        np.arange(np.sum(~test)), test_size=fraction, stratify=labels[~test], random_state=trial.seed
    )
    trial.software(f"tensorflow {tf.__version__}", {"keras": tf.keras.__version__, "numpy": np.__version__})
    trial.dataset(
        "digits",
        digest=report.digest(train=(images[~test], labels[~test]), test=(images[test], labels[test])),
        train_samples=len(kept),
        validation_samples=len(held_out),
        test_samples=int(test.sum()),
        shape=images.shape[1:],
        classes=[str(name) for name in found.target_names],
    )
    race(trial, images[~test][np.sort(kept)], labels[~test][np.sort(kept)],
         (images[~test][held_out], labels[~test][held_out]), (images[test], labels[test]))  # fmt: skip


def race(
    trial: report.TrialReport,
    images: Values,
    labels: Values,
    validation: tuple[Values, Values],
    test: tuple[Values, Values],
) -> None:
    """Trains on the training split, and reports the network's values on the test split."""
    mean, deviation = images.mean(), images.std()

    def scaled(raw: Values) -> Values:
        moved: Values = np.moveaxis((raw - mean) / deviation, 1, -1).astype(np.float32)  # Keras uses channels last
        return moved

    model = network(trial, classes=len(np.unique(labels)))
    train(trial, model, scaled(images), labels, scaled(validation[0]), validation[1])
    x, y = scaled(test[0]), test[1]
    infer = tf.function(lambda batch: model(batch, training=False), reduce_retracing=False)
    metrics = report.classification(y.tolist(), infer(x).numpy().argmax(axis=1).tolist())
    metrics["parameters"] = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    metrics["model_bytes"] = sum(int(np.prod(variable.shape)) * 4 for variable in model.variables)
    batches = {size: tf.constant(np.resize(x, (size, *x.shape[1:]))) for size in batch_sizes(trial)}
    trial.result(metrics | trial.time_inference(lambda size: infer(batches[size]).numpy()))


def fifth_of_each_class(labels: Values) -> Values:
    """Velodrome's test split of scikit-learn's digits: every fifth sample of each class."""
    return np.array([np.sum(labels[: i + 1] == label) % 5 == 0 for i, label in enumerate(labels)])


def batch_sizes(trial: report.TrialReport) -> list[int]:
    """The batch sizes that the race times."""
    sizes: list[int] = trial.conditions.get("evaluation", {}).get("inference", {}).get("batchSizes", [1])
    return sizes


def network(trial: report.TrialReport, *, classes: int) -> Any:
    """Three convolutions of 32, 64 and 128 channels, each halving the image; the layers of `velodrome/cnn`."""
    layers = tf.keras.layers
    body: list[Any] = []
    for width in (WIDTH, 2 * WIDTH, 4 * WIDTH):
        body += [layers.Conv2D(width, 3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU(),
                 layers.MaxPooling2D(2, padding="same")]  # fmt: skip
    dropout = trial.training_parameters.get("regularization", {}).get("dropout", 0.0)
    return tf.keras.Sequential([*body, layers.GlobalAveragePooling2D(), layers.Dropout(dropout), layers.Dense(classes)])


def train(
    trial: report.TrialReport, model: Any, x: Values, y: Values, validation_x: Values, validation_y: Values
) -> None:
    """Trains for the race's epochs with its batch size, learning rate and weight decay, by AdamW."""
    parameters = trial.training_parameters
    rate = parameters.get("optimizer", {}).get("learningRate", 0.003)
    decay = parameters.get("regularization", {}).get("l2", 0.01)
    optimizer = tf.keras.optimizers.AdamW(learning_rate=rate, weight_decay=decay)
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(reduce_retracing=True)
    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(y), seed=trial.seed)
    batches = data.batch(parameters.get("batchSize", 64))
    for epoch in trial.epochs():
        with trial.training():
            losses = [float(step(images, labels)) for images, labels in batches]
        guesses = model(validation_x, training=False).numpy().argmax(axis=1)
        scores = report.classification(validation_y.tolist(), guesses.tolist())
        trial.epoch(epoch, train_loss=float(np.mean(losses)), samples=len(y), learning_rate=rate, validation=scores)


if __name__ == "__main__":
    main()
