"""Backups of all results: files that say themselves whether they are whole, in a folder or in a bucket."""
