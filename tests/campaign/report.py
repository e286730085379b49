"""A campaign's figures and faults as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.campaign.model import Fault, Summary


def table(found: Summary, faults: Sequence[Fault]) -> str:
    """The summary at the end of a campaign."""
    parts = sorted(found.kills, key=lambda part: (-found.kills[part], part))
    lines = [f"{'killed':<22} {'times':>6} {'longest recovery':>18}"]
    lines += [f"{part:<22} {found.kills[part]:>6} {_seconds(found.recoveries.get(part)):>18}" for part in parts]
    lines.append(f"{'in all':<22} {sum(found.kills.values()):>6} {_seconds(_longest(found)):>18}")
    lines.append("")
    disturbed = ", ".join(f"{way} {times}" for way, times in sorted(found.disturbances.items())) or "none"
    lines.append(f"disturbances: {disturbed}; strokes that found nobody: {found.missed}")
    lines.append(f"races: {found.races}, trials: {found.trials}, results accepted: {found.accepted}")
    lines.append(", ".join(f"{times} {kind.lower()}" for kind, times in found.faults.items()))
    lines += [f"FAULT at {fault.at:.0f} s: {fault.kind}: {fault.race or 'all'}: {fault.message}" for fault in faults]
    return "\n".join(lines)


def progress(done: int, wanted: int, accepted: int, going: int, ended: int, seconds: float) -> str:
    """The campaign's progress, in one line."""
    left = f"{seconds / done * (wanted - done) / 60:.0f} min" if done else "unknown"
    return f"kills {done}/{wanted}, races {going} on and {ended} ended, {accepted} results, left: {left}"


def _longest(found: Summary) -> float | None:
    return max(found.recoveries.values(), default=None)


def _seconds(value: float | None) -> str:
    return "none seen" if value is None else f"{value:.1f} s"
