"""The catalogue of metrics, those that a team declares, and how values are counted, converted and timed."""
