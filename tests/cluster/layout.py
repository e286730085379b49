"""The test cluster's folders, ports and versions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

POD_CIDR = "10.88.0.0/16"
GATEWAY = "10.88.0.1"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
NODE = "node1"
SOURCES = Path(__file__).parent / "modules"


@dataclass(frozen=True, slots=True)
class Layout:
    """`bin` outlives the cluster. Everything below `run` is removed with it.

    Clusters with different `name` and `offset` share the programs and can run at the same time. `offset` is added to
    every port that a part listens on.
    """

    home: Path
    name: str = "run"
    offset: int = 0

    @classmethod
    def default(cls) -> Layout:
        """The layout in $VELODROME_CLUSTER_HOME, else in a folder of the user's cache."""
        home = os.environ.get("VELODROME_CLUSTER_HOME") or Path.home() / ".cache/velodrome-cluster"
        return cls(Path(home))

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    @property
    def images(self) -> Path:
        return self.home / "images"

    @property
    def run(self) -> Path:
        return self.home / self.name

    def port(self, usual: int) -> int:
        """The port of this cluster instead of the usual one."""
        return usual + self.offset

    @property
    def etcd(self) -> str:
        return f"http://127.0.0.1:{self.port(2379)}"

    @property
    def server(self) -> str:
        """The API server's URL on this machine."""
        return f"https://127.0.0.1:{self.port(6443)}"

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def logs(self) -> Path:
        return self.run / "log"

    @property
    def pids(self) -> Path:
        return self.run / "pid"

    @property
    def socket(self) -> Path:
        """containerd's socket. A Unix socket's path may have at most 107 bytes."""
        return Path("/run/velodrome-cluster/containerd.sock")

    @property
    def kubeconfig(self) -> Path:
        return self.run / "admin.kubeconfig"
