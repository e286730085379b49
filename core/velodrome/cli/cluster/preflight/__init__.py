"""What one BenchmarkJob needs of a cluster, and whether it is there. Changes nothing."""
