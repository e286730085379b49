"""The test cluster's certificate authority, certificates and kubeconfigs, made once by openssl."""

from __future__ import annotations

import base64
import json
import subprocess

from tests.cluster.layout import Layout
from tests.cluster.parts import CERTIFICATES, CLIENTS


def issue_all(at: Layout) -> None:
    """Makes the missing files. The authority's certificate appears last of its kind."""
    if not (at.pki / "ca.crt").exists():
        _openssl(at, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
                 "-days", "365", "-subj", "/CN=velodrome-tests",
                 "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    if not (at.pki / "service-accounts.key").exists():
        _openssl(at, "genrsa", "-out", "service-accounts.key", "2048")
    for name, (subject, alternatives) in CERTIFICATES.items():
        if not (at.pki / f"{name}.crt").exists():
            _issue(at, name, subject, alternatives)
    for client in CLIENTS:
        (at.run / f"{client}.kubeconfig").write_text(json.dumps(_kubeconfig(at, client)))


def _issue(at: Layout, name: str, subject: str, alternatives: list[str]) -> None:
    extensions = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature,keyEncipherment",
                  "extendedKeyUsage=serverAuth,clientAuth"]  # fmt: skip
    if alternatives:
        extensions.append("subjectAltName=" + ",".join(alternatives))
    (at.pki / f"{name}.ext").write_text("\n".join(extensions) + "\n")
    _openssl(
        at, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject
    )
    _openssl(at, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
             "-out", f"{name}.crt", "-days", "365", "-extfile", f"{name}.ext")  # fmt: skip


def _kubeconfig(at: Layout, client: str) -> dict[str, object]:
    def inline(name: str) -> str:
        return base64.b64encode((at.pki / name).read_bytes()).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "tests",
                "cluster": {"server": at.server, "certificate-authority-data": inline("ca.crt")},
            }
        ],
        "users": [
            {
                "name": client,
                "user": {
                    "client-certificate-data": inline(f"{client}.crt"),
                    "client-key-data": inline(f"{client}.key"),
                },
            }
        ],
        "contexts": [{"name": "local", "context": {"cluster": "tests", "user": client}}],
        "current-context": "local",
    }


def _openssl(at: Layout, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=at.pki, check=True, capture_output=True)
