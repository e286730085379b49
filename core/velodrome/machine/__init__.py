"""Races on one machine: Velodrome's own Redis, and the executor that runs a plan's trials here.

A cluster runs trials in pods, this package runs them in processes. Plan, runner, collector and store are the same.
"""
