"""The Secret that setup makes, and the users in it, without a server."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from velodrome.connections import certificates
from velodrome.store import roles
from velodrome_operator import setup
from velodrome_operator.__main__ import _await
from velodrome_operator.cluster import Cluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Kept(Cluster):
    """An API server that has Secrets or has not, as far as creating one needs it."""

    def __init__(self, *, there: bool) -> None:
        self.there = there
        self.created: list[dict[str, Any]] = []

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        self.created.append(manifest)
        return None if self.there else manifest


def test_it_makes_what_the_installation_reads() -> None:
    data = setup.secret_data(("velodrome-redis",), NOW)
    assert set(data) == {
        "operator-password", "leaderboard-password", "marks-password", "job-key", "users.acl", "ca.crt", "ca.key",
        "tls.crt", "tls.key",
    }  # fmt: skip
    assert len({value for key, value in data.items() if key.endswith("password") or key == "job-key"}) == 4
    lines = data["users.acl"].splitlines()
    assert lines[0] == "user default off ~* &* +@all"
    assert lines[1] == "user probe on nopass resetchannels -@all +ping"
    hashes = roles.hashes_in(data["users.acl"])
    assert hashes == {role: (roles.hashed(data[f"{role}-password"]),) for role in roles.ROLES}
    for key, value in data.items():
        if key.endswith("password") or key == "job-key":
            assert value not in data["users.acl"]


def test_without_a_host_it_makes_what_version_0_1_0_reads() -> None:
    data = setup.secret_data((), NOW)
    assert set(data) == {"password"}
    assert roles.is_former(data)
    assert not roles.is_former(setup.secret_data(("redis",), NOW))


def test_it_creates_and_never_changes() -> None:
    for there in (False, True):
        cluster = Kept(there=there)
        made = asyncio.run(setup.make_secret(cluster, "ns", "velodrome-redis", ("redis",), NOW))
        assert made is not there
        (manifest,) = cluster.created
        assert manifest["metadata"] == {"name": "velodrome-redis", "namespace": "ns"}


def test_the_certificate_is_for_the_hosts_and_checks_against_its_authority(tmp_path: Path) -> None:
    made = certificates.make((*roles.host_names("velodrome-redis", "ns"), "10.0.0.7"), NOW)
    assert certificates.names_of(made.certificate) == (
        "velodrome-redis", "velodrome-redis.ns", "velodrome-redis.ns.svc", "velodrome-redis.ns.svc.cluster.local",
        "10.0.0.7", "localhost", "127.0.0.1", "::1",
    )  # fmt: skip
    assert certificates.ends_at(made.certificate) == NOW + timedelta(days=certificates.SERVER_DAYS)
    assert certificates.ends_at(made.authority) == NOW + timedelta(days=certificates.AUTHORITY_DAYS)
    renewed = certificates.make(("velodrome-redis",), NOW, renewed=made)
    other = certificates.make(("velodrome-redis",), NOW)
    for name, text in (("ca", made.authority), ("one", made.certificate), ("two", renewed.certificate),
                       ("other", other.certificate)):  # fmt: skip
        (tmp_path / name).write_text(text)

    def checks(name: str) -> bool:
        at = str(int((NOW + timedelta(days=1)).timestamp()))
        line = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime", at, "-CAfile", "ca", name]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, check=False).returncode == 0

    assert checks("one")
    assert checks("two")
    assert not checks("other")


@pytest.mark.parametrize("host", ["", "-x", "a b", "x;y", "a/b"])
def test_a_host_that_is_none_is_refused_by_name(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        setup.main(["--namespace", "ns", "--name", "velodrome-redis", f"--host={host}"])
    assert "is no name or address of a host" in capsys.readouterr().err


def test_a_users_file_without_a_role_is_refused_by_name() -> None:
    text = setup.secret_data(("redis",), NOW)["users.acl"]
    kept = "\n".join(line for line in text.splitlines() if "user marks" not in line)
    with pytest.raises(roles.OddSecret, match="no password for marks"):
        roles.hashes_in(kept)


def test_the_operator_waits_for_files_that_its_init_container_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    there.touch()
    _await([there], seconds=60)
    assert capsys.readouterr().err == ""
    _await([there, tmp_path / "none"], seconds=0.5)
    assert capsys.readouterr().err == f"waiting for {tmp_path / 'none'}\n"
