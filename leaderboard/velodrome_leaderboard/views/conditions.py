"""The part of a page where a person chooses the conditions that values share."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from velodrome.board.cohorts import cohort_labels
from velodrome.results.conditions import differences
from velodrome.store import CohortSummary
from velodrome.text import counted, line
from velodrome_leaderboard import links, markup
from velodrome_leaderboard.viewer import now, zone


def choose_conditions(cohort: CohortSummary, cohorts: Sequence[CohortSummary], name: str = "cohort") -> None:
    """Lets a person choose one of several cohorts, and says in what the others differ. The URL holds it as `name`."""
    labels = cohort_labels(cohorts)
    ids = [other.cohort_id for other in cohorts]
    sizes = {other.cohort_id: counted(other.entries, "entry", "entries") for other in cohorts}
    _, bound = links.choice(name, ids, ids[0], resets=("page", "unranked"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Conditions",
            ids,
            format_func=lambda one: line(f"{labels[one]} ({sizes[one]})"),
            help="Only results that were measured under the same conditions are ranked together. Newest first.",
            width=520,
            **bound,
        )
        with st.popover("Why not all together?", icon=":material/balance:"):
            for other in cohorts:
                if other.cohort_id != cohort.cohort_id:
                    apart = [str(found) for found in differences(cohort.conditions, other.conditions)]
                    age = markup.moment(other.last_at, now(), zone())
                    st.html(
                        markup.lines(
                            ("note", [f"{sizes[other.cohort_id]}, newest ", age, ", can't be compared with these:"]),
                            *(("meta", [text]) for text in apart),
                        )
                    )
