"""The operator: makes Indexed Jobs of BenchmarkJobs, and results and a status of what their pods report."""
