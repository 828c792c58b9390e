"""On a GPU a captured, compiled stack is still each of its runs alone; its memory is foreseen; a study runs through."""

from pathlib import Path

import pandas as pd
import pytest
import tiny_data
import torch
from stack_cases import CASES, alone, distance, runs_of, weights

from disentangle_bench.launch.job import make_objective
from disentangle_bench.pipeline import run
from disentangle_bench.train.checkpoint import Checkpoint
from disentangle_bench.train.loop import Keeping, train
from disentangle_bench.train.plan import stack_size
from disentangle_bench.train.stacked import Stacked
from disentangle_bench.train.stop import Stop, Stopped

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def stacked(specs, *, compiled: bool = False) -> Stacked:
    squares = tiny_data.squares().to("cuda")
    return Stacked(make_objective(specs[0], squares), specs, squares, compiled=compiled, captured=True)


@pytest.mark.parametrize(("model", "network"), CASES)
def test_a_captured_stack_is_each_of_its_runs_on_a_cpu(model: str, network: dict) -> None:
    specs = runs_of(model, network=network)
    stack = stacked(specs)
    train(stack)
    for run_number, spec in enumerate(specs):
        one = alone(spec)
        train(one)
        assert distance(weights(stack.state(), run_number), weights(one.state(), 0)) < 1e-5


def test_a_compiled_stack_is_the_plain_one() -> None:
    specs = runs_of("factor_vae")
    plain, compiled = stacked(specs), stacked(specs, compiled=True)
    train(plain)
    train(compiled)
    assert compiled.compilation == "compiled"
    for run_number in range(3):
        difference = distance(weights(compiled.state(), run_number), weights(plain.state(), run_number))
        assert difference < 1e-9


@pytest.mark.parametrize("compiled", [False, True])
def test_a_captured_stack_resumes_bit_for_bit(compiled: bool) -> None:
    specs = runs_of("factor_vae", steps=40, precision="float32")
    whole = stacked(specs, compiled=compiled)
    results = train(whole)
    kept: list[Checkpoint] = []
    first = stacked(specs, compiled=compiled)
    stop = Stop()

    def ask(steps: int) -> None:
        if first.step >= 17:
            stop.ask("the test")

    with pytest.raises(Stopped):
        train(first, keeping=Keeping(kept.append, 1e9), stop=stop, on_steps=ask)
    second = stacked(specs, compiled=compiled)
    again = train(second, resume=kept[-1])
    for run_number in range(3):
        assert torch.equal(weights(second.state(), run_number), weights(whole.state(), run_number))
    assert [result.curves for result in again] == [result.curves for result in results]


def test_a_stack_fits_into_what_was_foreseen() -> None:
    specs = [
        spec.model_copy(update={"network": spec.network.model_copy(update={"hidden": 512}), "seed": seed})
        for seed, spec in enumerate(runs_of("vae", steps=10, precision="float32")[:1] * 8)
    ]
    squares = tiny_data.squares().to("cuda")
    assert stack_size(make_objective(specs[0], squares), specs, squares) == 8


def test_a_study_on_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(tiny_data.GRID)
    outcome = run("tiny.toml", device="cuda")
    assert (outcome.done, outcome.failed) == (6, 0)
    cpu = run("tiny.toml", device="cpu", out="on_cpu")
    ours, theirs = (pd.read_csv(path / "scores.csv") for path in (outcome.path, cpu.path))
    assert ours["reconstruction_nats"].to_numpy() == pytest.approx(
        theirs["reconstruction_nats"].to_numpy(), rel=1e-3
    )
