"""What pages read: answers of the store. They are kept for a moment, so that many viewers cost Redis little more than
one. While Redis is away, the last answers are shown.

Viewers share everything that a `ResultSource` returns, so it is kept as Streamlit's resources, which nothing copies. It
is frozen, or must not be changed.

A leaderboard may be limited to some boards, and a person who signed in to fewer. What is of another board is then
absent, as if it had never been stored: every question about a job asks for its board first. When a person's session is
over, every question raises `SignInNeeded`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import streamlit as st

from velodrome import keys
from velodrome.board.comparing import ComparedEntries, read_comparison
from velodrome.board.declaration import Declaration
from velodrome.board.details import EntryDetails, read_details
from velodrome.board.noise import ObjectiveNoise, read_noise
from velodrome.board.page import ObjectivePage
from velodrome.board.pairing import PairedEntries, paired_entries, read_pairing
from velodrome.board.profile import Profile, read_profile
from velodrome.board.reading import ObjectiveReading
from velodrome.board.search_details import SearchDetails, read_search_details
from velodrome.board.sheet import Sheet, read_sheet
from velodrome.board.sparks import read_sparks
from velodrome.board.tenancy import ShownBoards
from velodrome.board.trading import TradeOffReading, read_trade_off
from velodrome.board.viewing import objectives_of, read_objectives, read_page
from velodrome.errors import LocalError, StoreRefused
from velodrome.results.marks import Acknowledgement, Baseline, Deed, Hiding
from velodrome.results.objectives import BoardObjective
from velodrome.results.records import EpochPoint, JobInfo, Progress, TrialRecord
from velodrome.store import (
    Board,
    CohortSummary,
    Counts,
    EntryState,
    Rejection,
    TrialSummary,
    export_lines,
    markers,
)
from velodrome.store.markers import Marker
from velodrome.trends.regressions import Comparison, judge
from velodrome.trends.timeline import Timeline, timeline
from velodrome_leaderboard.access.current import PersonsBoards, current
from velodrome_leaderboard.access.people import ANYBODY, Person
from velodrome_leaderboard.memory import KEPT_SECONDS, LastAnswers, kept, memory_of, remembered, store_of


@dataclass(frozen=True, slots=True)
class ResultSource:
    """The Redis that the leaderboard reads, the person who looks, and the boards that this person is shown. Every
    method raises what the store's method of the same name raises.
    """

    url: str
    shown: ShownBoards = field(default_factory=ShownBoards)
    person: Person = ANYBODY

    @property
    def memory(self) -> LastAnswers:
        """When Redis answered last, and its failure if it is away."""
        return memory_of(self.url)

    def version(self, board: str) -> str:
        """A text that changes with everything on which the board's rankings and verdicts depend."""
        return _version(self.url, board) if board in self.shown else ""

    def markers(self, boards: Iterable[str] = (), jobs: Iterable[JobInfo] = ()) -> tuple[Marker, ...]:
        """What changes with these boards and these jobs."""
        of_boards = [markers.of_board(board) for board in boards if board in self.shown]
        return (*of_boards, *(markers.of_job(job.uid, job.board) for job in jobs if job.board in self.shown))

    def boards(self) -> list[Board]:
        return [board for board in _boards(self.url) if board.name in self.shown]

    def jobs(self, board: str, limit: int, offset: int = 0) -> list[JobInfo]:
        """The jobs of the board, newest first, without their documents."""
        return _jobs(self.url, board, limit, offset) if board in self.shown else []

    def job(self, uid: str) -> JobInfo | None:
        found = _job(self.url, uid)
        return found if found is not None and found.board in self.shown else None

    def objectives(self, board: str) -> tuple[BoardObjective, ...]:
        """The objectives of the board."""
        return _objectives(self.url, board, _version(self.url, board)) if board in self.shown else ()

    def cohorts(self, board: str, key: str) -> list[CohortSummary]:
        return _cohorts(self.url, board, key) if board in self.shown else []

    def objective(self, board: str, objective: BoardObjective, cohort_id: str | None = None) -> ObjectiveReading:
        """The objective in the cohort of that id, or in the newest one. It is computed once for each board version.

        Raises:
            StoreRefused: this leaderboard doesn't show the board.
        """
        return _objective(self.url, self._shown(board), _version(self.url, board), objective, cohort_id)

    def sheet(self, board: str, objective: BoardObjective, cohort_id: str | None = None) -> Sheet:
        """The objective's sheet, in the cohort as `objective` has it. It is made once for each board version.

        Raises:
            StoreRefused: this leaderboard doesn't show the board.
        """
        return _sheet(self.url, self._shown(board), _version(self.url, board), objective, cohort_id)

    def entry_names(self, board: str) -> list[str]:
        """The names of the board's entries, sorted."""
        return _entry_names(self.url, board, _version(self.url, board)) if board in self.shown else []

    def entry_jobs(self, board: str, entry: str) -> list[JobInfo]:
        """The board's newest jobs that have the entry, newest first, at most 200."""
        if board not in self.shown:
            return []
        return _entry_jobs(self.url, board, entry, _version(self.url, board))

    def comparison(self, board: str, entries: tuple[str, ...]) -> ComparedEntries:
        """The comparison of these entries in each objective. It is made once for each board version.

        Raises:
            NotThere: they can't be compared.
            StoreRefused: this leaderboard doesn't show the board.
        """
        return _comparison(self.url, self._shown(board), _version(self.url, board), entries)

    def details(self, job: JobInfo, entry: str) -> EntryDetails:
        """What the entry's trials of this job did, with their curves.

        Raises:
            StoreRefused: this leaderboard doesn't show the job's board.
        """
        if job.board not in self.shown:
            raise StoreRefused(f"there is no job {job.uid}")
        return _details(self.url, job.uid, entry, _version(self.url, job.board))

    def sparks(
        self, board: str, metric_key: str, cohort_id: str, entries: tuple[str, ...]
    ) -> dict[str, tuple[float, ...]]:
        """By entry, its means in the board's newest jobs, oldest first."""
        if board not in self.shown:
            return {}
        return _sparks(self.url, board, _version(self.url, board), metric_key, cohort_id, entries)

    def trade_off(
        self, board: str, objectives: Sequence[BoardObjective], conditions: str | None = None
    ) -> TradeOffReading:
        """The trade-off between these objectives, under the conditions of that id, or under the newest ones. It is
        computed once for each board version.

        Raises:
            ValueError: there are fewer than two or more than three objectives.
            StoreRefused: this leaderboard doesn't show the board.
        """
        return _trade_off(self.url, self._shown(board), _version(self.url, board), tuple(objectives), conditions)

    def page(
        self, board: str, objective: BoardObjective, cohort_id: str | None = None, pages: tuple[int, int] = (1, 1)
    ) -> ObjectivePage:
        """One page of the objective's ranking and one of its unranked entries, in the cohort as `objective` has it.

        Raises:
            StoreRefused: this leaderboard doesn't show the board.
        """
        return _page(self.url, self._shown(board), _version(self.url, board), objective, cohort_id, pages)

    def paired_entries(self, board: str) -> list[str]:
        """The entries of the board's newest job whose trials kept something of each test sample."""
        return _paired_entries(self.url, board, _version(self.url, board)) if board in self.shown else []

    def pairing(self, board: str, a: str, b: str) -> PairedEntries:
        """The comparison of two of the board's entries, sample by sample. It is made once for each board version.

        Raises:
            StoreRefused: this leaderboard doesn't show the board.
            NotPaired: they can't be compared.
        """
        return _pairing(self.url, self._shown(board), _version(self.url, board), a, b)

    def verdicts(self, uid: str) -> tuple[Comparison, ...]:
        """What the job made worse or better."""
        job = self.job(uid)
        return _verdicts(self.url, uid, _version(self.url, job.board)) if job is not None else ()

    def timeline(self, board: str, entry: str, metric_key: str) -> Timeline:
        """The entry's values of the metric, job after job.

        Raises:
            StoreRefused: this leaderboard doesn't show the board.
        """
        return _timeline(self.url, self._shown(board), entry, metric_key, _version(self.url, board))

    def noise(self, board: str) -> tuple[ObjectiveNoise, ...]:
        """The noise floor of each objective of the board, in its newest conditions."""
        return _noise(self.url, board, _version(self.url, board)) if board in self.shown else ()

    def profile(self, model: str, declaration: Declaration) -> Profile:
        """The model's profile over the declared boards.

        Raises:
            ValueError: the declaration makes no scores of this objective.
        """
        versions = tuple(self.version(board.name) for board in declaration.boards)
        readable = tuple(board.name for board in declaration.boards if board.name in self.shown)
        return _profile(self.url, model, declaration.model_dump_json(), versions, readable)

    def entries(self, uid: str) -> dict[str, EntryState]:
        return _entries(self.url, uid) if self._shows(uid) else {}

    def counts(self, uid: str) -> Counts:
        return _counts(self.url, uid) if self._shows(uid) else Counts(0, 0)

    def outcomes(self, job: JobInfo) -> Counts:
        """The job's counts, of which those of conflicts and rejections may be as old as its board's version."""
        if job.board not in self.shown:
            return Counts(0, 0)
        return _outcomes(self.url, job.uid, _version(self.url, job.board))

    def searching(self, uid: str) -> SearchDetails | None:
        """The search of the job with its trials; None if it has none."""
        return _searching(self.url, uid) if self._shows(uid) else None

    def trials(self, uid: str) -> dict[int, TrialSummary]:
        return _trials(self.url, uid) if self._shows(uid) else {}

    def trial(self, uid: str, index: int) -> TrialRecord | None:
        return _trial(self.url, uid, index) if self._shows(uid) else None

    def curves(self, uid: str, index: int) -> tuple[EpochPoint, ...]:
        return _curves(self.url, uid, index) if self._shows(uid) else ()

    def progress(self, uid: str) -> dict[int, Progress]:
        return _progress(self.url, uid) if self._shows(uid) else {}

    def conflicts(self, uid: str) -> list[TrialRecord]:
        return _conflicts(self.url, uid) if self._shows(uid) else []

    def rejections(self, uid: str) -> list[Rejection]:
        return _rejections(self.url, uid) if self._shows(uid) else []

    def hidden(self, uid: str) -> dict[int, Hiding]:
        """The job's hidden runs, by index. An admin's own change is there at once."""
        if not self._shows(uid):
            return {}
        return _hidden(self.url, uid) if self.person.admin else _kept_hidden(self.url, uid)

    def baselines(self, board: str) -> list[Baseline]:
        return _baselines(self.url, board) if board in self.shown else []

    def acknowledgements(self, board: str) -> list[Acknowledgement]:
        return _acknowledgements(self.url, board) if board in self.shown else []

    def marks_changed(self, board: str) -> int:
        return _marks_changed(self.url, board) if board in self.shown else 0

    def log(self, board: str) -> list[Deed]:
        """What people did to the board's marks, newest first."""
        return _log(self.url, board) if board in self.shown else []

    def left_out(self) -> tuple[str, ...]:
        """What this process could not read so far, one sentence for each case. The keys in it name boards and jobs, so
        a leaderboard of some boards leaves them out.
        """
        found = store_of(self.url).left_out
        return found if self.shown.everything else ("whoever runs Redis finds it with `velodrome jobs`",) * bool(found)

    def export(self, uid: str) -> str:
        """The job's JSON lines, read now."""
        return "".join(f"{line}\n" for line in export_lines(store_of(self.url), uid=uid)) if self._shows(uid) else ""

    def records(self, job: JobInfo) -> Iterator[TrialRecord]:
        """All results of the job, read now, a hundred at a time."""
        for start in range(0, job.trials if self._shows(job.uid) else 0, 100):
            yield from store_of(self.url).records(job.uid, start, 100)

    def _shown(self, board: str) -> str:
        """The board, if it is shown here.

        Raises:
            StoreRefused: it is not.
        """
        if board not in self.shown:
            raise StoreRefused(f"there is no board {board}")
        return board

    def _shows(self, uid: str) -> bool:
        """Whether the job is of a board that is shown. Without a limit nobody asks for the job."""
        return self.shown.everything or self.job(uid) is not None


def source() -> ResultSource:
    """The Redis and the boards that the environment names, for the person who looks now.

    Raises:
        LocalError: the environment names no Redis, or what can be no board.
        SignInNeeded: nobody is signed in, or the session is over.
        NotAViewer: the person may not look.
    """
    url = os.environ.get(keys.ENV_REDIS_URL, "")
    if not url:
        raise LocalError(f"{keys.ENV_REDIS_URL} is not set, so there is nothing to show: start `velodrome leaderboard`")
    person = current()
    try:
        patterns = ShownBoards.parse([os.environ.get(keys.ENV_BOARDS, "")]).patterns
        return ResultSource(url, PersonsBoards(patterns, person), person)
    except ValueError as error:
        raise LocalError(f"{keys.ENV_BOARDS}: {error}") from error


_kept = kept(KEPT_SECONDS)


@_kept
def _boards(url: str) -> list[Board]:
    return store_of(url).boards()


@_kept
def _jobs(url: str, board: str, limit: int, offset: int) -> list[JobInfo]:
    return [_in_short(job) for job in store_of(url).jobs(board, limit, offset)]


def _in_short(job: JobInfo) -> JobInfo:
    """The job without its document, which may be large."""
    return job.model_copy(update={"document": {}})


@_kept
def _searching(url: str, uid: str) -> SearchDetails | None:
    job = store_of(url).job(uid)
    return None if job is None else read_search_details(store_of(url), job)


@_kept
def _version(url: str, board: str) -> str:
    return store_of(url).board_version(board)


# Kept by the board's version. The version is read before the objectives, so newer objectives are soon read again.
@st.cache_resource(max_entries=200, show_spinner=False)
def _objectives(url: str, board: str, version: str) -> tuple[BoardObjective, ...]:  # noqa: ARG001
    return objectives_of(store_of(url), board)


# A large ranking takes some 10 MB, so few are kept.
@st.cache_resource(max_entries=12, show_spinner=False)
def _objective(
    url: str,
    board: str,
    version: str,  # noqa: ARG001 - what the cache goes by
    objective: BoardObjective,
    cohort_id: str | None,
) -> ObjectiveReading:
    (found,) = read_objectives(store_of(url), board, [objective], cohort_id)
    return found


@st.cache_resource(max_entries=12, show_spinner=False)
def _sheet(
    url: str,
    board: str,
    version: str,  # noqa: ARG001 - what the cache goes by
    objective: BoardObjective,
    cohort_id: str | None,
) -> Sheet:
    return read_sheet(store_of(url), board, objective, cohort_id, verdicts=True)


@st.cache_resource(max_entries=100, show_spinner=False)
def _entry_names(url: str, board: str, version: str) -> list[str]:  # noqa: ARG001 - what the cache goes by
    return [state.entry for _, state in store_of(url).board_entries(board)]


@st.cache_resource(max_entries=100, show_spinner=False)
def _entry_jobs(url: str, board: str, entry: str, version: str) -> list[JobInfo]:  # noqa: ARG001 - as above
    return [job for job in store_of(url).jobs(board, limit=200) if entry in job.entries]


@st.cache_resource(max_entries=32, show_spinner=False)
def _comparison(url: str, board: str, version: str, entries: tuple[str, ...]) -> ComparedEntries:  # noqa: ARG001
    return read_comparison(store_of(url), board, entries, objectives_of(store_of(url), board))


@st.cache_resource(max_entries=64, show_spinner=False)
def _details(url: str, uid: str, entry: str, version: str) -> EntryDetails:  # noqa: ARG001 - as above
    store = store_of(url)
    job = store.job(uid)
    if job is None:
        raise StoreRefused(f"there is no job {uid}")
    return read_details(store, job, entry)


@st.cache_resource(max_entries=200, show_spinner=False)
def _sparks(
    url: str,
    board: str,
    version: str,  # noqa: ARG001 - what the cache goes by
    metric_key: str,
    cohort_id: str,
    entries: tuple[str, ...],
) -> dict[str, tuple[float, ...]]:
    return read_sparks(store_of(url), board, metric_key, cohort_id, entries)


@st.cache_resource(max_entries=12, show_spinner=False)
def _trade_off(
    url: str,
    board: str,
    version: str,  # noqa: ARG001 - what the cache goes by
    objectives: tuple[BoardObjective, ...],
    conditions: str | None,
) -> TradeOffReading:
    return read_trade_off(store_of(url), board, objectives, conditions)


@st.cache_resource(max_entries=200, show_spinner=False)
def _page(
    url: str, board: str, version: str, objective: BoardObjective, cohort_id: str | None, pages: tuple[int, int]
) -> ObjectivePage:
    def whole() -> ObjectiveReading:
        return _objective(url, board, version, objective, cohort_id)

    return read_page(store_of(url), board, objective, cohort_id, pages, whole)


@st.cache_resource(max_entries=200, show_spinner=False)
def _paired_entries(url: str, board: str, version: str) -> list[str]:  # noqa: ARG001 - what the cache goes by
    return paired_entries(store_of(url), board)


@st.cache_resource(max_entries=32, show_spinner=False)
def _pairing(url: str, board: str, version: str, a: str, b: str) -> PairedEntries:  # noqa: ARG001 - as above
    return read_pairing(store_of(url), board, a, b)


@_kept
def _job(url: str, uid: str) -> JobInfo | None:
    return store_of(url).job(uid)


@_kept
def _cohorts(url: str, board: str, key: str) -> list[CohortSummary]:
    return store_of(url).cohorts(board, key)


# A verdict needs the values of many jobs, so it is kept until the board's version changes. The day also counts: a
# comparison may be too long ago.
_VERDICT_SECONDS = 600


@kept(_VERDICT_SECONDS, 12, versions=True)
def _verdicts(url: str, uid: str, version: str) -> tuple[Comparison, ...]:  # noqa: ARG001 - what the cache goes by
    return judge(store_of(url), uid)


@kept(_VERDICT_SECONDS, 100, versions=True)
def _timeline(url: str, board: str, entry: str, metric_key: str, version: str) -> Timeline:  # noqa: ARG001 - as above
    return timeline(store_of(url), board, entry, metric_key)


@st.cache_resource(max_entries=32, show_spinner=False)
def _noise(url: str, board: str, version: str) -> tuple[ObjectiveNoise, ...]:  # noqa: ARG001
    return read_noise(store_of(url), board, objectives_of(store_of(url), board))


@st.cache_resource(max_entries=64, show_spinner=False)
def _profile(
    url: str,
    model: str,
    declared: str,
    versions: tuple[str, ...],  # noqa: ARG001 - what the cache goes by
    readable: tuple[str, ...],
) -> Profile:
    return read_profile(store_of(url), model, Declaration.model_validate_json(declared), readable=readable.__contains__)


@_kept
def _entries(url: str, uid: str) -> dict[str, EntryState]:
    return store_of(url).entries(uid)


@_kept
def _counts(url: str, uid: str) -> Counts:
    return store_of(url).counts(uid)


@st.cache_resource(max_entries=500, show_spinner=False)
def _outcomes(url: str, uid: str, version: str) -> Counts:  # noqa: ARG001 - what the cache goes by
    return store_of(url).counts(uid)


@_kept
def _trials(url: str, uid: str) -> dict[int, TrialSummary]:
    return store_of(url).trials(uid)


@_kept
def _trial(url: str, uid: str, index: int) -> TrialRecord | None:
    return store_of(url).trial(uid, index)


@_kept
def _curves(url: str, uid: str, index: int) -> tuple[EpochPoint, ...]:
    return store_of(url).curves(uid, index)


@_kept
def _progress(url: str, uid: str) -> dict[int, Progress]:
    return store_of(url).progress(uid)


@_kept
def _conflicts(url: str, uid: str) -> list[TrialRecord]:
    return store_of(url).conflicts(uid)


@_kept
def _rejections(url: str, uid: str) -> list[Rejection]:
    return store_of(url).rejections(uid)


@remembered
def _hidden(url: str, uid: str) -> dict[int, Hiding]:
    return {one.index: one for one in store_of(url).hidden([uid]).get(uid, ())}


@_kept
def _kept_hidden(url: str, uid: str) -> dict[int, Hiding]:
    return _hidden(url, uid)


# Who changes a mark sees it at once.
@remembered
def _baselines(url: str, board: str) -> list[Baseline]:
    return store_of(url).baselines(board)


@remembered
def _acknowledgements(url: str, board: str) -> list[Acknowledgement]:
    return store_of(url).acknowledgements(board)


@remembered
def _marks_changed(url: str, board: str) -> int:
    return store_of(url).marks_changed(board)


@_kept
def _log(url: str, board: str) -> list[Deed]:
    return store_of(url).log(board)
