"""Connections with TLS and a password file, on a real Redis with certificates that Velodrome's setup made."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis

from tests.integration.installation import InstalledRedis, install, unused_port
from tests.integration.test_own_code import GOOD, Own
from velodrome import keys
from velodrome.connections import certificates
from velodrome.connections.clients import RedisLogin, build
from velodrome.errors import StoreRefused, StoreUnavailable
from velodrome.results.records import REPORT, ResultReport
from velodrome.store import open_store, roles
from velodrome.store.edge import connect, translated
from velodrome_operator.access import Access, user_name


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[InstalledRedis]:
    made = install(tmp_path)
    made.start()
    yield made
    made.kill()


def said(url: str, login: RedisLogin) -> str:
    with connect(url, login) as client, pytest.raises(StoreRefused) as refused, translated("host:1"):
        client.ping()
    return str(refused.value)


def test_a_component_finds_all_in_its_environment(installed: InstalledRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in installed.environ("leaderboard").items():
        monkeypatch.setenv(name, value)
    with open_store(installed.url) as store:
        store.ping()
        assert store.boards() == []
    with connect(installed.url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.set("velodrome:jobs", "x")


def test_without_a_user_nothing_but_the_probe_answers(installed: InstalledRedis) -> None:
    ca = RedisLogin(ca_file=installed.mounts / roles.AUTHORITY)
    assert "wants a password" in said(installed.url, ca)
    assert "VELODROME_REDIS_PASSWORD_FILE" in said(installed.url, ca)
    with build(installed.url.replace("://", "://probe:anything@"), ca) as probe:
        assert probe.ping()
        for refused in (("GET", "x"), ("INFO",), ("KEYS", "*"), ("ACL", "WHOAMI"), ("CLIENT", "LIST")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                probe.execute_command(*refused)


def test_a_wrong_password_names_the_variable(installed: InstalledRedis) -> None:
    (installed.mounts / "operator-password").write_text("not it")
    words = said(installed.url, installed.login("operator"))
    assert "refuses the user name or the password" in words
    assert "VELODROME_REDIS_PASSWORD_FILE" in words
    assert "not it" not in words


def test_another_authority_is_refused_with_the_variable(installed: InstalledRedis, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.write_text(certificates.make(("velodrome-redis",), datetime.now(UTC)).authority)
    login = RedisLogin("operator", installed.mounts / "operator-password", other)
    assert "set VELODROME_REDIS_CA_FILE to the ca.crt of Redis' certificate" in said(installed.url, login)
    none = RedisLogin("operator", installed.mounts / "operator-password")
    assert "VELODROME_REDIS_CA_FILE" in said(installed.url, none)


def test_a_host_that_the_certificate_lacks_is_refused(
    installed: InstalledRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.kill()
    login = installed.login("operator")
    names = certificates.names_of(installed.data["tls.crt"])
    assert names[0] == "velodrome-redis"
    assert names[-3:] == ("localhost", "127.0.0.1", "::1")
    # A server for other names: it listens at 127.0.0.1, which its certificate lacks.
    present = certificates.ServerCertificate(
        *(installed.data[key] for key in ("ca.crt", "ca.key", "tls.crt", "tls.key"))
    )
    monkeypatch.setattr(certificates, "_ALWAYS", ())
    foreign = certificates.make(("elsewhere",), datetime.now(UTC), renewed=present)
    (installed.mounts / "tls.crt").write_text(foreign.certificate)
    (installed.mounts / "tls.key").write_text(foreign.key)
    with pytest.raises(AssertionError):
        installed.start(seconds=1)
    words = said(installed.url, login)
    assert "shows a certificate for other names than this one" in words
    assert "docs/redis.md" in words


def test_a_certificate_that_has_expired_is_told(installed: InstalledRedis) -> None:
    installed.kill()
    before = datetime.now(UTC) - timedelta(days=certificates.SERVER_DAYS + 1)
    made = certificates.make(("velodrome-redis",), before)
    for name, text in (("ca.crt", made.authority), ("tls.crt", made.certificate), ("tls.key", made.key)):
        (installed.mounts / name).write_text(text)
    with pytest.raises(AssertionError):
        installed.start(seconds=1)
    assert "has expired: renew it (docs/redis.md)" in said(installed.url, installed.login("operator"))


def test_tls_and_a_port_without_it_are_told_apart(installed: InstalledRedis, tmp_path: Path) -> None:
    plain = unused_port()
    with installed.client("operator") as client:
        client.config_set("port", plain)
    login = installed.login("operator")
    with (
        connect(f"rediss://localhost:{plain}/0", login) as client,
        pytest.raises(StoreUnavailable, match="does this port speak TLS"),
        translated("host"),
    ):
        client.ping()
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:  # it answers at once, in plain text
        threading.Thread(target=other.serve_forever, daemon=True).start()
        assert "speaks no TLS at this port" in said(f"rediss://localhost:{other.server_port}/0", login)
        other.shutdown()
    with (
        connect(f"redis://localhost:{installed.port}/0", login) as client,
        pytest.raises(StoreUnavailable, match=r"does it expect TLS, rediss://\?"),
        translated("host"),
    ):
        client.ping()


@pytest.mark.parametrize("variable", [keys.ENV_REDIS_PASSWORD_FILE, keys.ENV_REDIS_CA_FILE])
def test_a_file_that_is_missing_or_empty_is_named(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(StoreRefused, match=f"{variable}: {re.escape(str(path))} can't be read"):
        open_store("rediss://host:1")
    path.write_text("")
    with pytest.raises(StoreRefused, match=f"{variable}: {re.escape(str(path))} (is empty|has no certificates)"):
        open_store("rediss://host:1")


def test_a_user_without_a_password_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.ENV_REDIS_USERNAME, "operator")
    with pytest.raises(StoreRefused, match="set VELODROME_REDIS_PASSWORD_FILE to the file that has it"):
        open_store("redis://host:1")


@pytest.mark.parametrize("url", ["redis://:own@host", "redis://user:own@host:1", "redis://host?password=own"])
def test_a_url_with_a_password_of_its_own_uses_that(url: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of the file")
    with build(url, RedisLogin("operator", tmp_path / "password")) as client:
        arguments = client.get_connection_kwargs()
    assert arguments["password"] == "own"
    assert arguments.get("credential_provider") is None


def test_a_socket_of_this_machine_gets_no_password_of_the_environment(tmp_path: Path) -> None:
    with build("unix:///run/redis.sock", RedisLogin("operator", tmp_path / "none")) as client:
        assert "credential_provider" not in client.get_connection_kwargs()


def test_the_file_is_read_again_at_each_new_connection(installed: InstalledRedis) -> None:
    with installed.client("operator") as admin, connect(installed.url, installed.login("leaderboard")) as client:
        client.ping()
        admin.execute_command("ACL", "SETUSER", "leaderboard", "resetpass", ">another")
        client.ping()  # a connection that is open stays so
        (installed.mounts / "leaderboard-password").write_text("another\n")
        client.connection_pool.disconnect()
        client.ping()
        (installed.mounts / "leaderboard-password").unlink()
        client.connection_pool.disconnect()
        with pytest.raises(StoreRefused, match=r"VELODROME_REDIS_PASSWORD_FILE: .* can't be read"), translated("x"):
            client.ping()


def test_a_trial_reports_with_tls_as_the_user_of_its_race(installed: InstalledRedis, tmp_path: Path) -> None:
    with installed.client("operator") as admin:
        access = Access(admin, installed.data["job-key"], f"localhost:{installed.port}", encrypted=True)
        access.grant("uid")
        url = access.url("uid")
        assert url.startswith(f"rediss://{user_name('uid')}:")
        program = tmp_path / "program"
        program.mkdir()
        own = Own(program, None, GOOD)  # type: ignore[arg-type]
        process = own.start("exec", redis_url=url, VELODROME_REDIS_CA_FILE=str(installed.mounts / "ca.crt"))
        output, _ = process.communicate(timeout=60)
        assert process.returncode == keys.EXIT_OK, output
        reports = [REPORT.validate_json(each) for each in admin.lrange(keys.inbox("uid"), 0, -1)]
        assert [report.result.outcome for report in reports if isinstance(report, ResultReport)] == ["Succeeded"]

        process = own.start("exec", redis_url=url, VELODROME_REPORT_DEADLINE_SECONDS="0.2")
        output, _ = process.communicate(timeout=60)
        assert process.returncode == keys.EXIT_UNDELIVERED
        assert "certificate verify failed" in output


def test_the_program_that_makes_certificates_is_not_needed_to_connect() -> None:
    """The runner's and the leaderboard's images have no such library."""
    assert shutil.which("redis-server")
    code = "import sys; sys.modules['cryptography'] = None\nimport velodrome.store.edge, velodrome.store.roles"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
