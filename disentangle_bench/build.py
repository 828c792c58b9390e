"""From a spec to its model's objective and networks."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from disentangle_bench import randomness
from disentangle_bench.errors import BenchError
from disentangle_bench.models.objective import Fitted, NetworkSize, Objective
from disentangle_bench.models.settings import checked_model
from disentangle_bench.specs import NetworkSpec, RunSpec


def build_nothing(
    spec: RunSpec, objective: Objective | Fitted, image_shape: tuple[int, int, int]
) -> dict[str, nn.Module]:
    """The spec's networks without memory. Raises BenchError where they cannot take the data set's images."""
    try:
        with torch.device("meta"):
            return objective.build(image_shape, NetworkSize(**spec.network.model_dump()))
    except BenchError:
        raise
    except (Exception, SystemExit) as error:  # anyone's code, and networks of any size
        reason = f"{type(error).__name__}: {error}"
        raise BenchError(f"model {spec.model!r} cannot be built as it is asked for: {reason}") from error


def new_objective(spec: RunSpec) -> Objective | Fitted:
    """The spec's objective with its options, before it knows its data."""
    return cast(Objective | Fitted, checked_model(spec)(**spec.options))


def build_networks(
    objective: Objective | Fitted,
    image_shape: tuple[int, int, int],
    size: NetworkSpec,
    seed: int,
    device: torch.device,
) -> dict[str, nn.Module]:
    """Freshly initialised networks: the same weights for the same seed on every device."""
    sizes = NetworkSize(**size.model_dump(exclude_none=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.network_seed(seed))
        networks = objective.build(image_shape, sizes)
    return {name: network.to(device) for name, network in networks.items()}
