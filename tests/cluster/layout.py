"""Where the test cluster keeps its files, and which versions it is made of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "v1.35.4"
POD_CIDR = "10.88.0.0/16"
GATEWAY = "10.88.0.1"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
NODE = "node1"
SOURCES = Path(__file__).parent / "modules"


@dataclass(frozen=True, slots=True)
class Layout:
    """`bin` outlives the cluster; everything below `run` goes when it is taken down.

    Clusters of different `name` and `offset` share the programs and run beside one another: `offset` is added to every
    port that a part of it listens on.
    """

    home: Path
    name: str = "run"
    offset: int = 0

    @classmethod
    def default(cls) -> Layout:
        """$VELODROME_CLUSTER_HOME, else a folder of the user's cache."""
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
        """Where this cluster listens instead of the usual port."""
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
        """containerd's; a Unix socket's path may have 107 bytes."""
        return Path("/run/velodrome-cluster/containerd.sock")

    @property
    def kubeconfig(self) -> Path:
        return self.run / "admin.kubeconfig"
