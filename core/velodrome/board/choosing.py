"""Finds the board, the objective, the job or the entry that a person named. The command line and the Python API use it.

A name that does not exist is an error that says which names do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from velodrome.errors import NotThere
from velodrome.text import line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from velodrome.results.objectives import BoardObjective
    from velodrome.results.records import JobInfo
    from velodrome.store import Reader

NOTHING: Final = "Nothing has been raced here yet. Try: velodrome init, then velodrome run job.yaml"

_PAGE = 200
_MOST_NAMES = 10
_MOST_COMPARED = 200  # characters of what was typed; no name is that long


def chosen_board(reader: Reader, wanted: str | None = None) -> str:
    """The board of that name, or the newest one.

    Raises:
        NotThere: there is no such board. Otherwise as the store does.
    """
    wanted = None if wanted is None else typed(wanted)
    boards = [board.name for board in reader.boards()]
    if not boards:
        raise NotThere("board", NOTHING)
    if wanted is not None and wanted not in boards:
        from velodrome.spec.wording import close_match

        close = close_match(wanted, boards)
        hint = f"did you mean {line(close)}?" if close else f"there are: {listing(wanted, boards)}"
        raise NotThere("board", f"there is no board {shown(wanted)}: {hint}")
    return boards[0] if wanted is None else wanted


def chosen_objectives(reader: Reader, board: str, wanted: str | None = None) -> list[BoardObjective]:
    """The board's objectives, or those that `wanted` names. See `matching` for what it may be.

    Raises:
        NotThere: there is no such objective. Otherwise as the store does.
    """
    from velodrome.board.viewing import objectives_of

    return matching(objectives_of(reader, board), wanted, board)


def objective_of(job: JobInfo, wanted: str) -> BoardObjective:
    """The one objective of a job that `wanted` names.

    Raises:
        NotThere: there is no such objective, or there are several.
    """
    from velodrome.results.objectives import board_objectives

    return only(matching(board_objectives([job]), wanted, job.name), wanted, job.name)


def matching(known: Sequence[BoardObjective], wanted: str | None, owner: str) -> list[BoardObjective]:
    """All of these objectives, or those of this name, metric key or label. A bare metric, such as
    `latency_p50_seconds`, names all objectives of that metric.

    Raises:
        NotThere: it names none of the objectives that `owner` has.
    """
    found = [one for one in known if wanted in (None, one.name, str(one.key), one.key.label)]
    found = found or [one for one in known if wanted == one.key.name]
    if not found:
        names = ", ".join(one.name for one in known) or "none"
        raise NotThere("objective", line(f"{owner} has no objective {wanted!r}; it has: {names}"))
    return found


def only(found: Sequence[BoardObjective], wanted: str, owner: str) -> BoardObjective:
    """The one objective of these.

    Raises:
        NotThere: `wanted` named several.
    """
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise NotThere("objective", line(f"{wanted} names {len(found)} objectives of {owner}: choose one of {names}"))
    return found[0]


def chosen_job(reader: Reader, name: str | None = None) -> JobInfo:
    """The job of that uid, or the newest job of that name. Without a name, the newest job of all.

    Raises:
        NotThere: there is no such job. Otherwise as the store does.
    """
    if name is None:
        newest = reader.jobs(limit=1)
        if not newest:
            raise NotThere("job", NOTHING)
        return newest[0]
    name = typed(name)
    job = reader.job(name)
    known: dict[str, None] = {}
    for one in reader.each_job(at_once=_PAGE) if job is None else ():
        known[one.name] = None
        if one.name == name:
            return one
    if job is None:
        names = f"there are: {listing(name, list(known))}" if known else "nothing has been raced here yet"
        raise NotThere("job", f"there is no job {shown(name)}: {names}")
    return job


def require_entry(entry: str, known: Iterable[str], owner: str) -> None:
    """Returns if the entry is one of those that `owner` has.

    Raises:
        NotThere: it is none of them.
    """
    names = list(known)
    if entry not in names:
        said = f"{line(owner)} has no entry {shown(entry)}; it has: {listing(entry, names) or 'none'}"
        raise NotThere("entry", said)


def listing(wanted: str, known: Sequence[str]) -> str:
    """Names to choose from, in one line: all of them in their order, or the ten nearest to `wanted` and `990 more`."""
    if len(known) <= _MOST_NAMES:
        return line(", ".join(known))
    from difflib import get_close_matches

    nearest = get_close_matches(wanted[:_MOST_COMPARED], known, _MOST_NAMES, cutoff=0)
    return f"{line(', '.join(nearest))} and {len(known) - len(nearest):,} more"


def typed(name: str) -> str:
    r"""What a person typed, as text. Bytes that are not characters in the locale's encoding are read as UTF-8.

    Bytes that are not UTF-8 either become escapes, as in `\xff`, which no name has.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(name: str) -> str:
    """A name inside a sentence. An empty name is shown as ''."""
    return line(name) or "''"
