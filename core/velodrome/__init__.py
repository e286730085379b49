"""Velodrome's shared contract: what a BenchmarkJob is, which trials it makes and what their results mean.

Importing this package is free: every module is imported by its own name, so that the command line stays quick and no
component pays for what it doesn't use.
"""

__version__ = "0.1.0"
