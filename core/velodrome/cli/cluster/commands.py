"""`get`, `status`, `logs`, `wait`: races on a cluster. `kubectl velodrome …` is the same."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome.board.choosing import listing
from velodrome.cli.console import complain, say, write_json, write_json_line
from velodrome.cli.exit_codes import ENDED_OTHERWISE, TIMED_OUT
from velodrome.cli.options import Json
from velodrome.errors import ClusterError, NotThere
from velodrome.text import command, indented, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from velodrome.cli.cluster.kubectl import Kubectl
    from velodrome.cli.cluster.report import SearchPod, TrialPod
    from velodrome.plan import Plan
    from velodrome.spec import BenchmarkJob

GET_EXAMPLES = """\
  velodrome get
  velodrome get -A                        # kubectl velodrome get -A is the same
"""
STATUS_EXAMPLES = """\
  velodrome status cifar10
  velodrome status cifar10 --watch
"""
LOGS_EXAMPLES = """\
  velodrome logs cifar10                  # every trial whose pod is still there
  velodrome logs cifar10 resnet9/2 -f     # one trial, while it trains
  velodrome logs tuned --search           # the trials of its search
  velodrome logs tuned resnet9/12 --search    # search trial 12 of that entry
  velodrome logs tuned --search --run 2 --lane 0
"""
WAIT_EXAMPLES = """\
  velodrome wait cifar10                          # until it is complete or failed
  velodrome wait cifar10 --for complete --timeout 3600
"""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the BenchmarkJob.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NS", help="Namespace [default: kubectl's current one].")
]
Context = Annotated[str | None, typer.Option("--context", metavar="NAME", help="Context of the kubeconfig.")]
Kubeconfig = Annotated[str | None, typer.Option("--kubeconfig", metavar="FILE", help="Another kubeconfig.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Look again every two seconds, until it ends or Ctrl-C.")]

_LOOK_SECONDS = 2.0
_BEGINNING = 50  # lines of a log, among which the one is that names a search trial
_COLUMNS = ("Name", "Status", "Trials", "Leader", "Message", "Age")


def get(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this one.")] = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Those of every namespace.")] = False,
    json: Json = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List the races of a cluster: their progress, who leads, and what they wait for."""
    from velodrome.cli.cluster import report
    from velodrome.cli.cluster.kubectl import BENCHMARKJOBS
    from velodrome.cli.console import output, table

    if name is not None and everywhere:
        raise typer.BadParameter("choose one of NAME and --all-namespaces", param_hint="NAME")
    kubectl = _kubectl(namespace, context, kubeconfig)
    jobs = [kubectl.json("get", BENCHMARKJOBS, name)] if name else kubectl.items(
        BENCHMARKJOBS, *(["--all-namespaces"] if everywhere else [])
    )  # fmt: skip
    if json:
        write_json({"jobs": jobs})
        return
    if not jobs:
        say("There is no BenchmarkJob here: apply one with kubectl apply -f, or look everywhere with -A.")
        return
    shown = table(*(("Namespace", *_COLUMNS) if everywhere else _COLUMNS))
    for job in jobs:
        cells = report.row(job, datetime.now(UTC))
        shown.add_row(*(cells if everywhere else cells[1:]))
    output().print(shown)


def status(
    name: Name,
    watch: Watch = False,
    json: Json = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show a race: its conditions, trials, values with their intervals, what it waits for, and what happened."""
    import time

    from velodrome.cli.cluster import report
    from velodrome.cli.cluster.kubectl import BENCHMARKJOBS
    from velodrome.cli.console import output

    kubectl = _kubectl(namespace, context, kubeconfig)
    while True:
        job = kubectl.json("get", BENCHMARKJOBS, name)
        if json:
            (write_json_line if watch else write_json)({"job": job})
        else:
            if watch:
                output().clear()
            _tell(kubectl, job)
        if not watch or report.has_come("done", job):
            return
        time.sleep(_LOOK_SECONDS)


def logs(
    name: Name,
    trial: Annotated[
        str | None, typer.Argument(metavar="[ENTRY[/REPEAT]]", help="Trials of this entry, or this one alone.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on while the trial runs.")] = False,
    search: Annotated[
        bool, typer.Option("--search", help="Of the trials of its search, by run, lane and turn.")
    ] = False,
    *,
    run: Annotated[
        int | None, typer.Option("--run", min=1, help="With --search: of this run of a raised search.")
    ] = None,
    lane: Annotated[
        int | None, typer.Option("--lane", min=0, help="With --search: of this lane, whose entries share an image.")
    ] = None,
    json: Json = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what trials wrote, by entry and repeat. If a pod is gone, its result holds the end of its log.

    With --search, ENTRY/NUMBER names a search trial. Above each log stand its run, lane, turn and trial.
    """
    from velodrome.cli.cluster import report
    from velodrome.keys import LABEL_JOB_NAME

    if not search and (run, lane) != (None, None):
        raise typer.BadParameter("only a search has them: write --search too", param_hint="--run, --lane")
    kubectl = _kubectl(namespace, context, kubeconfig)
    pods = kubectl.items("pods", "-l", f"{LABEL_JOB_NAME}={name}")
    of_search = [one for one in report.turns(pods) if one.phase != "Pending"]
    plan = _plan(kubectl, name)
    entry, repeat = _named(plan, trial)
    found: Sequence[TrialPod | SearchPod]
    if search:
        there = [one for one in of_search if run in (None, one.run) and lane in (None, one.lane)]
        if trial is not None or not follow:
            there = [_identified(kubectl, plan, one) for one in there]
        found = [one for one in there if one.is_of(entry, repeat)]
    else:
        chosen = report.chosen(report.attempts(plan, pods), entry, repeat)
        found = [one for one in chosen if one.phase != "Pending"]
    if not found:
        other = of_search and (not search or trial or run or lane is not None)
        look = command("velodrome", *(("logs", name, "--search") if other else ("status", name)))
        named = f"{name}/{trial}" if trial else name
        searched = ", only others of its search" if other else ""
        raise NotThere("pod", f"no pod of {named} has begun or is still there{searched}: {look}")
    for one in found[-1:] if follow else found:
        if not json:
            complain(f"== {line(one.heading)}  pod {line(one.pod)}  {line(one.phase)}", bold=True)
        try:
            for reported in kubectl.follow(["logs", one.pod, *(["--follow"] if follow else [])]):
                if json:
                    write_json_line({**one.facts, "text": reported})
                else:
                    say(reported)
        except ClusterError as error:
            complain(f"{line(one.who)}: {error}")  # its container has not started, or its node is gone: go on


def wait(
    name: Name,
    for_: Annotated[
        str, typer.Option("--for", metavar="STATE", help="complete, failed, suspended, running, or done: either end.")
    ] = "done",
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long at most.")] = 86400.0,
    json: Json = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Wait for a race. The exit code is 4 if it ended in another way, 5 if the time is over, 1 if it failed."""
    import time
    from functools import partial
    from typing import cast, get_args

    from velodrome.cli.cluster import report
    from velodrome.cli.cluster.kubectl import BENCHMARKJOBS
    from velodrome.cli.exit_codes import FAILED

    if for_ not in get_args(report.Awaited):
        raise typer.BadParameter(f"{for_} is none of {', '.join(get_args(report.Awaited))}", param_hint="--for")
    awaited = cast("report.Awaited", for_)
    kubectl = _kubectl(namespace, context, kubeconfig)
    end = time.monotonic() + timeout
    while True:
        job = kubectl.json("get", BENCHMARKJOBS, name)
        state, message = report.state(job), line(job.get("status", {}).get("message", ""))
        told = partial(_tell_state, name, state, message, for_, json=json)
        if report.has_come(awaited, job):
            told(came=True)
            raise typer.Exit(FAILED if awaited == "done" and state == "Failed" else 0)
        if report.will_never_come(awaited, job):
            told(f", and will not be {for_}")
            raise typer.Exit(ENDED_OTHERWISE)
        if time.monotonic() >= end:
            told(f" after {timeout:.0f} s", timed_out=True)
            raise typer.Exit(TIMED_OUT)
        time.sleep(min(_LOOK_SECONDS, max(0.05, end - time.monotonic())))


def _tell_state(
    name: str,
    state: str,
    message: str,
    awaited: str,
    more: str = "",
    *,
    came: bool = False,
    timed_out: bool = False,
    json: bool,
) -> None:
    """The state in which waiting ended: the answer if it came, a complaint if it did not."""
    if json:
        write_json(
            {
                "name": name,
                "state": state,
                "message": message,
                "awaited": awaited,
                "came": came,
                "timed_out": timed_out,
            }
        )
    else:
        (say if came else complain)(f"{name} is {state}{more}: {message}")


def _kubectl(namespace: str | None, context: str | None, kubeconfig: str | None) -> Kubectl:
    from velodrome.cli.cluster.kubectl import Kubectl

    return Kubectl(namespace, context, kubeconfig)


def _plan(kubectl: Kubectl, name: str) -> Plan:
    from velodrome.cli.cluster.kubectl import BENCHMARKJOBS
    from velodrome.plan import plan

    return plan(_job(kubectl.json("get", BENCHMARKJOBS, name)))


def _job(raw: dict[str, Any]) -> BenchmarkJob:
    """The BenchmarkJob as it was applied, without the operator's status."""
    from velodrome.spec import validate

    document = {key: value for key, value in raw.items() if key != "status"}
    return validate(document, source=raw["metadata"]["name"])


def _identified(kubectl: Kubectl, plan: Plan, pod: SearchPod) -> SearchPod:
    """The pod with its trial, if the beginning of its log says that. A log that can't be read says nothing."""
    with contextlib.suppress(ClusterError), contextlib.closing(kubectl.follow(["logs", pod.pod])) as lines:
        for text in islice(lines, _BEGINNING):
            known = pod.said_by(text, plan.job)
            if known is not pod:
                return known
    return pod


def _named(plan: Plan, trial: str | None) -> tuple[str | None, int | None]:
    """The entry and the repeat that a person names."""
    if trial is None:
        return None, None
    entry, slash, repeat = trial.rpartition("/") if trial.rpartition("/")[0] in plan.configs else (trial, "", "")
    if entry not in plan.configs:
        said = f"no entry {line(entry)}: there are {listing(entry, list(plan.configs))}"
        raise typer.BadParameter(said, param_hint="ENTRY[/REPEAT]")
    if slash and not repeat.isdecimal():
        raise typer.BadParameter(f"{repeat} is no repeat: 0, 1, …", param_hint="ENTRY[/REPEAT]")
    return entry, int(repeat) if slash else None


def _tell(kubectl: Kubectl, raw: dict[str, Any]) -> None:
    from velodrome.cli.cluster import report
    from velodrome.cli.console import output, table

    now, name, found = datetime.now(UTC), raw["metadata"]["name"], raw.get("status", {})
    trials = found.get("trials", {})
    say(f"{line(name)}: {report.state(raw)}", bold=True)
    if found.get("message"):
        say(f"  {indented(found['message'])}")
    if taken_over := report.taken_over(raw):
        say(f"  {line(taken_over)}")
    if regression := report.regression(raw):
        say(f"  {indented(regression)}", colour="red" if regression.startswith("Regressed") else None)
    if trials:
        counts = ", ".join(
            f"{trials[kind]} {kind}" for kind in ("succeeded", "failed", "active", "disrupted") if trials.get(kind)
        )
        say(f"  [{report.bar(trials)}] {line(trials.get('done', ''))} trials: {line(counts or 'none yet')}")
    rows = list(report.values(_job(raw), raw))
    if rows:
        shown = table("Objective", "Entry", "Mean", "95 % interval", "n", "Ranks", numbers=frozenset({"Mean", "n"}))
        for cells in rows:
            shown.add_row(*cells)
        output().print(shown)
    for stopped in report.stops(raw):
        say(f"  {line(stopped)}")
    events = kubectl.items("events.events.k8s.io")
    own = [event for event in events if event.get("regarding", {}).get("uid") == raw["metadata"]["uid"]]
    for event in sorted(own, key=lambda event: event["metadata"]["creationTimestamp"])[-10:]:
        say(line(report.event_line(event, now)))
