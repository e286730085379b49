"""The schedule of strokes: what hits which part, and when. It depends only on a seed. Pure.

The target of a stroke depends on what exists at that time: `pick` chooses among the existing targets. So a second
campaign with the same seed does the same things in the same order, but the pods have other names.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

# Parts that are pods of the installation or of a race: how each is killed, and its relative frequency.
# `SIGKILL` ends the container's process. `delete` and `force` delete the pod, with and without its grace period.
_PODS = {
    ("runner", "SIGKILL"): 14, ("runner", "delete"): 9, ("runner", "force"): 9, ("runner", "evict"): 6,
    ("operator", "SIGKILL"): 12, ("operator", "delete"): 6, ("operator", "force"): 10,
    ("redis", "SIGKILL"): 14, ("redis", "delete"): 3,
}  # fmt: skip
# Processes of the cluster itself. They are killed, and started again a little later.
_PROCESSES = {
    ("kubelet", "SIGKILL"): 5, ("apiserver", "SIGKILL"): 3, ("etcd", "SIGKILL"): 2, ("containerd", "SIGKILL"): 3,
    ("controller-manager", "SIGKILL"): 3, ("scheduler", "SIGKILL"): 2, ("kube-proxy", "SIGKILL"): 1,
}  # fmt: skip
KILLS = _PODS | _PROCESSES
PROCESSES = tuple(part for part, _ in _PROCESSES)

# `partition` drops every packet between two parts. `loss` drops three of ten, which TCP sends again: that delays.
# `clock` is a second operator with a wrong clock that steps, behind proxies that delay its requests.
_LINKS = ("operator-redis", "operator-apiserver", "runner-redis")
DISTURBANCES = {
    **{(link, "partition"): 2 for link in _LINKS},
    **{(link, "loss"): 2 for link in _LINKS},
    ("operator", "clock"): 3,
}
# The number of kills for each disturbance.
_KILLS_TO_A_DISTURBANCE = 4
# A short campaign has one of each of these before it repeats any.
_FIRST = (
    ("runner", "SIGKILL"), ("operator", "SIGKILL"), ("redis", "SIGKILL"), ("runner", "force"), ("kubelet", "SIGKILL"),
    ("operator", "force"), ("runner", "delete"), ("apiserver", "SIGKILL"), ("runner", "evict"),
    ("redis", "delete"), ("containerd", "SIGKILL"), ("controller-manager", "SIGKILL"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stroke:
    """One kill or disturbance, `pause` seconds after the previous one. It `lasts` this many seconds."""

    number: int
    part: str
    way: str
    kill: bool
    pause: float
    lasts: float
    pick: float


def schedule(seed: int, kills: int, *, pause: float = 3.0) -> Iterator[Stroke]:
    """This many kills, with disturbances between them. Equal arguments give equal schedules. `pause` is a mean."""
    luck = random.Random(seed)  # noqa: S311 - it opens nothing
    first = list(_FIRST)
    luck.shuffle(first)
    number = 0
    for kill in range(kills):
        part, way = first.pop() if first else _drawn(luck, KILLS)
        yield Stroke(number, part, way, True, luck.uniform(0.2, 2 * pause - 0.2), luck.uniform(1, 6), luck.random())
        number += 1
        if kill % _KILLS_TO_A_DISTURBANCE == _KILLS_TO_A_DISTURBANCE - 1:
            part, way = _drawn(luck, DISTURBANCES)
            lasts = luck.uniform(15, 30) if way == "clock" else luck.uniform(3, 15)
            yield Stroke(number, part, way, False, luck.uniform(0.2, pause), lasts, luck.random())
            number += 1


def _drawn(luck: random.Random, weights: dict[tuple[str, str], int]) -> tuple[str, str]:
    (found,) = luck.choices(list(weights), list(weights.values()))
    return found
