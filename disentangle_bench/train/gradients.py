"""Each network's gradient from its own loss, and from no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from disentangle_bench.models.objective import Losses


def distinct_losses(losses: Losses, networks: Mapping[str, object]) -> list[tuple[Tensor, list[str]]]:
    """The losses as (loss, names of the networks that descend it): networks with the same tensor share one backward.

    Raises ValueError where the objective does not give every network a loss.
    """
    if losses.keys() != networks.keys():
        raise ValueError(f"the objective has losses for {sorted(losses)} and networks {sorted(networks)}")
    owners: dict[int, tuple[Tensor, list[str]]] = {}
    for name, loss in losses.items():
        owners.setdefault(id(loss), (loss, []))[1].append(name)
    return list(owners.values())


def gradients_of(
    losses: Sequence[tuple[Tensor, Sequence[str]]], weights: Mapping[str, Sequence[Tensor]]
) -> dict[str, list[Tensor]]:
    """Each network's gradients of its own loss, in the order of its weights; one backward pass a distinct loss.

    Only a loss's own networks are differentiated, so no loss can move another's weights whatever the graph holds.
    """
    gradients: dict[str, list[Tensor]] = {}
    for position, (loss, names) in enumerate(losses, start=1):
        own = [weight for name in names for weight in weights[name]]
        found = iter(torch.autograd.grad(loss, own, retain_graph=position < len(losses)))
        for name in names:
            gradients[name] = [next(found) for _ in weights[name]]
    return gradients
