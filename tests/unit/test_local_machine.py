"""How a race's trials share a machine."""

from __future__ import annotations

import pytest

from velodrome.kernel import cpus_for_each


@pytest.mark.parametrize(("cpus", "parallel", "each"), [(8, 1, 8), (8, 3, 2), (2, 4, 1)])
def test_trials_that_run_at_once_share_the_cpus(cpus: int, parallel: int, each: int) -> None:
    assert cpus_for_each(cpus, parallel) == each
