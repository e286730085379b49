"""What people and programs can't do with what they have in hand, as docs/threat-model.md says: on the installation."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Kube, race
from tests.e2e.redis_access import RedisAccess
from tests.e2e.test_own_code import PROGRAM

pytestmark = pytest.mark.smoke

# Looks around as far as it can, and fails with what it found.
CURIOUS = """
import os, pathlib
found = []
if pathlib.Path("/var/run/secrets/kubernetes.io").exists():
    found.append("a token of the API server")
if 0 in (os.getuid(), os.geteuid()):
    found.append("root")
try:
    pathlib.Path("/usr/lib/mine").write_text("mine")
    found.append("a root file system that it can write")
except OSError:
    pass
for file in ("self", *(name for name in os.listdir("/proc") if name.isdecimal())):
    try:
        if b"://velodrome-" in pathlib.Path("/proc", file, "environ").read_bytes():
            found.append(f"the password of Redis in the environment of {file}")
    except OSError:
        pass
if found:
    raise SystemExit("found " + ", ".join(found))
"""


def test_code_of_an_entry_finds_nothing_that_it_may_use(installed: Kube, name: str, own_image: str) -> None:
    entry = {"name": "own", "image": own_image, "command": ["python", "-c", CURIOUS + PROGRAM]}
    installed.apply(race(name, entries=[entry], trials={"repeats": 1}))

    def ended() -> bool:
        return bool(installed.condition(name, "Complete") or installed.condition(name, "Failed"))

    installed.wait("the race's end", ended, 240)
    assert not installed.condition(name, "Failed"), installed.condition(name, "Failed")["message"]


def test_whoever_reaches_redis_without_a_password_may_do_nothing(installed: Kube) -> None:
    line = RedisAccess.of(installed).bare_cli()
    for words in ("PING", "INFO", "KEYS *", "FLUSHALL", "ACL LIST", "CONFIG GET *", "EVAL return 0"):
        assert "NOAUTH" in installed(*line, *words.split()), words
