"""Which entry is better at one objective: places, the reasons of those without one, and fronts of two objectives."""
