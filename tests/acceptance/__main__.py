"""`python -m tests.acceptance`: installs the packaged chart on a cluster, and goes the whole way to a restored board.

It takes the first cluster that it finds, as `make e2e` does. It prints how long each step took, and stops at the first
that fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.acceptance.flow import INSTALL, ROW, Acceptance, in_time
from tests.acceptance.installation import Installation
from tests.acceptance.steps import Step, Way
from tests.cluster.foreign import choose


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if all is as it should be, 1 if a step failed, and 2 if the first row came too late."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the release and its namespaces there at the end")
    given = parser.parse_args(arguments)
    console = Console()
    cluster = choose()
    way = Way(console)
    references: dict[str, str] = {}

    def prepare() -> str:
        cluster.build()
        cluster.up()
        references.update(cluster.load_images())
        references["own"] = cluster.load_image("numpy")
        return f"{len(references)} images"

    with tempfile.TemporaryDirectory(prefix="velodrome-acceptance-") as folder:
        good = way.take([Step("a cluster, and images by digest", prepare)])
        if good:
            own = references.pop("own")
            at = Installation(cluster, references, Path(folder))
            with at.alone():
                good = way.take(Acceptance(at, own).steps())
                if not given.keep and good:
                    good = way.take([Step("clean up", at.remove)])
    console.print(way.table())
    if way.failure is not None:
        console.print(f"{way.failure.name} failed:\n{way.failure.failure}", markup=False, highlight=False, style="red")
        return 1
    console.print(f"from helm install to the first row: {way.between(INSTALL, ROW):.1f} s")
    if late := in_time(way):
        console.print(late, markup=False, style="red")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
