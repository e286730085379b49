"""What the operator holds in memory before it has seen anything."""

from __future__ import annotations

import json
import subprocess
import sys

# The client's package describes every kind of Kubernetes; kopf asks for two of them, which bring a third.
FEW_MODELS = 5


def test_a_fresh_operator_has_loaded_neither_the_statistics_nor_a_description_of_every_kind() -> None:
    code = "import json, sys, velodrome_operator.__main__; print(json.dumps(sorted(sys.modules)))"
    loaded: list[str] = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )
    packages = {name.partition(".")[0] for name in loaded}
    assert packages & {"numpy", "pandas", "scipy", "sklearn", "streamlit", "torch"} == set()
    of_the_client = ("kubernetes.client.models.", "kubernetes.aio.client.models.")
    models = [name for name in loaded if name.startswith(of_the_client)]
    assert len(models) < FEW_MODELS
    assert {"kopf", "kubernetes", "velodrome_operator.handlers"} <= set(loaded)
