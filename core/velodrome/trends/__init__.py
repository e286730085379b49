"""How an entry changes from job to job: its history, its baseline, and whether it regressed."""
