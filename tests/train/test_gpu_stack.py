"""On a GPU a captured, compiled stack is still each of its runs alone; its memory is foreseen; a study runs through."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import tiny_data
import torch
from stack_cases import CASES, alone, distance, runs_of, weights

from disentangle_bench.data.array_store import ArrayStore, HostStore
from disentangle_bench.device import pick_device
from disentangle_bench.models.forms import Form
from disentangle_bench.stop import Stop, Stopped
from disentangle_bench.study.run import run
from disentangle_bench.train.checkpoint import Checkpoint
from disentangle_bench.train.loop import CheckpointKeeper, train
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.plan import fastest_form, make_training, stack_size
from disentangle_bench.train.stacked import COMPILED, Stacked

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def stacked(specs, *, compiled: bool = False, squares=None, form: Form = "product") -> Stacked:
    squares = squares or tiny_data.squares().to("cuda")
    objective = make_objective(specs[0], squares)
    return Stacked(objective, specs, squares, compiled=compiled, captured=True, form=form)


@pytest.mark.parametrize(("model", "network"), CASES)
def test_a_captured_stack_is_each_of_its_runs_on_a_cpu(model: str, network: dict) -> None:
    specs = runs_of(model, network=network)
    stack = stacked(specs)
    train(stack)
    assert stack.capture == "captured"
    for run_number, spec in enumerate(specs):
        one = alone(spec)
        train(one)
        assert distance(weights(stack.state(), run_number), weights(one.state(), 0)) < 1e-5


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_kernels_give_the_gradients_of_products(precision: str, tolerance: float, compiled: bool) -> None:
    moments = []
    for form in ("product", "kernel"):
        stack = stacked(runs_of("factor_vae", precision=precision), compiled=compiled, form=form)
        stack.advance()
        assert stack.compilation == (COMPILED[form] if compiled else "none")
        assert stack.capture == "captured"
        moments.append(torch.cat([v.flatten() for own in stack.means.values() for v in own.values()]))
        for _ in range(3):
            stack.advance()
        stack.take_sums()  # raises where the device has not done all the steps
    assert distance(moments[1], moments[0]) < tolerance


def test_long_runs_are_compiled_in_the_form_that_is_fastest() -> None:
    specs = runs_of("vae", precision="bfloat16", steps=10_000)
    squares = tiny_data.squares().to("cuda")
    training = make_training(make_objective(specs[0], squares), specs, squares)
    for _ in range(6):
        training.advance()
    training.take_sums()
    form = fastest_form("bfloat16", squares.device)
    assert (training.compilation, training.capture) == (COMPILED[form], "captured")


@pytest.mark.parametrize("compiled", [False, True])
def test_a_captured_step_waits_for_nothing(compiled: bool) -> None:
    stack = stacked(runs_of("factor_vae", precision="bfloat16"), compiled=compiled)
    for _ in range(6):
        stack.advance()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(20):
            stack.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    stack.take_sums()  # raises where the device has not done all the steps
    assert stack.step == 26


def test_images_that_stay_on_the_host_train_without_a_graph() -> None:
    cpu = tiny_data.squares()
    array = ArrayStore(cpu.images(range(len(cpu))))
    device = torch.device("cuda", torch.cuda.current_device())
    there = replace(cpu.to(device), store=HostStore(array, device))
    specs = runs_of("vae", steps=12)
    stack = stacked(specs, squares=there)
    train(stack)
    assert "copies between devices" in stack.capture
    resident = stacked(specs)
    train(resident)
    assert distance(weights(stack.state(), 1), weights(resident.state(), 1)) < 1e-9


def test_a_dropped_stack_leaves_its_memory() -> None:
    train(stacked(runs_of("factor_vae", steps=6)))  # what is loaded once, libraries' own memory too
    before = torch.cuda.memory_allocated()
    stack = stacked(runs_of("factor_vae", steps=6))
    train(stack)
    assert torch.cuda.memory_allocated() > before
    del stack
    assert torch.cuda.memory_allocated() <= before


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one CUDA device at most")
def test_a_stack_on_the_second_gpu() -> None:
    first = pick_device("cuda:0")
    try:
        squares = tiny_data.squares().to(pick_device("cuda:1"))
        stack = stacked(runs_of("vae"), compiled=True, squares=squares)
        train(stack)
        assert (stack.compilation, stack.capture) == ("compiled", "captured")
    finally:
        torch.cuda.set_device(first)


@pytest.mark.parametrize(
    ("model", "precision"),
    [("vae", "bfloat16"), ("factor_vae", "float32"), ("factor_vae", "tf32"), ("qlae", "bfloat16")],
)
def test_every_compiled_first_step_agrees_with_the_plain_one(model: str, precision: str) -> None:
    stack = stacked(runs_of(model, steps=6, precision=precision), compiled=True)
    train(stack)
    assert (stack.compilation, stack.capture) == ("compiled", "captured")


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
        train(first, keeper=CheckpointKeeper(kept.append, 1e9), stop=stop, on_steps=ask)
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
    assert stack_size(make_objective(specs[0], squares), specs, squares).runs == 8


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
