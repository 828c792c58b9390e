"""One job, from a stack of specs to scored records: train, encode, score. Every launcher calls this."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from disentangle_bench import registry
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.models import Scored, Scoring, score_models
from disentangle_bench.evaluation.pictures import run_pictures
from disentangle_bench.evaluation.provenance import provenance
from disentangle_bench.evaluation.sample import latent_sample
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.models.objective import Fitted, is_fitted
from disentangle_bench.progress import Phases
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.source_hash import source_hash
from disentangle_bench.specs import RunSpec
from disentangle_bench.stop import Stop
from disentangle_bench.study.calls import Losses
from disentangle_bench.train.checkpoint import Checkpoint
from disentangle_bench.train.fit import train_fitted
from disentangle_bench.train.loop import CheckpointKeeper, Result, train
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.plan import make_training


@dataclass(frozen=True)
class Job:
    """Runs of one program, how the trained ones are scored, and the checkpoint that they go on from."""

    specs: tuple[RunSpec, ...]
    scoring: Scoring
    resume: Checkpoint | None = None

    @property
    def ids(self) -> list[str]:
        """The runs' ids."""
        return [spec.id for spec in self.specs]

    def without_checkpoint(self) -> Job:
        """The same from its beginning."""
        return replace(self, resume=None)

    def part(self, specs: tuple[RunSpec, ...], resume: Checkpoint | None) -> Job:
        """The same with some of the runs, from a checkpoint that holds them."""
        only = None if resume is None else resume.only([spec.id for spec in specs])
        return Job(specs, self.scoring, only)


@dataclass(frozen=True)
class Control:
    """Who hears of a job, and what it heeds: phases, checkpoints every so many seconds, a request to stop, losses."""

    phases: Phases
    keep: Callable[[Checkpoint], None] = lambda checkpoint: None
    checkpoint_every: float = 300.0
    stop: Stop | None = None
    losses: Callable[[Losses], None] = lambda rows: None


def run_job(job: Job, dataset: FactorDataset, control: Control) -> Iterator[RunRecord]:
    """The runs trained together and scored on the device of `dataset`, each record as soon as it is there.

    A failure becomes a record that holds its reason. A stack that the device's memory does not hold is halved, and
    goes on from its last checkpoint. Only BenchError (the user's to mend), Stopped and interruptions pass through.
    """
    about = provenance_of(dataset, job)
    last = [job.resume]

    def keep_last(checkpoint: Checkpoint) -> None:
        control.keep(checkpoint)
        last[0] = checkpoint

    try:
        trained = _train(job, dataset, replace(control, keep=keep_last), about)
    except BenchError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        if len(job.specs) == 1:
            yield RunRecord(job.specs[0], about, failure=f"out of memory: {error}\n")
            return
        trained = None  # halved below, when the traceback no longer holds the stack's tensors
    except (Exception, SystemExit) as error:
        for spec in job.specs:
            yield RunRecord(spec, about, failure=_reason(error))
        return
    if trained is not None:
        yield from _score(trained, job, dataset, control.phases, about)
        return
    if dataset.device.type == "cuda":
        torch.cuda.empty_cache()
    middle = len(job.specs) // 2
    for specs in (job.specs[:middle], job.specs[middle:]):
        yield from run_job(job.part(specs, last[0]), dataset, control)


def _train(
    job: Job, dataset: FactorDataset, control: Control, about: dict[str, Any]
) -> list[tuple[TrainedModel, Result]]:
    """The trained models with how their training went."""
    objective = make_objective(job.specs[0], dataset)
    if is_fitted(objective):
        return [_fit(objective, spec, dataset, control) for spec in job.specs]
    done = 0 if job.resume is None else job.resume.step
    control.phases.phase("training", job.specs[0].training.steps, done)
    training = make_training(objective, job.specs, dataset)
    results = train(
        training,
        resume=job.resume,
        keeper=CheckpointKeeper(control.keep, control.checkpoint_every),
        stop=control.stop,
        on_steps=control.phases.advance,
        on_losses=control.losses,
    )
    about |= {"compiled": training.compilation, "captured": training.capture}
    return [
        (
            TrainedModel(spec, objective, training.networks(run), dataset.device, dataset.image_shape),
            result,
        )
        for run, (spec, result) in enumerate(zip(job.specs, results, strict=True))
    ]


def _fit(
    objective: Fitted, spec: RunSpec, dataset: FactorDataset, control: Control
) -> tuple[TrainedModel, Result]:
    """The model fitted at once."""
    control.phases.phase("fitting", 1)
    found = train_fitted(objective, spec, dataset)
    control.phases.advance(1)
    for row in found.curves:
        control.losses({spec.id: row})
    model = TrainedModel(spec, objective, found.networks, dataset.device, dataset.image_shape)
    return model, Result(found.curves, found.seconds)


def _score(
    trained: Sequence[tuple[TrainedModel, Result]],
    job: Job,
    dataset: FactorDataset,
    phases: Phases,
    about: dict[str, Any],
) -> Iterator[RunRecord]:
    """A record for each trained model, scored; runs that diverged first."""
    for model, result in trained:
        if result.failure is not None:
            yield RunRecord(model.spec, about, curves=result.curves, failure=f"diverged: {result.failure}\n")
    good = [(model, result) for model, result in trained if result.failure is None]
    scores = score_models([model for model, _ in good], job.scoring, dataset, phases)
    for (model, result), (score, reason) in zip(good, scores, strict=True):
        encoded = {} if reason is None else {"encoded": reason}
        yield _record(model, result, score, dataset, about | encoded)


def _record(
    model: TrainedModel,
    result: Result,
    score: Callable[[], Scored],
    dataset: FactorDataset,
    about: dict[str, Any],
) -> RunRecord:
    """A finished run, scored and with its pictures; or the reason why that could not be done."""
    try:
        scored = score()
        pictures = run_pictures(model, dataset)
        sample = latent_sample(model, dataset)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        return RunRecord(model.spec, about, curves=result.curves, failure=_reason(error))
    about = about | {"seconds": {"training": result.seconds} | scored.seconds}
    record = RunRecord(model.spec, about, scored.scores, result.curves, model.weights(), pictures)
    return replace(record, sample=sample)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"


def provenance_of(dataset: FactorDataset, job: Job) -> dict[str, Any]:
    """Where the results of a job come from, and how it trains."""
    name = job.specs[0].model
    return provenance(dataset) | {
        "precision": job.specs[0].training.precision,
        "stack": len(job.specs),
        "resumed_at_step": None if job.resume is None else job.resume.step,
        "model_source": source_hash(name, registry.resolve("model", name)),
    }
