"""Stacks to train in tests: for every registered model three runs that differ in seed and hyper-parameters."""

import pytest
import tiny_data
import torch

from disentangle_bench import registry
from disentangle_bench.models.objective import is_fitted
from disentangle_bench.models.settings import model_options
from disentangle_bench.specs import RunSpec
from disentangle_bench.train.alone import Alone
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.stacked import Stacked

NETWORK = {"channels": (4, 4, 4, 4), "hidden": 16, "latents": 3}
OTHER_NETWORKS = [
    {"architecture": "style", "channels": (4, 4), "kernels": (4, 2), "hidden": 16, "latents": 3},
    {"architecture": "fc", "hidden": 16, "latents": 3},
]
# A discriminator of 1000 units is not needed to see whether a stack is its runs.
SMALLER = {"discriminator_width": 16, "discriminator_layers": 3}
TRAINED = [name for name in registry.MODELS if not is_fitted(registry.resolve("model", name))]


# Every model with the standard networks, and one with each of the other kinds.
CASES = [pytest.param(model, NETWORK, id=model) for model in TRAINED]
CASES += [pytest.param("vae", network, id=network["architecture"]) for network in OTHER_NETWORKS]


def runs_of(
    model: str, *, steps: int = 50, precision: str = "float64", network=NETWORK, **training
) -> list[RunSpec]:
    """Three runs of the model: seeds 5, 0 and 2, hyper-parameters half, once and twice their defaults."""
    objective = registry.resolve("model", model)
    options = {key: value for key, value in model_options(objective).items() if value is not None}
    options |= {key: value for key, value in SMALLER.items() if key in options}
    return [
        RunSpec.model_validate(
            {
                "dataset": {"name": "tiny_data:SQUARES"},
                "model": model,
                "hypers": {key: value * factor for key, value in objective.hypers.items()},
                "options": options,
                "seed": seed,
                "network": network,
                "training": {"steps": steps, "batch_size": 8, "learning_rate": 1e-3, "precision": precision}
                | training,
            }
        )
        for seed, factor in ((5, 0.5), (0, 1.0), (2, 2.0))
    ]


def alone(spec: RunSpec) -> Alone:
    squares = tiny_data.squares()
    return Alone(make_objective(spec, squares), spec, squares)


def stacked(specs: list[RunSpec]) -> Stacked:
    squares = tiny_data.squares()
    return Stacked(make_objective(specs[0], squares), specs, squares, compiled=False, captured=False)


def weights(state: dict[str, torch.Tensor], run: int) -> torch.Tensor:
    """All weights of one run of a program's state, as one vector."""
    return torch.cat([value[run].flatten() for key, value in state.items() if key.startswith("weights.")])


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative to the length of `b`."""
    return float((a.double() - b.double()).norm() / b.double().norm())
