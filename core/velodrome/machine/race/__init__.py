"""One race on this machine, from the object to its finish."""
