"""What the scripts in tools/ say and do on machines that lack something.

Each test makes a machine of its own: a folder that is the whole PATH. Programs that change a machine are fakes there.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDINARY = ("awk", "bash", "cat", "df", "dirname", "env", "grep", "head", "mkdir", "rm", "sed", "sort", "touch")


class Machine:
    """A checkout and a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.bin, self.log = folder / "checkout", folder / "bin", folder / "log"
        self.bin.mkdir()
        shutil.copytree(ROOT / "tools", self.checkout / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "uv.lock", self.checkout)
        for name in ORDINARY:
            found = shutil.which(name)
            assert found
            (self.bin / name).symlink_to(found)

    def has(self, name: str, script: str = "exit 0") -> None:
        """Puts a program on PATH that logs how it was called and then does what `script` says."""
        path = self.bin / name
        assert not path.is_symlink()  # writing there would write to the real program
        path.write_text(f'#!{self.bin}/bash\necho "{name} $*" >> "{self.log}"\n{script}\n')
        path.chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a script of the checkout; nothing of the real environment reaches it."""
        return subprocess.run(
            [self.checkout / command[0], *command[1:]],
            env={"PATH": str(self.bin), "HOME": str(self.checkout), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        """How the fakes were called, in order."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_python_it_says_what_to_install(machine: Machine) -> None:
    done = machine.run("tools/uv", "--version")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, and there is no python3. To fix it:" in done.stderr
    assert "sudo apt-get install python3 python3-venv" in done.stderr


def test_an_old_python_is_named(machine: Machine) -> None:
    machine.has("python3", 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi')
    done = machine.run("tools/uv", "--version")
    assert done.returncode == 1
    assert "and there is Python 3.9.2. To fix it:" in done.stderr


def test_a_chosen_python_that_is_none_is_named(machine: Machine) -> None:
    done = machine.run("tools/uv", "--version", PYTHON="/nowhere/python3.12")
    assert done.returncode == 1
    assert "PYTHON=/nowhere/python3.12 is no Python 3.11 or newer." in done.stderr


def test_a_new_enough_uv_on_path_is_used(machine: Machine) -> None:
    machine.has("python3")
    machine.has("uv", "echo uv 99.0.0")
    done = machine.run("tools/uv", "sync", "--frozen")
    assert done.returncode == 0
    assert machine.calls()[-1] == f"uv --project {machine.checkout} sync --frozen"
    assert not (machine.checkout / ".uv").exists()


def test_an_old_uv_on_path_is_passed_over_for_the_pinned_one(machine: Machine) -> None:
    machine.has("python3", 'if [ "$2" = venv ]; then mkdir -p "$3/bin"; fi')
    machine.has("uv", "echo uv 0.4.30")
    done = machine.run("tools/uv", "--version")
    assert f"python3 -m venv {machine.checkout}/.uv" in machine.calls()
    assert "installing uv" in done.stderr
    assert "uv --project" not in "\n".join(machine.calls())


def test_a_python_without_venv_gets_the_package_that_brings_it(machine: Machine) -> None:
    python = 'case "$2" in *ensurepip*) exit 1 ;; *realpath*) echo python3-venv ;; esac'
    machine.has("python3", python)
    machine.has("apt-get")
    machine.has("id", "echo 1000")
    machine.has("sudo", "exit 1")
    done = machine.run("tools/uv", "--version")
    assert done.returncode == 1
    assert "  sudo apt-get -qq --yes install --no-install-recommends python3-venv\n" in done.stderr


def test_nothing_is_installed_where_nothing_is_missing(machine: Machine) -> None:
    there = ("valkey-server", "chromium", "prometheus", "promtool", "pushgateway", "alertmanager", "amtool")
    for name in ("apt-get", "id", *there):
        machine.has(name)
    servers = ("redis-server", "prometheus", "prometheus-alertmanager", "prometheus-pushgateway")
    done = machine.run("tools/system", *servers, "chromium")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "apt-get" not in "\n".join(machine.calls())


def test_root_installs_what_is_missing(machine: Machine) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get")
    assert machine.run("tools/system", "redis-server").returncode == 0
    assert machine.calls()[-2:] == [
        "apt-get -qq update",
        "apt-get -qq --yes install --no-install-recommends redis-server",
    ]


def test_a_user_whose_sudo_needs_no_password_installs_with_it(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    machine.has("sudo")
    machine.has("apt-get")
    assert machine.run("tools/system", "redis-server").returncode == 0
    assert "sudo apt-get -qq --yes install --no-install-recommends redis-server" in machine.calls()


def test_a_user_without_rights_sees_the_command_for_what_is_missing_alone(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    machine.has("sudo", "exit 1")
    machine.has("apt-get")
    machine.has("chromium")
    done = machine.run("tools/system", "redis-server", "chromium")
    assert done.returncode == 1
    assert "this machine lacks: redis-server. To fix it:" in done.stderr
    assert "  sudo apt-get -qq --yes install --no-install-recommends redis-server\n" in done.stderr
    assert not [call for call in machine.calls() if call.startswith("apt-get")]


def test_a_prometheus_without_its_promtool_is_not_there(machine: Machine) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get")
    machine.has("prometheus")
    assert machine.run("tools/system", "prometheus").returncode == 0
    assert machine.calls()[-1] == "apt-get -qq --yes install --no-install-recommends prometheus"


def test_an_installation_that_fails_says_what_is_still_missing(machine: Machine) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get", "exit 100")
    done = machine.run("tools/system", "redis-server")
    assert done.returncode == 1
    assert "this machine still lacks: redis-server" in done.stderr


def test_where_apt_is_locked_it_waits_says_so_and_goes_on(machine: Machine) -> None:
    """The lock of `apt-get update` is one that apt itself does not wait for."""
    words = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 17 (unattended-upgr)"
    machine.has("id", "echo 0")
    machine.has("sleep", f"touch {machine.checkout}/free")
    machine.has("apt-get", f'[ -e {machine.checkout}/free ] || {{ echo "{words}" >&2; exit 100; }}')
    done = machine.run("tools/system", "redis-server")
    assert done.returncode == 0, done.stderr
    assert f"apt is busy, this waits for it: {words}" in done.stderr
    assert [call.split()[0] for call in machine.calls() if "-u" not in call.split()] == [
        "apt-get", "sleep", "apt-get", "apt-get",
    ]  # fmt: skip


def test_where_apt_stays_locked_it_gives_up_in_words(machine: Machine) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get", 'echo "E: Could not get lock /var/lib/dpkg/lock-frontend" >&2; exit 100')
    done = machine.run("tools/system", "redis-server", APT_PATIENCE="0")
    assert done.returncode == 1
    assert "apt stayed busy: E: Could not get lock /var/lib/dpkg/lock-frontend" in done.stderr
    assert "this machine still lacks: redis-server" in done.stderr


def test_a_machine_without_apt_says_what_it_lacks(machine: Machine) -> None:
    machine.has("id", "echo 0")
    done = machine.run("tools/system", "redis-server")
    assert done.returncode == 1
    assert "There is no apt-get here" in done.stderr


def test_too_small_a_disk_is_found_before_the_download(machine: Machine) -> None:
    machine.has("python3")
    machine.has("uv", f'case "$*" in --version) echo uv 99.0.0 ;; *"cache dir") echo {machine.checkout}/cache ;; esac')
    done = machine.run("tools/sync", DISK_GB="1000000000")
    assert done.returncode == 1
    assert "1000000000 GB of disk are needed" in done.stderr
    assert "UV_CACHE_DIR" in done.stderr
    assert "uv --project" in "\n".join(machine.calls())
    assert not [call for call in machine.calls() if "sync" in call]


def test_enough_disk_installs_what_is_locked(machine: Machine) -> None:
    machine.has("python3")
    answers = f'--version) echo uv 99.0.0 ;; *"cache dir") echo /none ;; *sync*) mkdir {machine.checkout}/.venv ;;'
    machine.has("uv", f'case "$*" in {answers} esac')
    done = machine.run("tools/sync", DISK_GB="0")
    assert done.returncode == 0, done.stderr
    assert machine.calls()[-1] == f"uv --project {machine.checkout} sync --frozen --all-extras"
    assert (machine.checkout / ".venv" / ".synced").exists()


def test_an_alertmanager_without_its_amtool_is_not_there(machine: Machine) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get")
    machine.has("prometheus-alertmanager")
    assert machine.run("tools/system", "prometheus-alertmanager").returncode == 0
    assert machine.calls()[-1] == "apt-get -qq --yes install --no-install-recommends prometheus-alertmanager"
