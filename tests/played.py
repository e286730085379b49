"""How the snippets of pages are checked, beside their form."""

from typing import Final

# Pages that are played as printed, and whether that imports PyTorch.
PLAYED: Final = {
    "docs/own-code.md": False,
    "docs/tutorials/nightly-regressions.md": False,
    "docs/tutorials/race-my-code.md": False,
    "docs/tutorials/race-my-models.md": True,
}
# Pages whose commands need a cluster. tests/acceptance and tests/e2e run the same commands.
NEEDS_A_CLUSTER: Final = {"docs/tutorials/on-our-cluster.md"}
# Pages whose snippets have tests of their own.
CHECKED_ELSEWHERE: Final = {
    "docs/own-models.md": "tests/unit/test_docs_own_models.py",
    "docs/python.md": "tests/integration/test_docs_python.py",
}
