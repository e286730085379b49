"""What benchmarks of the store and of collecting begin with: a Redis of their own, and where runners ran."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from velodrome.errors import StoreUnavailable
from velodrome.results.records import DatasetFacts, Environment, GrantedResources, Hardware, Software
from velodrome.store import open_store

DATASET = DatasetFacts(
    name="digits", digest="sha256:" + "0" * 64, train_samples=1294, validation_samples=143, test_samples=360,
    shape=(1, 8, 8), classes=tuple("0123456789"),
)  # fmt: skip
ENVIRONMENT = Environment(
    hardware=Hardware(cpu_model="AMD EPYC 7763 64-Core Processor", cpu_count=64),
    software=Software(
        velodrome="0.1.0",
        python="3.11.7",
        framework="torch 2.15.0",
        libraries={"numpy": "2.4.6", "scikit-learn": "1.8.0", "torchmetrics": "1.9.0", "torchvision": "0.27.0"},
    ),
    resources=GrantedResources(cpus=2, memory_limit_bytes=2**33),
)


@contextlib.contextmanager
def redis_server(binary: str | None = None, *options: str) -> Iterator[str]:
    """The URL of an empty server that runs inside the block, and answers. `binary` is the one on PATH by default."""
    binary = binary or shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        sys.exit("no redis-server or valkey-server on PATH: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="vd-") as folder:
        socket = f"{folder}/redis.sock"
        base = (binary, "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "")
        process = subprocess.Popen((*base, *options), stdout=subprocess.DEVNULL)
        try:
            with open_store(f"unix://{socket}") as store:
                for _ in range(200):
                    try:
                        store.ping()
                        break
                    except StoreUnavailable:
                        time.sleep(0.05)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait()
