"""Races on a cluster, as a person sees them: read through kubectl, told as text. See docs/decisions."""
