"""Names of backups and which may go; and what is no whole backup, at every place where it can be cut or changed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.backup.document import BackupContents, BackupDamaged, check_backup, read_backup
from velodrome.backup.names import backups_in, moment_of, next_name, surplus

NOW = datetime(2026, 3, 1, 2, 0, 7, 123456, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_a_name_has_its_time_and_nothing_else_is_a_name() -> None:
    name = next_name(NOW, ())
    assert name == "velodrome-20260301T020007Z.jsonl.gz"
    assert moment_of(name) == NOW.replace(microsecond=0)
    odd = [f".{name}.part", f"{name}.part", "velodrome-20261301T020007Z.jsonl.gz", "notes.txt", f"{name}\n"]
    assert backups_in([*odd, name]) == [name]


@given(st.lists(MOMENTS, min_size=1, max_size=12))
def test_what_was_made_later_has_a_later_name_whatever_the_clock_says(clock: list[datetime]) -> None:
    names: list[str] = []
    for moment in clock:
        names.append(next_name(moment, names))
    assert names == sorted(set(names))


@given(st.lists(MOMENTS, unique=True, max_size=12), st.integers(0, 14))
def test_the_newest_stay_and_all_older_ones_go(moments: list[datetime], keep: int) -> None:
    names: list[str] = []
    for moment in moments:
        names.append(next_name(moment, names))
    gone = surplus([*names, "notes.txt"], keep)
    left = [name for name in names if name not in gone]
    assert left == (names[-keep:] if keep else names)


def test_none_goes_that_is_made_now_if_the_clock_was_years_ahead() -> None:
    late = next_name(NOW + timedelta(days=9000), ())
    made = next_name(NOW, [late])
    assert surplus([late, made], 1) == [late]


LINES = ['{"type":"job","place":1,"job":{}}', '{"type":"record","retries":0,"record":{"a":"ü"}}']


def sealed(of: list[str] = LINES, **end: object) -> bytes:
    text = "".join(f"{line}\n" for line in of).encode()
    seal = {"type": "end", "lines": len(of), "sha256": hashlib.sha256(text).hexdigest(), **end}
    return gzip.compress(text + json.dumps(seal).encode() + b"\n", mtime=0)


def test_a_whole_backup_is_read() -> None:
    assert list(read_backup(io.BytesIO(sealed()), "b")) == LINES
    assert check_backup(io.BytesIO(sealed()), "b") == BackupContents(1, 1, 2)
    assert check_backup(io.BytesIO(sealed([])), "b") == BackupContents(0, 0, 0)


@given(st.integers(0, len(sealed()) - 1))
def test_a_backup_that_was_cut_off_anywhere_is_damaged(size: int) -> None:
    with pytest.raises(BackupDamaged, match="backup b is damaged"):
        check_backup(io.BytesIO(sealed()[:size]), "b")


@given(st.integers(10, len(sealed()) - 1), st.integers(1, 255))
def test_a_backup_with_another_byte_is_damaged(place: int, flip: int) -> None:
    """From byte 10 on: the head of a gzip file says when and where it was made, which changes nothing."""
    text = bytearray(sealed())
    text[place] ^= flip
    with pytest.raises(BackupDamaged):
        check_backup(io.BytesIO(bytes(text)), "b")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress("".join(f"{line}\n" for line in LINES).encode(), mtime=0), "its last line is missing"),
        (gzip.compress(b"", mtime=0), "its last line is missing"),
        (b"no gzip at all", "can't be unpacked"),
        (sealed(lines=1), "its 2 lines are not the 1"),
        (sealed(lines=3), "its 2 lines are not the 3"),
        (sealed(sha256="0" * 64), "its 2 lines are not the 2"),
        (sealed(LINES[:1]) + sealed(), "lines follow the last line"),
        (gzip.compress(b'{"type":"end"}\n', mtime=0), "its last line can't be read"),
        (gzip.compress(b'{"type":"end", "lines": 0, "sha256": 0}\n', mtime=0), "lines are not"),
        (gzip.compress(b"\xff\xfe\n", mtime=0), "can't be unpacked"),
    ],
)
def test_what_is_no_whole_backup_says_why(content: bytes, why: str) -> None:
    with pytest.raises(BackupDamaged, match=why):
        check_backup(io.BytesIO(content), "b")
