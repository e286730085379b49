"""The Python API: `velodrome.read_jobs`, `velodrome.run` and `velodrome.open_results`.

It asks the same functions as the command line and the pages, so that all give the same answers. Answers are frozen
values. Errors are those of `velodrome.errors`. pandas and polars are imported only where a frame is asked for.
"""
