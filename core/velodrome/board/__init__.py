"""A board as every viewer shows it, and how many jobs it keeps."""
