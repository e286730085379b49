"""Who looks at the leaderboard, and what this person may see and do.

Without a sign-in file, everybody sees everything.
"""
