"""disentangle_bench: train VAEs over grids and seeds, and measure whether what they learned is disentangled.

The names below are the whole Python interface. Each is imported when it is first used, so
`import disentangle_bench` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from disentangle_bench.version import __version__

if TYPE_CHECKING:
    from disentangle_bench.data.load import load_dataset
    from disentangle_bench.errors import BenchError
    from disentangle_bench.evaluation.evaluate import evaluate
    from disentangle_bench.evaluation.load import load_run
    from disentangle_bench.evaluation.scores import score_codes
    from disentangle_bench.grid import Grid
    from disentangle_bench.metrics.metric import Metric
    from disentangle_bench.report.published import load_published
    from disentangle_bench.report.study import load_leaderboard, load_scores
    from disentangle_bench.study.run import run

__all__ = [
    "BenchError",
    "Grid",
    "Metric",
    "__version__",
    "evaluate",
    "load_dataset",
    "load_leaderboard",
    "load_published",
    "load_run",
    "load_scores",
    "run",
    "score_codes",
]

_HOMES = {
    "BenchError": "errors",
    "Grid": "grid",
    "Metric": "metrics.metric",
    "evaluate": "evaluation.evaluate",
    "load_dataset": "data.load",
    "load_leaderboard": "report.study",
    "load_published": "report.published",
    "load_run": "evaluation.load",
    "load_scores": "report.study",
    "run": "study.run",
    "score_codes": "evaluation.scores",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
