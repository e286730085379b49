"""Checks what a race needs of this machine. Writes only a probe file, and removes it again."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from velodrome.errors import LocalError, VelodromeError
from velodrome.kernel.limits import cpu_limit
from velodrome.kernel.pressure import busy_now
from velodrome.machine.home import LEAST_FREE_BYTES, locate_home, open_home
from velodrome.machine.redis.program import find_server
from velodrome.store import open_store

_OLDEST_PYTHON = (3, 11)
_ROOMY_BYTES = 1024**3
# Runs in its own process: torch takes seconds and hundreds of megabytes, and a broken build ends its process.
_ASK_TORCH = """
import json, torch
accelerators = [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]
print(json.dumps([torch.__version__, torch.version.cuda, accelerators]))
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `found` says what is there, `fix` says what to do if that is not enough."""

    name: str
    status: Literal["ok", "warning", "missing"]
    found: str
    fix: str = ""


def examine(redis_url: str | None = None) -> list[Check]:
    """The results of all checks, in the order in which a race needs these things."""
    redis = (lambda: named_redis(redis_url)) if redis_url else own_redis
    looks: list[Callable[[], Check]] = [python, torch, runner, cpus, quiet, redis, data_folder, disk, leaderboard]
    return [look() for look in looks]


def python() -> Check:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= _OLDEST_PYTHON:
        return Check("Python", "ok", f"{version} at {sys.executable}")
    return Check("Python", "missing", version, "use Python 3.11 or newer")


def torch() -> Check:
    """torch, and the accelerator that it can use."""
    fix = "pip install 'velodrome[runner]'"
    if importlib.util.find_spec("torch") is None:
        return Check("torch", "missing", "not installed", fix)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=300, check=True
        )
        version, cuda, accelerators = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        words = (error.stderr.strip().splitlines() or [f"ended with {error.returncode}"])[-1]
        return Check("torch", "missing", f"can't be imported: {words}", f"install it again: {fix}")
    except (subprocess.TimeoutExpired, ValueError) as error:
        return Check("torch", "missing", f"does not work: {error}", f"install it again: {fix}")
    if accelerators:
        return Check("torch", "ok", f"{version} with CUDA {cuda} on {', '.join(accelerators)}")
    return Check("torch", "ok", f"{version}, computing on the CPU (no NVIDIA GPU found)")


def runner() -> Check:
    """The runner, which trains and measures."""
    missing = _lacking("velodrome_runner", "torchvision", "torchmetrics", "sklearn")
    if missing:
        return Check("runner", "missing", f"not installed: {', '.join(missing)}", "pip install 'velodrome[runner]'")
    return Check("runner", "ok", "installed")


def cpus() -> Check:
    """The number of threads that a race gets."""
    limit = cpu_limit()
    return Check("CPUs", "ok", f"{limit} may be used at once")


def quiet(root: Path = Path("/"), sleep: Callable[[float], None] = time.sleep) -> Check:
    """What other programs do to this machine right now. A race on a busy machine marks what it measures.

    `root` is the folder that holds `proc` and `sys`.
    """
    found = busy_now(root, sleep)
    if found:
        fix = "stop them before a race that ranks speeds, or measure on a machine of its own"
        return Check("other programs", "warning", found, fix)
    return Check("other programs", "ok", "the machine is quiet")


def own_redis() -> Check:
    """A server program that Velodrome can start."""
    try:
        program = find_server()
    except LocalError as error:
        return Check("Redis", "missing", str(error), "apt install redis-server, or pip install 'velodrome[redis]'")
    return Check("Redis", "ok", f"{program.text} at {program.path}")


def named_redis(url: str) -> Check:
    """The server that --redis names."""
    try:
        with open_store(url) as store:
            store.ping()
            address = store.address
    except VelodromeError as error:
        return Check("Redis", "missing", str(error), "start it, or leave --redis and VELODROME_REDIS_URL out")
    return Check("Redis", "ok", f"answers at {address}")


def data_folder() -> Check:
    """The folder in which results are kept."""
    try:
        home = open_home()
    except LocalError as error:
        return Check("data folder", "missing", str(error), "VELODROME_HOME=FOLDER names another")
    return Check("data folder", "ok", str(home.folder))


def disk() -> Check:
    """The free space for results and for data sets."""
    try:
        folder = locate_home().folder
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
    except (LocalError, OSError) as error:
        return Check("free disk", "missing", str(error), "VELODROME_HOME=FOLDER names another")
    found = f"{free / 2**30:.1f} GiB at {folder}"
    if free < LEAST_FREE_BYTES:
        return Check("free disk", "missing", found, "make room, or name another folder with VELODROME_HOME=FOLDER")
    if free < _ROOMY_BYTES:
        return Check("free disk", "warning", found, "make room before you download data sets")
    return Check("free disk", "ok", found)


def leaderboard() -> Check:
    """The leaderboard, which shows the rankings in a browser. A race does not need it."""
    missing = _lacking("velodrome_leaderboard", "streamlit")
    if missing:
        fix = "pip install 'velodrome[leaderboard]'; without it, `velodrome results` shows the rankings"
        return Check("leaderboard", "warning", f"not installed: {', '.join(missing)}", fix)
    return Check("leaderboard", "ok", "installed")


def _lacking(*packages: str) -> list[str]:
    return [package for package in packages if importlib.util.find_spec(package) is None]
