"""How a study is run; none of it decides a result beyond rounding."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from disentangle_bench.callbacks import Callback
from disentangle_bench.data.load import default_data_dir
from disentangle_bench.processes.cores import count_cores
from disentangle_bench.stop import Stop

if TYPE_CHECKING:
    from disentangle_bench.study.launchers import Launcher


@dataclass(frozen=True)
class Jobs:
    """How many processes work on this machine's cores (`count`, None for one a core), and the threads of each."""

    count: int | None = None
    threads: int = 1

    def processes(self, tasks: int) -> int:
        """For so many tasks."""
        return max(1, min(self.count or count_cores() // self.threads, tasks))


@dataclass(frozen=True)
class Options:
    """How a study is run.

    `stack_size`: runs that train together at most (None: as many as is best on a GPU, one on a CPU).
    `checkpoint_every`: seconds of training. `stop` may be asked to end the work early, which raises Stopped.
    `shard` (i, n): of n parts into which the grid's runs fall, the i-th, from 1. `metric_seconds`: what a metric may
    take for one run. `launcher` trains; None stands for this machine. `allow`: code beyond the grid that the study's
    runs may name. `jobs`: the processes that work on a CPU's cores; None for this process alone. `callbacks` hear of
    each run while it trains.
    """

    device: torch.device
    stack_size: int | None = None
    checkpoint_every: float = 300.0
    stop: Stop = field(default_factory=Stop)
    retry_failed: bool = False
    data_dir: str | Path | None = None
    shard: tuple[int, int] = (1, 1)
    metric_seconds: float | None = None
    launcher: Launcher | None = None
    allow: Collection[str] = ()
    jobs: Jobs | None = None
    callbacks: Sequence[Callback] = ()

    @property
    def on_cores(self) -> bool:
        """Whether processes of this machine's cores do the work."""
        return self.jobs is not None and self.launcher is None and self.device.type == "cpu"

    @property
    def data_folder(self) -> Path:
        """Where data files are kept."""
        return Path(self.data_dir) if self.data_dir is not None else default_data_dir()
