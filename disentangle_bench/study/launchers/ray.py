"""The launcher of a Ray cluster: each job a task on some node, while this process alone writes the study directory.

Workers send checkpoints, records and progress to a mailbox, an actor on the driver's node, and ask it whether to stop.
When a worker or its node dies, the driver sends what is left of the job again, from the last checkpoint it has kept.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from disentangle_bench.errors import BenchError
from disentangle_bench.progress import Progress
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.specs import RunSpec
from disentangle_bench.stop import Stop, Stopped
from disentangle_bench.study.job import Job
from disentangle_bench.study.launchers.mailbox import Mailbox
from disentangle_bench.study.launchers.ray_worker import Setup, fitting, run_one
from disentangle_bench.study.work import Work, with_losses
from disentangle_bench.train.plan import StackSize

RETRIES = 3  # of a job whose worker died; then its runs have failed
READY = 4  # jobs sent beyond what the cluster can take, so that no node waits for the driver
CLUSTER = "the cluster"  # in place of a device, in what a study remembers of stack sizes
GRACE = 300.0  # seconds that workers in training have for their last checkpoint when the study is stopped


@dataclass(frozen=True)
class OnRay:
    """Trains on a Ray cluster, of which a job takes what is said here.

    `address`: as Ray has it, host:port or "auto"; None starts one on this machine, with all that it has. `gpus`: None
    for one where the cluster has any.
    """

    address: str | None = None
    gpus: float | None = None
    cpus: int = 1

    def run(self, work: Work, progress: Progress, stop: Stop) -> Generator[RunRecord, None, None]:
        """The records of all jobs, each as soon as it is there, in the order in which they end.

        Without a stack size in the options, so many runs train together as fit on a device, and no more than leaves a
        stack for each. A job whose worker dies is sent again, three times at most; provenance says why. Raises
        BenchError where there is no cluster, or none with what a job takes.
        """
        if not work.specs:
            return
        with _connected(self.address) as ray:
            gpus, slots = _room(ray, self)
            driver = _Driver(ray, work, progress, stop, Setup.here(work.options.data_dir, gpus, self.cpus))
            with stop.listening():
                yield from driver.records(slots)


@dataclass
class _Sent:
    """A job that is out. `lost`: why earlier tries of it came to nothing."""

    job: Job
    lost: tuple[str, ...] = ()
    phase: str | None = None  # None until a worker has begun


class _Driver:
    """The driver's side of a study on a cluster."""

    def __init__(self, ray: Any, work: Work, progress: Progress, stop: Stop, setup: Setup) -> None:
        self.ray = ray
        self.work = work
        self.progress = progress
        self.stop = stop
        self.gpus = setup.gpus
        self.setup = ray.put(setup)
        self.out: dict[Any, _Sent] = {}  # by the task's reference
        self.sent: list[_Sent] = []  # by number
        resources = {"num_cpus": setup.cpus, "num_gpus": setup.gpus, "max_retries": 0, "max_calls": 0}
        self.run_one = ray.remote(**resources)(run_one)
        self.fitting = ray.remote(**resources)(fitting)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()

    def records(self, slots: int) -> Iterator[RunRecord]:
        """Send jobs while there is room, hear what the workers say, send again what was lost."""
        jobs = self._jobs(slots)
        more = True
        while more or self.out:
            while more and len(self.out) < slots + READY and not self.stop.requested:
                job = next(jobs, None)
                more = job is not None
                if job is not None:
                    self._send(job, ())
            if self.stop.requested:
                yield from self._stopped()
            ended = self._wait()
            yield from self._heard()  # what a task said reached the mailbox before it ended
            for reference in ended:
                yield from self._ended(reference, self.out.pop(reference))

    def _wait(self) -> list[Any]:
        """The tasks that have ended, after half a second or as soon as there is one."""
        out = list(self.out)
        first, _ = self.ray.wait(out, timeout=0.5) if out else ([], [])
        return self.ray.wait(out, num_returns=len(out), timeout=0)[0] if first else []

    def _jobs(self, slots: int) -> Iterator[Job]:
        together = self.work.options.stack_size
        fits = self._fits() if together is None else {}
        share = math.ceil(len(self.work.specs) / slots)
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
                asked[name] = self.fitting.remote(tuple(group), self.setup)
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

    def _send(self, job: Job, lost: tuple[str, ...]) -> None:
        sent = _Sent(job, lost)
        print_of_data = self.work.datasets[job.specs[0].dataset.label].fingerprint
        every = self.work.options.checkpoint_every
        reference = self.run_one.remote(job, self.setup, self.mailbox, len(self.sent), print_of_data, every)
        self.sent.append(sent)
        self.out[reference] = sent

    def _heard(self) -> Iterator[RunRecord]:
        """What workers have told the mailbox: progress is shown, checkpoints are kept, records handed on."""
        for number, kind, content in self.ray.get(self.mailbox.take.remote()):
            sent = self.sent[number]
            if kind == "began":
                sent.phase = ""
                if not sent.lost:  # else they have begun before
                    self.progress.run_started(sent.job.ids)
            elif kind == "phase":
                sent.phase = content[0]
                self.progress.phase(sent.job.ids, *content)
            elif kind == "advance":
                self.progress.advance(sent.job.ids, content)
            elif kind == "checkpoint":
                self.work.keep(content)
            elif kind == "losses":
                self.work.losses(content)
            elif kind == "record" and content.spec.id in self.work.open:
                yield with_losses(content, sent.lost)

    def _ended(self, reference: Any, sent: _Sent) -> Iterator[RunRecord]:
        """A task has ended: well, with the user's mistake, or with its worker."""
        try:
            mistake = self.ray.get(reference)
        except self.ray.exceptions.RuntimeEnvSetupError as error:
            raise BenchError(f"a Ray worker cannot be set up: {error}") from error
        except self.ray.exceptions.RayError as error:
            lost = (*sent.lost, f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}")
            for job in self.work.again(sent.job):
                if len(lost) <= RETRIES:
                    self._send(job, lost)
                else:
                    yield from self.work.given_up(job, lost, str(error))
            return
        if mistake is not None:
            raise BenchError(mistake)

    def _stopped(self) -> Iterator[RunRecord]:
        """Let every worker in training keep a checkpoint, then raise Stopped; what scores is done again later."""
        self.ray.get(self.mailbox.ask_to_stop.remote(self.stop.reason))
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


def _room(ray: Any, cluster: OnRay) -> tuple[float, int]:
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
