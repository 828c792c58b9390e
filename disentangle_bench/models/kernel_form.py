"""Convolutions as the kernels of `models/kernels.py`, with their gradients.

Operands are put in memory order here, where a compiler sees it and makes them so in the first place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle_bench.models import kernel_ops


def convolve(images: Tensor, weight: Tensor, bias: Tensor | None, relu: bool, cut: bool) -> Tensor:
    """`conv2d` of stride 2, channels last: [n, 2h, 2w, i] to [n, h, w, o], weight [o, i, k, k], bias [o] or None.

    With `relu` the result is rectified, but its gradient is taken as it comes: whoever uses the result must cut it.
    With `cut` the images are such a result of another layer: their gradient is 0 wherever they are.
    """
    return _Halved.apply(images.contiguous(), _matrix(weight), bias, relu, cut)


def convolve_transposed(images: Tensor, weight: Tensor, bias: Tensor | None, relu: bool, cut: bool) -> Tensor:
    """`conv_transpose2d` of stride 2, channels last: [n, h, w, i] to [n, 2h, 2w, o], weight [i, o, k, k].

    `relu` and `cut` are as for `convolve`.
    """
    return _Doubled.apply(images.contiguous(), _matrix(weight), bias, relu, cut)


def _matrix(weight: Tensor) -> Tensor:
    """[k * k, channels of the large image, channels of the small one]."""
    return weight.permute(2, 3, 1, 0).flatten(0, 1).contiguous()


def _alone(tensor: Tensor | None) -> Tensor | None:
    """With an axis for the one run."""
    return None if tensor is None else tensor.unsqueeze(0)


class _Layer(torch.autograd.Function):
    """What both have in common."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, bool, bool], output: Tensor
    ) -> None:
        images, matrix, bias, _, ctx.cut = inputs
        ctx.save_for_backward(images, matrix)
        ctx.biased = bias is not None


class _Halved(_Layer):
    @staticmethod
    def forward(images: Tensor, matrix: Tensor, bias: Tensor | None, relu: bool, cut: bool) -> Tensor:
        return kernel_ops.halve(images[None], matrix[None], None, _alone(bias), relu)[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        images, matrix = (saved[None] for saved in ctx.saved_tensors)
        gradient = gradients[0].contiguous()[None]
        of_images = None
        if ctx.needs_input_grad[0]:
            of_images = kernel_ops.double(gradient, matrix, images if ctx.cut else None, None, False)[0]
        of_matrix = kernel_ops.outer(images, gradient, _kernel(matrix))[0].sum(0).to(matrix.dtype)
        return of_images, of_matrix, gradient.sum((0, 1, 2, 3)) if ctx.biased else None, None, None


class _Doubled(_Layer):
    @staticmethod
    def forward(images: Tensor, matrix: Tensor, bias: Tensor | None, relu: bool, cut: bool) -> Tensor:
        return kernel_ops.double(images[None], matrix[None], None, _alone(bias), relu)[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        images, matrix = (saved[None] for saved in ctx.saved_tensors)
        gradient = gradients[0].contiguous()[None]
        of_images = None
        if ctx.needs_input_grad[0]:
            of_images = kernel_ops.halve(gradient, matrix, images if ctx.cut else None, None, False)[0]
        of_matrix = kernel_ops.outer(gradient, images, _kernel(matrix))[0].sum(0).to(matrix.dtype)
        return of_images, of_matrix, gradient.sum((0, 1, 2, 3)) if ctx.biased else None, None, None


def _kernel(matrix: Tensor) -> int:
    return round(matrix.shape[1] ** 0.5)
