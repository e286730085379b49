"""Registers a race with the results, unless its namespace may not write to its board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from velodrome.board.tenancy import BoardPolicy, BoardRefusal, refusal
from velodrome.errors import ActionNeeded
from velodrome.store import BoardTaken

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Store


class BoardRefused(ActionNeeded):
    """The race's namespace may not write to its board: the race ends before it has any pod."""

    reason = "BoardRefused"

    def __init__(self, refused: BoardRefusal) -> None:
        self.refused = refused
        super().__init__(refused.message)


def admit(store: Store, policy: BoardPolicy, info: JobInfo) -> None:
    """Registers the job. A job that is registered stays so, whatever the policy says now.

    To whom the board belongs is looked up and noted in one step, so of two races that want a new board one gets it.

    Raises:
        BoardRefused: its namespace may not write to its board; nothing was stored.
        TryAgain, ActionNeeded: as the store.
    """
    refused = refusal(policy, info.board, info.namespace, None)
    if refused is None:
        try:
            store.register(info, exclusive=policy.goes_by_owner(info.board))
        except BoardTaken as taken:
            refused = refusal(policy, info.board, info.namespace, taken.owner)
    if refused is not None and store.job(info.uid) is None:
        raise BoardRefused(refused)
