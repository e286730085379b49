"""One race on this machine, from the BenchmarkJob to its end."""
