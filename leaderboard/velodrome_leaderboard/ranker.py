"""`python -m velodrome_leaderboard.ranker BOARD`: reads a board as a whole, and writes its parts to standard output.

The server of the pages asks this of a process of its own: to rank a thousand entries takes seconds and hundreds of
megabytes, and Python runs one thread at a time. So other viewers don't wait, and the memory is free afterwards.
"""

from __future__ import annotations

import os
import sys

from pydantic_core import to_json

from velodrome import keys
from velodrome.board.kept import read_parts
from velodrome.store import open_store

_NICENESS = 5


def main() -> None:
    """Reads the board that the command line names from the Redis that the environment names."""
    os.nice(_NICENESS)
    with open_store(os.environ[keys.ENV_REDIS_URL]) as store:
        version, parts = read_parts(store, sys.argv[1])
    sys.stdout.buffer.write(
        to_json({"version": version, "parts": {name: part.decode() for name, part in parts.items()}})
    )


if __name__ == "__main__":
    main()
