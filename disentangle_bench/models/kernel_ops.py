"""The kernels of `models/kernels.py` as operations of torch: launched, traced without a device, and under `vmap`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from disentangle_bench.models import kernels


@dataclass(frozen=True)
class Tile:
    """What one block of a kernel computes: `rows` x `columns` values, `depth` of the sum at a time."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int = 3  # loads of so many depths are under way at once


def tile(rows: int, columns: int, depth: int, bytes_of_a_value: int) -> Tile:
    """The tile for a product of [rows, depth] and [depth, columns].

    Counted for a card with 132 multiprocessors, each of 64 K registers, 228 KiB of shared memory and room for 2,048
    threads. A tile of 128 x 128 sums takes 64 registers of each of 256 threads and leaves as many for addresses, so
    that two blocks fit on a multiprocessor. Columns are as many as the layer has channels, 16 at least and 128 at most,
    so that each value of an image is loaded once. 128 bytes of depth are a line of the cache; two operands of three
    stages are then at most 96 KiB. Float32 takes half the rows: without matrix instructions for it, operands are held
    in registers as well.
    """
    columns = min(128, max(16, triton.next_power_of_2(columns)))
    rows = min(128 if bytes_of_a_value == 2 else 64, max(16, triton.next_power_of_2(rows)))
    depth = min(128 // bytes_of_a_value, max(16, triton.next_power_of_2(depth)))
    return Tile(rows, columns, depth, 8 if rows * columns > 8192 else 4)


def parts_of(blocks: int, pixels: int) -> int:
    """In how many parts to sum over so many pixels where the result has so many blocks, all runs together.

    A power of two: until the 132 multiprocessors have two blocks each, and no part is below 1,024 pixels.
    """
    parts = 1
    while blocks * parts < 2 * 132 and pixels // (2 * parts) >= 1024:
        parts *= 2
    return parts


SUMS = {torch.float64: tl.float64}


@torch.library.custom_op("disentangle_bench::halve", mutates_args=())
def halve(large: Tensor, matrix: Tensor, mask: Tensor | None, bias: Tensor | None, relu: bool) -> Tensor:
    """`small` [runs, n, h, w, b] from `large` [runs, n, 2h, 2w, a] and `matrix` [runs, k * k, a, b].

    `mask` is of the shape of `small`, `bias` [runs, b].
    """
    runs, images, height, width, a = large.shape
    small = large.new_empty(runs, images, height // 2, width // 2, matrix.shape[3])
    sizes = _sizes(small, matrix)
    chosen = tile(images * height * width // 4, matrix.shape[3], matrix.shape[1] * a, large.element_size())
    grid = (
        triton.cdiv(images * height * width // 4, chosen.rows),
        triton.cdiv(matrix.shape[3], chosen.columns),
        runs,
    )
    kernels.halve_blocks[grid](
        *_contiguous(large, matrix, mask, bias), small, images, **sizes, **_product_options(mask, bias, relu, large),
        **_tiles(chosen),
    )  # fmt: skip
    return small


@torch.library.custom_op("disentangle_bench::double", mutates_args=())
def double(small: Tensor, matrix: Tensor, mask: Tensor | None, bias: Tensor | None, relu: bool) -> Tensor:
    """`large` [runs, n, 2h, 2w, a] from `small` [runs, n, h, w, b] and `matrix` [runs, k * k, a, b].

    `mask` is of the shape of `large`, `bias` [runs, a].
    """
    runs, images, height, width, b = small.shape
    a, kernel = matrix.shape[2], _kernel(matrix)
    large = small.new_empty(runs, images, 2 * height, 2 * width, a)
    edge = kernel // 2 - 1
    blocks = images * (height + edge) * (width + edge)
    chosen = tile(blocks, 4 * a, (kernel // 2) ** 2 * b, small.element_size())
    grid = (triton.cdiv(blocks, chosen.rows), triton.cdiv(4 * a, chosen.columns), runs)
    kernels.double_blocks[grid](
        *_contiguous(small, matrix, mask, bias), large, images, **_sizes(small, matrix),
        **_product_options(mask, bias, relu, small), **_tiles(chosen),
    )  # fmt: skip
    return large


@torch.library.custom_op("disentangle_bench::outer", mutates_args=())
def outer(large: Tensor, small: Tensor, kernel: int) -> Tensor:
    """`matrix` [runs, parts, kernel * kernel, a, b], to be summed over the parts of the pixels that each adds up.

    `large` is [runs, n, 2h, 2w, a] and `small` [runs, n, h, w, b]. The result is float32 (float64 for float64).
    """
    runs, images, height, width, b = small.shape
    a, pixels = large.shape[4], images * height * width
    chosen, found = _parts(large, small, kernel)
    parts = found.shape[1]
    grid = (triton.cdiv(kernel**2 * a, chosen.rows), triton.cdiv(b, chosen.columns), runs * parts)
    kernels.outer_blocks[grid](
        *_contiguous(large, small), found, images, triton.cdiv(pixels, parts),
        H=height, W=width, A=a, B=b, K=kernel, SUMS=_sums(small), TF32=_tf32(small), PARTS=parts, **_tiles(chosen),
    )  # fmt: skip
    return found


def _parts(large: Tensor, small: Tensor, kernel: int) -> tuple[Tile, Tensor]:
    """The tile of `outer`, and what it fills."""
    runs, images, height, width, b = small.shape
    a, pixels = large.shape[4], images * height * width
    chosen = tile(kernel**2 * a, b, pixels, small.element_size())
    parts = parts_of(runs * triton.cdiv(kernel**2 * a, chosen.rows) * triton.cdiv(b, chosen.columns), pixels)
    kept = torch.float64 if small.dtype == torch.float64 else torch.float32
    return chosen, small.new_empty(runs, parts, kernel**2, a, b, dtype=kept)


def _sizes(small: Tensor, matrix: Tensor) -> dict[str, int]:
    return {
        "H": small.shape[2], "W": small.shape[3], "A": matrix.shape[2], "B": matrix.shape[3], "K": _kernel(matrix)
    }  # fmt: skip


def _kernel(matrix: Tensor) -> int:
    return round(matrix.shape[1] ** 0.5)


def _contiguous(first: Tensor, *others: Tensor | None) -> list[Tensor]:
    """All of them in memory order; for one that is missing the first, which is not looked at."""
    return [(first if tensor is None else tensor).contiguous() for tensor in (first, *others)]


def _product_options(mask: Tensor | None, bias: Tensor | None, relu: bool, like: Tensor) -> dict[str, object]:
    return {
        "MASKED": mask is not None, "BIAS": bias is not None, "RELU": relu, "SUMS": _sums(like), "TF32": _tf32(like)
    }  # fmt: skip


def _tiles(chosen: Tile) -> dict[str, int]:
    tiles = {"ROWS": chosen.rows, "COLUMNS": chosen.columns, "DEPTH": chosen.depth}
    return tiles | {"num_warps": chosen.warps, "num_stages": chosen.stages}


def _sums(like: Tensor) -> tl.dtype:
    return SUMS.get(like.dtype, tl.float32)


def _tf32(like: Tensor) -> bool:
    return like.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32


@halve.register_fake
def _(large: Tensor, matrix: Tensor, mask: Tensor | None, bias: Tensor | None, relu: bool) -> Tensor:
    runs, images, height, width, _ = large.shape
    return large.new_empty(runs, images, height // 2, width // 2, matrix.shape[3])


@double.register_fake
def _(small: Tensor, matrix: Tensor, mask: Tensor | None, bias: Tensor | None, relu: bool) -> Tensor:
    runs, images, height, width, _ = small.shape
    return small.new_empty(runs, images, 2 * height, 2 * width, matrix.shape[2])


@outer.register_fake
def _(large: Tensor, small: Tensor, kernel: int) -> Tensor:
    return _parts(large, small, kernel)[1]


def _over_runs(operation: Any) -> None:
    """Give it the rule of `vmap`: its axis joins that of the runs, of which there is one where a layer stands alone."""

    def rule(info: Any, dims: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
        def joined(value: Any, dim: int | None) -> Any:
            if not isinstance(value, Tensor):
                return value
            value = value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            return value.flatten(0, 1)

        return operation(*map(joined, arguments, dims)).unflatten(0, (info.batch_size, -1)), 0

    operation.register_vmap(rule)


for operation in (halve, double, outer):
    _over_runs(operation)
