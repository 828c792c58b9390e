"""The launcher of a Ray cluster: each job a task on some node, while this process alone writes the study directory.

Workers send checkpoints, records and progress to a desk, an actor on the driver's own node, and ask it whether to stop.
When a worker or its node dies, the driver sends what is left of the job again, from the last checkpoint it has kept.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from disentangle_bench import registry
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.launch.job import Job, make_objective, run_job
from disentangle_bench.launch.ray_desk import Desk
from disentangle_bench.launch.telling import Telling
from disentangle_bench.launch.work import Work, with_losses
from disentangle_bench.progress import Progress
from disentangle_bench.rundir import RunRecord
from disentangle_bench.spec import DatasetSpec, RunSpec
from disentangle_bench.train.device import pick_device
from disentangle_bench.train.plan import StackSize, stack_size
from disentangle_bench.train.stop import Stop, Stopped
from disentangle_bench.version import __version__

RETRIES = 3  # of a job whose worker died; then its runs have failed
READY = 4  # jobs sent beyond what the cluster can take, so that no node waits for the driver
TELL_EVERY = 1.0  # seconds between a worker's words about its progress, and between its looks at the desk
CLUSTER = "the cluster"  # in place of a device, in what a study remembers of stack sizes
GRACE = 300.0  # seconds that workers in training have for their last checkpoint when the study is stopped


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster and what a job takes of it.

    `address`: as Ray has it, host:port or "auto"; None starts one on this machine, with all that it has. `gpus`: None
    for one where the cluster has any.
    """

    address: str | None = None
    gpus: float | None = None
    cpus: int = 1


@dataclass(frozen=True)
class Kit:
    """What a worker needs beside its job: the driver's version, plug-in files by path, and surroundings; its device.

    `folder` is the driver's current directory and `paths` where it finds modules; both hold where a node has them too.
    """

    version: str
    plugins: Mapping[str, str]
    folder: str
    paths: tuple[str, ...]
    data_dir: str | None
    device: str
    gpus: float
    cpus: int


@dataclass
class _Sent:
    """A job that is out. `lost`: why earlier tries of it came to nothing."""

    job: Job
    lost: tuple[str, ...] = ()
    phase: str | None = None  # None until a worker has begun

    @property
    def ids(self) -> list[str]:
        return [spec.id for spec in self.job.specs]


def run_on_cluster(
    work: Work,
    progress: Progress,
    stop: Stop,
    *,
    cluster: Cluster,
    together: int | None = None,
    checkpoint_every: float = 300.0,
    data_dir: str | Path | None = None,
) -> Generator[RunRecord, None, None]:
    """The records of all jobs, each as soon as it is there, in the order in which they end.

    `together`: runs of a stack at most; None for what fits on a device, and no more than leaves a stack for each. A job
    whose worker dies is sent again, three times at most; provenance says why. Raises Stopped when `stop` is asked for,
    after the workers' last checkpoints, and BenchError where there is no cluster, or none with what a job takes.
    """
    if not work.specs:
        return
    with _connected(cluster.address) as ray:
        gpus, slots = _room(ray, cluster)
        kit = Kit(
            version=__version__,
            plugins={str(path): path.read_text(encoding="utf-8") for path in registry.plugin_files()},
            folder=os.getcwd(),
            paths=tuple(os.path.abspath(path) for path in sys.path),
            data_dir=None if data_dir is None else str(Path(data_dir).absolute()),
            device="cuda" if gpus else "cpu",
            gpus=gpus,
            cpus=cluster.cpus,
        )
        driver = _Driver(ray, work, progress, stop, kit, gpus, slots)
        with stop.listening():
            yield from driver.records(together, checkpoint_every)


class _Driver:
    """The driver's side of a study on a cluster."""

    def __init__(
        self, ray: Any, work: Work, progress: Progress, stop: Stop, kit: Kit, gpus: float, slots: int
    ) -> None:
        self.ray = ray
        self.work = work
        self.progress = progress
        self.stop = stop
        self.gpus = gpus
        self.slots = slots
        self.kit = ray.put(kit)
        self.out: dict[Any, _Sent] = {}  # by the task's reference
        self.sent: list[_Sent] = []  # by number
        resources = {"num_cpus": kit.cpus, "num_gpus": gpus, "max_retries": 0, "max_calls": 0}
        self.run_job = ray.remote(**resources)(_run_job)
        self.fitting = ray.remote(**resources)(_fitting)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.desk = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote()

    def records(self, together: int | None, checkpoint_every: float) -> Iterator[RunRecord]:
        """Send jobs while there is room, hear what the workers say, send again what was lost."""
        jobs = self._jobs(together)
        more = True
        while more or self.out:
            while more and len(self.out) < self.slots + READY and not self.stop.requested:
                job = next(jobs, None)
                more = job is not None
                if job is not None:
                    self._send(job, (), checkpoint_every)
            if self.stop.requested:
                yield from self._stopped()
            ended = self._wait()
            yield from self._heard()  # what a task said reached the desk before it ended
            for reference in ended:
                sent = self.out.pop(reference)
                yield from self._ended(reference, sent, checkpoint_every)

    def _wait(self) -> list[Any]:
        """The tasks that have ended, after half a second or as soon as there is one."""
        out = list(self.out)
        first, _ = self.ray.wait(out, timeout=0.5) if out else ([], [])
        return self.ray.wait(out, num_returns=len(out), timeout=0)[0] if first else []

    def _jobs(self, together: int | None) -> Iterator[Job]:
        fits = self._fits() if together is None else {}
        share = math.ceil(len(self.work.specs) / self.slots)
        for label in self.work.datasets:
            yield from self.work.jobs(label, lambda group: together or min(share, fits[group[0].program]))

    def _fits(self) -> dict[str, int]:
        """How many runs of each program fit on a worker's device together, asked of workers before there is work."""
        groups: dict[str, list[RunSpec]] = {}
        for spec in self.work.specs:
            groups.setdefault(spec.program, []).append(spec)
        if not self.gpus:
            return dict.fromkeys(groups, 1)
        fits: dict[str, int] = {}
        asked: dict[str, Any] = {}
        for name, group in groups.items():
            kept = self.work.remembered_size(group, CLUSTER)
            if kept is None:
                asked[name] = self.fitting.remote(tuple(group), self.kit)
            else:
                fits[name] = kept
        for name, reference in asked.items():
            found = self._answer(reference)
            self.work.remember_size(groups[name], CLUSTER, found)
            fits[name] = found.runs
        return fits

    def _answer(self, asked: Any) -> StackSize:
        """What a worker answers, unless a stop is asked for meanwhile."""
        while not self.ray.wait([asked], timeout=0.5)[0]:
            self.stop.check()
        found: StackSize = self.ray.get(asked)
        if found.failure:
            self.progress.note(f"{found.failure}; {found.runs} runs train together")
        return found

    def _send(self, job: Job, lost: tuple[str, ...], checkpoint_every: float) -> None:
        sent = _Sent(job, lost)
        print_of_data = self.work.datasets[job.specs[0].dataset.label].fingerprint
        reference = self.run_job.remote(
            job, self.kit, self.desk, len(self.sent), print_of_data, checkpoint_every
        )
        self.sent.append(sent)
        self.out[reference] = sent

    def _heard(self) -> Iterator[RunRecord]:
        """What workers have told the desk: progress is shown, checkpoints are kept, records handed on."""
        for number, kind, content in self.ray.get(self.desk.take.remote()):
            sent = self.sent[number]
            if kind == "began":
                sent.phase = ""
                if not sent.lost:  # else they have begun before
                    self.progress.run_started(sent.ids)
                continue
            self.progress.turn_to(sent.ids)
            if kind == "phase":
                sent.phase = content[0]
                self.progress.phase(*content)
            elif kind == "advance":
                self.progress.advance(content)
            elif kind == "checkpoint":
                self.work.keep(content)
            elif kind == "record" and content.spec.id in self.work.open:
                yield with_losses(content, sent.lost)

    def _ended(self, reference: Any, sent: _Sent, checkpoint_every: float) -> Iterator[RunRecord]:
        """A task has ended: well, with the user's mistake, or with its worker."""
        try:
            mistake = self.ray.get(reference)
        except self.ray.exceptions.RuntimeEnvSetupError as error:
            raise BenchError(f"a Ray worker cannot be set up: {error}") from error
        except self.ray.exceptions.RayError as error:
            lost = (*sent.lost, f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}")
            for job in self.work.again(sent.job):
                if len(lost) <= RETRIES:
                    self._send(job, lost, checkpoint_every)
                else:
                    yield from self._given_up(job, lost, str(error))
            return
        if mistake is not None:
            raise BenchError(mistake)

    def _given_up(self, job: Job, lost: tuple[str, ...], reason: str) -> Iterator[RunRecord]:
        self.progress.turn_to([spec.id for spec in job.specs])
        yield from self.work.given_up(job, lost, reason)

    def _stopped(self) -> Iterator[RunRecord]:
        """Let every worker in training keep a checkpoint, then raise Stopped; what scores is done again later."""
        self.ray.get(self.desk.ask_to_stop.remote(self.stop.reason))
        for reference in [reference for reference, sent in self.out.items() if sent.phase is None]:
            self.ray.cancel(reference)
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            ended = self._wait()
            yield from self._heard()
            for reference in ended:
                del self.out[reference]
            if not any(sent.phase == "training" for sent in self.out.values()):
                break
        raise Stopped(self.stop.reason)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to the cluster; a cluster that was started for this is stopped afterwards."""
    try:
        import ray
        import ray.exceptions
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise BenchError(
            "--launcher ray needs Ray: install it with  pip install 'disentangle_bench[ray]'"
        ) from error
    started: dict[str, Any] = {} if address else {"include_dashboard": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **started)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        raise BenchError(
            f"there is no Ray cluster at {address}: {error}" if address else f"Ray does not start: {error}"
        ) from error
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray has taken SIGTERM for itself
    try:
        yield ray
    except ray.exceptions.RayError as error:
        raise BenchError(
            f"the Ray cluster is lost ({type(error).__name__}). Finished runs and checkpoints are kept; see to the"
            " cluster and give the same command again."
        ) from error
    finally:
        ray.shutdown()


def _room(ray: Any, cluster: Cluster) -> tuple[float, int]:
    """The GPUs a job takes, and how many jobs the cluster can take at once. BenchError where it can take none."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = cluster.gpus
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU") for node in nodes) else 0.0
    slots = 0
    for node in nodes:
        room = node.get("CPU", 0.0) / cluster.cpus
        slots += math.floor(min(room, node.get("GPU", 0.0) / gpus) if gpus else room)
    if not slots:
        most = ", ".join(f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in nodes)
        raise BenchError(
            f"no node of the Ray cluster has {cluster.cpus} CPUs and {gpus:g} GPUs for a job; its nodes have {most}."
            " See --cpus-per-job and --gpus-per-job."
        )
    return gpus, slots


# From here on: what runs in a worker.

_held: tuple[str, FactorDataset] | None = (
    None  # the data set of the last job, which the next one mostly shares
)


def _run_job(
    job: Job, kit: Kit, desk: Any, number: int, fingerprint: str, checkpoint_every: float
) -> str | None:
    """Train and score a job and tell the desk; returns the user's mistake, None when all is well."""
    import ray

    def tell(kind: str, content: Any = None) -> None:
        ray.get(desk.tell.remote(number, kind, content))

    stop = Stop()
    with _listening(lambda: ray.get(desk.asked_to_stop.remote()), stop):
        try:
            stop.check()
            tell("began")
            dataset = _prepared(job.specs[0].dataset, kit)
            if dataset.fingerprint != fingerprint:
                return (
                    f"the data set {dataset.name} on {platform.node()} is not the driver's: its fingerprint is"
                    f" {dataset.fingerprint}, not {fingerprint}"
                )
            records = run_job(
                job,
                dataset,
                Telling(tell),
                keep=lambda checkpoint: tell("checkpoint", checkpoint),
                checkpoint_every=checkpoint_every,
                stop=stop,
            )
            for record in records:
                where = {"launcher": "ray", "node": platform.node()}
                tell("record", replace(record, provenance={**record.provenance, **where}))
                stop.check()
        except BenchError as error:
            return f"{error} (on {platform.node()})"
        except Stopped:
            return None
    return None


def _fitting(group: tuple[RunSpec, ...], kit: Kit) -> StackSize:
    """How many of these runs train together on a worker's device, of which a worker may have a share only."""
    dataset = _prepared(group[0].dataset, kit)
    return stack_size(make_objective(group[0], dataset), group, dataset, share=min(1.0, kit.gpus or 1.0))


def _prepared(spec: DatasetSpec, kit: Kit) -> FactorDataset:
    """The data set on this worker's device, loaded once for all jobs in a row that use it; and all that a job needs."""
    global _held
    if __version__ != kit.version:
        raise BenchError(f"{platform.node()} has disentangle_bench {__version__}, the driver {kit.version}")
    if Path(kit.folder).is_dir():
        os.chdir(kit.folder)  # relative paths mean what they mean to the driver
    torch.set_num_threads(kit.cpus)
    sys.path += [path for path in kit.paths if path not in sys.path and Path(path).exists()]
    if _held is None:
        _load_plugins(kit.plugins)
    if _held is None or _held[0] != spec.label:
        _held = None  # first make room
        device = pick_device(kit.device)
        loaded = load_dataset(spec.name, every=spec.every, data_dir=kit.data_dir, device=device)
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
    """Within, the desk is asked every second whether to stop."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(TELL_EVERY):
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
