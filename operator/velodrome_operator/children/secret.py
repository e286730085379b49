"""The Secret of a race: the address to which its runners report, and their user. Pure."""

from __future__ import annotations

from velodrome import keys
from velodrome.spec import BenchmarkJob
from velodrome_operator.children.names import Manifest, Names, metadata


def secret(job: BenchmarkJob, uid: str, names: Names, redis_url: str) -> Manifest:
    """The URL of Redis with the password of the job's own user."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(job, uid, names.base),
        "type": "Opaque",
        "stringData": {keys.ENV_REDIS_URL: redis_url},
    }
