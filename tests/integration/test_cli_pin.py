"""`velodrome pin` with a real registry: which digests it finds, how it signs in, and what it leaves of a file."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.integration.registries import BASIC, PASSWORDS, Registry, TokenServer
from velodrome.cli.app import app
from velodrome.cli.exit_codes import exit_code
from velodrome.errors import VelodromeError
from velodrome.spec import read_jobs

FILE = """\
# The race of the week.
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {{name: pinned}}
spec:
  dataset: {{name: digits}}   # ships with a library
  entries:
    - {{name: ours, image: '{host}/team/ours:v1', command: [python, -m, ours]}}  # our own
    - name: theirs
      image: &theirs "{host}/theirs"
      command: [theirs]
    - {{name: again, image: *theirs, command: [again]}}
  runner:
    image: {host}/runner:v2  # weekly
    volumes:
      - name: weights
        mountPath: /weights
        image:
          reference: >-
            {host}/weights:v1
    template:
      spec:
        initContainers: [{{name: fetch, image: {host}/team/ours:v1}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: other}}
spec: {{containers: [{{name: a, image: {host}/team/ours:v1}}]}}
"""


def pin(*arguments: str | Path, text: str | None = None) -> Result:
    """The command. An error ends it as `velodrome.__main__` does: with its text and its exit code."""
    done = CliRunner().invoke(app, ["pin", *map(str, arguments)], input=text)
    if isinstance(done.exception, VelodromeError):
        done.exit_code = exit_code(done.exception)
        done.stderr_bytes = (done.stderr_bytes or b"") + str(done.exception).encode()
    return done


@pytest.fixture(autouse=True)
def signed_in_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which nobody has signed in anywhere."""
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    made = Registry(tmp_path_factory.mktemp("registry") / "open")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def digests(registry: Registry) -> dict[str, str]:
    images = {"team/ours": "v1", "theirs": "latest", "runner": "v2", "weights": "v1"}
    return {name: registry.push(name, tag, json.dumps({"of": name})) for name, tag in images.items()}


@pytest.fixture
def file(tmp_path: Path, registry: Registry, digests: dict[str, str]) -> Path:
    path = tmp_path / "race.yaml"
    path.write_text(FILE.format(host=registry.host))
    return path


def test_a_file_gets_digests_and_keeps_everything_else(file: Path, registry: Registry, digests: dict[str, str]) -> None:
    file.chmod(0o640)
    before = file.read_text()
    done = pin(file, "--insecure")
    assert done.exit_code == 0, done.output
    after = file.read_text()
    wanted = (
        before.replace("/team/ours:v1', ", f"/team/ours:v1@{digests['team/ours']}', ")
        .replace('/theirs"', f'/theirs@{digests["theirs"]}"')
        .replace("/runner:v2  #", f"/runner:v2@{digests['runner']}  #")
        .replace(f">-\n            {registry.host}/weights:v1", f'"{registry.host}/weights:v1@{digests["weights"]}"')
        .replace("/team/ours:v1}]\n---", f"/team/ours:v1@{digests['team/ours']}}}]\n---")
    )
    assert after == wanted
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    (job,) = read_jobs(file)
    assert job.spec.entries[2].image == f"{registry.host}/theirs@{digests['theirs']}"
    assert f"{file}:8: spec.entries[0].image" in done.output
    again = pin(file, "--insecure")
    assert (again.exit_code, file.read_text()) == (0, after)
    assert "nothing to pin" in again.output


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_stay(file: Path, end: str) -> None:
    text = "\ufeff" + file.read_text().replace("\n", end)
    file.write_bytes(text.encode())
    assert pin(file, "--insecure").exit_code == 0
    after = file.read_bytes().decode()
    assert after.startswith("\ufeff# The race")
    assert after.count(end) == text.count(end) - 1  # a folded text became one line
    assert after.count("@sha256:") == 5


def test_a_dry_run_writes_nothing(file: Path, digests: dict[str, str]) -> None:
    before = file.read_text()
    done = pin(file, "--insecure", "--dry-run")
    assert (done.exit_code, file.read_text()) == (0, before)
    assert digests["runner"] in done.output


def test_the_result_goes_elsewhere_if_asked(file: Path, tmp_path: Path) -> None:
    before = file.read_text()
    done = pin(file, "--insecure", "--output", "-")
    assert done.stdout.count("@sha256:") == 5
    assert done.stdout.startswith("# The race of the week.\n")
    assert pin(file, "--insecure", "-o", tmp_path / "new.yaml").exit_code == 0
    assert (tmp_path / "new.yaml").read_text() == done.stdout
    assert file.read_text() == before
    piped = pin("-", "--insecure", text=before)
    assert piped.stdout == done.stdout


def test_a_link_keeps_leading_to_the_file(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    assert pin(link, "--insecure").exit_code == 0
    assert link.is_symlink()
    assert file.read_text().count("@sha256:") == 5


def test_an_update_asks_again_about_a_tag(file: Path, registry: Registry, digests: dict[str, str]) -> None:
    old = f"{registry.host}/runner:v2@sha256:{'0' * 64}"
    file.write_text(file.read_text().replace(f"{registry.host}/runner:v2", old))
    assert pin(file, "--insecure").exit_code == 0
    assert old in file.read_text()
    assert pin(file, "--insecure", "--update").exit_code == 0
    assert f"{registry.host}/runner:v2@{digests['runner']}" in file.read_text()


def test_one_image_that_is_not_there_leaves_the_file_as_it_was(file: Path) -> None:
    file.write_text(file.read_text().replace("runner:v2", "runner:v3"))
    before = file.read_text()
    done = pin(file, "--insecure")
    assert (done.exit_code, file.read_text()) == (3, before)
    assert "line 14: spec.runner.image" in done.stderr
    assert "has no such image" in done.stderr
    assert "nothing was written" in done.stderr


def test_a_registry_that_speaks_http_is_asked_only_if_that_was_said(file: Path) -> None:
    done = pin(file)
    assert done.exit_code == 3
    assert "--insecure" in done.stderr


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("registry.example/Team/ours:v1", "this is no name of an image"),
        ("registry.example/ours:v 1", "is no tag"),
        ("registry.example/ours@sha256:12", "a digest is sha256:"),
    ],
)
def test_a_name_that_is_none_is_told(file: Path, registry: Registry, image: str, says: str) -> None:
    file.write_text(file.read_text().replace(f"{registry.host}/runner:v2", f'"{image}"'))
    done = pin(file, "--insecure")
    assert done.exit_code == 2
    assert "spec.runner.image" in done.stderr
    assert says in done.stderr


def test_what_is_no_file_and_no_yaml_is_told(tmp_path: Path) -> None:
    assert pin(tmp_path / "absent.yaml").exit_code == 2
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [")
    assert pin(bad).exit_code == 2
    bad.write_bytes(b"\xff\xfe")
    assert "UTF-8" in pin(bad).stderr


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Registry]:
    """A registry that asks for a password."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    (folder / "passwords").write_text(PASSWORDS)
    auth = {"htpasswd": {"realm": "test", "path": str(folder / "passwords")}}
    made = Registry(folder, auth, {"Authorization": BASIC})
    made.start()
    yield made
    made.stop()


def small(folder: Path, host: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(f"kind: BenchmarkJob\nspec: {{runner: {{image: {host}/runner:v1}}}}\n")
    return path


def test_a_password_is_docker_logins(guarded: Registry, tmp_path: Path, signed_in_nowhere: Path) -> None:
    digest = guarded.push("runner", "v1")
    path = small(tmp_path, guarded.host)
    done = pin(path, "--insecure")
    assert done.exit_code == 3
    assert f"docker login {guarded.host}" in done.stderr
    config = signed_in_nowhere / ".docker" / "config.json"
    wrong = base64.b64encode(b"ann:wrong").decode()
    config.write_text(json.dumps({"auths": {guarded.host: {"auth": wrong}}}))
    assert pin(path, "--insecure").exit_code == 3
    config.write_text(json.dumps({"auths": {guarded.host: {"auth": BASIC.split()[1]}}}))
    assert pin(path, "--insecure").exit_code == 0
    assert path.read_text().endswith(f"runner:v1@{digest}}}}}\n")


def test_a_password_may_be_a_credential_helpers(
    guarded: Registry, tmp_path: Path, signed_in_nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = guarded.push("runner", "v1")
    helper = tmp_path / "docker-credential-safe"
    answer = json.dumps({"Username": "ann", "Secret": "secret"})
    helper.write_text(f'#!/bin/sh\n[ "$1" = get ] && [ "$(cat)" = "{guarded.host}" ] && echo \'{answer}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = {"credHelpers": {guarded.host: "safe"}}
    (signed_in_nowhere / ".docker" / "config.json").write_text(json.dumps(config))
    path = small(tmp_path, guarded.host)
    assert pin(path, "--insecure").exit_code == 0
    assert digest in path.read_text()


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    made = TokenServer(tmp_path / "tokens")
    yield made
    made.stop()


@pytest.fixture
def delegating(tmp_path: Path, tokens: TokenServer) -> Iterator[Registry]:
    """A registry that wants tokens of another server."""
    pushing = {"Authorization": f"Bearer {tokens.token('runner', ['pull', 'push'])}"}
    made = Registry(tmp_path / "delegating", tokens.auth(), pushing)
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("entry", "how"),
    [({"username": "ann", "password": "secret"}, BASIC), ({"identitytoken": "identity"}, "identity")],
    ids=["password", "identity-token"],
)
def test_a_token_is_fetched_where_the_registry_says(
    delegating: Registry,
    tokens: TokenServer,
    tmp_path: Path,
    signed_in_nowhere: Path,
    entry: dict[str, str],
    how: str,
) -> None:
    digest = delegating.push("runner", "v1")
    path = small(tmp_path, delegating.host)
    assert pin(path, "--insecure").exit_code == 3
    (signed_in_nowhere / ".docker" / "config.json").write_text(json.dumps({"auths": {delegating.host: entry}}))
    tokens.asked.clear()
    assert pin(path, "--insecure").exit_code == 0
    assert digest in path.read_text()
    ((wanted, signed),) = tokens.asked
    assert signed == how
    assert wanted["scope"] == "repository:runner:pull"
    assert wanted["service"] == "registry"
