"""The ConfigMap of a race: it holds the job that the race's runners read. Pure."""

from __future__ import annotations

from velodrome.canonical import canonical
from velodrome.spec import BenchmarkJob
from velodrome_operator.children.names import Manifest, Names, job_document, metadata


def config_map(job: BenchmarkJob, uid: str, names: Names) -> Manifest:
    """The job as its runners read it. It is immutable, since a changed job is another race."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(job, uid, names.base),
        "immutable": True,
        "data": {"job.json": canonical(job_document(job))},
    }
