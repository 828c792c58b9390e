"""The command `bench`: it parses and prints, nothing else. Heavy imports happen inside the commands.

Each module below adds its commands to `main` when it is imported.
"""

from disentangle_bench.cli import board, data, evaluate, pictures, report, run, score, tables
from disentangle_bench.cli.group import main

__all__ = ["board", "data", "evaluate", "main", "pictures", "report", "run", "score", "tables"]
