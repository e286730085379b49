"""Hyperparameter search: from what was tried and measured to what is tried next, and to the winner. Pure: no I/O here.

Optuna chooses. `study` imports it when the first suggestion is asked for.
"""
