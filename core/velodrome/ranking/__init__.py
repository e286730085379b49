"""Ranks entries by one objective, with reasons for unranked entries, and finds fronts of several objectives."""
