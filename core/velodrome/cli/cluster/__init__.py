"""Shows the races of a cluster as text. Everything is read through kubectl. See docs/decisions."""
