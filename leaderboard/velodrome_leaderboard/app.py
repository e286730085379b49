"""What `streamlit run` is given; nothing more, as Streamlit puts this file's folder first on sys.path."""

from velodrome_leaderboard.shell import main

main()
