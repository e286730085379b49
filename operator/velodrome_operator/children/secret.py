"""The Secret of a race: the address to which its runners report, and their user. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from velodrome import keys
from velodrome.spec import BenchmarkJob
from velodrome.store.roles import AUTHORITY
from velodrome_operator.children.names import Manifest, Names, TrialGroup, metadata, report_key_name


def secret(job: BenchmarkJob, uid: str, names: Names, redis_url: str, authority: str | None = None) -> Manifest:
    """The URL of Redis with the password of the job's own user, and the certificates that Redis' must come from.

    Nobody can change it: whoever could would choose to which server a race's results go.
    """
    data = {keys.ENV_REDIS_URL: redis_url}
    if authority is not None:
        data[AUTHORITY] = authority
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(job, uid, names.base),
        "type": "Opaque",
        "immutable": True,
        "stringData": data,
    }


def report_keys(job: BenchmarkJob, uid: str, names: Names, keys_of: Mapping[TrialGroup, Sequence[str]]) -> Manifest:
    """The report keys of each group, by the completion index of its pods: a pod is shown its own trial's alone."""
    data = {
        report_key_name(group, completion): key
        for group, keys_there in keys_of.items()
        for completion, key in enumerate(keys_there)
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(job, uid, names.report_keys),
        "type": "Opaque",
        "immutable": True,
        "stringData": data,
    }
