"""A stack is its runs: the same weights as each run alone, in any order, across a stop, beside a run that diverges."""

import pytest
import torch
from stack_cases import CASES, TRAINED, alone, distance, runs_of, stacked, weights

from disentangle_bench.specs import RunSpec
from disentangle_bench.stop import Stop, Stopped
from disentangle_bench.train import loop
from disentangle_bench.train.checkpoint import Checkpoint
from disentangle_bench.train.compiled import traced_update
from disentangle_bench.train.loop import CheckpointKeeper, Training, train


class AfterSteps(Stop):
    """Asks for a stop at a step of the training."""

    def __init__(self, training: Training, step: int) -> None:
        super().__init__()
        self.training, self.step = training, step

    @property
    def requested(self) -> bool:
        self.reason = "the test" if self.training.step >= self.step else ""
        return bool(self.reason)


def interrupted(make, specs: list[RunSpec], at: int) -> Training:
    """The runs trained to their end in two parts, the second from the checkpoint of the first."""
    kept: list[Checkpoint] = []
    first = make(specs)
    with pytest.raises(Stopped, match="the test"):
        train(first, keeper=CheckpointKeeper(kept.append, 1e9), stop=AfterSteps(first, at))
    assert kept[-1].step == at
    # What is written and read again is no more than this.
    again = Checkpoint.from_parts(kept[-1].about(), kept[-1].tensors)
    second = make(specs)
    second.results = train(second, resume=again)
    return second


@pytest.mark.parametrize(("model", "network"), CASES)
def test_a_stack_is_each_of_its_runs_alone(model: str, network: dict) -> None:
    specs = runs_of(model, network=network)
    stack = stacked(specs)
    results = train(stack)
    for run, spec in enumerate(specs):
        one = alone(spec)
        (result,) = train(one)
        assert distance(weights(stack.state(), run), weights(one.state(), 0)) < 1e-9
        assert [row["step"] for row in results[run].curves] == [row["step"] for row in result.curves]
        for ours, theirs in zip(results[run].curves, result.curves, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("model", TRAINED)
def test_in_float32_a_stack_is_as_close_to_the_truth_as_its_runs_alone(model: str) -> None:
    narrow = runs_of(model, precision="float32")
    stack, one, truth = stacked(narrow), alone(narrow[2]), alone(runs_of(model)[2])
    for program in (stack, one, truth):
        train(program)
    drift = distance(weights(one.state(), 0), weights(truth.state(), 0))
    assert distance(weights(stack.state(), 2), weights(truth.state(), 0)) < 3 * drift + 1e-6


def test_the_order_of_a_stack_does_not_matter() -> None:
    specs = runs_of("factor_vae")
    there, back = stacked(specs), stacked(specs[::-1])
    train(there)
    train(back)
    for run in range(3):
        assert distance(weights(back.state(), 2 - run), weights(there.state(), run)) < 1e-9


@pytest.mark.parametrize("model", TRAINED)
def test_a_stop_and_a_resume_change_no_bit(model: str) -> None:
    specs = runs_of(model, steps=24, precision="float32")
    for make, runs in ((stacked, specs), (lambda s: alone(s[0]), specs[:1])):
        whole = make(runs)
        results = train(whole)
        parted = interrupted(make, runs, at=11)
        ours, theirs = parted.state(), whole.state()
        for key in (key for key in theirs if not key.startswith("sums.")):
            assert torch.equal(ours[key], theirs[key]), key
        assert [result.curves for result in parted.results] == [result.curves for result in results]


def test_curves_of_an_interval_that_a_stop_divides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CURVE_POINTS", 4)
    specs = runs_of("factor_vae", steps=20, precision="float32")[:2]
    whole = train(stacked(specs))
    assert [row["step"] for row in whole[0].curves] == [5, 10, 15, 20]
    parted = interrupted(stacked, specs, at=12)
    assert [result.curves for result in parted.results] == [result.curves for result in whole]


def test_a_stack_and_a_run_alone_read_each_others_checkpoints() -> None:
    specs = runs_of("factor_vae", steps=20)
    kept: list[Checkpoint] = []
    stack = stacked(specs)
    with pytest.raises(Stopped):
        train(stack, keeper=CheckpointKeeper(kept.append, 1e9), stop=AfterSteps(stack, 9))
    one, whole = alone(specs[1]), alone(specs[1])
    train(one, resume=kept[-1].only([specs[1].id]))
    train(whole)
    assert distance(weights(one.state(), 0), weights(whole.state(), 0)) < 1e-9


def exploding(beta: float, seed: int) -> RunSpec:
    """A run whose KL term overflows where beta is above 0."""
    (spec, *_) = runs_of("beta_vae", steps=12, precision="float32")
    return spec.model_copy(update={"model": "tiny_data:Exploding", "hypers": {"beta": beta}, "seed": seed})


def test_a_run_that_diverges_leaves_the_others_their_bits() -> None:
    quiet = stacked([exploding(0.0, 0), exploding(0.0, 1), exploding(0.0, 2)])
    calm = train(quiet)
    beside = stacked([exploding(0.0, 0), exploding(1.0, 1), exploding(0.0, 2)])
    results = train(beside)
    assert "not finite by step 1" in results[1].failure
    assert [results[0].failure, results[2].failure] == [None, None]
    for run in (0, 2):
        assert torch.equal(weights(beside.state(), run), weights(quiet.state(), run))
        assert results[run].curves == calm[run].curves


def test_a_stack_of_runs_that_have_all_diverged_ends_early() -> None:
    program = stacked([exploding(1.0, 0), exploding(2.0, 1)])
    results = train(program)
    assert all(result.failure for result in results)
    assert program.step == 1


def test_runs_of_different_programs_do_not_stack() -> None:
    with pytest.raises(ValueError, match="nothing but seed and hyper-parameters"):
        stacked([runs_of("vae")[0], runs_of("vae", learning_rate=0.5)[1]])


def test_tracing_the_update_changes_nothing() -> None:
    """What a GPU compiles is the traced update, its backward passes and Adam included."""
    specs = runs_of("factor_vae", steps=5)
    plain, traced = stacked(specs), stacked(specs)
    train(plain)

    def first(*inputs):
        traced._update = traced_update(traced.plain_update, inputs)
        return traced._update(*inputs)

    traced._update = first
    train(traced)
    for run in range(3):
        assert distance(weights(traced.state(), run), weights(plain.state(), run)) < 1e-12


def test_columns_of_curves_are_in_one_order() -> None:
    """A checkpoint's file gives sums back in another order than that in which they were logged."""
    sums = {"loss": torch.tensor(2.0), "kl": torch.tensor(4.0)}
    assert list(loop.curve_row(1, sums, 2).items()) == [("step", 1), ("kl", 2.0), ("loss", 1.0)]
