"""The script that runs when a browser asks for a page. It holds nothing else, so that every page is a module."""

from velodrome_leaderboard.shell import main

main()
