"""What runs in a worker of a Ray cluster: one job, on the worker's own copy of the data set."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from disentangle_bench import registry
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.device import pick_device
from disentangle_bench.errors import BenchError
from disentangle_bench.processes.messages import PhaseMessages
from disentangle_bench.specs import DatasetSpec, RunSpec
from disentangle_bench.stop import Stop, Stopped
from disentangle_bench.study.job import Control, Job, run_job
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.plan import StackSize, stack_size
from disentangle_bench.version import __version__

LOOK_EVERY = 1.0  # seconds between a worker's looks at the mailbox


@dataclass(frozen=True)
class Setup:
    """What a worker needs beside its job: the driver's version, plug-in files by path, and surroundings; its device.

    `folder` is the driver's current directory and `paths` where it finds modules; both hold where a node has them too.
    `takes` are the GPUs and the cores of a job.
    """

    version: str
    plugins: Mapping[str, str]
    folder: str
    paths: tuple[str, ...]
    data_dir: str | None
    takes: tuple[float, int]

    @classmethod
    def here(cls, data_dir: str | Path | None, gpus: float, cpus: int) -> Setup:
        """That of the driver, which is this process."""
        return cls(
            version=__version__,
            plugins={str(path): path.read_text(encoding="utf-8") for path in registry.plugin_files()},
            folder=os.getcwd(),
            paths=tuple(os.path.abspath(path) for path in sys.path),
            data_dir=None if data_dir is None else str(Path(data_dir).absolute()),
            takes=(gpus, cpus),
        )

    @property
    def gpus(self) -> float:
        """The GPUs that a job takes."""
        return self.takes[0]

    @property
    def cpus(self) -> int:
        """The cores that a job takes."""
        return self.takes[1]


_held: tuple[str, FactorDataset] | None = (
    None  # the data set of the last job, which the next one mostly shares
)


def run_one(
    job: Job, setup: Setup, mailbox: Any, number: int, fingerprint: str, checkpoint_every: float
) -> str | None:
    """Train and score a job and tell the mailbox; returns the user's mistake, None when all is well."""
    import ray

    def tell(kind: str, content: Any = None) -> None:
        ray.get(mailbox.tell.remote(number, kind, content))

    stop = Stop()
    with _listening(lambda: ray.get(mailbox.asked_to_stop.remote()), stop):
        try:
            stop.check()
            tell("began")
            dataset = _prepared(job.specs[0].dataset, setup)
            if dataset.fingerprint != fingerprint:
                return (
                    f"the data set {dataset.name} on {platform.node()} is not the driver's: its fingerprint is"
                    f" {dataset.fingerprint}, not {fingerprint}"
                )
            keep = lambda checkpoint: tell("checkpoint", checkpoint)  # noqa: E731
            losses = lambda rows: tell("losses", rows)  # noqa: E731
            control = Control(PhaseMessages(tell), keep, checkpoint_every, stop, losses)
            for record in run_job(job, dataset, control):
                where = {"launcher": "ray", "node": platform.node()}
                tell("record", replace(record, provenance={**record.provenance, **where}))
                stop.check()
        except BenchError as error:
            return f"{error} (on {platform.node()})"
        except Stopped:
            return None
    return None


def fitting(group: tuple[RunSpec, ...], setup: Setup) -> StackSize:
    """How many of these runs train together on a worker's device, of which a worker may have a share only."""
    dataset = _prepared(group[0].dataset, setup)
    return stack_size(make_objective(group[0], dataset), group, dataset, share=min(1.0, setup.gpus or 1.0))


def _prepared(spec: DatasetSpec, setup: Setup) -> FactorDataset:
    """The data set on this worker's device, loaded once for all jobs in a row that use it; and all that a job needs."""
    global _held
    if __version__ != setup.version:
        raise BenchError(f"{platform.node()} has disentangle_bench {__version__}, the driver {setup.version}")
    if Path(setup.folder).is_dir():
        os.chdir(setup.folder)  # relative paths mean what they mean to the driver
    torch.set_num_threads(setup.cpus)
    sys.path += [path for path in setup.paths if path not in sys.path and Path(path).exists()]
    if _held is None:
        _load_plugins(setup.plugins)
    if _held is None or _held[0] != spec.label:
        _held = None  # first make room
        device = pick_device("cuda" if setup.gpus else "cpu")
        loaded = load_dataset(
            spec.name,
            parameters=spec.parameters,
            every=spec.every,
            size=spec.size,
            data_dir=setup.data_dir,
            device=device,
        )
        _held = (spec.label, loaded)
    return _held[1]


def _load_plugins(plugins: Mapping[str, str]) -> None:
    """Load the driver's plug-ins, from their own place where this node has them there, else from a copy."""
    folder = Path(tempfile.mkdtemp(prefix="plugins-"))
    for path, source in ((Path(name), source) for name, source in plugins.items()):
        if not (path.is_file() and path.read_text(encoding="utf-8") == source):
            path = folder / path.name
            path.write_text(source, encoding="utf-8")
        registry.load_plugin(path)


@contextmanager
def _listening(asked_to_stop: Callable[[], str], stop: Stop) -> Iterator[None]:
    """Within, the mailbox is asked every second whether to stop."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_EVERY):
            reason = asked_to_stop()
            if reason:
                stop.reason = reason
                return

    stop.reason = asked_to_stop()
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
