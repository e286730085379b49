"""Processes on one machine: their locks, the warm starter that forks trials, and the signals that ask to stop."""
