"""What `--json` writes: declared here once, for the reference page, its JSON schema and the test of all commands."""
