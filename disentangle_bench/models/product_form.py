"""Layers that have a second form, made of plain matrix products, for many runs at once.

Under `torch.func.vmap` over runs a matrix product becomes one batched product. The forms agree up to rounding, and the
parameters and their layout are those of torch's own layers in either form.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class ProductForm(nn.Module):
    """A layer that computes by matrix products where `as_product` is set."""

    as_product = False


class Linear(ProductForm, nn.Linear):
    """`nn.Linear`: [n, inputs] to [n, outputs].

    The product form is W x^T: the gradient of each weight then comes out in the weight's own memory order, and Adam
    reads and writes everything in one pass. The usual form x W^T gives it transposed.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Map the inputs."""
        if not self.as_product:
            return super().forward(inputs)
        return (self.weight @ inputs.mT).mT + self.bias


def use_products(networks: Iterable[nn.Module]) -> None:
    """Put these networks' layers into the product form, for training or encoding many runs together."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, ProductForm):
                module.as_product = True
