"""The leaderboard: a Streamlit app that reads results from Redis and ranks them."""
