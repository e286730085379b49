"""Writes studies as a journal of Optuna, for its dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from velodrome.errors import LocalError
from velodrome.search.library import check_optuna, quiet

if TYPE_CHECKING:
    from velodrome.search.state import SearchState


def write_journal(file: Path, job: str, state: SearchState) -> int:
    """Writes a study for each tuned entry, `JOB/ENTRY`, to a new file. Returns the number of trials.

    Raises:
        LocalError: the file can't be written.
    """
    check_optuna()
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    count = 0
    try:
        storage = JournalStorage(JournalFileBackend(str(file)))
        for entry, study in state.studies.items():
            made = optuna.create_study(storage=storage, study_name=f"{job}/{entry}", directions=study.directions)
            with quiet():
                made.set_metric_names([key.label for key in state.keys])
            for trial in study.trials():
                made.add_trial(trial)
                count += 1
    except OSError as error:
        raise LocalError(f"{file}: can't be written ({error.strerror or error}): choose another place") from error
    return count
