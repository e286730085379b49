"""Results in Redis: registered jobs, inboxes of reports, accepted records, and the values that rankings read."""

from velodrome.store.encoding import Item
from velodrome.store.reader import Reader
from velodrome.store.store import BoardTaken, Store, open_store
from velodrome.store.transfer import export_lines, import_lines
from velodrome.store.types import (
    Acceptance,
    Board,
    Changes,
    CohortSummary,
    Counts,
    EntryFacts,
    EntryState,
    ImportReport,
    InboxSize,
    JobSamples,
    RejectedLine,
    Rejection,
    Room,
    Row,
    TrialSummary,
)

__all__ = [
    "Acceptance",
    "Board",
    "BoardTaken",
    "Changes",
    "CohortSummary",
    "Counts",
    "EntryFacts",
    "EntryState",
    "ImportReport",
    "InboxSize",
    "Item",
    "JobSamples",
    "Reader",
    "RejectedLine",
    "Rejection",
    "Room",
    "Row",
    "Store",
    "TrialSummary",
    "export_lines",
    "import_lines",
    "open_store",
]
