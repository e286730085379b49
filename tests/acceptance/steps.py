"""Steps in order, each timed. The first that fails ends the way, and says why."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


class StepFailed(Exception):
    """What a step was to show is not so. The message says what was seen, and where to look."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it shows, in a few words, and what does it. It returns a remark for the table."""

    name: str
    work: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step went. `failure` is empty if it succeeded."""

    name: str
    seconds: float
    remark: str = ""
    failure: str = ""


@dataclass
class Way:
    """Steps that were taken so far, with the moment at which each ended."""

    console: Console
    clock: Callable[[], float] = time.monotonic
    outcomes: list[Outcome] = field(default_factory=list)
    ended: dict[str, float] = field(default_factory=dict)

    def take(self, steps: Sequence[Step]) -> bool:
        """Takes the steps in order, up to the first that fails. Returns whether all succeeded."""
        for number, step in enumerate(steps, start=1):
            self.console.print(f"[{number}/{len(steps)}] {step.name} …", markup=False, highlight=False)
            began = self.clock()
            try:
                remark, failure = step.work(), ""
            except Exception as error:  # a step may fail in any way: what it said is the reason
                remark, failure = "", f"{type(error).__name__}: {error}".strip()
            self.ended[step.name] = self.clock()
            self.outcomes.append(Outcome(step.name, self.ended[step.name] - began, remark, failure))
            if failure:
                return False
        return True

    def between(self, first: str, last: str) -> float:
        """Seconds from the beginning of one step to the end of another."""
        began = self.ended[first] - next(one.seconds for one in self.outcomes if one.name == first)
        return self.ended[last] - began

    def table(self) -> Table:
        """How each step went, and how long it took."""
        found = Table("step", "seconds", "seen", title="acceptance")
        found.columns[1].justify = "right"
        for one in self.outcomes:
            found.add_row(
                one.name, f"{one.seconds:.1f}", _plain(one.failure.splitlines()[0] if one.failure else one.remark)
            )
        found.add_section()
        found.add_row("all", f"{sum(one.seconds for one in self.outcomes):.1f}", "")
        return found

    @property
    def failure(self) -> Outcome | None:
        """The step that failed."""
        return next((one for one in self.outcomes if one.failure), None)


def _plain(text: str) -> Any:
    """Text in which rich sees no markup."""
    from rich.text import Text

    return Text(text)
