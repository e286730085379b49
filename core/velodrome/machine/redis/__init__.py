"""Velodrome's own Redis on this machine: which program, where it listens, and its process."""
