"""What this operator can run of a job, beyond what every BenchmarkJob must keep to. Pure."""

from __future__ import annotations

from velodrome.errors import Problem, SpecError
from velodrome.spec import BenchmarkJob
from velodrome_operator.children import ChildSettings

_SEARCH = "run this file with `velodrome run` on one machine, or leave spec.search out"
_FIX = "put what they do into the image, or ask for an operator with --allow-init-containers"


def enforce(job: BenchmarkJob, settings: ChildSettings) -> None:
    """Checks a job against the operator's settings.

    Raises:
        SpecError: the operator can't run it, or does not allow something of it; each problem has the field and the fix.
    """
    if job.spec.search is not None:
        problem = Problem("spec.search", "a search runs on one machine for now, and not on a cluster", _SEARCH)
        raise SpecError((problem,), job.metadata.name)
    template = job.spec.runner.template
    if template is None or template.spec is None or not template.spec.init_containers or settings.init_containers:
        return
    field = "spec.runner.template.spec.initContainers"
    raise SpecError((Problem(field, "this operator allows no init containers", _FIX),), job.metadata.name)
