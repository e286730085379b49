"""A first BenchmarkJob: looks at the data that a person has, and writes a commented file for them."""
