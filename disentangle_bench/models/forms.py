"""Layers that compute in one of several forms, which agree up to rounding.

- `native`: torch's own layers, for one run;
- `product`: plain matrix products, for many runs at once: under `torch.func.vmap` each becomes one batched product;
- `kernel`: as `product`, but convolutions are Triton kernels that gather their rows while they multiply
  (`models/kernels.py`). They need a GPU, or Triton's interpreter.

Parameters and their layout are those of torch's own layers in every form.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

Form = Literal["native", "product", "kernel"]


class Formed(nn.Module):
    """A layer that computes in the form that `form` names."""

    form: Form = "native"


class Linear(Formed, nn.Linear):
    """`nn.Linear`: [n, inputs] to [n, outputs].

    The forms for many runs are W x^T: the gradient of each weight then comes out in the weight's own memory order, and
    Adam reads and writes everything in one pass. The usual form x W^T gives it transposed.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Map the inputs."""
        if self.form == "native":
            return super().forward(inputs)
        return (self.weight @ inputs.mT).mT + self.bias


def use_form(networks: Iterable[nn.Module], form: Form = "product") -> None:
    """Put these networks' layers into a form; the default is for many runs together on any device."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, Formed):
                module.form = form
