"""The read-only JSON API, and the badges, on the port of the pages. They give the same reading."""
