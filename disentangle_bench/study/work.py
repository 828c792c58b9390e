"""The runs of a study that are to be trained: claimed, made into jobs that go on from checkpoints, and saved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from disentangle_bench import registry
from disentangle_bench.errors import Damaged
from disentangle_bench.records.run_record import DONE, RunRecord
from disentangle_bench.source_hash import source_hash
from disentangle_bench.specs import RunSpec
from disentangle_bench.study.calls import Losses
from disentangle_bench.study.job import Job, provenance_of
from disentangle_bench.study.opened import OpenStudy
from disentangle_bench.study.plan import asked_metrics
from disentangle_bench.train.checkpoint import Checkpoint
from disentangle_bench.train.plan import StackSize, stacks

Size = Callable[[tuple[RunSpec, ...]], int]


class Work:
    """What a launcher is given: jobs to do, and where their checkpoints and records go."""

    def __init__(self, specs: Sequence[RunSpec], study: OpenStudy) -> None:
        self.specs = tuple(specs)
        self.study = study
        self.directory, self.claims, self.datasets = study.directory, study.claims, study.datasets
        self.options = study.options
        # Claimed runs that are not saved yet, with their stacks.
        self.open: dict[str, tuple[RunSpec, ...]] = {}
        self.noted: set[str] = set()

    def jobs(self, label: str, size: Size) -> Iterator[Job]:
        """Jobs on the data set of this label, those with a checkpoint first; each is claimed when it is asked for.

        Runs that another process works on or has finished meanwhile are left out. `size` as for `train.plan.stacks`.
        """
        specs = [spec for spec in self.specs if spec.dataset.label == label]
        resumed = self._resumable(specs)
        begun = {spec.id for stack, _ in resumed for spec in stack}
        fresh = stacks([spec for spec in specs if spec.id not in begun], size)
        for stack in (*(stack for stack, _ in resumed), *fresh):
            yield from self._parts(self._claim(stack))

    def size_of(self, group: Sequence[RunSpec], device: str, measure: Callable[[], StackSize]) -> int:
        """How many of these runs of one program train together on this device: what is remembered, else measured."""
        kept = self.remembered_size(group, device)
        if kept is not None:
            return kept
        found = measure()
        self.remember_size(group, device, found)
        return found.runs

    def remembered_size(self, group: Sequence[RunSpec], device: str) -> int | None:
        """How many such runs train together, by a measurement that the study has kept; None where it has none."""
        kept = (self.directory.stack_size(_program_label(group, device)) or {}).get("runs")
        return kept if type(kept) is int and kept > 0 else None  # a bool is no number of runs

    def remember_size(self, group: Sequence[RunSpec], device: str, found: StackSize) -> None:
        """Keep a size that was timed: that takes minutes, and a study is often stopped and begun again."""
        if found.speeds:
            self.directory.save_stack_size(_program_label(group, device), asdict(found))

    def again(self, job: Job) -> list[Job]:
        """What is left of a job that was lost, from its last checkpoints."""
        return list(self._parts([spec for spec in job.specs if spec.id in self.open]))

    def given_up(self, job: Job, lost: Sequence[str], reason: str) -> Iterator[RunRecord]:
        """The records of a job whose process has died as often as `lost` tells."""
        provenance = provenance_of(self.datasets[job.specs[0].dataset.label], job)
        for spec in job.specs:
            failure = f"its process died {len(lost)} times: {lost[-1]}\n\n{reason}\n"
            yield with_losses(RunRecord(spec, provenance, failure=failure), lost)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint of claimed runs."""
        spec = self.open[checkpoint.runs[0].id][0]
        label = spec.dataset.label
        tensors = {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}
        about = checkpoint.about() | {
            "data": self.datasets[label].fingerprint,
            "model_source": _model_source(spec),
        }
        self.directory.checkpoints.save(about, tensors)

    def losses(self, rows: Losses) -> None:
        """Callbacks get the losses of claimed runs."""
        self.study.calls.losses(rows)

    def save(self, record: RunRecord) -> None:
        """Write a run, and drop its stack's checkpoint with the last of its stack."""
        self.directory.save(record)
        stack = self.open.pop(record.spec.id)
        self.claims.release([record.spec.id])
        if not any(spec.id in self.open for spec in stack):
            is_over = lambda run_id: run_id not in self.open and bool(self.directory.status(run_id))  # noqa: E731
            self.directory.checkpoints.drop([spec.id for spec in stack], is_over)

    def _claim(self, stack: Sequence[RunSpec]) -> tuple[RunSpec, ...]:
        """Those of the runs that are this process's to train."""
        taken = self.claims.take(spec.id for spec in stack)
        # What another process finished since the plan was made could be claimed again.
        status = {run_id: self.directory.status(run_id) for run_id in taken}
        todo = {run_id for run_id in taken if not status[run_id] or self._retried(status[run_id])}
        self.claims.release(set(taken) - todo)
        return tuple(spec for spec in stack if spec.id in todo)

    def _retried(self, status: str | None) -> bool:
        return self.options.retry_failed and status != DONE

    def _parts(self, claimed: Sequence[RunSpec]) -> Iterator[Job]:
        """Jobs of these runs, from where checkpoints hold them now: who had claimed them before may have left some."""
        resumed = self._resumable(claimed)
        begun = {spec.id for stack, _ in resumed for spec in stack}
        fresh = tuple(spec for spec in claimed if spec.id not in begun)
        for stack, path in [*resumed, *([(fresh, None)] if fresh else [])]:
            self.open |= {spec.id: stack for spec in stack}
            resume = None if path is None else self._read_checkpoint(stack, path)
            metrics = asked_metrics(self.study.grid, stack[0].dataset)
            yield Job(stack, self.study.scoring_of(stack[0], metrics), resume)

    def _read_checkpoint(self, stack: Sequence[RunSpec], path: Path) -> Checkpoint | None:
        """Where these runs stood; None where the file is gone, or is damaged, which is told."""
        try:
            about, arrays = self.directory.checkpoints.load(path)
        except FileNotFoundError:
            return None
        except Damaged as error:
            self._note(error)
            return None
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        try:
            return Checkpoint.from_parts(about, tensors).only([spec.id for spec in stack])
        except (KeyError, TypeError, ValueError, IndexError):
            self._note(Damaged(f"the checkpoint {path} cannot be used: it does not hold what it says"))
            return None

    def _note(self, reason: Damaged | str) -> None:
        """Say once that a checkpoint cannot be used."""
        if str(reason) not in self.noted:
            self.noted.add(str(reason))
            self.study.progress.note(f"{reason}. Its runs start from their beginning.")

    def _resumable(self, specs: Sequence[RunSpec]) -> list[tuple[tuple[RunSpec, ...], Path]]:
        """The runs that checkpoints of these very data hold, together as they were, with the file that is furthest."""
        left = {spec.id: spec for spec in specs}
        prints = {spec.id: self.datasets[spec.dataset.label].fingerprint for spec in specs}
        found = []
        for about, path in sorted(
            self.directory.checkpoints.each(self._note), key=lambda entry: -int(entry[0]["step"])
        ):
            ids = [run["id"] for run in about["runs"]]
            held = [run_id for run_id in ids if run_id in left and about.get("data") == prints[run_id]]
            if held and about.get("model_source") != _model_source(left[held[0]]):
                self._note(
                    f"the source of {left[held[0]].model} has changed since the checkpoint {path} was kept"
                )
            elif held:
                found.append((tuple(left.pop(run_id) for run_id in held), path))
        return found


def with_losses(record: RunRecord, lost: Sequence[str]) -> RunRecord:
    """The record, whose provenance says how processes that worked on it before have died."""
    return replace(record, provenance={**record.provenance, "lost_workers": list(lost)}) if lost else record


def _model_source(spec: RunSpec) -> str | None:
    """The hash of the source of the run's model; None for one of this package's own."""
    return source_hash(spec.model, registry.resolve("model", spec.model))


def _program_label(group: Sequence[RunSpec], device: str) -> str:
    program = hashlib.sha256(group[0].program.encode()).hexdigest()[:8]
    return f"{group[0].model} {program} on {device}"
