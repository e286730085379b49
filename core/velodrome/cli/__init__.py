"""The command line. A module here that `velodrome --help` needs imports typer and nothing heavier at its top."""
