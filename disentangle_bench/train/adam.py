"""Adam (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1), for one run's weights and for those of many runs at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from disentangle_bench.models.objective import Adam


class FusedAdam:
    """Adam for one network: torch's fused kernel, called without torch.optim, which takes as long again around it."""

    def __init__(self, weights: Sequence[Tensor], settings: Adam) -> None:
        self.weights = [weight.detach() for weight in weights]
        self.settings = settings
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        self.squares = [torch.zeros_like(weight) for weight in self.weights]

    def update(self, gradients: Sequence[Tensor], step: Tensor) -> None:
        """Move the weights in place. `step` is float32, 1 at the first update."""
        first, second = self.settings.betas
        torch._fused_adamw_(
            self.weights,
            [in_order_of(*pair) for pair in zip(self.weights, gradients, strict=True)],
            self.means, self.squares, [], [step] * len(self.weights),
            lr=self.settings.learning_rate, beta1=first, beta2=second, eps=self.settings.eps,
            weight_decay=self.settings.weight_decay, amsgrad=False, maximize=False,
        )  # fmt: skip


def in_order_of(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient laid out in memory as its weight is, in the weight's precision.

    The fused kernel pairs values by their place in memory, and the gradient of a weight that was used transposed may
    lie in another order; updates would go to the wrong weights without a word.
    """
    if gradient.stride() == weight.stride() and gradient.dtype == weight.dtype:
        return gradient
    return torch.empty_like(weight).copy_(gradient)


def adam_update(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    step: Tensor,
    settings: Adam,
) -> None:
    """Move `weights` [runs, ...] in place, and the running means of gradients and squared gradients with them.

    `step` is 1 at the first update. Weight decay is decoupled (Loshchilov & Hutter 2019, arXiv:1711.05101). Like
    `torch.optim.AdamW` up to rounding. The bias corrections are taken in float64: 1 - 0.999**t cancels, and in
    float32 it is wrong by 1e-5, which moves a stack further from its runs alone than all other rounding.
    """
    first, second = settings.betas
    time = step.to(torch.float64)
    step_size = settings.learning_rate / (1 - first**time)
    root = torch.sqrt(1 - second**time)
    for weight, gradient, mean, square in zip(weights, gradients, means, squares, strict=True):
        if settings.weight_decay:
            weight.mul_(1 - settings.learning_rate * settings.weight_decay)
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        width = (square.sqrt() / root.to(weight.dtype)).add_(settings.eps)
        weight.sub_(mean / width * step_size.to(weight.dtype))
