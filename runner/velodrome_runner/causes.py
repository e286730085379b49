"""What went wrong in an entry's own code, and where: the traceback for the log, the place for the reason. No torch.

A reason is one sentence, such as "KeyError: 'missing'", and a person needs the line that raised it. Everything in the
runner that turns an exception into a reason asks `record` for that line.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import velodrome
from velodrome.errors import VelodromeError
from velodrome_runner.log import complain

# Where Python keeps its own modules and those that were installed.
_LIBRARY = re.compile(r"/(site|dist)-packages/|/lib(64)?/python\d")
_VELODROME = tuple(f"{Path(file).parent}/" for file in (velodrome.__file__, __file__))
# A line of a traceback that Python printed.
_FRAME = re.compile(r'^\s+File "(?P<file>[^"\n]+)", line (?P<line>\d+)', re.MULTILINE)
_HEADING = "Traceback (most recent call last):"
# What torch.compile did not find, by the name of the error that it raises for that.
_COMPILERS = {"TritonMissing": "Triton", "InvalidCxxCompiler": "a C++ compiler"}
# Characters of one piece of a traceback: an exception may print a tensor, and the log's end must still hold its frames.
_PIECE = 2000


def record(error: BaseException, package: str = "") -> str:
    """Logs the traceback of what an entry's code raised, and returns the place, as ` (at own.py:12)`, for the reason.

    Where the image lacks what torch.compile needs, that and the fix follow the place.

    `package` is the entry's own module or its package. Where the entry's code has no part in it, the place is empty,
    and only an error that this project did not raise on purpose is logged.
    """
    where = next(filter(None, (place(each, package) for each in _chain(error))), "")
    if where or not isinstance(error, VelodromeError):
        cause = error
        while isinstance(cause, VelodromeError) and cause.__cause__ is not None:
            cause = cause.__cause__
        pieces = traceback.TracebackException.from_exception(cause).format()
        complain("".join(_shortened(piece) for piece in pieces).rstrip("\n"))
    words = [word for word in (f"at {where}" if where else "", lacking(error)) if word]
    return f" ({'; '.join(words)})" if words else ""


def lacking(error: BaseException) -> str:
    """What the image lacks, if the error is torch.compile's word for that; else empty."""
    names = [type(each).__name__ for each in _chain(error)]
    found = next((_COMPILERS[name] for name in names if name in _COMPILERS), "")
    if not found:
        return ""
    return f"torch.compile needs {found}: install it, or build the runner's image with TORCH_COMPILE=yes"


def place(error: BaseException, package: str = "") -> str:
    """`file:line` of the innermost frame of the entry's own code that the error came through; empty where none is.

    Code is the entry's own if its module belongs to the top-level package of `package`, or if its file is no part of
    Python, of what is installed or of Velodrome. The file is written as it lies below its folder of `sys.path`.
    """
    if isinstance(error, SyntaxError) and error.filename and _is_own(error.filename):
        return f"{_short(error.filename)}:{error.lineno}"
    top, found = package.partition(".")[0], ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        module = str(frame.f_globals.get("__name__", ""))
        if _is_own(file) or (top and module.partition(".")[0] == top and not file.startswith("<")):
            found = f"{_short(file)}:{line}"
    return found


def printed_place(text: str) -> str:
    """`file:line` of the innermost own frame in the last traceback of Python that a log shows; empty where none is."""
    _, heading, last = text.rpartition(_HEADING)
    frames = [match for match in _FRAME.finditer(last) if _is_own(match["file"])] if heading else []
    return f"{frames[-1]['file']}:{frames[-1]['line']}" if frames else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it came from."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _is_own(file: str) -> bool:
    return not (file.startswith(("<", *_VELODROME)) or _LIBRARY.search(file))


def _short(file: str) -> str:
    folders = [folder for folder in (f"{each.rstrip('/')}/" for each in sys.path if each) if file.startswith(folder)]
    return file.removeprefix(max(folders, key=len, default=""))


def _shortened(piece: str) -> str:
    return piece if len(piece) <= _PIECE else f"{piece[:_PIECE]} …\n"
