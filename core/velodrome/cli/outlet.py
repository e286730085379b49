"""Writes the command line's output, and handles a reader that goes away and a full disk.

Standard output has the answer. The first write to it that fails raises OutputLost, which ends the command. Within
`going_on()` the failure is only noted, because the race continues. Standard error has everything besides the answer. A
write to it that fails is dropped. After a failure a stream drops all further output, so that nothing fails again while
the process ends.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from velodrome.errors import OutputLost

if TYPE_CHECKING:
    from typing import BinaryIO, TextIO

_STDOUT, _STDERR = 1, 2
_NONE: Final = -1  # no file has this descriptor: writing to it fails


class Outlet(io.RawIOBase):
    """A file descriptor, written without a buffer. `lost` is the error of the first write that failed.

    A patient outlet only notes the failure. Another one raises OutputLost once.
    """

    def __init__(self, descriptor: int, *, patient: bool) -> None:
        self.patient = patient
        self.lost: OSError | None = None
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._descriptor != _NONE and os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, octets: Any) -> int:
        """Writes all bytes of a bytes-like object. After a failure, drops them.

        Raises:
            OutputLost: this is the first write that failed, unless the outlet is patient.
        """
        whole = left = memoryview(octets).cast("B")
        try:
            while left and self.lost is None:
                left = left[self._write_some(left) :]
        except OSError as error:
            self.lost = error
            if not self.patient:
                raise OutputLost(error) from error
        return len(whole)

    def _write_some(self, octets: memoryview) -> int:
        try:
            return os.write(self._descriptor, octets)
        except BlockingIOError:  # another process that shares this pipe made it non-blocking
            import select

            select.select([], [self._descriptor], [])
            return 0


def open_outlets() -> None:
    """Replaces both streams with outlets. A character that their encoding lacks is written as an escape."""
    _occupy_descriptors()
    sys.stdout = _opened(sys.stdout, _STDOUT, patient=False)
    sys.stderr = _opened(sys.stderr, _STDERR, patient=True)


def lost_output() -> OSError | None:
    """Why standard output could not be written in full; None if it was. Call it after the last output."""
    from contextlib import suppress

    with suppress(OutputLost):
        sys.stdout.flush()
    outlet = _outlet()
    return None if outlet is None else outlet.lost


@contextmanager
def going_on() -> Iterator[None]:
    """Until the context ends, a failed write to standard output does not end the command: the race matters more."""
    outlet = _outlet()
    if outlet is not None:
        outlet.patient = True
    try:
        yield
    finally:
        if outlet is not None:
            sys.stdout.flush()
            outlet.patient = False


def _outlet() -> Outlet | None:
    buffer = getattr(sys.stdout, "buffer", None)
    return buffer if isinstance(buffer, Outlet) else None


def _occupy_descriptors() -> None:
    """Opens the null device on the numbers of closed streams. Else files opened later would get these numbers, and
    a child's streams would replace them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)


def _opened(stream: TextIO | None, descriptor: int, *, patient: bool) -> TextIO:
    if stream is None:  # it was closed when the process began, so its descriptor is now something else
        return io.TextIOWrapper(cast("BinaryIO", Outlet(_NONE, patient=patient)), "utf-8", "backslashreplace")
    if not isinstance(stream, io.TextIOWrapper) or _descriptor_of(stream) != descriptor:
        return stream  # another program captures the output
    stream.flush()
    return io.TextIOWrapper(
        cast("BinaryIO", Outlet(descriptor, patient=patient)),
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _descriptor_of(stream: TextIO) -> int:
    try:
        return stream.fileno()
    except OSError:  # it has no descriptor
        return _NONE
