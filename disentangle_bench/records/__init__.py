"""The files of a study: what is kept of runs, and nothing that computes."""
