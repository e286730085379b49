"""`show`: everything that is known about one trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome import text
from velodrome.cli import completion
from velodrome.cli.console import say, write_json
from velodrome.cli.options import Json, RedisUrl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from velodrome.results.records import EpochPoint, JobInfo, Progress, TrialRecord

EXAMPLES = """\
  velodrome show digits/cnn/0
  velodrome show digits/12
  velodrome show local-3f2a81c09d4b5e67/12 --json
"""

_BARS = "▁▂▃▄▅▆▇█"
_SPARKLINE_WIDTH = 40
_FEW_CLASSES = 12  # classes of a confusion matrix that a terminal has room for
_MOST_PAIRS = 5  # of classes that are confused


def show(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="JOB/ENTRY/REPEAT or JOB/INDEX; JOB is a name (the newest) or a uid.",
            autocompletion=completion.runs,
        ),
    ],
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Show one trial: its parameters, metrics, curves and machine. If it failed: the reason and the end of its log."""
    from velodrome.cli.connection import results_store
    from velodrome.cli.lookup import found_job, found_trial

    name, *parts = run.split("/")
    with results_store(redis) as store:
        job = found_job(store, name, "RUN")
        index = found_trial(job, parts)
        record = store.trial(job.uid, index)
        curves = store.curves(job.uid, index)
        progress = store.progress(job.uid).get(index)
        conflicts = [one for one in store.conflicts(job.uid) if one.result.index == index]
        hidden = next((one for one in store.hidden([job.uid]).get(job.uid, ()) if one.index == index), None)
    if json:
        write_json(
            _document(job, index, record, curves, conflicts) | {"hidden": hidden and hidden.model_dump(mode="json")}
        )
        return
    for line in _lines(job, index, record, curves, progress):
        say(line)
    if hidden is not None:
        say(text.line(f"\nHidden by {hidden.by or 'somebody'}, so it counts as missing: {hidden.note}"))
    for conflict in conflicts:
        say(f"\nAnother result of this trial differs and is not ranked: attempt {text.line(conflict.result.attempt)}")


def _document(
    job: JobInfo,
    index: int,
    record: TrialRecord | None,
    curves: tuple[EpochPoint, ...],
    conflicts: list[TrialRecord],
) -> dict[str, Any]:
    return {
        "job": job.name,
        "job_uid": job.uid,
        "index": index,
        "record": record and record.model_dump(mode="json", by_alias=True),
        "curves": [point.model_dump(mode="json") for point in curves],
        "conflicts": [conflict.model_dump(mode="json", by_alias=True) for conflict in conflicts],
    }


def _lines(
    job: JobInfo,
    index: int,
    record: TrialRecord | None,
    curves: tuple[EpochPoint, ...],
    progress: Progress | None,
) -> Iterator[str]:
    from velodrome.results.rounds import stop_note

    repeat, position = divmod(index, len(job.entries))
    yield text.line(f"{job.name}/{job.entries[position]}/{repeat}   trial {index} of {job.uid}, board {job.board}")
    if record is None:
        if progress is None and repeat >= job.planned(job.entries[position]):
            why = stop_note(job.rounds, job.entries[position]) or "its race has not come so far"
            yield text.line(f"It was not asked for: {why}.")
        elif progress is None:
            yield text.line(f"It has not run yet. `velodrome run` carries on with {job.name}.")
        else:
            yield f"It runs, or was interrupted: {progress.phase}, epoch {progress.epoch} of {progress.epochs}."
        yield from _curve_lines(curves)
        return
    yield from _outcome_lines(record)
    yield from _section("metrics", _metric_pairs(record))
    yield from _confusion_lines(record)
    yield from _curve_lines(curves)
    yield from _section("parameters", _parameter_pairs(record))
    yield from _section("files", file_pairs(job, record))
    yield from _section("machine", _machine_pairs(record))
    if record.result.outcome == "Failed" and record.result.log_tail:
        yield "\nend of the log"
        yield from (f"  {line}" for line in text.lines(record.result.log_tail).rstrip("\n").split("\n"))


def _outcome_lines(record: TrialRecord) -> Iterator[str]:
    from datetime import UTC, datetime

    from velodrome.units import clock_time, duration, from_the_future

    result = record.result
    seconds = (result.finished_at - result.started_at).total_seconds()
    at = result.finished_at
    when = f"{clock_time(at)}{from_the_future(at, datetime.now(UTC))}"
    words = f"{result.outcome} at {when} after {duration(seconds)}, seed {result.seed}, attempt {result.attempt}"
    if record.observed.retries:
        words += f", {text.counted(record.observed.retries, 'try', 'tries')} before"
    yield text.line(words)
    source = record.taken_from
    if source is not None:
        look = text.command("velodrome", "show", f"{source.job_uid}/{source.index}")
        yield text.line(f"Taken over from job {source.job_name}, which measured it: {look}")
    claimed = record.observed.claimed
    if claimed is not None:
        said = f"{claimed.started_at.isoformat()} to {claimed.finished_at.isoformat()}"
        yield f"Its clock said {said}: the times are those of who ran it."
    if result.reason:
        yield f"{text.line(result.reason)}: {text.indented(result.message or '')}"
    if result.held is not None:
        yield from (f"Conditions: {text.line(one)}" for one in result.held.changed)
        yield from (f"Disturbed: {text.line(one)}" for one in result.held.disturbances)
    if result.checkpoints is not None:
        yield from (f"Lost: {text.line(one)}" for one in result.checkpoints.words)
    if result.epochs is not None:
        best = "" if result.best_epoch is None else f", the best was epoch {result.best_epoch}"
        stopped = "" if result.stopped_by is None else f", stopped by {result.stopped_by}"
        yield f"{text.counted(result.epochs, 'epoch')}{best}{stopped}"


def _metric_pairs(record: TrialRecord) -> Iterator[tuple[str, str]]:
    from velodrome.metrics.catalogue import MetricKey, label_of
    from velodrome.units import quantity

    for key, value in record.result.metrics.items():
        yield label_of(key), quantity(MetricKey.parse(key).metric.unit, value)
    for key, why in record.result.unavailable.items():
        yield label_of(key), f"not measured: {why}"


def _confusion_lines(record: TrialRecord) -> Iterator[str]:
    """Test samples by right class (rows) and predicted class (columns), if all fit on a line; and the worst pairs."""
    from velodrome.results.confusion import confusion_of

    found = confusion_of([record])
    if found is None:
        return
    if len(found.classes) <= _FEW_CLASSES:
        width = max(len(str(count)) for row in found.counts for count in row) + 2
        yield "\nright class, and how many were predicted as which"
        names = [text.line(name) for name in found.classes]
        longest = max(map(len, names))
        for name, row in zip(names, found.counts, strict=True):
            yield f"  {name.ljust(longest)}" + "".join(str(count).rjust(width) for count in row)
    pairs = (
        (f"{pair.right} as {pair.predicted}", f"{pair.count:,} of {pair.total:,} samples, {100 * pair.share:.1f} %")
        for pair in found.most_confused(_MOST_PAIRS)
    )
    yield from _section("most confused, right class as predicted class", pairs)


def _parameter_pairs(record: TrialRecord) -> Iterator[tuple[str, str]]:
    config = record.config.model_dump(mode="json", by_alias=True, exclude_none=True)
    yield from _leaves({name: config[name] for name in ("model", "command", "training") if name in config})
    yield from _leaves({"optimize": record.config.optimized})
    if record.result.code is not None:
        yield "code", record.result.code


def file_pairs(job: JobInfo, record: TrialRecord) -> Iterator[tuple[str, str]]:
    """The files that the trial kept: where they are, how large they are, and their digests."""
    from velodrome.results.files import place_of
    from velodrome.units import quantity

    for file in record.result.artifacts or ():
        if file.sha256 is None or file.bytes is None:
            yield file.name, f"not kept: {file.problem}"
        else:
            yield file.name, f"{quantity('bytes', file.bytes)} in {place_of(job, record)}, sha256:{file.sha256}"


def _machine_pairs(record: TrialRecord) -> Iterator[tuple[str, str]]:
    result = record.result
    if record.observed.node:
        yield "node", record.observed.node
    if result.held is not None and result.held.initial_weights is not None:
        yield "initial weights", result.held.initial_weights + (" (pretrained)" if result.held.pretrained else "")
    if result.held is not None and result.held.trained_weights is not None:
        yield "trained weights", result.held.trained_weights
    yield from (("optimized", done) for done in result.optimized or ())
    if result.environment is not None:
        yield from _leaves(result.environment.model_dump(mode="json", exclude_none=True))
    if result.dataset is not None:
        facts = result.dataset
        yield "dataset", f"{facts.name} {facts.digest}"
        yield (
            "samples",
            f"{facts.train_samples} train, {facts.validation_samples} validation, {facts.test_samples} test",
        )
        if facts.shared_samples is not None:
            yield "shared", f"{facts.shared_samples} of the test samples are training samples too"
        if facts.reading is not None:
            yield "read", facts.reading
        if facts.fitted_samples is not None:
            yield "preprocessing", f"fitted on {facts.fitted_samples} of the training samples"


def _leaves(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, item in value.items():
        if isinstance(item, dict):
            yield from _leaves(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(item)


def _section(title: str, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    known = [(text.line(name), text.line(value)) for name, value in pairs]
    width = max((len(name) for name, _ in known), default=0)
    if known:
        yield f"\n{title}"
        yield from (f"  {name:{width}}  {value}" for name, value in known)


def _curve_lines(curves: tuple[EpochPoint, ...]) -> Iterator[str]:
    if not curves:
        return
    series = {"train_loss": [point.train_loss for point in curves]}
    for name in curves[-1].validation:
        label = name if name.startswith("validation_") else f"validation {name}"
        series[label] = [point.validation[name] for point in curves if name in point.validation]
    pairs = ((name, f"{sparkline(values)}  {values[0]:.4g} to {values[-1]:.4g}") for name, values in series.items())
    yield from _section(f"curves, {text.counted(len(curves), 'epoch')}", pairs)


def sparkline(values: list[float], width: int = _SPARKLINE_WIDTH) -> str:
    """The values in order, as a row of bars of 8 heights. Of more than `width` values, an even sample is shown."""
    if len(values) > width:
        values = [values[round(at * (len(values) - 1) / (width - 1))] for at in range(width)]
    low, high = min(values), max(values)
    if high / 2 == low / 2:
        return _BARS[0] * len(values)
    span = high / 2 - low / 2  # halves, because the difference of two large doubles may overflow
    return "".join(_BARS[round((value / 2 - low / 2) / span * (len(_BARS) - 1))] for value in values)
