"""Triton kernels of the layers that halve or double an image's sides, for all runs of a stack at once.

A layer with a kernel of k x k, k even, stride 2 and padding k / 2 - 1 connects a large image of 2h x 2w pixels with a
small one of h x w. All that training asks of it are the three derivatives of one sum over runs, images, pixels p of the
small image, taps t of the kernel and channels a and b:

    large[source(p, t), a] * matrix[t, a, b] * small[p, b]

- `halve`, by `small`: a convolution, and the gradient of a transposed one by its input;
- `double`, by `large`: a transposed convolution, and the gradient of a convolution by its input;
- `outer`, by `matrix`: the gradient of either by its weight.

Each is a matrix product that gathers its rows from the image while it multiplies, so that no patches are written to
memory. Sums are float32 (float64 for float64). A bias and ReLU are applied to a product before it is stored. Where an
operand is a gradient that ReLU lets through in part, `mask` is what ReLU gave: the operand counts where it is above 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _halve(
    large, matrix, mask, bias, small, images,
    H: tl.constexpr, W: tl.constexpr, A: tl.constexpr, B: tl.constexpr, K: tl.constexpr,
    MASKED: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr, SUMS: tl.constexpr, TF32: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Rows are pixels p of the small image, columns its channels b, summed over (t, a)."""
    run = tl.program_id(2).to(tl.int64)
    pixels = images * H * W
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    image, y, x = row // (H * W), row // W % H, row % W
    there, kept = row < pixels, column < B
    large += run * pixels * 4 * A
    mask += run * pixels * 4 * A
    matrix += run * (K * K * A * B)
    total = tl.zeros((ROWS, COLUMNS), SUMS)
    for start in range(0, K * K * A, DEPTH):
        inner = start + tl.arange(0, DEPTH)
        tap, a = inner // A, inner % A
        sy = 2 * y[:, None] + (tap // K - (K // 2 - 1))[None, :]
        sx = 2 * x[:, None] + (tap % K - (K // 2 - 1))[None, :]
        inside = (
            (sy >= 0)
            & (sy < 2 * H)
            & (sx >= 0)
            & (sx < 2 * W)
            & there[:, None]
            & (inner < K * K * A)[None, :]
        )
        place = ((image[:, None] * (2 * H) + sy) * (2 * W) + sx) * A + a[None, :]
        left = tl.load(large + place, mask=inside, other=0.0)
        if MASKED:
            left = tl.where(tl.load(mask + place, mask=inside, other=0.0) > 0, left, 0.0)
        right = tl.load(
            matrix + inner[:, None] * B + column[None, :],
            mask=(inner < K * K * A)[:, None] & kept[None, :], other=0.0,
        )  # fmt: skip
        total = tl.dot(left, right, total, input_precision="tf32" if TF32 else "ieee", out_dtype=SUMS)
    if BIAS:
        total += tl.load(bias + run * B + column, mask=kept, other=0.0).to(SUMS)[None, :]
    if RELU:
        total = tl.where(total < 0, 0.0, total)
    place = (run * pixels + row)[:, None] * B + column[None, :]
    tl.store(small + place, total.to(small.dtype.element_ty), mask=there[:, None] & kept[None, :])


@triton.jit
def _double(
    small, matrix, mask, bias, large, images,
    H: tl.constexpr, W: tl.constexpr, A: tl.constexpr, B: tl.constexpr, K: tl.constexpr,
    MASKED: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr, SUMS: tl.constexpr, TF32: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Rows are 2 x 2 blocks of the large image, columns their (pixel, channel a), summed over (neighbour, b).

    Block (u, v) holds the pixels 2u - e + r and 2v - e + s with r and s of 0 and 1 and e = k / 2 - 1. It sees the
    small image's pixels u - i and v - j with i and j of 0 to e, by the taps 2i + r and 2j + s.
    """
    E: tl.constexpr = K // 2 - 1
    HALF: tl.constexpr = K // 2
    run = tl.program_id(2).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    image, u, v = row // ((H + E) * (W + E)), row // (W + E) % (H + E), row % (W + E)
    there, kept = image < images, column < 4 * A
    a, r, s = column % A, column // (2 * A), column // A % 2
    pixels = images * H * W
    small += run * pixels * B
    mask += run * pixels * B
    matrix += run * (K * K * A * B)
    total = tl.zeros((ROWS, COLUMNS), SUMS)
    for start in range(0, HALF * HALF * B, DEPTH):
        inner = start + tl.arange(0, DEPTH)
        neighbour, b = inner // B, inner % B
        i, j = neighbour // HALF, neighbour % HALF
        y, x = u[:, None] - i[None, :], v[:, None] - j[None, :]
        inside = (y >= 0) & (y < H) & (x >= 0) & (x < W) & there[:, None] & (inner < HALF * HALF * B)[None, :]
        place = ((image[:, None] * H + y) * W + x) * B + b[None, :]
        left = tl.load(small + place, mask=inside, other=0.0)
        if MASKED:
            left = tl.where(tl.load(mask + place, mask=inside, other=0.0) > 0, left, 0.0)
        tap = (2 * i[:, None] + r[None, :]) * K + 2 * j[:, None] + s[None, :]
        right = tl.load(
            matrix + (tap * A + a[None, :]) * B + b[:, None],
            mask=(inner < HALF * HALF * B)[:, None] & kept[None, :], other=0.0,
        )  # fmt: skip
        total = tl.dot(left, right, total, input_precision="tf32" if TF32 else "ieee", out_dtype=SUMS)
    if BIAS:
        total += tl.load(bias + run * A + a, mask=kept, other=0.0).to(SUMS)[None, :]
    if RELU:
        total = tl.where(total < 0, 0.0, total)
    y, x = 2 * u[:, None] - E + r[None, :], 2 * v[:, None] - E + s[None, :]
    inside = (y >= 0) & (y < 2 * H) & (x >= 0) & (x < 2 * W) & there[:, None] & kept[None, :]
    place = ((image[:, None] * (2 * H) + y) * (2 * W) + x) * A + a[None, :]
    tl.store(large + run * pixels * 4 * A + place, total.to(large.dtype.element_ty), mask=inside)


@triton.jit
def _outer(
    large, small, mask, parts, sums, images, share,
    H: tl.constexpr, W: tl.constexpr, A: tl.constexpr, B: tl.constexpr, K: tl.constexpr,
    MASK_LARGE: tl.constexpr, MASK_SMALL: tl.constexpr, SUM_LARGE: tl.constexpr,
    SUMS: tl.constexpr, TF32: tl.constexpr, PARTS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Rows are (t, a), columns b, summed over the pixels p of one of PARTS shares, each `share` pixels.

    `sums` are the sums over p of `large` by (t, a), or of `small` by b, for the gradient of a bias.
    """
    part = tl.program_id(2) % PARTS
    run = (tl.program_id(2) // PARTS).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    tap, a = row // A, row % A
    there, kept = row < K * K * A, column < B
    pixels = images * H * W
    large += run * pixels * 4 * A
    small += run * pixels * B
    mask += run * pixels * (4 * A if MASK_LARGE else B)
    total = tl.zeros((ROWS, COLUMNS), SUMS)
    summed = tl.zeros((ROWS if SUM_LARGE else COLUMNS,), SUMS)
    end = tl.minimum((part + 1) * share, pixels)
    for start in range(part * share, end, DEPTH):
        p = start + tl.arange(0, DEPTH)
        image, y, x = p // (H * W), p // W % H, p % W
        sy = 2 * y[None, :] + (tap // K - (K // 2 - 1))[:, None]
        sx = 2 * x[None, :] + (tap % K - (K // 2 - 1))[:, None]
        inside = (sy >= 0) & (sy < 2 * H) & (sx >= 0) & (sx < 2 * W) & there[:, None] & (p < end)[None, :]
        place = ((image[None, :] * (2 * H) + sy) * (2 * W) + sx) * A + a[:, None]
        left = tl.load(large + place, mask=inside, other=0.0)
        if MASK_LARGE:
            left = tl.where(tl.load(mask + place, mask=inside, other=0.0) > 0, left, 0.0)
        present = (p < end)[:, None] & kept[None, :]
        place = p[:, None] * B + column[None, :]
        right = tl.load(small + place, mask=present, other=0.0)
        if MASK_SMALL:
            right = tl.where(tl.load(mask + place, mask=present, other=0.0) > 0, right, 0.0)
        total = tl.dot(left, right, total, input_precision="tf32" if TF32 else "ieee", out_dtype=SUMS)
        if SUM_LARGE:
            summed += tl.sum(left.to(SUMS), axis=1)
        else:
            summed += tl.sum(right.to(SUMS), axis=0)
    slot = run * PARTS + part
    place = (slot * (K * K * A) + row)[:, None] * B + column[None, :]
    tl.store(parts + place, total, mask=there[:, None] & kept[None, :])
    if SUM_LARGE:
        if tl.program_id(1) == 0:
            tl.store(sums + slot * (K * K * A) + row, summed, mask=there)
    else:
        if tl.program_id(0) == 0:
            tl.store(sums + slot * B + column, summed, mask=kept)


@dataclass(frozen=True)
class Tile:
    """What one block of a kernel computes: `rows` x `columns` values, `depth` of the sum at a time."""

    rows: int
    columns: int
    depth: int
    warps: int


def tile(rows: int, columns: int, depth: int, bytes_of_a_value: int) -> Tile:
    """The tile for a product of [rows, depth] and [depth, columns].

    Counted for a card with 132 multiprocessors, each of 64 K registers, 228 KiB of shared memory and room for 2,048
    threads. A tile of 128 x 128 sums takes 64 registers of each of 256 threads and leaves as many for addresses, so
    that two blocks fit on a multiprocessor. Columns are as many as the layer has channels, 16 at least and 128 at most,
    so that each value of an image is loaded once. 128 bytes of depth are a line of the cache; two operands of three
    stages are then at most 96 KiB.
    """
    columns = min(128, max(16, triton.next_power_of_2(columns)))
    rows = min(128, max(16, triton.next_power_of_2(rows)))
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

    `mask` is of the shape of `large`, `bias` [runs, b].
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
    _halve[grid](
        *_contiguous(large, matrix, mask, bias), small, images, **sizes, **_product_options(mask, bias, relu, large),
        **_tiles(chosen),
    )  # fmt: skip
    return small


@torch.library.custom_op("disentangle_bench::double", mutates_args=())
def double(small: Tensor, matrix: Tensor, mask: Tensor | None, bias: Tensor | None, relu: bool) -> Tensor:
    """`large` [runs, n, 2h, 2w, a] from `small` [runs, n, h, w, b] and `matrix` [runs, k * k, a, b].

    `mask` is of the shape of `small`, `bias` [runs, a].
    """
    runs, images, height, width, b = small.shape
    a, kernel = matrix.shape[2], _kernel(matrix)
    large = small.new_empty(runs, images, 2 * height, 2 * width, a)
    edge = kernel // 2 - 1
    blocks = images * (height + edge) * (width + edge)
    chosen = tile(blocks, 4 * a, (kernel // 2) ** 2 * b, small.element_size())
    grid = (triton.cdiv(blocks, chosen.rows), triton.cdiv(4 * a, chosen.columns), runs)
    _double[grid](
        *_contiguous(small, matrix, mask, bias), large, images, **_sizes(small, matrix),
        **_product_options(mask, bias, relu, small), **_tiles(chosen),
    )  # fmt: skip
    return large


@torch.library.custom_op("disentangle_bench::outer", mutates_args=())
def outer(
    large: Tensor, small: Tensor, mask: Tensor | None, kernel: int, of_large: bool
) -> tuple[Tensor, Tensor]:
    """`matrix` [runs, parts, kernel * kernel, a, b], to be summed over the parts of the pixels that each adds up.

    `large` is [runs, n, 2h, 2w, a] and `small` [runs, n, h, w, b]. The second result has sums over pixels of the one of
    them that is a gradient: of `large`, where `of_large` is set, [runs, parts, kernel * kernel, a] as each tap sees it,
    and else of `small`, [runs, parts, b]. `mask` is of its shape. Both results are float32 (float64 for float64).
    """
    runs, images, height, width, b = small.shape
    a, pixels = large.shape[4], images * height * width
    chosen = tile(kernel**2 * a, b, pixels, small.element_size())
    found, sums = _parts(large, small, kernel, of_large)
    parts = found.shape[1]
    grid = (triton.cdiv(kernel**2 * a, chosen.rows), triton.cdiv(b, chosen.columns), runs * parts)
    _outer[grid](
        *_contiguous(large, small, mask), found, sums, images, triton.cdiv(pixels, parts),
        H=height, W=width, A=a, B=b, K=kernel, MASK_LARGE=mask is not None and of_large,
        MASK_SMALL=mask is not None and not of_large, SUM_LARGE=of_large, SUMS=_sums(small), TF32=_tf32(small),
        PARTS=parts, **_tiles(chosen),
    )  # fmt: skip
    return found, sums


def _parts(large: Tensor, small: Tensor, kernel: int, of_large: bool) -> tuple[Tensor, Tensor]:
    """What `outer` fills."""
    runs, images, height, width, b = small.shape
    a, pixels = large.shape[4], images * height * width
    chosen = tile(kernel**2 * a, b, pixels, small.element_size())
    parts = parts_of(runs * triton.cdiv(kernel**2 * a, chosen.rows) * triton.cdiv(b, chosen.columns), pixels)
    kept = torch.float64 if small.dtype == torch.float64 else torch.float32
    found = small.new_empty(runs, parts, kernel**2, a, b, dtype=kept)
    return found, small.new_empty(runs, parts, *((kernel**2, a) if of_large else (b,)), dtype=kept)


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
    return {
        "ROWS": chosen.rows, "COLUMNS": chosen.columns, "DEPTH": chosen.depth, "num_warps": chosen.warps, "num_stages": 3
    }  # fmt: skip


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
def _(
    large: Tensor, small: Tensor, mask: Tensor | None, kernel: int, of_large: bool
) -> tuple[Tensor, Tensor]:
    return _parts(large, small, kernel, of_large)


def _over_runs(operation):  # type: ignore[no-untyped-def]
    """The rule of `vmap`: its axis joins that of the runs, of which there is one where a layer stands alone."""

    def rule(info, in_dims, *arguments):  # type: ignore[no-untyped-def]
        def joined(value, dim):  # type: ignore[no-untyped-def]
            if not isinstance(value, Tensor):
                return value
            value = value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            return value.flatten(0, 1)

        found = operation(*map(joined, arguments, in_dims))
        if isinstance(found, Tensor):
            return found.unflatten(0, (info.batch_size, -1)), 0
        return tuple(each.unflatten(0, (info.batch_size, -1)) for each in found), (0,) * len(found)

    operation.register_vmap(rule)


for operation in (halve, double, outer):
    _over_runs(operation)
