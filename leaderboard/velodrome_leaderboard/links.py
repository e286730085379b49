"""The addresses of pages, and the state that is in their URLs. A link or a reload shows the same state again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypedDict
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import streamlit as st

BOARDS, BOARD, JOB, RUN, HISTORY, PROFILE = "boards", "board", "job", "run", "history", "profile"
COMPARE, ENTRY, SEARCH, GUIDE = "compare", "entry", "search", "guide"
API = "api/v1/openapi.json"
FIRST, AGAIN = "first", "again"  # which part of a job's page stands first

# Addresses are relative, so that they also work below a reverse proxy's path. No page has a slash in its path.
HOME = "./"


def board(name: str, **state: str) -> str:
    """The link to a board; `state` may hold its `objective` and `cohort`."""
    return f"{BOARD}?{urlencode({'name': name, **state})}"


def job(uid: str, entry: str | None = None) -> str:
    """The link to a job, or to one entry's trials in it."""
    return f"{JOB}?{urlencode({'uid': uid} | ({'entry': entry} if entry is not None else {}))}"


def again(uid: str, entry: str) -> str:
    """The link to an entry's trials in a job that shows first how to run them again.

    An anchor will not do: what is drawn above it later moves it out of sight.
    """
    return f"{job(uid, entry)}&{urlencode({FIRST: AGAIN})}"


def searching(uid: str) -> str:
    """The link to the search of a job."""
    return f"{SEARCH}?{urlencode({'uid': uid})}"


def run(uid: str, index: int) -> str:
    """The link to one trial."""
    return f"{RUN}?{urlencode({'job': uid, 'trial': index})}"


def history(board: str, entry: str, objective: str, at: int | None = None) -> str:
    """The link to an entry's history for an objective. `at` is the Unix time at which the compared job was created.

    Alerts have this link too: deploy/monitoring/rules/velodrome.rules.yaml.
    """
    when = {} if at is None else {"at": at}
    return f"{HISTORY}?{urlencode({'board': board, 'entry': entry, 'objective': objective} | when)}"


def profile(entry: str, boards: Sequence[str], objective: str) -> str:
    """The link to an entry's profile over boards."""
    return f"{PROFILE}?{urlencode({'entry': entry, 'boards': list(boards), 'objective': objective}, doseq=True)}"


def compare(board: str, entries: Sequence[str], **state: str) -> str:
    """The link to the comparison of entries."""
    return f"{COMPARE}?{urlencode({'board': board, 'entry': list(entries), **state}, doseq=True)}"


def entry(board: str, name: str) -> str:
    """The link to all that a board knows of an entry."""
    return f"{ENTRY}?{urlencode({'board': board, 'name': name})}"


def badge(board: str, objective: str) -> str:
    """The whole address of an objective's badge, as the viewer's browser reaches this leaderboard."""
    here = urlsplit(st.context.url or "")
    folder = here.path.rsplit("/", 1)[0] if here.path.count("/") else ""
    path = f"{folder}/api/v1/boards/{quote(board, safe='')}/objectives/{quote(objective, safe='')}/badge.svg"
    return urlunsplit((here.scheme, here.netloc, path, "", ""))


def file_word(name: str) -> str:
    """The name as one plain word for a file system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip("-.")[:100] or "board"


class Bound(TypedDict):
    """The arguments that connect a widget with the URL."""

    key: str
    on_change: Callable[[], None]


def choice(
    name: str, options: Sequence[str], default: str, label: Callable[[str], str] = str, resets: Sequence[str] = ()
) -> tuple[str, Bound]:
    """The option that the URL names, or the default if there is no such option; and the widget's arguments.

    Only the URL holds the choice: the widget shows it and writes it. Streamlit's own `bind` would put the label of an
    option into the URL, and our labels hold counts and times. `label` is for widgets whose values are their labels.
    `resets` names parts of the URL that lose their meaning when another option is chosen.
    """
    wanted = st.query_params.get(name, default)
    value = wanted if wanted in options else default
    values = {label(option): option for option in options}
    return value, _bound(name, label(value), lambda shown: values.get(str(shown), default), default, resets)


def several(
    name: str, options: Sequence[str], default: Sequence[str], *, ordered: bool = False
) -> tuple[list[str], Bound]:
    """The options that the URL names, in the order of `options`, or the default; and the widget's arguments.

    With `ordered`, they are in the URL's order.
    """
    wanted = st.query_params.get_all(name)
    known = set(options)
    found = [one for one in dict.fromkeys(wanted) if one in known] if ordered else [o for o in options if o in wanted]
    value = found or list(default)
    key = f"url-{name}"
    st.session_state[key] = value

    def write() -> None:
        st.query_params[name] = list(st.session_state[key])

    return value, {"key": key, "on_change": write}


class BoundPage(Bound):
    """As `Bound`, for `st.pagination`, which needs its own default."""

    default: int


def wanted_page(name: str = "page") -> int:
    """The page that the URL names, at least 1. There may be fewer pages."""
    wanted = st.query_params.get(name, "1")
    return max(int(wanted), 1) if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else 1


def page_number(pages: int, name: str = "page") -> tuple[int, BoundPage]:
    """The page that the URL names, within 1 to `pages`, and the pagination widget's arguments."""
    value = min(wanted_page(name), pages)
    key = f"url-{name}-{value}"  # for another page this is another widget, which starts from its default

    def write() -> None:
        _write(name, str(st.session_state[key]), "1")

    return value, {"key": key, "on_change": write, "default": value}


def instant(name: str) -> int | None:
    """The Unix time that the URL names, in whole seconds."""
    wanted = st.query_params.get(name, "")
    return int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 12 else None


def search(name: str, resets: Sequence[str], older: str) -> tuple[str, Bound]:
    """The search text in the URL, and the text field's arguments. `older` is another name that links have for it."""
    value = st.query_params.get(name, st.query_params.get(older, ""))[:1000]
    return value, _bound(name, value, str, "", (*resets, older))


def _bound(name: str, value: object, read: Callable[[object], str], default: str, resets: Sequence[str] = ()) -> Bound:
    """Shows `value` in the widget, and writes a changed value into the URL. The default is left out of the URL."""
    key = f"url-{name}"
    st.session_state[key] = value

    def write() -> None:
        for other in resets:
            st.query_params.pop(other, None)
        _write(name, read(st.session_state[key]), default)

    return {"key": key, "on_change": write}


def _write(name: str, chosen: str, default: str) -> None:
    if chosen == default:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = chosen
