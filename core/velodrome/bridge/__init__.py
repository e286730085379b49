"""Results for other systems, as those have them."""
