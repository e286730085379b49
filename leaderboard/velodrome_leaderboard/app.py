"""The script for `streamlit run`. It holds nothing else, because Streamlit puts its folder first on sys.path."""

from velodrome_leaderboard.shell import main

main()
