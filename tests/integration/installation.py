"""Redis as an installation has it: a real server with TLS and the users of the Secret, which a real setup made.

kubectl is a stand-in, since no cluster is here: it keeps one Secret in a file, as the API server does, and forwards a
port.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from velodrome import keys
from velodrome.connections.clients import RedisLogin, build
from velodrome.store import roles
from velodrome.store.roles import Role
from velodrome_operator.setup import secret_data

START_SECONDS = 30.0
KUBECTL = """\
#!{python}
import json, os, pathlib, signal, sys
path = pathlib.Path({secret!r})
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(arguments) + "\\n")
if "port-forward" in arguments:
    print("Forwarding from 127.0.0.1:{port} -> 6379", flush=True)
    signal.pause()
elif "replace" in arguments:
    given, kept = json.load(sys.stdin), json.loads(path.read_text())
    if given["metadata"]["resourceVersion"] != kept["metadata"]["resourceVersion"]:
        sys.exit("Error from server (Conflict): the object has been modified; please apply your changes")
    if pathlib.Path({refuse!r}).exists():
        os.kill(os.getppid(), signal.SIGKILL)
        sys.exit(1)
    given["metadata"]["resourceVersion"] = str(int(given["metadata"]["resourceVersion"]) + 1)
    path.with_suffix(".new").write_text(json.dumps(given))
    path.with_suffix(".new").rename(path)
elif "statefulset" in arguments:
    volumes = pathlib.Path({tls!r})
    found = json.loads(volumes.read_text()) if volumes.exists() else []
    template = {{"metadata": {{"labels": {{"app.kubernetes.io/component": "redis"}}}}, "spec": {{"volumes": found}}}}
    print(json.dumps({{"items": [{{"metadata": {{"name": "velodrome-redis"}}, "spec": {{"template": template}}}}]}}))
elif "of-another" in arguments:
    print(path.with_name("another.json").read_text())
elif "secret" in arguments:
    print(path.read_text())
else:
    print(json.dumps({{"items": []}}))
"""


@dataclass
class InstalledRedis:
    """A real Redis with TLS. `data` is the Secret's content when it was made."""

    folder: Path
    data: Mapping[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.port}/0"

    @property
    def mounts(self) -> Path:
        """The folder with the Secret as files, as the kubelet mounts it."""
        return self.folder / "mounts"

    @property
    def secret(self) -> Path:
        """The Secret as the API server has it."""
        return self.folder / "secret.json"

    def read(self) -> dict[str, str]:
        """The content of the Secret now."""
        kept = json.loads(self.secret.read_text())
        return {key: base64.b64decode(value).decode() for key, value in kept["data"].items()}

    def mount(self, *only: str) -> None:
        """Does what the kubelet does about a minute after a Secret changed."""
        self.mounts.mkdir(exist_ok=True)
        for key, value in self.read().items():
            if not only or key in only:
                (self.mounts / f".{key}").write_text(value)
                (self.mounts / f".{key}").rename(self.mounts / key)

    def login(self, role: Role) -> RedisLogin:
        return RedisLogin(role, self.mounts / roles.password_key(role), self.mounts / roles.AUTHORITY)

    def environ(self, role: Role) -> dict[str, str]:
        """The environment of a component that connects as this role."""
        return {
            keys.ENV_REDIS_URL: self.url,
            keys.ENV_REDIS_USERNAME: role,
            keys.ENV_REDIS_PASSWORD_FILE: str(self.mounts / roles.password_key(role)),
            keys.ENV_REDIS_CA_FILE: str(self.mounts / roles.AUTHORITY),
        }

    def client(self, role: Role) -> redis.Redis:
        return build(self.url, self.login(role), retry=Retry(NoBackoff(), 0), socket_timeout=10)

    def start(self, seconds: float = START_SECONDS) -> None:
        """Starts the server with the Secret as it is mounted, and returns when it answers the probe."""
        options = (
            "--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no", "--bind", "127.0.0.1",
            "--tls-cert-file", str(self.mounts / "tls.crt"), "--tls-key-file", str(self.mounts / "tls.key"),
            "--aclfile", str(self.mounts / "users.acl"), "--dir", str(self.folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always",
        )  # fmt: skip
        program = shutil.which("redis-server")
        assert program is not None, "install redis-server"
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([program, *options], stdout=log, stderr=log)
        end = time.monotonic() + seconds
        login = RedisLogin(ca_file=self.mounts / roles.AUTHORITY)
        while True:
            try:
                with build(self.url.replace("://", "://probe:any@"), login) as probe:
                    probe.ping()
            except redis.RedisError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def kubectl(self, folder: Path) -> None:
        """Puts the stand-in for kubectl into a folder, which belongs on PATH."""
        program = folder / "kubectl"
        program.write_text(
            KUBECTL.format(
                python=sys.executable, secret=str(self.secret), port=self.port, log=str(self.folder / "kubectl.log"),
                refuse=str(self.folder / "refuse"), tls=str(self.folder / "volumes.json"),
            )
        )  # fmt: skip
        program.chmod(0o755)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def kept(data: Mapping[str, str]) -> dict[str, Any]:
    """A Secret as the API server shows it."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": roles.SECRET_NAME, "namespace": "velodrome", "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": encoded}


def install(folder: Path, hosts: tuple[str, ...] = ("velodrome-redis",)) -> InstalledRedis:
    """A Redis with users and certificates as `velodrome_operator.setup` makes them. It is not started yet."""
    made = InstalledRedis(folder, secret_data(hosts, datetime.now(UTC)), unused_port())
    made.secret.write_text(json.dumps(kept(made.data)))
    made.mount()
    return made
