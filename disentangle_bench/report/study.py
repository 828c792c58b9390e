"""All that is derived from a study's run directories: its tables and pictures. Delete them and they are rebuilt."""

from __future__ import annotations

import pandas as pd

from disentangle_bench.report.leaderboard import leaderboard
from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.rundir import StudyDir, write_bytes, write_text


def write_tables(study: StudyDir) -> pd.DataFrame:
    """Write scores.csv, leaderboard.csv, tradeoff.png and curves.png from the study's runs; returns the leaderboard.

    Raises BenchError where no run has finished yet.
    """
    records = list(study.records())
    runs = runs_table(records)
    board = leaderboard(runs, controls=study.controls())
    write_text(study.path / "scores.csv", runs.to_csv(index=False))
    write_text(study.path / "leaderboard.csv", board.to_csv(index=False))
    if (runs["status"] == "DONE").any():
        from disentangle_bench.report import (
            figures,
        )  # matplotlib takes a second to import, tables do not need it

        write_bytes(study.path / "tradeoff.png", figures.png(figures.tradeoff(runs, board)))
        write_bytes(study.path / "curves.png", figures.png(figures.curves(records)))
    return board
