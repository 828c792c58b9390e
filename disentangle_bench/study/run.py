"""A grid run from Python: what `bench run` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from disentangle_bench.bars import shown_by_default
from disentangle_bench.callbacks import Callback
from disentangle_bench.device import pick_device
from disentangle_bench.grid import Grid
from disentangle_bench.grid_file import check_grid, read_grid, with_overrides
from disentangle_bench.progress import Progress
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.stop import Stop
from disentangle_bench.study.options import Jobs, Options
from disentangle_bench.study.plan import Outcome, default_study
from disentangle_bench.study.study import Study


def run(
    grid: str | Path | Mapping[str, Any] | Grid,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    seeds: int | None = None,
    overrides: Sequence[str] = (),
    retry_failed: bool = False,
    data_dir: str | Path | None = None,
    time_limit: float | None = None,
    jobs: int | None = None,
    threads: int = 1,
    progress: Progress | None = None,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """Run the unfinished runs of a grid and write its tables, as `bench run` does.

    Parameters
    ----------
    grid
        The path of a TOML file, the name of a grid of this package ("quickstart"), the content of such a file as a
        dict, or a Grid.
    out
        The study directory, by default `results/<grid name>`.
    device
        "auto", "cpu", "cuda" or "cuda:N".
    seeds
        N means the seeds 0..N-1 instead of the grid's seeds.
    overrides
        Texts such as "training.steps=500" that change keys of the grid.
    retry_failed
        Whether runs that failed before are trained again.
    data_dir
        The folder of data files.
    time_limit
        Seconds after which a checkpoint is kept and Stopped is raised. The same call continues from there.
    jobs
        On a CPU, how many runs train at the same time, each in a process of its own. None means one per core.
    threads
        The number of threads of each process. Another number changes scores as another seed would.
    progress
        Gets the progress of the study. The default is bars in a terminal and in a notebook, and nothing elsewhere.
    callbacks
        Objects that are called while runs train, in this process (`disentangle_bench.callbacks.Callback`).

    Returns
    -------
    Outcome
        The path of the study, and how many of its runs are done, failed and left.

    Raises
    ------
    BenchError
        If there is a mistake in the grid or its surroundings.
    Stopped
        If the time limit is reached.

    Examples
    --------
    >>> import disentangle_bench
    >>> grid = {
    ...     "name": "example",
    ...     "metrics": ["mig"],
    ...     "datasets": [{"name": "tiny_data:SQUARES"}],
    ...     "models": [{"name": "pca"}],
    ...     "network": {"latents": 3},
    ... }
    >>> outcome = disentangle_bench.run(grid, device="cpu", jobs=1)
    >>> outcome.done, outcome.failed
    (1, 0)
    """
    checked = _grid(grid, overrides, seeds)
    directory = StudyDir(Path(out) if out is not None else default_study(checked))
    options = Options(
        pick_device(device),
        stop=Stop(time_limit),
        retry_failed=retry_failed,
        data_dir=data_dir,
        jobs=Jobs(jobs, threads),
        callbacks=callbacks,
    )
    return Study(checked, directory, options, progress or shown_by_default()).train()


def _grid(grid: str | Path | Mapping[str, Any] | Grid, overrides: Sequence[str], seeds: int | None) -> Grid:
    """The grid after overrides. Raises BenchError for one that is none."""
    if isinstance(grid, str | Path):
        return read_grid(Path(grid), overrides, seeds)
    document = grid.document() if isinstance(grid, Grid) else dict(grid)
    return check_grid(with_overrides(document, overrides, seeds))
