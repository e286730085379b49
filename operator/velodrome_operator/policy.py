"""What this operator allows the pods of a job, beyond what every BenchmarkJob must keep to. Pure."""

from __future__ import annotations

from velodrome.errors import Problem, SpecError
from velodrome.spec import BenchmarkJob
from velodrome_operator.children import ChildSettings

_FIX = "put what they do into the image, or ask for an operator with --allow-init-containers"


def enforce(job: BenchmarkJob, settings: ChildSettings) -> None:
    """Checks a job against the operator's settings.

    Raises:
        SpecError: the operator does not allow something of it; each problem has the field and the fix.
    """
    template = job.spec.runner.template
    if template is None or template.spec is None or not template.spec.init_containers or settings.init_containers:
        return
    field = "spec.runner.template.spec.initContainers"
    raise SpecError((Problem(field, "this operator allows no init containers", _FIX),), job.metadata.name)
