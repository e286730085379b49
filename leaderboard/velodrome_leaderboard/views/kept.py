"""The files that a trial kept, to download where this machine has them.

Who may see the page of a run may have its files: there is a page for boards alone that the person may see.
"""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

import streamlit as st

from velodrome.errors import LocalError
from velodrome.machine.home import locate_home
from velodrome.results.files import folder_here
from velodrome.results.records import JobInfo, KeptFile, TrialRecord

_MOST = 256 * 2**20  # bytes that a page sends; a larger file is copied
_TYPES = {".gz": "application/gzip"}


def show(job: JobInfo, record: TrialRecord) -> None:
    """A button for each kept file that is on this machine, or the command that copies a large one."""
    for file in record.result.artifacts or ():
        path = _here(job, record, file)
        if path is None:
            continue
        if (file.bytes or 0) > _MOST:
            st.code(f"cp {shlex.quote(str(path))} .", language="bash")
            continue
        st.download_button(
            f"Download {file.name}",
            partial(Path.read_bytes, path),  # read when somebody wants it
            f"{job.name}-{record.result.index}-{file.name}",
            _TYPES.get(path.suffix, "application/octet-stream"),
            key=f"kept-{file.name}",
            on_click="ignore",
            icon=":material/download:",
        )


def _here(job: JobInfo, record: TrialRecord, file: KeptFile) -> Path | None:
    """Where the file is in the data folder of this machine, in its full length; None if it is not there.

    A record says names and a job's uid, so what lies outside of the folder of races is no file of a trial.
    """
    folder = folder_here(job, record)
    if folder is None or file.bytes is None:
        return None
    try:
        home = locate_home().folder.resolve()
        path = (home / folder / file.name).resolve()
        there = path.is_relative_to(home / "jobs") and path.is_file() and path.stat().st_size == file.bytes
    except (LocalError, OSError, ValueError):
        return None
    return path if there else None
