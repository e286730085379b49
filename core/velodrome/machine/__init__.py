"""Racing on one machine: Velodrome's own Redis, and the executor that runs a plan's trials here.

What the cluster does with pods, this does with processes; plan, runner, collector and store are the same.
"""
