"""A short campaign of kills: every part that matters, once or more. `make campaign` runs long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.report import table
from tests.campaign.run import Wanted, campaign
from tests.e2e.conftest import Kube

KILLS = 12


@pytest.mark.smoke
def test_races_end_as_they_should_whatever_is_killed(installed: Kube, own_image: str, tmp_path: Path) -> None:
    if installed.cluster.has_volumes:
        pytest.skip("parts are killed in a cluster of one's own only")
    wanted = Wanted(KILLS, seed=11, races=2, trials=8, image=own_image, patience=900)
    found, faults = campaign(installed, wanted, tmp_path / "history.jsonl", print)
    assert not faults, table(found, faults)
    assert sum(found.kills.values()) + found.missed == KILLS, table(found, faults)
    assert {"operator", "redis", "runner"} <= found.kills.keys(), table(found, faults)
    assert found.accepted == found.trials
    assert found.races >= 2
