"""Which runs train together, and what happens when they do not fit."""

import pytest
import tiny_data
import torch
from stack_cases import distance, runs_of

import disentangle_bench
from disentangle_bench.evaluation import models as evaluated
from disentangle_bench.evaluation import provenance
from disentangle_bench.evaluation.models import Scoring
from disentangle_bench.progress import PhasesOf, Silent
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.specs import ScoringSpec
from disentangle_bench.study import job as jobs
from disentangle_bench.train import loop
from disentangle_bench.train.alone import Alone
from disentangle_bench.train.loop import Training
from disentangle_bench.train.plan import fastest_form, make_training, stack_size, stacks
from disentangle_bench.train.stacked import Stacked


def test_runs_that_share_a_program_stack_and_others_do_not() -> None:
    vae, factor = runs_of("vae"), runs_of("factor_vae")
    mixed = [vae[0], factor[0], vae[1], factor[1], vae[2], factor[2]]
    assert stacks(mixed, lambda group: 2) == [tuple(vae[:2]), (vae[2],), tuple(factor[:2]), (factor[2],)]
    slower = runs_of("vae", learning_rate=1e-4)
    assert stacks([vae[0], slower[0]], lambda group: 9) == [(vae[0],), (slower[0],)]


def test_on_a_cpu_runs_train_one_by_one_unless_asked() -> None:
    squares, specs = tiny_data.squares(), runs_of("vae")
    objective = jobs.make_objective(specs[0], squares)
    assert stack_size(objective, specs, squares).runs == 1
    assert isinstance(make_training(objective, specs[:1], squares), Alone)
    assert isinstance(make_training(objective, specs, squares), Stacked)


def test_kernels_are_chosen_where_they_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(capability: tuple[int, int], precision: str) -> str:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        return fastest_form(precision, torch.device("cuda", 0))

    assert chosen((9, 0), "bfloat16") == "kernel"
    assert {chosen((9, 0), name) for name in ("tf32", "float32", "float64")} == {"product"}
    assert {chosen(other, "bfloat16") for other in ((8, 0), (8, 9), (10, 0), (12, 0))} == {"product"}


def records_of(specs, metrics=("mig",)) -> dict[int, RunRecord]:
    scoring = Scoring(metrics, ScoringSpec(reconstruction_points=16))
    job = jobs.Job(tuple(specs), scoring)
    control = jobs.Control(PhasesOf(Silent(), job.ids), checkpoint_every=0.0)
    return {r.spec.seed: r for r in jobs.run_job(job, tiny_data.squares(), control)}


def weights_of(record: RunRecord) -> torch.Tensor:
    return torch.cat([torch.from_numpy(value).flatten() for value in record.weights.values()])


def test_a_stack_that_does_not_fit_is_halved_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory runs out at step 7 for more than one run; the halves begin at the last checkpoint, not at step 1."""
    monkeypatch.setattr(loop, "COST", 0)  # a checkpoint after every step, however long one takes
    specs = runs_of("factor_vae", steps=12)
    undisturbed = records_of(specs)
    begun: list[tuple[int, int]] = []

    class Short(Stacked):
        def advance(self) -> None:
            if self.step == 6 and len(self.specs) > 1:
                raise torch.OutOfMemoryError("not so many")
            super().advance()

        def restore(self, step, state) -> None:
            begun.append((len(self.specs), step))
            super().restore(step, state)

    def short(objective, stack, dataset) -> Training:
        return Short(objective, stack, dataset, compiled=False, captured=False)

    monkeypatch.setattr(jobs, "make_training", short)
    found = records_of(specs)
    assert begun == [(1, 6), (2, 6), (1, 6), (1, 6)]
    assert found.keys() == undisturbed.keys()
    for seed, record in found.items():
        assert record.failure is None
        assert distance(weights_of(record), weights_of(undisturbed[seed])) < 1e-6
        assert record.scores["scores"] == pytest.approx(undisturbed[seed].scores["scores"], rel=1e-4)


def test_one_run_that_does_not_fit_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(objective, stack, dataset) -> Training:
        raise torch.OutOfMemoryError("not even one")

    monkeypatch.setattr(jobs, "make_training", never)
    found = records_of(runs_of("vae", steps=2))
    assert {record.failure for record in found.values()} == {"out of memory: not even one\n"}


def test_a_stack_scores_as_its_runs_alone_do_and_a_broken_metric_costs_its_column() -> None:
    specs = runs_of("vae", steps=20)
    together = records_of(specs, ("mig", "factor_vae", "tiny_data:crashing_metric"))
    for spec in specs:
        (one,) = records_of([spec], ("mig", "factor_vae")).values()
        scores = together[spec.seed].scores
        assert scores["scores"] == pytest.approx(one.scores["scores"], rel=1e-4, abs=1e-6)
        assert scores["reconstruction"] == one.scores["reconstruction"]
        assert 0 <= scores["reconstruction"]["floor_nats"] < scores["scores"]["reconstruction_nats"]
        assert scores["failures"] == {
            "tiny_data:crashing_metric": "BenchError: metric 'tiny_data:crashing_metric' failed: "
            "RuntimeError: this metric always fails"
        }
        assert together[spec.seed].provenance["stack"] == 3


def test_a_model_that_cannot_be_scored_costs_itself_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = evaluated.measure_reconstruction

    def breaks(model, dataset, points):
        if model.spec.seed == 0:
            raise torch.OutOfMemoryError("no room for the pictures")
        return measure(model, dataset, points)

    monkeypatch.setattr(evaluated, "measure_reconstruction", breaks)
    found = records_of(runs_of("vae", steps=4))
    assert {seed: record.failure is None for seed, record in found.items()} == {5: True, 0: False, 2: True}
    assert found[0].failure.startswith("OutOfMemoryError: no room for the pictures")


def test_models_that_cannot_be_encoded_together_are_encoded_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    specs = runs_of("vae", steps=4)
    together = records_of(specs)

    def breaks(*arguments):
        raise RuntimeError("vmap cannot do this")

    monkeypatch.setattr(evaluated, "encode_stack", breaks)
    for seed, record in records_of(specs).items():
        assert record.scores["scores"] == pytest.approx(together[seed].scores["scores"], rel=1e-4, abs=1e-6)
        assert record.provenance["encoded"] == "one by one: RuntimeError: vmap cannot do this"


def test_a_package_that_is_on_the_path_only_has_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise provenance.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(provenance.importlib.metadata, "version", missing)
    (record, *_) = records_of(runs_of("vae", steps=2)).values()
    assert record.failure is None
    assert record.provenance["versions"]["disentangle_bench"] == disentangle_bench.__version__
    assert record.provenance["versions"]["torch"] == "unknown"
    assert record.provenance["captured"] == "none"
