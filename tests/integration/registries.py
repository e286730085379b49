"""Debian's docker-registry on a port of its own, images in it, and a server that gives tokens for it."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request

import yaml

from velodrome.connections.direct import open_directly

START_SECONDS = 20.0
# The password "secret", by bcrypt.
PASSWORDS = "ann:$2b$05$LgyTOmZ.Y8MCe8tgbYVVC.8090zQcj4U6FcI6G4ESmM/wre7pNBpe\n"
BASIC = "Basic " + base64.b64encode(b"ann:secret").decode()
OCI = "application/vnd.oci.image"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Registry:
    """A running registry. `headers` sign in whoever pushes."""

    folder: Path
    auth: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        program = shutil.which("docker-registry")
        assert program, "no docker-registry on PATH: make system"
        (self.folder / "data").mkdir(parents=True)
        settings = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {"addr": self.host, "secret": "of this test"},
            **({"auth": self.auth} if self.auth else {}),
        }
        (self.folder / "config.yml").write_text(yaml.safe_dump(settings))
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([program, "serve", str(self.folder / "config.yml")], stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with open_directly(f"http://{self.host}/v2/", timeout=START_SECONDS):
                    return
            except HTTPError:
                return  # it asks to sign in
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def push(self, repository: str, tag: str, content: str = "{}") -> str:
        """Pushes an image without layers. Its digest."""
        blob = content.encode()
        config = "sha256:" + hashlib.sha256(blob).hexdigest()
        place = self._ask("POST", f"/v2/{repository}/blobs/uploads/")
        separator = "&" if "?" in place else "?"
        self._ask("PUT", f"{place}{separator}digest={config}", blob, "application/octet-stream")
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": {"mediaType": f"{OCI}.config.v1+json", "digest": config, "size": len(blob)},
                "layers": [],
            }
        ).encode()
        self._ask("PUT", f"/v2/{repository}/manifests/{tag}", manifest, f"{OCI}.manifest.v1+json")
        return "sha256:" + hashlib.sha256(manifest).hexdigest()

    def _ask(self, method: str, place: str, body: bytes = b"", kind: str = "") -> str:
        url = place if place.startswith("http") else f"http://{self.host}{place}"
        headers = {**self.headers, "Content-Length": str(len(body)), **({"Content-Type": kind} if kind else {})}
        request = Request(url, data=body, method=method, headers=headers)  # noqa: S310 - of this test
        with open_directly(request, START_SECONDS) as answer:
            return str(answer.headers.get("Location", ""))


class TokenServer:
    """Gives tokens for a registry, as the distribution project's token protocol says: signed, and for one repository.

    `asked` has the questions: their parameters, and how the caller signed in. Only ann gets tokens.
    """

    def __init__(self, folder: Path) -> None:
        self._key, self.certificate = folder / "key.pem", folder / "certificate.pem"
        folder.mkdir(parents=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tokens", "-days", "1",
             "-keyout", self._key, "-out", self.certificate], check=True, capture_output=True,
        )  # fmt: skip
        self.asked: list[tuple[dict[str, str], str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def auth(self) -> dict[str, Any]:
        """The registry's settings for it."""
        return {
            "token": {
                "realm": self.url,
                "service": "registry",
                "issuer": "tokens",
                "rootcertbundle": str(self.certificate),
            }
        }

    def token(self, repository: str, actions: list[str]) -> str:
        lines = self.certificate.read_text().splitlines()
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(line for line in lines if "-----" not in line)]}
        claims = {
            "iss": "tokens", "sub": "ann", "aud": "registry", "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1",
            "access": [{"type": "repository", "name": repository, "actions": actions}],
        }  # fmt: skip
        signed = b".".join(_unpadded(json.dumps(part).encode()) for part in (header, claims))
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self._key], input=signed, check=True, capture_output=True
        )
        return (signed + b"." + _unpadded(done.stdout)).decode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(urlsplit(self.path).query)

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

            def _answer(self, text: str) -> None:
                wanted = {name: values[0] for name, values in parse_qs(text).items()}
                how = self.headers.get("Authorization", "") or wanted.get("refresh_token", "")
                outer.asked.append((wanted, how))
                _, repository, actions = wanted["scope"].split(":")
                good = how in (BASIC, "identity")
                body = json.dumps({"token": outer.token(repository, actions.split(","))} if good else {}).encode()
                self.send_response(200 if good else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


def _unpadded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
