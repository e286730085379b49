"""The command line. If `velodrome --help` needs a module, its top imports nothing heavier than typer."""
