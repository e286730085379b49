"""What an import did, in words and as a document. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from velodrome.store import ImportReport


def import_words(report: ImportReport) -> str:
    """The counts of an import, in one line."""
    return (
        f"imported {report.imported}, already there {report.duplicates}, superseded {report.superseded}, "
        f"conflicts {report.conflicts}, refused {report.rejected_count}"
    )


def import_document(report: ImportReport) -> dict[str, Any]:
    """The same for programs, with the first refused lines and the reason of each."""
    return {
        "imported": report.imported,
        "already_there": report.duplicates,
        "superseded": report.superseded,
        "conflicts": report.conflicts,
        "refused": report.rejected_count,
        "refusals": [{"line": one.line, "why": one.why} for one in report.rejected],
    }
