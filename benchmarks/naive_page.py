"""The peer of the leaderboard in benchmarks: a board as people write one in Streamlit in an afternoon.

`streamlit run` runs it, with the store's URL and the board's name in the environment. It reads all results, averages
them with pandas, shows them as a table, and asks again every so many seconds, or when somebody clicks.
"""

import os

import pandas as pd
import streamlit as st

from velodrome.store import open_store

REFRESH_SECONDS = float(os.environ.get("NAIVE_REFRESH", "2")) or None


@st.fragment(run_every=REFRESH_SECONDS)
def board(name: str) -> None:
    """The table of the board's newest job."""
    with open_store(os.environ["VELODROME_REDIS_URL"]) as store:
        (job,) = store.jobs(name, limit=1)
        records = [one for start in range(0, job.trials, 1000) for one in store.records(job.uid, start, 1000)]
    rows = [{"entry": record.result.entry, **record.result.metrics} for record in records]
    st.button("Again")
    means = pd.DataFrame(rows).groupby("entry").agg(["mean", "std", "count"])
    means.columns = [" ".join(column) for column in means.columns]
    st.dataframe(means.sort_values("accuracy mean", ascending=False))


st.title("Leaderboard")
board(os.environ["NAIVE_BOARD"])
