from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.stats import Direction, pareto_front

Points = dict[str, tuple[float, ...]]

directions: st.SearchStrategy[list[Direction]] = st.lists(st.sampled_from(["higher", "lower"]), min_size=1, max_size=4)
coordinates = st.one_of(st.integers(0, 3).map(float), st.floats(allow_nan=False))
races = directions.flatmap(
    lambda chosen: st.tuples(
        st.dictionaries(st.text(max_size=3), st.tuples(*[coordinates for _ in chosen]), max_size=12), st.just(chosen)
    )
)


def dominates(a: tuple[float, ...], b: tuple[float, ...], directions: list[Direction]) -> bool:
    gains = [
        (x > y) - (x < y) if way == "higher" else (x < y) - (x > y) for x, y, way in zip(a, b, directions, strict=True)
    ]
    return min(gains) >= 0 and max(gains) > 0


def test_accuracy_against_latency() -> None:
    points = {
        "big": (0.95, 9.0),
        "small": (0.90, 1.0),
        "middle": (0.93, 4.0),
        "waste": (0.92, 5.0),
        "slow": (0.95, 9.5),
    }
    assert pareto_front(points, ["higher", "lower"]) == {"big", "small", "middle"}


def test_points_that_are_equal_in_all_are_on_the_front_together() -> None:
    points = {"a": (1.0, 1.0), "twin": (1.0, 1.0), "worse": (1.0, 2.0)}
    assert pareto_front(points, ["higher", "lower"]) == {"a", "twin"}


@given(races)
def test_the_front_is_what_nothing_dominates(race: tuple[Points, list[Direction]]) -> None:
    points, chosen = race
    expected = {
        name for name, point in points.items() if not any(dominates(other, point, chosen) for other in points.values())
    }
    assert pareto_front(points, chosen) == expected
    assert bool(expected) == bool(points)


@given(races)
def test_order_and_mirroring_do_not_matter(race: tuple[Points, list[Direction]]) -> None:
    points, chosen = race
    front = pareto_front(points, chosen)
    assert pareto_front(dict(reversed(points.items())), chosen) == front
    mirrored: list[Direction] = ["lower" if way == "higher" else "higher" for way in chosen]
    assert pareto_front({name: [-x for x in point] for name, point in points.items()}, mirrored) == front


def test_no_points_have_no_front() -> None:
    assert pareto_front({}, ["higher", "lower"]) == frozenset()


@pytest.mark.parametrize("point", [(1.0, None), (math.nan, 1.0)])
def test_missing_objective_is_refused(point: tuple[float | None, ...]) -> None:
    with pytest.raises(ValueError, match=r"entry 'lstm' misses objective [01]"):
        pareto_front({"cnn": (1.0, 2.0), "lstm": point}, ["higher", "lower"])


@pytest.mark.parametrize("point", [(1.0,), (1.0, 2.0, 3.0)])
def test_wrong_number_of_objectives_is_refused(point: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"entry 'lstm' has \d values for 2 objectives"):
        pareto_front({"cnn": (1.0, 2.0), "lstm": point}, ["higher", "lower"])


def test_bad_directions_are_refused() -> None:
    with pytest.raises(ValueError, match="directions: there are none"):
        pareto_front({"a": ()}, [])
    with pytest.raises(ValueError, match="directions: 'up'"):
        pareto_front({"a": (1.0,)}, ["up"])  # type: ignore[list-item]
