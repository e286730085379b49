"""Where results are deleted (on this machine, in another Redis or on a cluster), and which races still run there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from velodrome.errors import LocalError
from velodrome.text import command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from velodrome.cli.cluster.kubectl import Kubectl
    from velodrome.machine.home import Home
    from velodrome.results.records import JobInfo
    from velodrome.store.deletion import Deleter

# If only a race's reports are known, the race counts as running if it reported within this time.
_SILENCE = timedelta(minutes=10)


@dataclass
class Place:
    """A store to delete from.

    `home` is its data folder if it is Velodrome's own Redis. `kubectl` reaches its cluster if it is on one.
    """

    deleter: Deleter
    home: Home | None = None
    kubectl: Kubectl | None = None
    _locks: ExitStack = field(default_factory=ExitStack)

    def going(self, jobs: Iterable[JobInfo]) -> dict[str, str]:
        """The races of these jobs that still run, by uid, each with what a person can do.

        On this machine the other races can't start until the place is left.
        """
        if self.kubectl is not None:
            return _going_there(self.kubectl, jobs)
        if self.home is not None:
            return self._going_here(self.home, jobs)
        return {job.uid: _WAIT for job in jobs if _reported_lately(self.deleter, job)}

    def _going_here(self, home: Home, jobs: Iterable[JobInfo]) -> dict[str, str]:
        from velodrome.machine.processes.lock import lock_job

        found = {}
        for job in jobs:
            if home.job(job.uid).is_dir():
                try:
                    self._locks.callback(lock_job(home, job.uid, job.name).release)
                except LocalError as error:
                    found[job.uid] = str(error)
        return found

    def forget(self, jobs: Iterable[JobInfo]) -> None:
        """Removes what these races left on this machine's disk besides results. Their lock files stay."""
        import shutil

        for job in jobs if self.home is not None else ():
            folder = self.home.job(job.uid) if self.home is not None else None
            for path in folder.iterdir() if folder is not None and folder.is_dir() else ():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != "lock":
                    path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Lets races start again."""
        self._locks.close()


_WAIT = "it reported within the last ten minutes: wait until it has ended"


@contextmanager
def place(redis: str | None, kubectl: Kubectl | None, installed_in: str) -> Iterator[Place]:
    """The store that the options of a command choose.

    Raises:
        StoreUnavailable, LocalError, ClusterError: the store can't be reached.
    """
    from velodrome.store.deletion import open_deleter

    with ExitStack() as stack:
        if kubectl is not None:
            from velodrome.cli.cluster.forwarding import forwarded_redis

            url = stack.enter_context(forwarded_redis(kubectl, installed_in, "marks"))
            found = Place(stack.enter_context(open_deleter(url)), kubectl=kubectl)
        else:
            from velodrome.cli.connection import redis_for
            from velodrome.machine.home import open_home

            server = stack.enter_context(redis_for(redis))
            url = server if isinstance(server, str) else server.url
            home = None if isinstance(server, str) else open_home()
            found = Place(stack.enter_context(open_deleter(url)), home=home)
        stack.callback(found.leave)
        yield found


def _reported_lately(deleter: Deleter, job: JobInfo) -> bool:
    reported = [progress.at for progress in deleter.progress(job.uid).values()]
    return any(datetime.now(UTC) - at < _SILENCE for at in reported)


def _going_there(kubectl: Kubectl, jobs: Iterable[JobInfo]) -> dict[str, str]:
    from velodrome.cli.cluster import report
    from velodrome.cli.cluster.kubectl import BENCHMARKJOBS

    uids = {job.uid: job for job in jobs}
    found = {}
    for raw in kubectl.items(BENCHMARKJOBS, "--all-namespaces"):
        uid = raw["metadata"]["uid"]
        if uid in uids and report.state(raw) not in ("Complete", "Failed"):
            job = uids[uid]
            found[uid] = (
                f"it is {report.state(raw)}: wait for it, or stop it with "
                f"{command('velodrome', 'delete', job.name, '-n', job.namespace)}"
            )
    return found
