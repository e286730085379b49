"""Processes of one machine: their locks, the warm starter that forks trials, and how they are asked to stop."""
