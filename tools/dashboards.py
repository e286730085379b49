"""The Grafana dashboards, built with Grafana's own typed builders, so that mypy checks them against its schema.

`make generate` writes them to deploy/monitoring/dashboards. Tests check each query against
`velodrome.monitoring.telemetry` and against a real Prometheus' parser.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count

from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from velodrome.monitoring.telemetry import VERDICTS

Panel = stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel

_SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
_GREEN, _ORANGE, _RED, _BLUE, _GREY = "green", "orange", "red", "blue", "#808080"


def dashboards() -> dict[str, str]:
    """The file name and the JSON of each dashboard."""
    return {f"{name}.json": _text(made) for name, made in (("operator", operator()), ("races", races()))}


def _text(made: dashboard.Dashboard) -> str:
    numbers = count(1)
    for panel in made.panels or []:
        panel.id_val = next(numbers)  # otherwise Grafana assigns ids, and a link to a panel breaks at the next import
    return json.dumps(made, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def operator() -> dashboard.Dashboard:
    """The operator's dashboard: whether it does its work, and how much."""
    board = _dashboard("velodrome-operator", "Velodrome / Operator", "now-6h")
    board.with_variable(_variable("installation", "job", "velodrome_operator_info", multi=False))
    of = 'job="$installation"'
    board.with_row(build.Row("Now"))
    _add(
        board,
        4,
        _stat(
            "Regressions", f'count(ALERTS{{alertname="VelodromeRegression", alertstate="firing", {of}}}) or vector(0)'
        )
        .thresholds(_steps((None, _GREEN), (1, _ORANGE)))
        .description("Alerts of regressions that fire."),
        _stat("Redis", f"max(velodrome_redis_up{{{of}}})")
        .mappings([_words({"0": ("down", _RED), "1": ("up", _GREEN)})])
        .thresholds(_steps((None, _RED), (1, _GREEN))),
        _stat("Inboxes that wait", f"max(velodrome_operator_inboxes_waiting{{{of}}})"),
        _stat("Results read", f"time() - max(velodrome_exporter_judged_timestamp_seconds{{{of}}})")
        .unit("s")
        .thresholds(_steps((None, _GREEN), (120, _ORANGE), (300, _RED)))
        .description("How long ago the exported results were last brought up to date."),
        _stat("Everything looked at", f"time() - max(velodrome_operator_swept_timestamp_seconds{{{of}}})")
        .unit("s")
        .thresholds(_steps((None, _GREEN), (180, _ORANGE), (600, _RED))),
        _stat("Version", f"max by (version) (velodrome_operator_info{{{of}}})", "{{version}}").text_mode(
            common.BigValueTextMode.NAME
        ),
    )
    board.with_row(build.Row("Work"))
    rate = "[$__rate_interval]"
    _add(
        board,
        8,
        _lines(
            "Passes", ("{{outcome}}", f"sum by (outcome) (rate(velodrome_operator_passes_total{{{of}}}{rate}))")
        ).unit("ops"),
        _lines(
            "How long passes take", *_quantiles(f"velodrome_operator_pass_duration_seconds_bucket{{{of}}}", "")
        ).unit("s"),
        _lines(
            "Writes to the API server",
            ("{{verb}}", f"sum by (verb) (rate(velodrome_operator_api_writes_total{{{of}}}{rate}))"),
        ).unit("ops"),
        _lines(
            "Results, by what became of them",
            ("{{verdict}}", f"sum by (verdict) (increase(velodrome_operator_results_total{{{of}}}{rate}))"),
        ),
        _lines(
            "Reports rejected",
            ("{{reason}}", f"sum by (reason) (increase(velodrome_operator_reports_rejected_total{{{of}}}{rate}))"),
        ),
        _lines(
            "Tasks that ended, and objects that could not be read",
            ("task {{task}}", f"sum by (task) (increase(velodrome_operator_task_failures_total{{{of}}}{rate}))"),
            ("{{kind}}", f"sum by (kind) (increase(velodrome_operator_objects_unreadable_total{{{of}}}{rate}))"),
        ),
        _lines(
            "Trials that searches suggested, and the CPU seconds that it took",
            ("suggestions", f"sum(increase(velodrome_operator_search_suggestions_total{{{of}}}{rate}))"),
            ("CPU seconds", f"sum(increase(velodrome_operator_search_cpu_seconds_total{{{of}}}{rate}))"),
        ),
        _lines(
            "Jobs removed by the retention",
            ("jobs", f"sum(increase(velodrome_operator_jobs_removed_total{{{of}}}{rate}))"),
        ),
        _lines(
            "Series of results and races",
            ("exposed", f"max(velodrome_exporter_series{{{of}}})"),
            ("limit", f"max(velodrome_exporter_series_limit{{{of}}})"),
            ("left out", f"max(velodrome_exporter_series_dropped{{{of}}})"),
        ),
    )
    board.with_row(build.Row("Trials"))
    _add(
        board,
        8,
        _lines("Trials by state", ("{{state}}", f"sum by (state) (velodrome_trials{{{of}}})"))
        .stacking(options.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
        .fill_opacity(20),
        _lines(
            "Time in the queue, half and 90 % of trials",
            *_quantiles(f"velodrome_trial_queue_seconds_bucket{{{of}}}", "board"),
        ).unit("s"),
        _lines("Time that trials run", *_quantiles(f"velodrome_trial_run_seconds_bucket{{{of}}}", "board")).unit("s"),
    )
    _add(
        board,
        24,
        _table(
            "BenchmarkJobs in trouble",
            f"max by (namespace, benchmarkjob, trouble) (velodrome:benchmarkjob:trouble{{{of}}})",
            ["namespace", "benchmarkjob", "trouble"],
        ).description("Failed, stuck, or with results that can't be collected; the value is for how long, in seconds."),
    )
    return board.build()


def races() -> dashboard.Dashboard:
    """The races' dashboard: the values of entries, their verdicts, and the progress of running trials."""
    board = _dashboard("velodrome-races", "Velodrome / Races", "now-7d")
    for name, label, series in (
        ("board", "board", "velodrome_result_mean"),
        ("entry", "entry", 'velodrome_result_mean{board=~"$board"}'),
        ("objective", "objective", 'velodrome_result_mean{board=~"$board"}'),
    ):
        board.with_variable(_variable(name, label, series, multi=True))
    of = 'board=~"$board", entry=~"$entry", objective=~"$objective"'
    board.with_row(build.Row("Is it still as good?"))
    colours = {"Regressed": _RED, "MovedTogether": _RED, "Accepted": _GREY, "Improved": _GREEN, "Unchanged": _BLUE,
               "Unknown": _ORANGE}  # fmt: skip
    facts = ["board", "entry", "objective", "cohort"]
    _add(
        board,
        12,
        _table(
            "What regressed, by how much",
            f'max by ({", ".join(facts)}) (velodrome:result_regressed:facts{{fact="change_ratio", {of}}})',
            facts,
        )
        .unit("percentunit")
        .decimals(1),
        _table(
            "What got worse in all entries of a board at once",
            'max by (board, objective, cohort, why) (velodrome_board_moved_together_ratio{board=~"$board"})',
            ["board", "objective", "cohort", "why"],
        )
        .unit("percentunit")
        .decimals(1),
        _lines(
            "The smallest change for the worse that would be seen",
            ("{{entry}} {{objective}}", f"velodrome_result_visible_change_ratio{{{of}}}"),
        ).unit("percentunit"),
        statetimeline.Panel()
        .title("Verdicts")
        .datasource(_SOURCE)
        .with_target(
            _query(
                # One number for each verdict, because a state timeline has one row for each series.
                " or ".join(
                    f"max by ({', '.join(facts)}) "
                    f'((velodrome_result_verdict{{verdict="{verdict}", {of}}} == 1) * {place})'
                    for place, verdict in enumerate(VERDICTS)
                ),
                "{{entry}} {{objective}}",
            )
        )
        .mappings([_words({str(place): (verdict, colours[verdict]) for place, verdict in enumerate(VERDICTS)})])
        .legend(options.VizLegendOptions().show_legend(show_legend=False))
        .color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .show_value(common.VisibilityMode.NEVER)
        .height(9),
    )
    board.with_row(build.Row("Newest results, and the baselines that they are compared with"))
    others = 'unit!~"ratio|seconds|bytes"'
    for title, of_unit, unit in (
        ("Ratios", 'unit="ratio"', "percentunit"),
        ("Times", 'unit="seconds"', "s"),
        ("Memory", 'unit="bytes"', "bytes"),
        ("Everything else", others, "short"),
    ):
        _add(
            board,
            12,
            _lines(
                title,
                ("{{entry}} {{objective}}", f"velodrome_result_mean{{{of}, {of_unit}}}"),
                ("{{entry}} {{objective}}, baseline", f"velodrome_result_baseline_mean{{{of}, {of_unit}}}"),
                ("{{entry}} {{objective}}, low", f"velodrome_result_low{{{of}, {of_unit}}}"),
                ("{{entry}} {{objective}}, high", f"velodrome_result_high{{{of}, {of_unit}}}"),
            )
            .unit(unit)
            .override_by_regexp(
                ".*, baseline",
                [dashboard.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]})],
            )
            .override_by_regexp(".*, (low|high)", [dashboard.DynamicConfigValue("custom.lineWidth", 0.5)]),
        )
    board.with_row(build.Row("What trains now"))
    live = 'entry=~"$entry"'
    named = "{{benchmarkjob}} {{entry}}/{{repeat}}"
    for title, series, unit, extra in (
        ("Done", "velodrome_trial_progress_ratio", "percentunit", ""),
        ("Epoch", "velodrome_trial_epoch", "short", ""),
        ("Training loss", "velodrome_trial_loss", "short", ""),
        ("Samples per second", "velodrome_trial_samples_per_second", "short", ""),
        ("Memory", "velodrome_trial_memory_bytes", "bytes", " {{device}}"),
        ("GPU in use", "velodrome_trial_gpu_utilization_ratio", "percentunit", " {{device}}"),
    ):
        _add(board, 8, _lines(title, (named + extra, f"{series}{{{live}}}")).unit(unit))
    return board.build()


def _dashboard(uid: str, title: str, since: str) -> build.Dashboard:
    return (
        build.Dashboard(title)
        .uid(uid)
        .tags(["velodrome"])
        .time(since, "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(build.DashboardLink("Velodrome").type(dashboard.DashboardLinkType.DASHBOARDS).tags(["velodrome"]))
    )


def _variable(name: str, label: str, series: str, *, multi: bool) -> build.QueryVariable:
    made = (
        build.QueryVariable(name)
        .query({"query": f"label_values({series}, {label})", "refId": "A"})
        .datasource(_SOURCE)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )
    if not multi:
        return made
    everything = dashboard.VariableOption(selected=True, text="All", value="$__all")
    return made.multi(multi=True).include_all(include_all=True).all_value(".*").current(everything)


def _add(board: build.Dashboard, width: int, *panels: Panel) -> None:
    for panel in panels:
        board.with_panel(panel.span(width))


def _query(expression: str, legend: str = "") -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend)


def _stat(title: str, expression: str, legend: str = "") -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .datasource(_SOURCE)
        .with_target(_query(expression, legend).instant())
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .height(4)
    )


def _lines(title: str, *queries: tuple[str, str]) -> timeseries.Panel:
    panel = timeseries.Panel().title(title).datasource(_SOURCE).height(8).fill_opacity(0).show_points(
        common.VisibilityMode.NEVER
    )  # fmt: skip
    for place, (legend, expression) in enumerate(queries):
        panel.with_target(_query(expression, legend).ref_id("ABCDEFGH"[place]))
    return panel.tooltip(
        options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    )


def _table(title: str, expression: str, columns: Sequence[str]) -> table.Panel:
    order = {name: place for place, name in enumerate(columns)}
    return (
        table.Panel()
        .title(title)
        .datasource(_SOURCE)
        .with_target(_query(expression).instant().format(PromQueryFormat.TABLE))
        .with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": {"Time": True}, "indexByName": {**order, "Value": len(order)}},
            )
        )
        .height(9)
    )


def _quantiles(buckets: str, label: str) -> list[tuple[str, str]]:
    by = ", ".join(["le", *([label] if label else [])])
    legend = f"{{{{{label}}}}} " if label else ""
    return [
        (
            f"{legend}{percent} %",
            f"histogram_quantile({percent / 100}, sum by ({by}) (rate({buckets}[$__rate_interval])))",
        )
        for percent in (50, 90)
    ]


def _words(meanings: dict[str, tuple[str, str]]) -> dashboard.ValueMap:
    """The text and the colour of a value."""
    return dashboard.ValueMap(
        {value: dashboard.ValueMappingResult(text=text, color=colour) for value, (text, colour) in meanings.items()}
    )


def _steps(*steps: tuple[float | None, str]) -> build.ThresholdsConfig:
    made = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)
