"""Leaderboards made of files: a frozen question, and entries of codes that anyone can answer it with.

boards/<board>.toml                    the question (definition.py)
entries/<board>/<AuthorYearWord>/      entry.toml and codes-s<seed>.npz (entries.py), scores.csv (scores.py)
boards/<board>.csv, <board>.json, <board>/index.html   derived (tables.py, page.py)
"""
