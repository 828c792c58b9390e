"""Evaluation: how codes are scored, by this package's way or a paper's."""
