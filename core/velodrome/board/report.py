"""A board as one HTML file that stands alone: plots, tables, the method in words, and how to reproduce it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

import yaml

from velodrome import __version__
from velodrome.board.drawing import forest, scatter
from velodrome.board.parameters import Setting, differing_settings, parameters_of
from velodrome.board.reading import ObjectiveReading
from velodrome.board.report_style import STYLE
from velodrome.board.trading import TradeOffReading, read_trade_off
from velodrome.board.viewing import read_objectives
from velodrome.plan import write_spans
from velodrome.ranking.notes import grouped_notes
from velodrome.ranking.sentences import about_means
from velodrome.results.objectives import BoardObjective
from velodrome.spec.nulls import without_nulls
from velodrome.text import MOST_IN_LINES, line, lines, listed
from velodrome.units import clock_time, column_scale

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo, TrialRecord
    from velodrome.store import Reader

MOST_ROWS = 50
_MOST_JOBS = 10


@dataclass(frozen=True, slots=True)
class ReportedJob:
    """A job behind the rows: the seeds of its results, and one of its records, if there is one."""

    job: JobInfo
    seeds: tuple[int, ...]
    record: TrialRecord | None


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What a report shows of a board: its objectives, a trade-off of the first two, and the jobs behind them."""

    board: str
    readings: tuple[ObjectiveReading, ...]
    trade_off: TradeOffReading | None
    jobs: tuple[ReportedJob, ...]


def read_report(reader: Reader, board: str, objectives: Sequence[BoardObjective]) -> ReportContent:
    """What a report of these objectives shows, each in its newest cohort. Raises as the store does."""
    readings = read_objectives(reader, board, objectives)
    off = read_trade_off(reader, board, objectives[:2]) if len(objectives) > 1 else None
    uids = dict.fromkeys(row.job_uid for one in readings for row in one.ranking.ranked[:MOST_ROWS])
    found = []
    for uid in list(uids)[:_MOST_JOBS]:
        job = reader.job(uid)
        if job is not None:
            trials = reader.trials(uid)
            records = reader.some_trials(uid, sorted(trials)[:1])
            seeds = tuple(sorted({trial.seed for trial in trials.values()}))
            found.append(ReportedJob(job, seeds, records[0] if records else None))
    return ReportContent(board, readings, off, tuple(found))


def report_html(found: ReportContent, made_at: datetime) -> str:
    """The report as HTML. It loads nothing and runs nothing, and its policy lets a browser do neither. Pure."""
    title = f"{found.board}, as raced by Velodrome"
    parts = [
        f"<h1>{_text(found.board)}</h1>",
        f"<p class=quiet>Made {clock_time(made_at)} by Velodrome {__version__}</p>",
    ]
    parts += [part for one in found.readings for part in _objective(one)]
    if found.trade_off is not None and found.trade_off.trade_off.points:
        parts += _trade_off(found.trade_off)
    parts += [*_settings(found), *_method(), *_reproduce(found)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _objective(reading: ObjectiveReading) -> Iterable[str]:
    ranking, objective = reading.ranking, reading.objective
    rows = ranking.ranked[:MOST_ROWS]
    yield f"<h2>{_text(objective.name)}</h2><p class=lead>{_text(reading.summary)}</p>"
    facts = f"{objective.key.label}, {ranking.direction} is better. {objective.key.metric.description}"
    conditions = "" if reading.cohort is None else f" Measured under: {reading.cohort.words}."
    yield f"<p class=quiet>{_text(facts)}{_text(conditions)}</p>"
    if rows:
        scale = column_scale(ranking.unit, [row.interval for row in rows])
        yield forest(rows, scale, f"Means and intervals by {objective.name}")
        level = f"{100 * (1 - ranking.alpha):g} %"
        unit = f"mean, {scale.symbol}" if scale.symbol else "mean"
        cells = [
            (
                row.place,
                row.entry,
                scale.number(row.interval.mean),
                scale.margin(row.interval) or "–",
                str(row.interval.n),
                listed(row.indistinguishable_from, most=4) if row.indistinguishable_from else "",
            )
            for row in rows
        ]
        yield _table(("rank", "entry", unit, level, "n", "not told apart from"), cells)
    if len(ranking.ranked) > len(rows):
        yield f"<p class=quiet>The best {len(rows)} of {len(ranking.ranked):,} ranked entries.</p>"
    for note, entries in grouped_notes(rows).items():
        yield f"<p class=quiet>{_text(listed(entries, most=6))}: {_text(note)}.</p>"
    if about_means(ranking):
        yield f"<p class=quiet>{_text(about_means(ranking))}</p>"
    if ranking.unranked:
        held = ranking.unranked[:MOST_ROWS]
        shown = [(row.entry, row.reason, f"{len(row.samples)} of {row.planned}") for row in held]
        yield "<h3>Not ranked</h3>" + _table(("entry", "why", "values"), shown)


def _trade_off(reading: TradeOffReading) -> Iterable[str]:
    found, names = reading.trade_off, [one.name for one in reading.objectives]
    yield f"<h2>{_text(names[0])} and {_text(names[1])}</h2>"
    if found.front:
        yield f"<p class=lead>On the front by the means: {_text(listed(found.front, most=10))}.</p>"
    yield scatter(found, names, f"Entries by {listed(names)}")
    yield (
        "<p class=quiet>Filled: no other entry is at least as good at both and better at one, by the means. Grey: "
        "another entry is significantly better at one of them, and no test shows this one better at the other.</p>"
    )


def _settings(found: ReportContent) -> Iterable[str]:
    rows = [row for one in found.readings[:1] for row in one.ranking.ranked[:MOST_ROWS]]
    jobs = {one.job.uid: parameters_of(one.job) for one in found.jobs}
    settings: list[Mapping[str, Setting]] = [jobs.get(row.job_uid, {}).get(row.entry, {}) for row in rows]
    names = differing_settings(settings)
    if names:
        cells = [
            [row.entry, *(_setting(own.get(name)) for name in names)] for row, own in zip(rows, settings, strict=True)
        ]
        yield "<h2>Parameters that differ</h2>" + _table(("entry", *names), cells)


def _setting(value: Setting | None) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else value


# The method, a sentence or two for each point.
METHOD = (
    (
        "Each entry was trained several times, with the same seeds as all others, under the same data, preprocessing "
        "and budget. The test split was used once, after training. Early stopping uses a validation split."
    ),
    (
        "Values are ranked together only if their conditions agree, as the runner observed them. Speed and memory also "
        "need the same hardware, software and share of the machine."
    ),
    (
        "The interval is Student's, of the mean over the trials. Times, sizes and losses are compared by factors, with "
        "geometric means. A tick in a plot is one seed."
    ),
    (
        "Entries are tested pairwise, seed by seed where the seeds are the same (Student's t; Welch's otherwise). "
        "Shaffer's procedure corrects for all pairs, so at most 5 % of races call any two equal entries different."
    ),
    (
        "A rank is what it may be: from 1 + the number of entries that are significantly better, to the number of "
        "ranked entries less those that are significantly worse. Not told apart does not mean equal."
    ),
    "An entry is ranked once all of its trials succeeded. The others are listed with the reason.",
)


def _method() -> Iterable[str]:
    yield "<h2>How this was measured and judged</h2>"
    yield f"<ul>{''.join(f'<li>{_text(point)}</li>' for point in METHOD)}</ul>"


def _reproduce(found: ReportContent) -> Iterable[str]:
    yield "<h2>How to reproduce it</h2>"
    yield (
        "<p>Save a file below as <code>race.yaml</code>. On a machine that has Velodrome, run "
        "<code>velodrome run race.yaml</code>, then <code>velodrome results</code>.</p>"
    )
    for one in found.jobs:
        yield f"<h3>{_text(one.job.name)}</h3>" + _facts(one)
        text = yaml.safe_dump(without_nulls(dict(one.job.document)), sort_keys=False, allow_unicode=True, width=100)
        yield f"<details><summary>The file</summary><pre>{escape(lines(text, 100 * MOST_IN_LINES))}</pre></details>"


def _facts(one: ReportedJob) -> str:
    pairs = [("uid", one.job.uid), ("registered", clock_time(one.job.created_at)), ("seeds", write_spans(one.seeds))]
    if one.record is not None:
        result, observed = one.record.result, one.record.observed
        if result.dataset is not None:
            pairs.append(("data", f"{result.dataset.name} {result.dataset.digest}"))
        if result.environment is not None:
            software, hardware = result.environment.software, result.environment.hardware
            versions = f"Velodrome {software.velodrome}, {software.framework}, Python {software.python}"
            pairs += [("machine", hardware.accelerator or hardware.cpu_model), ("software", versions)]
        if result.code is not None:
            pairs.append(("own code of its first entry", result.code))
        if observed.image_id:
            pairs.append(("image", observed.image_id))
    return f"<dl>{''.join(f'<dt>{_text(name)}</dt><dd>{_text(value)}</dd>' for name, value in pairs)}</dl>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{_text(head)}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class=scroll><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _text(text: str) -> str:
    return escape(line(text))
