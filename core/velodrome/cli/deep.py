"""What `validate --deep` adds: the data are read, each model is built and makes one step, each program is found."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from velodrome.cli.console import complain, say
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.plan import Plan


def rehearse(plan: Plan, data: Path | None) -> bool:
    """Shows, entry by entry, what a trial would meet before it trains. Returns whether all is well.

    `data` is the folder of the data, by default that of Velodrome's own folder. Programs in images are not looked into.

    Raises:
        LocalError: the runner can't be started on this machine.
    """
    from velodrome.kernel.limits import cpu_limit
    from velodrome.machine.home import locate_home
    from velodrome.machine.processes.starter import Starter
    from velodrome.machine.race.rehearsal import Stage
    from velodrome.machine.race.rehearsal import rehearse as rehearsed

    well, here = True, []
    for position, (entry, config) in enumerate(plan.configs.items()):
        if config.command is not None and config.image is not None:
            say(line(f"  {entry}: {config.command[0]} is in {config.image}, which is not looked into"))
        else:
            here.append(position)
    with TemporaryDirectory(prefix="velodrome-") as name:
        folder = Path(name)
        starter = Starter((sys.executable, "-m", "velodrome_runner", "serve"), os.environ, folder / "starter.log")
        stage = Stage(starter, folder, (data or locate_home().data).absolute(), cpu_limit())
        try:
            for found in rehearsed(plan, here, stage):
                well = well and not found.problems
                for problem in found.problems:
                    complain(line(f"  {found.entry}: {problem.message}"))
                if not found.problems:
                    say(line(f"  {found.entry}: {found.message}, {found.seconds:.1f} s"))
        finally:
            starter.close(0.0)
    return well
