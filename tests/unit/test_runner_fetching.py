"""Downloads from a real server, which cuts connections, ignores ranges and changes its file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import LoopbackServer
from velodrome import keys
from velodrome_runner.data.fetching import FULL, fetch

CONTENT = bytes(range(256)) * 4096  # 1 MiB
CHANGED = CONTENT[::-1]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Server(LoopbackServer):
    """Serves one file by RFC 9110. `cuts` has, for each answer, after how many of its bytes the connection ends."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.cuts: list[int] = []
        self.validators: dict[str, str] = {"ETag": '"one"'}
        self.takes_ranges = True
        self.obeys_if_range = True
        self.sized = True
        self.shift = 0  # how far the range that it sends begins after the one that was asked for
        self.asked: list[tuple[str | None, str | None]] = []  # Range and If-Range of each request

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                wanted, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
                self.asked.append((wanted, condition))
                same = condition in self.validators.values() or not self.obeys_if_range
                start = int(wanted[len("bytes=") : -1]) if wanted and self.takes_ranges and same else None
                if start is not None and start >= len(self.content):
                    handler.send_response(416)
                    handler.send_header("Content-Length", "0")
                    handler.end_headers()
                    return
                start = None if start is None else start + self.shift
                rest = self.content[start or 0 :]
                handler.send_response(200 if start is None else 206)
                if start is not None:
                    whole = len(self.content)
                    handler.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
                for name, value in self.validators.items():
                    handler.send_header(name, value)
                if self.sized:
                    handler.send_header("Content-Length", str(len(rest)))
                handler.end_headers()
                handler.wfile.write(rest[: self.cuts.pop(0)] if self.cuts else rest)

            def log_message(self, *_: object) -> None: ...

        super().__init__(Handler)
        self.url += "/file"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")  # a proxy can't reach this machine's loopback interface
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


def fetched(server: Server, target: Path, content: bytes = CONTENT, **more: Any) -> bytes:
    fetch([server.url], target, md5(content), tell=lambda _: None, **more)
    assert [file.name for file in target.parent.iterdir()] == [target.name]
    return target.read_bytes()


def broken_off(server: Server, target: Path, after: int = 300_000) -> None:
    """What an attempt leaves that was ended after so many bytes."""
    server.cuts = [after, 0]
    if not server.validators:
        server.cuts = [after] * 5
    with pytest.raises(RuntimeError, match=rf"ended after {after} of {len(CONTENT)} bytes"):
        fetch([server.url], target, md5(CONTENT), tell=lambda _: None)
    server.cuts = []
    server.asked.clear()
    assert not target.exists()


def test_a_file_that_is_there_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    assert fetched(server, tmp_path / "folder" / "file") == CONTENT
    server.asked.clear()
    assert fetched(server, tmp_path / "folder" / "file") == CONTENT
    assert server.asked == []


def test_a_connection_that_ends_in_the_middle_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    server.cuts = [300_000, 200_000]
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.asked == [(None, None), ("bytes=300000-", '"one"'), ("bytes=500000-", '"one"')]


def test_a_later_attempt_goes_on_where_an_earlier_one_was_broken_off(server: Server, tmp_path: Path) -> None:
    broken_off(server, tmp_path / "file")
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.asked == [("bytes=300000-", '"one"')]


def test_an_address_that_breaks_off_again_and_again_is_given_up(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000] * 99
    with pytest.raises(RuntimeError, match="ended after 5000 of 1048576 bytes"):
        fetch([server.url], tmp_path / "file", md5(CONTENT), tell=lambda _: None)


def test_a_download_that_was_whole_but_not_yet_named_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.asked == []


@pytest.mark.parametrize(
    "validators",
    [{"ETag": 'W/"one"', "Last-Modified": "Mon, 02 Nov 2026 08:00:00 GMT"},
     {"Last-Modified": "Mon, 02 Nov 2026 08:00:00 GMT"}],
)  # fmt: skip
def test_a_weak_etag_gives_way_to_the_date(server: Server, tmp_path: Path, validators: dict[str, str]) -> None:
    server.validators = validators
    broken_off(server, tmp_path / "file")
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.asked == [("bytes=300000-", "Mon, 02 Nov 2026 08:00:00 GMT")]


def test_without_a_validator_it_starts_over(server: Server, tmp_path: Path) -> None:
    server.validators = {}
    broken_off(server, tmp_path / "file")
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.asked == [(None, None)]


def test_a_server_that_ignores_ranges_sends_all_of_it(server: Server, tmp_path: Path) -> None:
    broken_off(server, tmp_path / "file")
    server.takes_ranges = False
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.asked == [("bytes=300000-", '"one"')]


@pytest.mark.parametrize("obeys", [True, False])
def test_a_file_that_changed_between_starts_over(server: Server, tmp_path: Path, *, obeys: bool) -> None:
    broken_off(server, tmp_path / "file")
    server.content, server.validators, server.obeys_if_range = CHANGED, {"ETag": '"two"'}, obeys
    assert fetched(server, tmp_path / "file", CHANGED) == CHANGED
    assert server.asked == [("bytes=300000-", '"one"')] + ([] if obeys else [(None, None)])


def test_a_file_that_changed_under_its_etag_starts_over(server: Server, tmp_path: Path) -> None:
    broken_off(server, tmp_path / "file")
    server.content = CHANGED
    assert fetched(server, tmp_path / "file", CHANGED) == CHANGED
    assert server.asked == [("bytes=300000-", '"one"'), (None, None)]


def test_a_server_that_sends_another_range_is_asked_for_all_of_it(server: Server, tmp_path: Path) -> None:
    broken_off(server, tmp_path / "file")
    server.shift = 1000
    lines: list[str] = []
    fetch([server.url], tmp_path / "file", md5(CONTENT), tell=lines.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("bytes=300000-", '"one"'), (None, None)]
    assert lines[0] == f"{keys.DOWNLOADING}file: 0.0 of 1.0 MiB (0%)", "nothing of that range was taken"


def test_a_part_that_is_longer_than_the_file_starts_over(server: Server, tmp_path: Path) -> None:
    broken_off(server, tmp_path / "file")
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.asked == [(f"bytes={len(CONTENT) + 4}-", '"one"'), (None, None)]


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=rf"{server.url} does not have the MD5 {md5(CHANGED)}"):
        fetch([server.url], tmp_path / "file", md5(CHANGED), tell=lambda _: None)
    assert list(tmp_path.iterdir()) == []
    assert len(server.asked) == 1


def test_a_file_of_that_name_with_other_content_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"other")
    assert fetched(server, tmp_path / "file") == CONTENT


def test_the_next_address_goes_on(server: Server, tmp_path: Path) -> None:
    server.cuts = [300_000, 0]
    fetch(["http://127.0.0.1:9/", server.url, server.url], tmp_path / "file", md5(CONTENT), tell=lambda _: None)
    assert server.asked[2:] == [("bytes=300000-", '"one"')]


def test_every_address_that_failed_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"127.0.0.1:9/ gave no answer .*; http.* does not have the MD5"):
        fetch(["http://127.0.0.1:9/", server.url], tmp_path / "file", md5(b""), tell=lambda _: None)


def test_a_full_disk_is_the_disks_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").symlink_to("/dev/full")  # each write says that the disk is full
    with pytest.raises(OSError, match="No space left") as caught:
        fetch([server.url, server.url], tmp_path / "file", md5(CONTENT), tell=lambda _: None)
    assert caught.value.errno in FULL
    assert len(server.asked) == 1, "another address has no more room"
    assert not (tmp_path / "file").exists()


def test_progress_is_told_every_few_seconds(server: Server, tmp_path: Path) -> None:
    lines: list[str] = []
    times = iter(range(0, 99, 2))  # each piece takes some seconds
    broken_off(server, tmp_path / "file", after=len(CONTENT) // 2)
    fetch([server.url], tmp_path / "file", md5(CONTENT), tell=lines.append, clock=lambda: float(next(times)))
    assert lines[0] == f"{keys.DOWNLOADING}file: 0.5 of 1.0 MiB (50%)"
    assert lines[-1] == f"{keys.DOWNLOADING}file: 1.0 of 1.0 MiB (100%)"


def test_the_size_of_a_file_may_be_unknown(server: Server, tmp_path: Path) -> None:
    server.sized = False
    lines: list[str] = []
    fetch([server.url], tmp_path / "file", md5(CONTENT), tell=lines.append)
    assert lines[-1] == f"{keys.DOWNLOADING}file: 1.0 MiB"
