"""A model's profile over several boards, as a declaration says it. It reads what boards show, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from velodrome.board.declaration import Declaration, DeclaredBoard
from velodrome.board.reading import ObjectiveReading
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.metrics.catalogue import MetricKey
from velodrome.ranking.places import RankedRow
from velodrome.stats.profile import Bounded, interquartile_mean, probability_of_improvement, shares_above
from velodrome.text import counted, listed

if TYPE_CHECKING:
    from velodrome.store import Reader

# So many other entries are compared where none are named.
MOST_OTHERS = 9
_LEVELS = 61
_NOTHING = "no job has reported to it"


@dataclass(frozen=True, slots=True)
class EntryProfile:
    """One entry over the boards that count. `runs` counts its runs on each of them.

    `shares` has, for each level of the profile, the share of its runs with a higher score. `improvement` is the
    probability that a run of the profiled model is better than one of this entry; None for the model itself.
    """

    entry: str
    runs: tuple[int, ...]
    mean: Bounded
    shares: tuple[Bounded, ...]
    improvement: Bounded | None


@dataclass(frozen=True, slots=True)
class Profile:
    """A model's profile.

    `boards` are those that count, by name with their conditions in words. `missing` says of the other declared boards
    why they don't: then the profile is incomplete. `entries` has the model first, then the others by their mean.
    `left_out` says why an entry that was asked for is not among them, and `more` counts entries that nobody asked for.
    """

    model: str
    declaration: Declaration
    key: MetricKey | None
    boards: Mapping[str, str]
    missing: Mapping[str, str]
    levels: tuple[float, ...] = ()
    entries: tuple[EntryProfile, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    more: int = 0

    @property
    def score(self) -> str:
        """How values became scores, in a sentence."""
        return "" if self.key is None else self.declaration.words(self.key.metric)

    @property
    def complete(self) -> bool:
        """Whether all declared boards count."""
        return not self.missing

    @property
    def gaps(self) -> tuple[str, ...]:
        """Which declared boards do not count, and why, one sentence each."""
        if self.complete:
            return ()
        of = f"{len(self.boards)} of {len(self.declaration.boards)} declared boards count."
        return (of, *(f"{board} does not count: {why}." for board, why in self.missing.items()))

    @property
    def findings(self) -> tuple[str, ...]:
        """How scores are made, which entries are left out, and how the model stands to others, one sentence each."""
        found = [self.score] if self.key else []
        found += [f"{name} is left out: {why}." for name, why in self.left_out.items()]
        if self.more:
            found.append(f"{counted(self.more, 'more entry is', 'more entries are')} on all these boards.")
        sides = [(one.entry, one.improvement) for one in self.entries if one.improvement is not None]
        for words, names in (
            ("better", [name for name, chance in sides if chance.low > 0.5]),
            ("worse", [name for name, chance in sides if chance.high < 0.5]),
        ):
            if names:
                found.append(f"A run of {self.model} is probably {words} than one of {listed(names)}.")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Board:
    """What a board has for a profile: the scores of its ranked entries by name, and the name of the model there."""

    name: str
    key: MetricKey
    conditions: str
    model: str
    scores: Mapping[str, Sequence[float]]


def read_profile(
    reader: Reader,
    model: str,
    declaration: Declaration,
    against: Sequence[str] = (),
    readable: Callable[[str], bool] = lambda _: True,
) -> Profile:
    """The profile of the entry with that name, else with that identity, else of the only entry with that model.

    On each board the newest conditions and the ranked entries count. The others are the entries `against` which the
    model is compared, or else the best `MOST_OTHERS` of those that are ranked on all boards that count. A board that is
    not `readable` is one to which nobody has reported.

    Raises:
        As the store does.
        ValueError: the declaration makes no scores of this objective, or its name means different metrics.
    """
    missing: dict[str, str] = {}
    boards: list[_Board] = []
    for declared in declaration.boards:
        found = _board(reader, declared, declaration, model) if readable(declared.name) else _NOTHING
        if isinstance(found, str):
            missing[declared.name] = found
        else:
            boards.append(found)
    keys = {str(board.key): board.key for board in boards}
    if len(keys) > 1:
        raise ValueError(f"{declaration.objective} means {listed(sorted(keys))}: name one of these as the objective")
    key = next(iter(keys.values()), None)
    conditions = {board.name: board.conditions for board in boards}
    if key is None:
        return Profile(model, declaration, None, conditions, missing)
    own = [board.scores[board.model] for board in boards]
    chosen, left_out, more = _others(boards, against)
    everything = np.concatenate([np.array(runs) for scores in [own, *chosen.values()] for runs in scores])
    levels = tuple(np.linspace(everything.min(), everything.max(), _LEVELS).tolist())
    first = _entry_profile(boards[0].model, own, levels, None)
    others = [_entry_profile(name, scores, levels, own) for name, scores in chosen.items()]
    others.sort(key=lambda one: (-one.mean.value, one.entry))
    return Profile(model, declaration, key, conditions, missing, levels, (first, *others), left_out, more)


def _entry_profile(
    name: str, scores: Sequence[Sequence[float]], levels: tuple[float, ...], model: Sequence[Sequence[float]] | None
) -> EntryProfile:
    improvement = None if model is None else probability_of_improvement(model, scores)
    shares = tuple(shares_above(scores, levels))
    return EntryProfile(name, tuple(map(len, scores)), interquartile_mean(scores), shares, improvement)


def _others(
    boards: Sequence[_Board], against: Sequence[str]
) -> tuple[dict[str, list[Sequence[float]]], dict[str, str], int]:
    """The scores of the other entries by board, why some that were asked for are left out, and how many more exist."""
    models = {board.model for board in boards}
    everywhere = sorted(set.intersection(*(set(board.scores) for board in boards)) - models)
    if against:
        wanted = [name for name in dict.fromkeys(against) if name not in models]
        absent = {name: [board.name for board in boards if name not in board.scores] for name in wanted}
        left_out = {name: f"not ranked on {listed(where)}" for name, where in absent.items() if where}
        chosen, more = [name for name in wanted if name not in left_out], 0
    else:
        left_out = {}
        means = {name: float(np.mean([np.mean(board.scores[name]) for board in boards])) for name in everywhere}
        chosen = sorted(everywhere, key=lambda name: (-means[name], name))[:MOST_OTHERS]
        more = len(everywhere) - len(chosen)
    return {name: [board.scores[name] for board in boards] for name in chosen}, left_out, more


def _board(reader: Reader, declared: DeclaredBoard, declaration: Declaration, model: str) -> _Board | str:
    """What the board has, or why it can't count.

    Raises:
        ValueError: the declaration makes no scores of this objective.
    """
    wanted = declaration.objective
    known = objectives_of(reader, declared.name)
    if not known:
        return _NOTHING
    objective = next((one for one in known if wanted in (one.name, str(one.key), one.key.label)), None)
    if objective is None:
        return f"it has no objective {wanted}; it has {listed([one.name for one in known])}"
    why = declaration.unscored(objective.key.metric)
    if why is not None:
        raise ValueError(why)
    (reading,) = read_objectives(reader, declared.name, [objective])
    rows = {row.entry: row for row in reading.ranking.ranked if row.interval.n > 1}
    name = _name(reader, reading, rows, model)
    if name not in rows:
        return name
    scores = _scores(rows, declared, declaration, objective.key)
    if isinstance(scores, str):
        return scores
    return _Board(declared.name, objective.key, reading.cohort.words if reading.cohort else "", name, scores)


def _name(reader: Reader, reading: ObjectiveReading, rows: Mapping[str, RankedRow], model: str) -> str:
    """The name of the model's entry, or why it has none there."""
    if model in rows:
        return model
    unranked = next((row for row in reading.ranking.unranked if row.entry == model), None)
    if unranked is not None:
        return f"{model} is not ranked there: {unranked.reason}"
    if any(row.entry == model for row in reading.ranking.ranked):
        return f"{model} has one trial there, which shows no spread: set trials.repeats"
    same = [row.entry for row in rows.values() if row.entry_id == model] or _of_model(reader, rows, model)
    if len(same) > 1:
        return f"it has several entries with {model}: name one of {listed(same)}"
    return same[0] if same else f"nothing ranked there is, or has, the name {model}"


def _of_model(reader: Reader, rows: Mapping[str, RankedRow], model: str) -> list[str]:
    """The entries that race this model, such as velodrome/cnn, as their jobs say."""
    found = []
    for uid in dict.fromkeys(row.job_uid for row in rows.values()):
        job = reader.job(uid)
        entries = [] if job is None else job.document.get("spec", {}).get("entries") or []
        named = {entry.get("name") for entry in entries if (entry.get("model") or {}).get("name") == model}
        found += [row.entry for row in rows.values() if row.job_uid == uid and row.entry in named]
    return found


def _scores(
    rows: Mapping[str, RankedRow], declared: DeclaredBoard, declaration: Declaration, key: MetricKey
) -> dict[str, list[float]] | str:
    """The scores of each entry's runs, in order of the seeds, or why there are none."""
    values = {name: [value for _, value in sorted(row.samples.items())] for name, row in rows.items()}
    reference = declaration.reference
    if reference is None:
        return {name: [declared.share(value) for value in found] for name, found in values.items()}
    if reference not in values:
        return f"{reference}, to which scores are relative, is not ranked there"
    mean = rows[reference].interval.mean
    if mean <= 0 or min(map(min, values.values())) <= 0:
        return "a value is 0 or less, so no score is relative to it: declare the worst and the best value instead"
    higher = key.metric.direction == "higher"
    return {name: [value / mean if higher else mean / value for value in found] for name, found in values.items()}
