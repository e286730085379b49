"""A job's times of inference as `torch.utils.benchmark` has them, for its `Compare`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from velodrome.api.tables import library
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.records import TrialRecord

_RATE = "inference_samples_per_second"


def measurements(job: str, records: Iterable[TrialRecord]) -> list[Any]:
    """A `torch.utils.benchmark.Measurement` for each trial and batch size that was timed.

    Its time is that of one call: `Timer`'s mean, as the trial measured it. `Compare` makes one table of them, with a
    column for each entry, a row for each batch size and machine, and the median over the seeds in each cell.

    Raises:
        LocalError: torch is not installed.
    """
    benchmark = library("torch.utils.benchmark", "a measurement of torch", "local")
    return [_measurement(benchmark, job, record, size, rate) for record in records for size, rate in _rates(record)]


def _rates(record: TrialRecord) -> Iterator[tuple[int, float]]:
    """The samples per second by batch size."""
    for key, value in record.result.metrics.items():
        found = MetricKey.parse(key)
        if found.name == _RATE and value > 0:
            yield int(dict(found.parameters)["batch_size"]), value


def _measurement(benchmark: Any, job: str, record: TrialRecord, size: int, rate: float) -> Any:
    result, environment = record.result, record.result.environment
    machine, threads = "", 1
    if environment is not None:
        hardware = environment.hardware
        machine = f"{environment.software.framework}, {hardware.accelerator or hardware.cpu_model}"
        threads = max(1, round(environment.resources.cpus))
    spec = benchmark.TaskSpec(
        stmt="model(inputs)",
        setup="",
        label=f"{job}: inference",
        sub_label=f"batch size {size}",
        description=result.entry,
        env=machine,
        num_threads=threads,
    )
    told = {"job_uid": result.job_uid, "index": result.index, "seed": result.seed, "trial_id": result.trial_id}
    return benchmark.Measurement(number_per_run=1, raw_times=[size / rate], task_spec=spec, metadata=told)
