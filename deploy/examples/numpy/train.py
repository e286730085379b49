"""A network of one hidden layer in plain NumPy, which races under a BenchmarkJob's conditions.

Run it by hand with `python deploy/examples/numpy/train.py`: it trains one epoch with seed 0 and reports on standard
output. In a race, `velodrome run deploy/examples/numpy.yaml` runs it for each seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from velodrome import report

HIDDEN = 64
Values = np.ndarray[Any, np.dtype[Any]]


def main() -> None:
    """Loads, trains, evaluates and reports."""
    trial = report.trial()
    refuse(trial.conditions.get("preprocessing", {}))
    random = np.random.default_rng(trial.seed)
    (images, labels), (test_images, test_labels), classes = digits()
    fraction = trial.conditions.get("dataset", {}).get("validationFraction", 0.1)
    positions = np.arange(len(labels))
    train, held_out = train_test_split(positions, test_size=fraction, stratify=labels, random_state=trial.seed)
    trial.software(f"numpy {np.__version__}")
    trial.dataset(
        "digits",
        digest=report.digest(train=(images, labels), test=(test_images, test_labels)),
        train_samples=len(train),
        validation_samples=len(held_out),
        test_samples=len(test_labels),
        shape=images.shape[1:],
        classes=classes,
    )
    scale = Scale(images[train])
    x, y = scale(images[np.sort(train)]), labels[np.sort(train)]
    validation, test = (scale(images[held_out]), labels[held_out]), (scale(test_images), test_labels)
    network = Network(random, inputs=x.shape[1], classes=len(classes))
    learn(trial, network, random, x, y, validation)
    metrics = report.classification(test[1].tolist(), network.classify(test[0]).tolist())
    metrics["parameters"] = sum(weights.size for weights in network.weights)
    metrics["model_bytes"] = sum(weights.nbytes for weights in network.weights)

    def predict(size: int) -> Values:
        return network.classify(np.resize(test[0], (size, test[0].shape[1])))

    trial.result(metrics | trial.time_inference(predict))


def digits() -> tuple[tuple[Values, Values], tuple[Values, Values], list[str]]:
    """Velodrome's splits of scikit-learn's digits: every fifth sample of each class is a test sample."""
    found = load_digits()
    images, labels = found.images.astype(np.uint8)[:, None], found.target
    nth = np.array([np.sum(labels[: i + 1] == label) for i, label in enumerate(labels)])
    test = nth % 5 == 0
    return (images[~test], labels[~test]), (images[test], labels[test]), [str(name) for name in found.target_names]


def refuse(preprocessing: dict[str, Any]) -> None:
    """Ends the program if it can't keep a condition of the race: a result under other conditions would be unfair."""
    if preprocessing.get("augmentations") or preprocessing.get("featureSelection"):
        raise SystemExit("this program can't augment or select features: leave both out of spec.preprocessing")


class Scale:
    """Scales images to rows, so that the training split has mean 0 and deviation 1."""

    def __init__(self, images: Values) -> None:
        self.mean, self.deviation = images.mean(), images.std()

    def __call__(self, images: Values) -> Values:
        rows: Values = ((images - self.mean) / self.deviation).reshape(len(images), -1)
        return rows


class Network:
    """A network of inputs, `HIDDEN` rectified units, and a softmax over classes."""

    def __init__(self, random: np.random.Generator, *, inputs: int, classes: int) -> None:
        sizes = ((inputs, HIDDEN), (HIDDEN, classes))
        self.weights = [random.normal(0, np.sqrt(2 / rows), (rows, columns)) for rows, columns in sizes]
        self.weights += [np.zeros(columns) for _, columns in sizes]
        self.speed = [np.zeros_like(weights) for weights in self.weights]

    def forward(self, x: Values) -> tuple[Values, Values]:
        """Hidden units and class probabilities."""
        hidden = np.maximum(x @ self.weights[0] + self.weights[2], 0)
        scores = hidden @ self.weights[1] + self.weights[3]
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return hidden, powers / powers.sum(axis=1, keepdims=True)

    def classify(self, x: Values) -> Values:
        """The most probable class of each row."""
        classes: Values = self.forward(x)[1].argmax(axis=1)
        return classes

    def step(self, x: Values, y: Values, rate: float, momentum: float, decay: float) -> float:
        """Makes one step of gradient descent. Returns the batch's mean cross-entropy before the step."""
        hidden, probabilities = self.forward(x)
        loss = -np.log(probabilities[np.arange(len(y)), y] + 1e-12).mean()
        error = probabilities
        error[np.arange(len(y)), y] -= 1
        error /= len(y)
        back = (error @ self.weights[1].T) * (hidden > 0)
        gradients = [x.T @ back, hidden.T @ error, back.sum(axis=0), error.sum(axis=0)]
        for position, gradient in enumerate(gradients):
            self.speed[position] = momentum * self.speed[position] + gradient + decay * self.weights[position]
            self.weights[position] -= rate * self.speed[position]
        return float(loss)


def learn(
    trial: report.TrialReport, network: Network, random: np.random.Generator, x: Values, y: Values,
    validation: tuple[Values, Values],
) -> None:  # fmt: skip
    """Trains for the race's epochs with its batch size, learning rate, momentum and weight decay."""
    parameters = trial.training_parameters
    optimizer = parameters.get("optimizer", {})
    size = parameters.get("batchSize", 128)
    rate, momentum = optimizer.get("learningRate", 0.05), optimizer.get("momentum") or 0.0
    decay = parameters.get("regularization", {}).get("l2", 0.0)
    for epoch in trial.epochs():
        losses = []
        with trial.training():
            order = random.permutation(len(y))
            for begin in range(0, len(y), size):
                batch = order[begin : begin + size]
                losses.append(network.step(x[batch], y[batch], rate, momentum, decay))
        scores = report.classification(validation[1].tolist(), network.classify(validation[0]).tolist())
        trial.epoch(epoch, train_loss=float(np.mean(losses)), samples=len(y), learning_rate=rate, validation=scores)


if __name__ == "__main__":
    main()
