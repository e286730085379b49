"""One trial: its curves, its metrics, its parameters, and where it ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

import streamlit as st

from velodrome.board.details import times
from velodrome.metrics.catalogue import CATALOGUE, MetricKey, label_of
from velodrome.results.conditions import shown
from velodrome.results.confusion import confusion_of
from velodrome.results.files import place_of
from velodrome.results.records import EpochPoint, JobInfo, TrialRecord
from velodrome.text import counted, line, lines
from velodrome.units import duration, quantity
from velodrome_leaderboard import charts, links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import now, palette, zone
from velodrome_leaderboard.views import administration, confusion, kept, live
from velodrome_leaderboard.views.drawing import draw
from velodrome_leaderboard.views.job import board_steps, unknown_job

if TYPE_CHECKING:
    from pandas import DataFrame

_CONFLICTS = 5
_CURVE_ROWS = 100
_LOG_LINES, _LOG_CHARACTERS, _LOG_PIXELS = 24, 3000, 480


def render(source: ResultSource) -> None:
    """Shows the page of the trial that the URL names."""
    uid, wanted = st.query_params.get("job", ""), st.query_params.get("trial", "")
    job = source.job(uid)
    if job is None:
        unknown_job(source, uid)
        return
    index = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else -1
    steps = [*board_steps(job), (f"job {job.name}", links.job(uid))]
    if not 0 <= index < job.trials:
        st.html(markup.heading(f"Trial {wanted}", steps))
        st.html(markup.alert("There is no such trial.", [f"Job {job.name} has trials 0 to {job.trials - 1}."]))
        return
    repeat, position = divmod(index, len(job.entries))
    entry = job.entries[position]
    record = source.trial(uid, index)
    where = f"seed {record.result.seed}" if record is not None else f"repeat {repeat + 1}"
    st.set_page_config(page_title=line(f"{entry}, {where} · Velodrome"))
    title, steps = f"{entry} · {where}", [*steps, (entry, links.job(uid, entry))]
    again = markup.Cell("run this again", links.again(uid, entry))
    if record is None:
        _unfinished(source, job, index, title, steps)
    else:
        live.watch(source, source.markers(jobs=[job]), lambda: source.trial(uid, index), record)
        st.html(markup.heading(title, steps, [*_state(record), again]))
        _finished(source, job, record)


def _unfinished(source: ResultSource, job: JobInfo, index: int, title: str, steps: Sequence[tuple[str, str]]) -> None:
    running = source.progress(job.uid).get(index)
    points = source.curves(job.uid, index)
    live.watch(
        source,
        source.markers(jobs=[job]),
        lambda: (source.trial(job.uid, index), source.progress(job.uid).get(index)),
        (None, running),
    )
    if running is None:
        repeat, position = divmod(index, len(job.entries))
        asked = repeat < job.planned(job.entries[position])
        st.html(markup.heading(title, steps, ["not started yet" if asked else "not asked for"]))
        return
    epochs = [f"epoch {running.epoch} of {running.epochs}"] if running.epochs else []
    heard = markup.moment(running.at, now(), zone())
    st.html(markup.heading(title, steps, [markup.Cell(running.phase.lower(), tone="busy"), *epochs, heard]))
    st.progress(running.fraction)
    _curves(points, None)


def _finished(source: ResultSource, job: JobInfo, record: TrialRecord) -> None:
    result = record.result
    administration.run(source, job, record)
    conflicts = [found for found in source.conflicts(job.uid) if found.result.index == result.index]
    if conflicts:
        _conflicts(record, conflicts)
    if result.outcome == "Failed":
        st.html(markup.alert(result.reason or "Failed", [result.message or "It left no message."]))
        if result.log_tail:
            _log(result.log_tail, result.index)
    if result.held is not None and result.held.disturbances:
        st.html(markup.alert("The machine was disturbed while this was measured.", result.held.disturbances, "busy"))
    if result.held is not None and result.held.changed:
        st.html(markup.alert("The entry's code changed the conditions of the trial.", result.held.changed, "busy"))
    if result.checkpoints is not None and result.checkpoints.words:
        st.html(markup.alert("The trial was lost and went on.", result.checkpoints.words, "busy"))
    _curves(source.curves(job.uid, result.index), result.best_epoch)
    confusion.show(confusion_of([record]))
    left, middle, right = st.columns(3, gap="large")
    with left:
        if result.metrics or result.unavailable:
            st.header("Metrics", anchor=False)
            st.html(markup.facts(_metrics(record)))
        st.header("Times", anchor=False)
        st.html(markup.facts(_times(record)))
    with middle:
        st.header("Parameters", anchor=False)
        st.html(markup.facts(_parameters(record)))
    with right:
        st.header("Data", anchor=False)
        st.html(markup.facts(_data(record)))
        st.header("Environment", anchor=False)
        st.html(markup.facts(_environment(record)))
        if result.artifacts:
            st.header("Files", anchor=False)
            st.html(markup.facts(_files(job, record)))
            kept.show(job, record)


def _log(text: str, index: int) -> None:
    """Shows the end of a log: a long one in a box that scrolls, with the whole to download."""
    st.header("End of its log", anchor=False)
    long = text.count("\n") > _LOG_LINES or len(text) > _LOG_CHARACTERS
    st.code(lines(text), language=None, wrap_lines=True, height=_LOG_PIXELS if long else "content")
    if long:
        size = f"{len(text.encode('utf-8', 'replace')) / 1000:.0f} kB"
        st.download_button(
            f"Download it ({size})", text, f"trial-{index}.log", "text/plain", icon=":material/download:"
        )


def _state(record: TrialRecord) -> list[markup.Part]:
    result = record.result
    succeeded = result.outcome == "Succeeded"
    state = markup.Cell("succeeded", tone="good") if succeeded else markup.Cell("failed", tone="bad")
    stopped = bool(result.epochs and result.stopped_by)
    epochs = [f"{counted(result.epochs or 0, 'epoch')}, stopped by {result.stopped_by}"] if stopped else []
    retries = [f"after {counted(record.observed.retries, 'retry', 'retries')}"] if record.observed.retries else []
    return [state, *epochs, *retries, markup.moment(result.finished_at, now(), zone())]


def _conflicts(record: TrialRecord, others: Sequence[TrialRecord]) -> None:
    text = "The first one counts and is shown here; the others are kept beside it."
    st.html(markup.alert("This trial reported results that differ.", [text], "busy"))
    shown = (record, *others[:_CONFLICTS])
    columns = [
        markup.Column("Metric"),
        *(markup.Column(other.shown_attempt, "counts" if other is record else "", numeric=True) for other in shown),
    ]
    finished = [markup.Cell("finished"), *(markup.moment(other.result.finished_at, now(), zone()) for other in shown)]
    outcomes = [markup.Cell("outcome"), *(markup.Cell(other.result.reason or "Succeeded") for other in shown)]
    values = [
        [
            markup.Cell(label_of(key), hint=key),
            *(markup.Cell(_metric(key, other.result.metrics.get(key))) for other in shown),
        ]
        for key in _in_order(key for other in shown for key in other.result.metrics)
    ]
    with st.expander("The results side by side"):
        st.html(markup.table(columns, [outcomes, finished, *values], "Conflicting results"))


def _in_order(keys: Iterable[str]) -> list[str]:
    """The metric keys in the order of the catalogue, then declared ones, without repeats."""
    order = {name: place for place, name in enumerate(CATALOGUE)}
    return sorted(set(keys), key=lambda key: (order.get(MetricKey.parse(key).name, len(order)), key))


def _curves(points: Sequence[EpochPoint], best_epoch: int | None) -> None:
    if not points:
        return
    validated = list(dict.fromkeys(name for point in points for name in point.validation))
    losses = [charts.TRAINING_LOSS, *(name for name in validated if charts.is_loss(name))]
    shown = [losses, *([name] for name in validated if not charts.is_loss(name)), [charts.LEARNING_RATE]]
    frame = charts.curve_frame(points)
    for start in range(0, len(shown), 3):
        for column, series in zip(st.columns(3, gap="medium"), shown[start : start + 3], strict=False):
            chart = charts.curve(frame, series, palette(), best_epoch)
            draw(chart, f"{label_of(series[0])} by epoch", at=column)
    with st.expander("The curves as a table", icon=":material/table:"):
        st.html(_curve_table([charts.TRAINING_LOSS, *validated, charts.LEARNING_RATE], frame))
        if len(points) > _CURVE_ROWS:
            st.html(markup.note(f"The last {_CURVE_ROWS} of {len(points):,} epochs."))


def _curve_table(series: Sequence[str], frame: DataFrame) -> str:
    """What the charts say of each epoch when one points at it."""
    columns = [
        markup.Column("Epoch", numeric=True),
        markup.Column("Training time", "s", numeric=True),
        *(markup.Column(label_of(one).replace("_", " ") + charts.unit_words(one), numeric=True) for one in series),
    ]
    values = frame[["epoch", "seconds", *series]].tail(_CURVE_ROWS)
    rows = [
        [
            markup.Cell(f"{int(epoch):,}"),
            markup.Cell(f"{seconds:.1f}"),
            *(markup.Cell("–" if isnan(value) else f"{value:.5g}") for value in others),
        ]
        for epoch, seconds, *others in values.itertuples(index=False)
    ]
    return markup.table(columns, rows, "Curves by epoch")


def _metric(key: str, value: float | None) -> str:
    return "" if value is None else quantity(MetricKey.parse(key).metric.unit, value)


def _metrics(record: TrialRecord) -> Iterator[tuple[str, markup.Part]]:
    for key in _in_order(record.result.metrics):
        value = record.result.metrics[key]
        yield label_of(key), markup.Cell(_metric(key, value), hint=f"{value!r} {MetricKey.parse(key).metric.unit}")
    for key, why in record.result.unavailable.items():
        yield label_of(key), markup.Cell(f"not measured: {why}", tone="quiet")


def _times(record: TrialRecord) -> Iterator[tuple[str, markup.Part]]:
    observed, result = record.observed, record.result
    ran = observed.run_seconds
    if ran is not None:
        yield "ran", duration(ran)
    for part in times([record]):
        yield part.what, duration(part.seconds)
    yield "started", markup.moment(result.started_at, now(), zone())
    yield "finished", markup.moment(result.finished_at, now(), zone())
    yield "accepted", markup.moment(record.accepted_at, now(), zone())
    yield "retries", str(observed.retries)


def _parameters(record: TrialRecord) -> Iterator[tuple[str, markup.Part]]:
    config = record.config
    if config.model is not None:
        yield "model", config.model.name
        yield from ((f"model {name}", str(value)) for name, value in config.model.args.items())
    if config.command is not None:
        yield "command", " ".join(config.command)
    yield from _leaves({"optimize": config.optimized})
    yield "seed", str(record.result.seed)
    yield from _leaves(config.training.model_dump(mode="json", by_alias=True, exclude_none=True))
    yield from _leaves({"budget": config.budget.model_dump(mode="json", by_alias=True, exclude_none=True)})


def _data(record: TrialRecord) -> Iterator[tuple[str, markup.Part]]:
    dataset = record.result.dataset
    if dataset is None:
        yield "dataset", "not read"
        return
    yield "dataset", dataset.name
    yield "digest", markup.Cell(f"{dataset.digest[:19]}…", hint=dataset.digest)
    yield (
        "train, validation, test",
        f"{dataset.train_samples:,}, {dataset.validation_samples:,}, {dataset.test_samples:,}",
    )
    if dataset.shared_samples is not None:
        yield "shared", f"{dataset.shared_samples:,} of the test samples are training samples too"
    yield "shape", " × ".join(map(str, dataset.shape))
    yield "classes", str(len(dataset.classes))
    yield from _leaves(record.config.preprocessing.model_dump(mode="json", by_alias=True, exclude_none=True))


def _files(job: JobInfo, record: TrialRecord) -> Iterator[tuple[str, markup.Part]]:
    """The files that the trial kept, with their digests."""
    for file in record.result.artifacts or ():
        if file.bytes is None:
            yield file.name, f"not kept: {file.problem}"
        else:
            yield file.name, quantity("bytes", file.bytes)
            yield f"{file.name} SHA-256", file.sha256 or ""
    yield "folder", place_of(job, record)


def _environment(record: TrialRecord) -> Iterator[tuple[str, markup.Part]]:
    environment, observed = record.result.environment, record.observed
    yield "executor", observed.executor
    yield from ((name, str(value)) for name in ("node", "pod", "image_id") if (value := getattr(observed, name)))
    if observed.concurrent_trials is not None:
        yield "trials there at once", f"{observed.concurrent_trials}{', counts as shared' if observed.shared else ''}"
    if observed.executor == "local":
        yield "attempt", record.shown_attempt
    if environment is None:
        yield "environment", "not observed"
        return
    held = record.result.held
    if held is not None and held.initial_weights is not None:
        yield "initial weights", held.initial_weights + (", pretrained" if held.pretrained else "")
    if held is not None and held.trained_weights is not None:
        yield "trained weights", held.trained_weights
    yield from (("optimized", done) for done in record.result.optimized or ())
    yield from _leaves(environment.model_dump(mode="json", exclude_none=True), deep=False)


def _leaves(value: Mapping[str, Any], before: str = "", *, deep: bool = True) -> Iterator[tuple[str, markup.Part]]:
    """Nested settings as pairs, such as `optimizer learningRate` and its value."""
    for name, item in value.items():
        path = f"{before} {name}".strip() if deep else name.replace("_", " ")
        if isinstance(item, Mapping):
            yield from _leaves(item, path, deep=deep)
        elif name.endswith("_bytes"):
            yield path.removesuffix(" bytes"), quantity("bytes", item)
        elif item not in ([], ()):
            yield path, shown(item)
