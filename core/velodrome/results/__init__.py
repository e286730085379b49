"""What a trial measured and under which conditions: records, cohorts, marks, and the bounds of possible values."""
