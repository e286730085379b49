"""The addresses of the API. Each question is answered from the same reading as the pages."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from velodrome.board.comparison_document import ComparisonDocument, comparison_document
from velodrome.board.narrowing import BadFilter, narrow, narrowed
from velodrome.errors import ActionNeeded, NotThere, StoreRefused, TryAgain
from velodrome.results.objectives import BoardObjective
from velodrome.results.records import JobInfo
from velodrome.spec.wording import close_match
from velodrome.store import Board
from velodrome_leaderboard.access.people import SignInNeeded
from velodrome_leaderboard.api import documents
from velodrome_leaderboard.api.badge import badge
from velodrome_leaderboard.api.documents import PageOf, ProblemDetails
from velodrome_leaderboard.data import ResultSource, source

PREFIX = "/api"
_RETRY_SECONDS = 3

Page = Annotated[int, Query(ge=1, le=1_000_000_000, description="The number of the page, from 1.")]
Size = Annotated[int, Query(ge=1, le=500, description="How many items one page has.")]
Name = Annotated[str, Path(description="The name of the board.")]
ObjectiveOf = Annotated[str, Path(description="The name of an objective of the board.")]
Uid = Annotated[str, Path(description="The uid of a job, as its page shows it.")]
Cohort = Annotated[str | None, Query(description="The id of a cohort; without it, the newest one.")]
Filter = Annotated[str, Query(alias="filter", description="Which entries: `optimizer = AdamW, params < 1e6`.")]
Sort = Annotated[str, Query(alias="sort", description="The order, as in `results --sort`: `-n, entry`.")]

api = FastAPI(
    title="Velodrome",
    version="1",
    description="Reads boards, rankings, jobs and histories. Nothing can be changed here.",
    openapi_url="/v1/openapi.json",
    docs_url=None,  # its page would load scripts from elsewhere
    redoc_url=None,
    responses={code: {"model": ProblemDetails} for code in (400, 401, 403, 404, 503)},
)


@api.get("/v1/boards", summary="All boards")
def boards(page: Page = 1, size: Size = 50) -> PageOf[documents.BoardFacts]:
    """All boards that are shown here."""
    return documents.page_of([documents.board_document(board) for board in source().boards()], page, size)


@api.get("/v1/boards/{board}", summary="A board and its objectives")
def board(board: Name) -> documents.WholeBoardDocument:
    """A board and its objectives."""
    here = source()
    return documents.whole_board(_board(here, board), here.version(board), here.objectives(board))


@api.get("/v1/boards/{board}/jobs", summary="The jobs of a board, newest first")
def jobs(board: Name, page: Page = 1, size: Size = 50) -> PageOf[documents.JobDocument]:
    """The jobs of a board, newest first."""
    here = source()
    found = _board(here, board)
    shown = here.jobs(board, size, (page - 1) * size)
    rows = [documents.job_document(job, here.outcomes(job)) for job in shown]
    return documents.page_of(rows, page, size, total=found.jobs)


@api.get("/v1/boards/{board}/objectives/{objective}", summary="The ranking of an objective")
def ranking(
    board: Name,
    objective: ObjectiveOf,
    cohort: Cohort = None,
    filtered: Filter = "",
    sorted_by: Sort = "",
    page: Page = 1,
    size: Size = 50,
) -> documents.RankingDocument:
    """An objective's ranking in one cohort: one page of its ranked entries, and the same page of its unranked ones."""
    here = source()
    chosen = _objective(here, board, objective)
    if filtered or sorted_by:
        sheet = here.sheet(board, chosen, cohort)
        reading = narrowed(sheet, narrow(sheet, filtered, sorted_by))
    else:
        reading = here.objective(board, chosen, cohort)
    if cohort is not None and cohort not in {one.cohort_id for one in reading.cohorts}:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"{objective} of {board} has no cohort {cohort}: leave it out")
    return documents.ranking_document(reading, page, size)


@api.get("/v1/boards/{board}/objectives/{objective}/history", summary="One entry's values, job after job")
def history(
    board: Name,
    objective: ObjectiveOf,
    entry: Annotated[str, Query(description="The name of the entry.")],
    page: Page = 1,
    size: Size = 200,
) -> PageOf[documents.MomentDocument]:
    """An entry's values of the objective, job after job, oldest first, with the verdicts."""
    here = source()
    found = here.timeline(board, entry, str(_objective(here, board, objective).key))
    if not found.moments:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no job of {board} has values of {objective} for an entry {entry}")
    return documents.page_of(documents.moments(found), page, size)


@api.get("/v1/boards/{board}/comparison", summary="Two to eight entries, side by side")
def comparison(
    board: Name, entry: Annotated[list[str], Query(description="The name of an entry; give two to eight.")]
) -> ComparisonDocument:
    """By how much these entries differ, and in which parameters and environments; as `velodrome compare --json`."""
    here = source()
    _board(here, board)
    try:
        return comparison_document(here.comparison(board, tuple(entry)))
    except NotThere as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error


@api.get("/v1/jobs/{uid}", summary="A job, its entries, and the BenchmarkJob to run again")
def job(uid: Uid) -> documents.WholeJobDocument:
    """A job, the states of its entries, and the BenchmarkJob to run again."""
    here = source()
    return documents.whole_job(_job(here, uid), here.counts(uid), here.entries(uid))


@api.get("/v1/jobs/{uid}/trials", summary="The finished trials of a job")
def trials(uid: Uid, page: Page = 1, size: Size = 200) -> PageOf[documents.TrialDocument]:
    """The finished trials of a job, by index."""
    here = source()
    _job(here, uid)
    hidden = here.hidden(uid)
    found = [documents.trial_document(trial, hidden.get(index)) for index, trial in sorted(here.trials(uid).items())]
    return documents.page_of(found, page, size)


@api.get(
    "/v1/boards/{board}/objectives/{objective}/badge.svg",
    summary="A badge with the leader, for a README",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}}}},
)
def leader_badge(board: Name, objective: ObjectiveOf) -> Response:
    """A picture with the leader and its mean."""
    here = source()
    page = here.page(board, _objective(here, board, objective))
    headers = {"Cache-Control": "max-age=60"}
    return Response(badge(objective, page), media_type="image/svg+xml", headers=headers)


def _board(here: ResultSource, name: str) -> Board:
    known = {board.name: board for board in here.boards()}
    if name not in known:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no board {name}{_hint(name, list(known))}")
    return known[name]


def _objective(here: ResultSource, board: str, name: str) -> BoardObjective:
    _board(here, board)
    known = {objective.name: objective for objective in here.objectives(board)}
    if name not in known:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"{board} has no objective {name}{_hint(name, list(known))}")
    return known[name]


def _job(here: ResultSource, uid: str) -> JobInfo:
    found = here.job(uid)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no job {uid}")
    return found


def _hint(name: str, known: list[str]) -> str:
    close = close_match(name, known)
    return "" if close is None else f": did you mean {close}?"


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = ProblemDetails(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


@api.exception_handler(HTTPException)
def _refused(_: Request, error: HTTPException) -> Response:
    return _problem(error.status_code, str(error.detail), dict(error.headers or {}))


@api.exception_handler(RequestValidationError)
def _invalid(_: Request, error: RequestValidationError) -> Response:
    found = [f"{part['loc'][-1]}: {part['msg'][0].lower()}{part['msg'][1:]}" for part in error.errors()]
    return _problem(HTTPStatus.BAD_REQUEST, "; ".join(found))


@api.exception_handler(TryAgain)
def _away(_: Request, error: TryAgain) -> Response:
    return _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": str(_RETRY_SECONDS)})


@api.exception_handler(SignInNeeded)
def _nobody(_: Request, error: SignInNeeded) -> Response:
    return _problem(HTTPStatus.UNAUTHORIZED, str(error), {"WWW-Authenticate": "Bearer"})


@api.exception_handler(BadFilter)
def _unreadable(_: Request, error: BadFilter) -> Response:
    return _problem(HTTPStatus.BAD_REQUEST, str(error))


@api.exception_handler(StoreRefused)
def _hidden(_: Request, error: StoreRefused) -> Response:
    return _problem(HTTPStatus.NOT_FOUND, str(error))


@api.exception_handler(ActionNeeded)
def _broken(_: Request, error: ActionNeeded) -> Response:
    return _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
