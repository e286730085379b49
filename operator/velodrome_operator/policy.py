"""What this operator can run of a job, beyond what every BenchmarkJob must keep to. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from velodrome.errors import Problem, SpecError
from velodrome.search.trials import search_of
from velodrome.spec import BenchmarkJob
from velodrome_operator.children import ChildSettings, lanes
from velodrome_operator.lanes import at_once

_FIX = "put what they do into the image, or ask for an operator with --allow-init-containers"


def enforce(job: BenchmarkJob, settings: ChildSettings) -> None:
    """Checks a job against the operator's settings.

    Raises:
        SpecError: the operator can't run it, or does not allow something of it; each problem has the field and the fix.
    """
    problems = tuple(_of_search(job)) if job.spec.search is not None else ()
    if problems:
        raise SpecError(problems, job.metadata.name)
    template = job.spec.runner.template
    if template is None or template.spec is None or not template.spec.init_containers or settings.init_containers:
        return
    field = "spec.runner.template.spec.initContainers"
    raise SpecError((Problem(field, "this operator allows no init containers", _FIX),), job.metadata.name)


def _of_search(job: BenchmarkJob) -> Iterator[Problem]:
    """What a cluster can't do of a search."""
    many, room = len(lanes(job)), at_once(job)
    if job.spec.runner.nodes > 1:
        yield Problem("spec.runner.nodes", "one pod runs a search trial, and several can't", "leave nodes out")
    if search_of(job).algorithm == "GP":
        yield Problem("spec.search.algorithm", "GP needs PyTorch, which the operator lacks", "use TPE")
    terminator = search_of(job).terminator
    if terminator is not None and terminator.name == "Regret":
        yield Problem("spec.search.terminator", "Regret needs PyTorch, which the operator lacks", "use Stagnation")
    if many > room:
        said = f"{many} images or commands need as many search trials at once, and {room} may run"
        fix = f"write execution.parallelism: {many} or more, and search.parallelism too where it is written"
        yield Problem("spec.execution.parallelism", said, fix)
