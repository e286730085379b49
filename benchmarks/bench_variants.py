"""What a variant costs and saves: int8 of torch.ao beside torchao's and float32, and the table of docs/results.md.

    python benchmarks/bench_variants.py                                # time of a prediction, relative to float32
    uv run --with torchao python benchmarks/bench_variants.py          # with torchao's int8 beside it
    python benchmarks/bench_variants.py --board digits-variants        # the table, after the race of variants.yaml

Each time is the median of calls on one thread. The first table has ratios to float32 in the same run.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.benchmark import Timer

import velodrome
from velodrome.units import quantity
from velodrome_runner.footprint import model_bytes
from velodrome_runner.variants.exporting import exported
from velodrome_runner.variants.quantizing import quantized

SIZES = (1, 64)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of each measurement (default: 0.5)")
    parser.add_argument("--board", help="print the table of this board instead")
    arguments = parser.parse_args()
    if arguments.board:
        print(of_board(arguments.board))
    else:
        predictions(arguments.seconds)


def predictions(seconds: float) -> None:
    """Time of a prediction of a perceptron, relative to that of float32."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table = Table("three layers, 512 to 2048", *(f"time, batch of {size}" for size in SIZES), "bytes", "off by")
    base = network()
    inputs = {size: torch.randn(size, 512) for size in SIZES}
    with torch.inference_mode():
        answers = base(inputs[64])
        times = {size: median(base, inputs[size], seconds) for size in SIZES}
        for name, model, held in variants(base):
            ratios = [f"{median(model, inputs[size], seconds) / times[size]:.2f}" for size in SIZES]
            off = float((model(inputs[64]) - answers).abs().max() / answers.abs().max())
            table.add_row(name, *ratios, f"{held / model_bytes(base):.2f}", f"{off:.2%}")
    Console().print(table)


def network() -> nn.Module:
    """A perceptron that is large enough for its weights to count."""
    return nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 10)).eval()


def variants(base: nn.Module) -> Iterator[tuple[str, nn.Module, int]]:
    """Each variant with its name and its bytes."""
    yield "float32", base, model_bytes(base)
    int8, _ = quantized(copy.deepcopy(base), "base")
    yield "int8 of torch.ao", int8, model_bytes(int8)
    if find_spec("torchao") is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

            other = copy.deepcopy(base)
            quantize_(other, Int8DynamicActivationInt8WeightConfig())
        yield "int8 of torchao", other, model_bytes(other)
    graph = exported(base, torch.randn(3, 512), "base")
    yield "onnxruntime", graph, graph.weight_bytes


def median(model: nn.Module, inputs: torch.Tensor, seconds: float) -> float:
    """Seconds of a call."""
    timer = Timer("model(inputs)", globals={"model": model, "inputs": inputs})
    return float(timer.blocked_autorange(min_run_time=seconds).median)


def of_board(board: str) -> str:
    """The means of every objective by entry, in the order of the first, as a table in Markdown."""
    with velodrome.open_results() as results:
        rankings = results.rankings(board)
    entries = [row.entry for row in rankings[0].ranked]
    lines = ["| entry | " + " | ".join(ranking.objective for ranking in rankings) + " |"]
    lines.append("|---" * (len(rankings) + 1) + "|")
    for entry in entries:
        cells = []
        for ranking in rankings:
            row = next((row for row in ranking.ranked if row.entry == entry), None)
            cells.append("" if row is None else quantity(ranking.unit, row.interval.mean))
        lines.append(f"| `{entry}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
