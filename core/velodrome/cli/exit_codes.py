"""The exit codes of commands, and the errors that lead to them. Pure."""

from __future__ import annotations

import errno
from typing import Final

from velodrome.errors import (
    ConfigurationError,
    NotThere,
    OutputLost,
    SchemaUnsupported,
    SpecError,
    TrialFailed,
    VelodromeError,
)

OK: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
NOT_HERE: Final = 3
ENDED_OTHERWISE: Final = 4
TIMED_OUT: Final = 5
UNWRITABLE: Final = 74  # EX_IOERR of sysexits.h
INTERRUPTED: Final = 130  # 128 + SIGINT; 143 and 129 for SIGTERM and SIGHUP
READER_GONE: Final = 141  # 128 + SIGPIPE

EXIT_CODES: Final = {
    OK: "done; for a race: no more trials failed than trials.maxFailed allows",
    FAILED: "more trials failed than that, not everything could be imported, or an entry regressed",
    BAD_INPUT: "bad input: an invalid BenchmarkJob, an unknown board or option",
    NOT_HERE: "this machine or cluster lacks something, Redis does not answer, or another process races the job",
    ENDED_OTHERWISE: "`wait`: the race ended in another way than the one that was waited for",
    TIMED_OUT: "`wait`: the time was over before that",
    UNWRITABLE: "standard output could not be written, such as to a full disk; a race goes on to its end first",
    INTERRUPTED: "interrupted (143 by SIGTERM, 129 by SIGHUP); what is finished is kept, running it again carries on",
    READER_GONE: "the reader of standard output went away, as in `| head -1`; a race goes on to its end first",
}


def exit_code(error: VelodromeError) -> int:
    """The exit code of the process if this error ends it."""
    if isinstance(error, SpecError | NotThere | ConfigurationError | SchemaUnsupported):
        return BAD_INPUT
    if isinstance(error, TrialFailed):
        return FAILED
    if isinstance(error, OutputLost):
        return output_code(error.cause)
    return NOT_HERE


def output_code(lost: OSError) -> int:
    """The exit code that says why standard output could not be written."""
    return READER_GONE if lost.errno == errno.EPIPE else UNWRITABLE


def final_code(code: int, lost: OSError | None) -> int:
    """The exit code of a command that would end with `code`.

    If the answer was lost, OK and FAILED change to the code for that. The codes for bad input, for a machine that lacks
    something and for an interruption stay.
    """
    return output_code(lost) if lost is not None and code in (OK, FAILED) else code
