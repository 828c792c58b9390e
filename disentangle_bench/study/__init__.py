"""A study: what is to be done, who does it, and where it is kept."""
