"""Asks container registries which digest a tag has, by the HTTP API of the OCI distribution specification."""
