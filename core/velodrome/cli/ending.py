"""How commands end: the exit codes, and which error leads to which. Pure."""

from __future__ import annotations

from typing import Final

from velodrome.errors import ConfigurationError, SchemaUnsupported, SpecError, TrialFailed, VelodromeError

OK: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
NOT_HERE: Final = 3
ENDED_OTHERWISE: Final = 4
TIMED_OUT: Final = 5
INTERRUPTED: Final = 130  # 128 + SIGINT; 143 and 129 for SIGTERM and SIGHUP

EXIT_CODES: Final = {
    OK: "done; for a race: no more trials failed than trials.maxFailed allows",
    FAILED: "more trials failed than that, not everything could be imported, or an entry regressed",
    BAD_INPUT: "bad input: an invalid BenchmarkJob, an unknown board or option",
    NOT_HERE: "this machine lacks something, Redis does not answer, or the job is being raced by another process",
    ENDED_OTHERWISE: "`wait`: the race ended in another way than the one that was waited for",
    TIMED_OUT: "`wait`: the time was over before that",
    INTERRUPTED: "interrupted (143 by SIGTERM, 129 by SIGHUP); what is finished is kept, running it again carries on",
}


def exit_code(error: VelodromeError) -> int:
    """What the process ends with when this error reaches a person."""
    if isinstance(error, SpecError | ConfigurationError | SchemaUnsupported):
        return BAD_INPUT
    if isinstance(error, TrialFailed):
        return FAILED
    return NOT_HERE
