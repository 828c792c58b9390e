"""Convolutions as the kernels of `models/kernels.py`, with their gradients.

Operands are put in memory order here, where a compiler sees it and makes them so in the first place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle_bench.models import kernel_ops


def convolve(images: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """`conv2d` of stride 2, channels last: [n, 2h, 2w, i] to [n, h, w, o], weight [o, i, k, k], bias [o] or None."""
    return _Halved.apply(images.contiguous(), _matrix(weight), bias, relu)


def convolve_transposed(images: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """`conv_transpose2d` of stride 2, channels last: [n, h, w, i] to [n, 2h, 2w, o], weight [i, o, k, k]."""
    return _Doubled.apply(images.contiguous(), _matrix(weight), bias, relu)


def _matrix(weight: Tensor) -> Tensor:
    """[k * k, channels of the large image, channels of the small one]."""
    return weight.permute(2, 3, 1, 0).flatten(0, 1).contiguous()


def _alone(tensor: Tensor | None) -> Tensor | None:
    """With an axis for the one run."""
    return None if tensor is None else tensor.unsqueeze(0)


class _Layer(torch.autograd.Function):
    """What both have in common: they keep their result where ReLU made it, as the mask of its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, bool], output: Tensor) -> None:
        images, matrix, bias, relu = inputs
        ctx.save_for_backward(images, matrix, output if relu else None)
        ctx.biased = bias is not None


class _Halved(_Layer):
    @staticmethod
    def forward(images: Tensor, matrix: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        return kernel_ops.halve(images[None], matrix[None], None, _alone(bias), relu)[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        images, matrix, made = ctx.saved_tensors
        gradient, mask = gradients[0].contiguous()[None], _alone(made)
        of_images = (
            kernel_ops.double(gradient, matrix[None], mask, None, False)[0]
            if ctx.needs_input_grad[0]
            else None
        )
        of_matrix, sums = kernel_ops.outer(images[None], gradient, mask, _kernel(matrix), False)
        of_bias = sums[0].sum(0).to(matrix.dtype) if ctx.biased else None
        return of_images, of_matrix[0].sum(0).to(matrix.dtype), of_bias, None


class _Doubled(_Layer):
    @staticmethod
    def forward(images: Tensor, matrix: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        return kernel_ops.double(images[None], matrix[None], None, _alone(bias), relu)[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        images, matrix, made = ctx.saved_tensors
        gradient, mask = gradients[0].contiguous()[None], _alone(made)
        of_images = (
            kernel_ops.halve(gradient, matrix[None], mask, None, False)[0]
            if ctx.needs_input_grad[0]
            else None
        )
        kernel = _kernel(matrix)
        of_matrix, sums = kernel_ops.outer(gradient, images[None], mask, kernel, True)
        # Of all taps the four in the middle see every pixel of the large image once.
        middle = slice(kernel // 2 - 1, kernel // 2 + 1)
        seen = sums[0].unflatten(1, (kernel, kernel))[:, middle, middle]
        of_bias = seen.sum((0, 1, 2)).to(matrix.dtype) if ctx.biased else None
        return of_images, of_matrix[0].sum(0).to(matrix.dtype), of_bias, None


def _kernel(matrix: Tensor) -> int:
    return round(matrix.shape[0] ** 0.5)
