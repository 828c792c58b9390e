"""Networks that keep state besides their weights, or draw numbers, are refused before a run; constants are not."""

from dataclasses import dataclass

import numpy as np
import pytest
import tiny_data
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.load import load_run
from disentangle_bench.grid_file import check_grid
from disentangle_bench.models.objective import NetworkSize
from disentangle_bench.models.vae import VAE
from disentangle_bench.study.checks import check_study
from disentangle_bench.study.run import run


class Average(nn.Module):
    """Keeps a moving average of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, values):
        if self.training:
            self.seen = 0.9 * self.seen + 0.1 * values.detach().mean()
        return values - self.seen


class Counted(nn.Module):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1), persistent=False)

    def forward(self, values):
        self.calls += 1
        return values


class Scaled(nn.Module):
    """Multiplies by a constant that is kept as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((1,), 0.5))

    def forward(self, values):
        return values * self.scale


class Projected(nn.Module):
    """Multiplies by a constant that each seed draws."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.rand(6))

    def forward(self, values):
        return values * self.weights


class Dropped(nn.Module):
    def forward(self, values):
        return functional.dropout(values, 0.5)


class Noisy(nn.Module):
    def forward(self, values):
        return values + torch.randn_like(values)


LAYERS = {
    "batch normalisation": (lambda: nn.BatchNorm1d(6), "holds BatchNorm1d"),
    "without statistics": (lambda: nn.BatchNorm1d(6, track_running_stats=False), "holds BatchNorm1d"),
    "dropout": (nn.Dropout, "holds Dropout"),
    "a function": (Dropped, "draws random numbers of its own in `losses`"),
    "noise": (Noisy, "draws random numbers of its own in `losses`"),
    "a moving average": (Average, "`losses` moves its buffer 'encoder.1.seen'"),
    "a counter": (Counted, "moves its buffer 'encoder.1.calls'"),
    "spectral": (lambda: spectral_norm(nn.Linear(6, 6)), "buffer 'encoder.1.parametrizations"),
    "a draw of each seed": (Projected, "'encoder.1.weights' differs from seed to seed"),
}


@dataclass(frozen=True)
class WithLayer(VAE):
    """A VAE whose encoder ends in a layer more."""

    layer: str = ""

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        networks = super().build(image_shape, size)
        added = Scaled() if self.layer == "a constant" else LAYERS[self.layer][0]()
        return networks | {"encoder": nn.Sequential(networks["encoder"], added)}


class Tied(VAE):
    """Encoder and decoder share a weight."""

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        networks = super().build(image_shape, size)
        networks["decoder"].tied = networks["encoder"].hidden
        return networks


def test_weights_of_two_networks_are_refused() -> None:
    asked = grid("a constant") | {"models": [{"name": "train.test_network_check:Tied"}]}
    with pytest.raises(BenchError, match=r"'encoder' and 'decoder' share the weight 'tied\.weight'"):
        check_study(check_grid(asked))


def grid(layer: str):
    return {
        "name": "layered",
        "seeds": 2,
        "metrics": ["mig"],
        "datasets": [{"name": "tiny_data:SQUARES"}],
        "models": [{"name": "train.test_network_check:WithLayer", "layer": layer}],
        "network": {"latents": 3, "channels": [4, 4], "kernels": [4, 4], "hidden": 16},
        "training": {"steps": 6, "batch_size": 8, "learning_rate": 1e-3},
        "scoring": {"reconstruction_points": 16},
    }


@pytest.mark.parametrize("layer", LAYERS)
def test_what_moves_or_draws_is_refused(layer: str) -> None:
    with pytest.raises(BenchError, match=LAYERS[layer][1]):
        check_study(check_grid(grid(layer)))


def test_a_constant_is_the_same_alone_and_in_a_stack(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tomli_w

    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.study.options import Options
    from disentangle_bench.study.study import Study

    checked = check_grid(grid("a constant"))
    check_study(checked)
    (tmp_path / "g.toml").write_text(tomli_w.dumps(grid("a constant")))
    alone = run(tmp_path / "g.toml", tmp_path / "alone", device="cpu").path
    together = Options(torch.device("cpu"), stack_size=2)
    stacked = Study(checked, StudyDir(tmp_path / "stacked"), together).train().path
    images = tiny_data.squares().images(range(10))
    for path in sorted((alone / "runs").iterdir()):
        one, other = (
            load_run(made / "runs" / path.name, allow=["train.test_network_check"])
            for made in (alone, stacked)
        )
        assert np.allclose(one.encode(images), other.encode(images), atol=1e-5)
        assert float(one.networks["encoder"][1].scale) == 0.5


def test_models_are_used_in_eval_mode(tmp_path) -> None:
    path = tmp_path / "g.toml"
    path.write_text(tiny_data.GRID)
    study = run(path, tmp_path / "study", device="cpu", seeds=1).path
    for run_path in (study / "runs").iterdir():
        model = load_run(run_path)
        assert model.networks
        assert not any(module.training for network in model.networks.values() for module in network.modules())
