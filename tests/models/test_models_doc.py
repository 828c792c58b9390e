"""docs/models.md: its example model trains alone and in a stack, its lines of use run, and its table is complete."""

import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tiny_data
import torch
from click.testing import CliRunner
from doc_blocks import DOCS, blocks

from disentangle_bench import models, registry
from disentangle_bench.cli import main
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.grid import Grid, expand
from disentangle_bench.grid_file import check_grid
from disentangle_bench.models.objective import NetworkSize
from disentangle_bench.models.settings import model_options
from disentangle_bench.models.vae import VAE
from disentangle_bench.specs import NetworkSpec, RunSpec, TrainingSpec
from disentangle_bench.train.alone import Alone
from disentangle_bench.train.loop import train
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.stacked import Stacked

DOC = DOCS / "models.md"
BLOCKS = blocks(DOC, "python")
SQUARES = tiny_data.squares()


def block_with(words: str) -> str:
    (found,) = [block for block in BLOCKS if words in block]
    return found


def example_grid(name: str, **settings) -> Grid:
    return check_grid(
        {
            "name": "mine",
            "datasets": [{"name": "tiny_data:SQUARES"}],
            "models": [{"name": name, "free": [0.1, 1], **settings}],
            "network": {"channels": [4, 4], "kernels": [4, 4], "hidden": 16, "latents": 3},
            "training": {"steps": 20, "batch_size": 8, "learning_rate": 1e-3},
        }
    )


@pytest.mark.parametrize("per_image", [False, True])
def test_the_example_trains_alone_and_in_a_stack(
    per_image: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_model.py").write_text(block_with("class FreeNatsVAE"))
    monkeypatch.chdir(tmp_path)
    specs = expand(example_grid("my_model:FreeNatsVAE", per_image=per_image))
    objective = make_objective(specs[0], SQUARES)
    stack = Stacked(objective, specs, SQUARES, compiled=False, captured=False)
    together = train(stack)
    for run, spec in enumerate(specs):
        one = Alone(objective, spec, SQUARES)
        (alone,) = train(one)
        assert together[run].curves[-1]["loss"] == pytest.approx(alone.curves[-1]["loss"], rel=1e-4)
    first, second = (result.curves[0]["loss"] - result.curves[0]["reconstruction"] for result in together)
    assert first >= 3 * 0.1 - 1e-4
    # No latent carries a nat yet, so that each costs what is free.
    assert second == pytest.approx(3 * 1, rel=1e-4)


def test_the_example_as_a_model_of_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file in the folder of models, and the line that the document gives for the registry."""
    example = block_with("class FreeNatsVAE")
    assert len([line for line in example.splitlines() if line]) <= 20
    (tmp_path / "free_nats_vae.py").write_text(example)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    ((name, target),) = re.findall(
        r'^    "(\w+)": "(\S+:FreeNatsVAE)",$', DOC.read_text("utf-8"), re.MULTILINE
    )
    monkeypatch.setitem(registry.MODELS, name, target)
    (first, second) = expand(example_grid(name, beta=2))
    assert first.hypers == {"beta": 2, "free": 0.1}
    assert second.hypers == {"beta": 2, "free": 1}
    assert first.options == {"likelihood": "bernoulli", "per_image": False}
    assert type(make_objective(first, SQUARES)).__module__ == "disentangle_bench.models.free_nats_vae"
    listed = CliRunner().invoke(main, ["list", "models"]).output
    assert "beta=1.0, free=0.5, likelihood=bernoulli, per_image=False: Kingma" in listed


def test_export_to_plain_pytorch(tmp_path: Path) -> None:
    spec = RunSpec(
        dataset={"name": "dsprites_rendered"},
        model="vae",
        hypers={},
        options={},
        seed=0,
        network=NetworkSpec(channels=(4, 4), kernels=(4, 4), hidden=8),
        training=TrainingSpec(),
    )
    networks = VAE().build((1, 64, 64), NetworkSize(**spec.network.model_dump()))
    model = TrainedModel(spec, VAE(), networks, torch.device("cpu"), (1, 64, 64))
    scope: dict = {"model": model}
    exec(block_with("torch.export"), scope)
    images = torch.rand(2, 1, 64, 64)
    exported = scope["program"].module()(images)
    assert torch.allclose(exported, networks["encoder"](images), atol=1e-6)
    assert torch.allclose(exported[:, :10], model.encode(images), atol=1e-6)
    safetensors.numpy.save_file(model.weights(), tmp_path / "weights.safetensors")
    kept = safetensors.numpy.load_file(tmp_path / "weights.safetensors")
    for name, value in scope["weights"].items():
        assert np.array_equal(kept[f"encoder.{name}"], value.numpy())


def test_every_model_and_setting_is_in_the_table() -> None:
    text = DOC.read_text(encoding="utf-8")
    table = text[: text.index("What the table cannot say")]
    for name in registry.MODELS:
        model = registry.resolve("model", name)
        assert f"`{name}`" in table
        for setting in [*model.hypers, *model_options(model)]:
            assert f"`{setting}`" in table, f"{setting} of {name}"


def added_in_place(x):
    total = torch.zeros(3)
    total += x
    return total


MISTAKES = {
    "attempting to use a Tensor in some data-dependent control flow": lambda x: x if x.sum() > 0 else -x,
    "It looks like you're calling .item() on a Tensor": lambda x: x * x.sum().item(),
    "called random operation while in randomness error mode": lambda x: x * torch.randn_like(x),
    "We do not support batching operators that can support dynamic shape": lambda x: x[x > 0],
    "doesn't match the broadcast shape": added_in_place,
    "which will be updated in place, were not batched": torch.nn.BatchNorm1d(3),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_the_errors_one_meets(message: str) -> None:
    with pytest.raises(RuntimeError, match=re.escape(message)):
        torch.func.vmap(MISTAKES[message])(torch.ones(2, 5, 3) if "batched" in message else torch.ones(2, 3))
    told = DOC.read_text(encoding="utf-8")
    assert message.removeprefix("which ") in told
