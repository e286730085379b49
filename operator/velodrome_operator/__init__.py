"""The operator: makes Indexed Jobs from BenchmarkJobs, and makes results and a status from their pods' reports."""
