"""The Kubernetes API, as far as the operator uses it. No other module calls it.

Every call has a deadline. There are two kinds of errors. A later pass retries after a `TryAgain` (`Unavailable`,
`Conflict`). An `ActionNeeded` (`Refused`, `NameTaken`) needs a person, and the status shows it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from pydantic_core import from_json

from velodrome import keys
from velodrome.canonical import digest
from velodrome.connections.direct import is_loopback
from velodrome.errors import ActionNeeded, TryAgain
from velodrome_operator import shapes, texts
from velodrome_operator.children import Manifest
from velodrome_operator.crd import PLURAL

_TIMEOUT_SECONDS = 10.0
_CLOCK_TOLERANCE = timedelta(seconds=15)
_PARENT = f"apis/{keys.GROUP}/{keys.VERSION}"
_PATHS = {"ConfigMap": ("api/v1", "configmaps"), "Secret": ("api/v1", "secrets"), "Job": ("apis/batch/v1", "jobs"),
          "Service": ("api/v1", "services"), "Event": ("apis/events.k8s.io/v1", "events"),
          keys.KIND: (_PARENT, PLURAL)}  # fmt: skip
LISTED_AT_ONCE = 100
# The API's names for the methods that change something.
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Unavailable(TryAgain):
    """The API server does not answer, or asks for a later try."""

    reason = "ApiUnavailable"


class Refused(ActionNeeded):
    """The API server answers and refuses: the request is forbidden, invalid or over quota."""

    reason = "ApiRefused"


class Conflict(TryAgain):
    """The object changed in the meantime. The next pass sees it as it is."""

    reason = "ApiConflict"


class NameTaken(ActionNeeded):
    """The operator is to make an object whose name is taken by an object of somebody else."""

    reason = "NameTaken"


class Refusal(NamedTuple):
    """The API server refused to create a pod: when that was, and what it said."""

    at: datetime
    message: str


class Cluster:
    """Reads and writes the objects of BenchmarkJobs. `writes` counts, by verb, the requests that change something."""

    def __init__(self, api: client.ApiClient, *, dry_run: bool = False) -> None:
        self._api = api
        self._dry_run = dry_run
        self.writes = dict.fromkeys(_VERBS.values(), 0)
        self._ahead = timedelta(0)

    @classmethod
    @asynccontextmanager
    async def connected(cls, *, dry_run: bool = False) -> AsyncIterator[Cluster]:
        """A connection to the cluster that this process runs in, or else to the cluster of KUBECONFIG."""
        try:
            config.load_incluster_config()
        except config.ConfigException:
            await config.load_kube_config()
        settings = client.Configuration.get_default_copy()
        if is_loopback(settings.host):
            settings.client_session_kwargs = {"trust_env": False}  # requests to this machine need no proxy
        api = client.ApiClient(settings)
        try:
            yield cls(api, dry_run=dry_run)
        finally:
            await api.close()

    def now(self) -> datetime:
        """The API server's time, to a second or two: passes compare it with times in the server's objects."""
        return datetime.now(UTC) - self._ahead

    async def parent(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The BenchmarkJob, or None if it does not exist."""
        return await self._call("GET", f"{_PARENT}/namespaces/{namespace}/{PLURAL}/{name}", missing_ok=True)

    async def openapi(self) -> dict[str, Any] | None:
        """What the API server says of the kinds of our group: OpenAPI 3. None if it knows none. Everybody may ask."""
        return await self._call("GET", f"openapi/v3/{_PARENT}", missing_ok=True)

    def parents(self, namespace: str | None) -> AsyncIterator[dict[str, Any]]:
        """All BenchmarkJobs of one namespace, or of all namespaces."""
        return self._list(_PARENT, PLURAL, namespace)

    def jobs(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """All Jobs with the label that BenchmarkJobs' Jobs have, or with the label of one BenchmarkJob."""
        selector = f"{keys.LABEL_JOB_UID}={uid}" if uid else keys.LABEL_JOB_UID
        return self._list("apis/batch/v1", "jobs", namespace, labelSelector=selector)

    async def job(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The Job of that name, no matter who owns it, or None. It is listed, since a list needs no further right."""
        async for raw in self._list("apis/batch/v1", "jobs", namespace, fieldSelector=f"metadata.name={name}"):
            return raw
        return None

    def pods(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """All pods with the label of runners, or with the label of one BenchmarkJob."""
        selector = f"{keys.LABEL_JOB_UID}={uid}" if uid else keys.LABEL_JOB_UID
        return self._list("api/v1", "pods", namespace, labelSelector=selector)

    async def pod_refusals(self, namespace: str) -> dict[str, Refusal]:
        """By Job name, why the API server refused the newest of the pods that it refused."""
        found: dict[str, Refusal] = {}
        fields = "involvedObject.kind=Job,reason=FailedCreate"
        async for event in self._list("api/v1", "events", namespace, fieldSelector=fields):
            at, name = _told_at(event), shapes.text(shapes.at(event, "involvedObject", "name"))
            if at is not None:
                refusal = Refusal(at, shapes.text(event.get("message")))
                found[name] = max(found.get(name, refusal), refusal)
        return found

    def started_pods(self, namespace: str) -> AsyncIterator[dict[str, Any]]:
        """The Events in which kubelets reported started containers. They outlast the pods by an hour."""
        return self._list("api/v1", "events", namespace, fieldSelector="involvedObject.kind=Pod,reason=Started")

    async def create(self, manifest: Manifest) -> dict[str, Any] | None:
        """Creates an object. Returns it as it is then, or None if an object of that name exists already."""
        group, plural = _PATHS[manifest["kind"]]
        try:
            return await self._call(
                "POST", f"{group}/namespaces/{manifest['metadata']['namespace']}/{plural}", manifest
            )
        except Conflict:
            return None

    async def patch_job(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        """Changes fields of a Job's spec. Does nothing if the Job is gone."""
        path = f"apis/batch/v1/namespaces/{namespace}/jobs/{name}"
        await self._call("PATCH", path, {"spec": spec}, missing_ok=True)

    async def delete_job(self, namespace: str, name: str) -> None:
        """Deletes a Job and, in the background, its pods."""
        path = f"apis/batch/v1/namespaces/{namespace}/jobs/{name}"
        await self._call("DELETE", path, {"propagationPolicy": "Background"}, missing_ok=True)

    async def delete_parent(self, namespace: str, name: str, uid: str) -> None:
        """Deletes the BenchmarkJob, if it still has that uid."""
        path = f"{_PARENT}/namespaces/{namespace}/{PLURAL}/{name}"
        await self._call("DELETE", path, {"preconditions": {"uid": uid}}, missing_ok=True)

    async def event(
        self,
        parent: Mapping[str, Any],
        reason: str,
        message: str,
        *,
        warning: bool,
        at: datetime,
        about: str | None = None,
    ) -> None:
        """Reports a transition once, where `kubectl describe` shows it: the Event's name follows from its content.

        If a transition of this reason comes more than once, `about` distinguishes them.
        """
        metadata = parent["metadata"]
        content = [metadata["uid"], reason, shapes.at(parent, "status", "observedGeneration")]
        suffix = digest(content if about is None else [*content, about], 16)
        manifest = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{suffix}", "namespace": metadata["namespace"]},
            "eventTime": at.isoformat(timespec="microseconds"),
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "action": "Reconcile",
            "note": texts.note(message),
            "reportingController": f"{keys.GROUP}/operator",
            "reportingInstance": "velodrome-operator",
            "regarding": {
                "apiVersion": keys.API_VERSION,
                "kind": keys.KIND,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
        }
        await self.create(manifest)

    async def write_status(self, parent: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any] | None:
        """Replaces the status, unless the object changed since it was read. Returns the new object, or None.

        Raises:
            Conflict: the object changed.
        """
        metadata = parent["metadata"]
        path = f"{_PARENT}/namespaces/{metadata['namespace']}/{PLURAL}/{metadata['name']}/status"
        return await self._call("PUT", path, {**parent, "status": status}, missing_ok=True)

    async def _list(
        self, group: str, plural: str, namespace: str | None, **selectors: str
    ) -> AsyncIterator[dict[str, Any]]:
        """Every object. Parses one page at a time: a process never gives back the memory that all pages would take."""
        where = f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"
        token = ""  # the place in a list, and no secret # nosec B105
        while True:
            query = {"limit": str(LISTED_AT_ONCE), "continue": token, **selectors}
            page = await self._call("GET", where, query={key: value for key, value in query.items() if value}) or {}
            token = shapes.text(shapes.at(page, "metadata", "continue"))
            for item in shapes.items(page.get("items")):
                if isinstance(item, dict):
                    yield item
            if not token:
                return

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        missing_ok: bool = False,
    ) -> dict[str, Any] | None:
        if method != "GET":
            if self._dry_run:
                query = {**(query or {}), "dryRun": "All"}
            self.writes[_VERBS[method]] += 1
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            request = await self._api.param_serialize(
                method=method,
                resource_path=f"/{path}",
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
            text, code = await response.read(), response.status
            self._set_clock(response.headers.get("Date"))
        except ApiException as error:
            text, code = error.body or b"", error.status or 0
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: {str(error) or type(error).__name__}") from error
        return _answer(f"{method} {path}", code, text, missing_ok=missing_ok)

    def _set_clock(self, date: str | None) -> None:
        """Notes how far this machine's clock is ahead of the server's, if that is more than an answer's age."""
        if not date:
            return
        try:
            ahead = datetime.now(UTC) - parsedate_to_datetime(date)
        except ValueError:
            return
        self._ahead = ahead if abs(ahead) > _CLOCK_TOLERANCE else timedelta(0)


def _told_at(event: Mapping[str, Any]) -> datetime | None:
    """When an Event last happened. If its times are empty, when it was made."""
    moments = (shapes.at(event, "series", "lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"),
               shapes.at(event, "metadata", "creationTimestamp"))  # fmt: skip
    return next(filter(None, map(shapes.moment, moments)), None)


def _answer(what: str, code: int, text: bytes | str, *, missing_ok: bool) -> dict[str, Any] | None:
    """The JSON of an answer. Raises the kind of error that the answer means."""
    try:
        document = from_json(text, cache_strings="keys") if text else {}
    except ValueError:
        document = {"message": str(text)[:200]}
    if not isinstance(document, dict):
        document = {}
    if 200 <= code < 300:
        return document
    message = f"{what}: {document.get('message') or code}"
    if code == 404 and missing_ok:
        return None
    if code == 409:
        raise Conflict(message)
    if code in (0, 401, 408, 429) or code >= 500:
        raise Unavailable(message)
    raise Refused(message)
