"""The update of a stack: every run's losses, their gradients and Adam, for all runs at once.

Objectives and networks are written for one run; `torch.func.vmap` adds the axis of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import vmap

from disentangle_bench.data.pixels import as_floats
from disentangle_bench.models.forms import Form, use_form
from disentangle_bench.models.objective import Adam, Log, Losses, Objective, Step, with_hypers
from disentangle_bench.precision import PRECISIONS, caller
from disentangle_bench.train.adam import adam_update
from disentangle_bench.train.alone import in_precision
from disentangle_bench.train.gradients import distinct_losses, gradients_of

Weights = dict[str, dict[str, Tensor]]  # by network, by parameter: [runs, ...]
Inputs = tuple[Weights, Weights, Weights, Tensor, dict[str, Tensor], dict[str, Tensor], Tensor]
Function = Callable[..., Log]  # of the seven `Inputs`


@dataclass(frozen=True)
class Update:
    """One step's update of all runs, by layers in one form. It holds no weights, so that it keeps no stack alive."""

    objective: Objective
    networks: Mapping[str, nn.Module]
    adam: Mapping[str, Adam]
    precision: str
    form: Form = "product"

    def __call__(
        self,
        weights: Weights,
        means: Weights,
        squares: Weights,
        images: Tensor,
        noise: dict[str, Tensor],
        hyper: dict[str, Tensor],
        step: Tensor,
    ) -> Log:
        """Move weights and Adam's moments in place, by each network's own loss. Returns the log [runs, ...]."""
        kept = PRECISIONS[self.precision].kept
        leaves = {
            name: {key: value.detach().requires_grad_() for key, value in own.items()}
            for name, own in weights.items()
        }
        losses, log = self._losses(leaves, as_floats(images, kept), in_precision(noise, kept), hyper, step)
        # Runs do not touch each other, so the gradient of the sum over runs is each run's own.
        gradients = gradients_of(
            [(loss.sum(), names) for loss, names in losses],
            {name: list(own.values()) for name, own in leaves.items()},
        )
        with torch.no_grad():
            for name, own in weights.items():
                adam_update(
                    list(own.values()), gradients[name], list(means[name].values()),
                    list(squares[name].values()), step, self.adam[name],
                )  # fmt: skip
        return {name: value.detach() for name, value in log.items()}

    def _losses(
        self,
        weights: Weights,
        images: Tensor,
        noise: dict[str, Tensor],
        hyper: dict[str, Tensor],
        step: Tensor,
    ) -> tuple[list[tuple[Tensor, list[str]]], Log]:
        """Every run's distinct losses [runs] with the networks that descend them, and the log [runs, ...].

        All inputs but `step` have a first axis of runs.
        """
        owners: list[list[str]] = []

        def one_run(
            weights: Weights, images: Tensor, noise: dict[str, Tensor], hyper: dict[str, Tensor]
        ) -> tuple[list[Tensor], Log]:
            call = caller(self.networks, weights, PRECISIONS[self.precision])
            found: Losses
            found, log = with_hypers(self.objective, hyper).losses(call, Step(images, noise, step))
            distinct = distinct_losses(found, self.networks)
            owners[:] = [names for _, names in distinct]
            return [loss for loss, _ in distinct], log

        use_form(self.networks.values(), self.form)
        losses, log = vmap(one_run)(weights, images, noise, hyper)
        return list(zip(losses, owners, strict=True)), log
