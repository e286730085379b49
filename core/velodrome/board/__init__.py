"""A board as every page and command shows it, and how many jobs it keeps."""
