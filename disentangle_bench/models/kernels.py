"""Triton kernels of the layers that halve or double an image's sides, for all runs of a stack at once.

A layer with a kernel of k x k, k even, stride 2 and padding k / 2 - 1 connects a large image of 2h x 2w pixels with a
small one of h x w. All that training asks of it are the three derivatives of one sum over runs, images, pixels p of the
small image, taps t of the kernel and channels a and b:

    large[source(p, t), a] * matrix[t, a, b] * small[p, b]

- `halve`, by `small`: a convolution, and the gradient of a transposed one by its input;
- `double`, by `large`: a transposed convolution, and the gradient of a convolution by its input;
- `outer`, by `matrix`: the gradient of either by its weight.

Each is a matrix product that gathers its rows from the image while it multiplies, so that no patches are written to
memory. Sums are float32 (float64 for float64, which needs Triton 3.5). A bias and ReLU are applied to a product before
it is stored, and so is `mask`, of the result's shape: where it is not above 0 the result is 0. So a gradient is cut
once, where it is made; where it is used each value is loaded several times, and its mask would be too.
"""

import triton
import triton.language as tl


@triton.jit
def halve_blocks(
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
    inside = there[:, None] & kept[None, :]
    if MASKED:
        total = tl.where(tl.load(mask + place, mask=inside, other=0.0) > 0, total, 0.0)
    tl.store(small + place, total.to(small.dtype.element_ty), mask=inside)


@triton.jit
def double_blocks(
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
    place = run * pixels * 4 * A + ((image[:, None] * (2 * H) + y) * (2 * W) + x) * A + a[None, :]
    if MASKED:
        total = tl.where(tl.load(mask + place, mask=inside, other=0.0) > 0, total, 0.0)
    tl.store(large + place, total.to(large.dtype.element_ty), mask=inside)


@triton.jit
def outer_blocks(
    large, small, parts, images, share,
    H: tl.constexpr, W: tl.constexpr, A: tl.constexpr, B: tl.constexpr, K: tl.constexpr,
    SUMS: tl.constexpr, TF32: tl.constexpr, PARTS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Rows are (t, a), columns b, summed over the pixels p of one of PARTS shares, each `share` pixels."""
    part = tl.program_id(2) % PARTS
    run = (tl.program_id(2) // PARTS).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    tap, a = row // A, row % A
    there, kept = row < K * K * A, column < B
    pixels = images * H * W
    large += run * pixels * 4 * A
    small += run * pixels * B
    total = tl.zeros((ROWS, COLUMNS), SUMS)
    end = tl.minimum((part + 1) * share, pixels)
    for start in range(part * share, end, DEPTH):
        p = start + tl.arange(0, DEPTH)
        image, y, x = p // (H * W), p // W % H, p % W
        sy = 2 * y[None, :] + (tap // K - (K // 2 - 1))[:, None]
        sx = 2 * x[None, :] + (tap % K - (K // 2 - 1))[:, None]
        inside = (sy >= 0) & (sy < 2 * H) & (sx >= 0) & (sx < 2 * W) & there[:, None] & (p < end)[None, :]
        place = ((image[None, :] * (2 * H) + sy) * (2 * W) + sx) * A + a[:, None]
        left = tl.load(large + place, mask=inside, other=0.0)
        present = (p < end)[:, None] & kept[None, :]
        place = p[:, None] * B + column[None, :]
        right = tl.load(small + place, mask=present, other=0.0)
        total = tl.dot(left, right, total, input_precision="tf32" if TF32 else "ieee", out_dtype=SUMS)
    slot = run * PARTS + part
    place = (slot * (K * K * A) + row)[:, None] * B + column[None, :]
    tl.store(parts + place, total, mask=there[:, None] & kept[None, :])
