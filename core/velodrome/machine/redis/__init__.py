"""Velodrome's own Redis on this machine: its program, its endpoint and its process."""
