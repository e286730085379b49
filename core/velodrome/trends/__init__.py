"""What became of an entry from job to job: its history, its baseline, and whether it regressed."""
