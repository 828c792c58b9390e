"""Randomness as a function of (seed, step, purpose) and of nothing else.

Counter-based: the i-th 64-bit word of a key is SplitMix64 (Steele, Lea & Flood 2014) started at that key, so there is
no state to keep, to checkpoint or to share; a run draws the same numbers alone, in any stack and after a resume. All
integer arithmetic wraps in int64 and gives the same words on every device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from disentangle_bench.models.draws import Draw, Normal, Permutations, Uniform


def _signed(word: int) -> int:
    """The int64 with the same 64 bits."""
    return word - (1 << 64) if word >> 63 else word


GOLDEN = _signed(0x9E3779B97F4A7C15)
MIX_1 = _signed(0xBF58476D1CE4E5B9)
MIX_2 = _signed(0x94D049BB133111EB)


def key(seed: Tensor, step: Tensor | int, purpose: str) -> Tensor:
    """The int64 key of a stream, of the shape of `seed` (0-dimensional for one run, [runs] for a stack)."""
    label = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little", signed=True)
    return _mix(_mix(_mix(seed + label) + GOLDEN) ^ _mix(torch.as_tensor(step, device=seed.device) + label))


def words(stream: Tensor, count: int) -> Tensor:
    """int64 [*stream.shape, count]: the first words of each stream, all 64 bits uniform."""
    # The idle `| 0` ends what torch's compiler knows of the counter: products of one it writes in 32 bits.
    counter = torch.arange(1, count + 1, device=stream.device) | 0
    return _mix(stream[..., None] + counter * GOLDEN)


def uniform(stream: Tensor, count: int) -> Tensor:
    """float32 [*stream.shape, count], uniform on the open interval (0, 1): the middles of 2**24 equal parts."""
    return (_shift(words(stream, count), 40).to(torch.float32) + 0.5) * 2.0**-24


def normal(stream: Tensor, shape: tuple[int, ...]) -> Tensor:
    """float32 [*stream.shape, *shape], standard normal by Box and Muller's transform, two words a value."""
    pairs = uniform(stream, 2 * math.prod(shape)).unflatten(-1, (-1, 2))
    values = torch.sqrt(-2 * torch.log(pairs[..., 0])) * torch.cos(2 * math.pi * pairs[..., 1])
    return values.reshape(*stream.shape, *shape)


def integers(stream: Tensor, count: int, size: int) -> Tensor:
    """int64 [*stream.shape, count], uniform on 0..size-1 for size < 2**31 (bias below size / 2**32)."""
    return (_shift(words(stream, count), 32) * size) >> 32


def permutations(stream: Tensor, rows: int, columns: int) -> Tensor:
    """int64 [*stream.shape, rows, columns]: an independent uniform permutation of 0..rows-1 in each column."""
    ranks = words(stream, rows * columns).reshape(*stream.shape, columns, rows)
    return ranks.argsort(dim=-1, stable=True).transpose(-1, -2)


def sample_without_replacement(stream: Tensor, count: int, size: int) -> Tensor:
    """int64 [count], ascending: `count` different numbers of 0..size-1; all of them where count >= size."""
    if count >= size:
        return torch.arange(size, device=stream.device)
    return permutations(stream, size, 1)[:count, 0].sort().values


def draw(draws: Mapping[str, Draw], seed: Tensor, step: Tensor | int) -> dict[str, Tensor]:
    """What an objective asked for, drawn for this step of this seed."""
    return {name: _draw(asked, key(seed, step, name)) for name, asked in draws.items()}


def network_seed(seed: int) -> int:
    """The seed of the generator that initial weights are drawn from, always on the CPU."""
    return int(key(torch.tensor(seed), 0, "weights")) & (2**63 - 1)


def _draw(asked: Draw, stream: Tensor) -> Tensor:
    match asked:
        case Normal(shape):
            return normal(stream, shape)
        case Uniform(shape):
            return uniform(stream, math.prod(shape)).reshape(*stream.shape, *shape)
        case Permutations(rows, columns):
            return permutations(stream, rows, columns)


def _mix(value: Tensor) -> Tensor:
    """SplitMix64's finaliser: every bit of the input moves every bit of the output."""
    value = (value ^ _shift(value, 30)) * MIX_1
    value = (value ^ _shift(value, 27)) * MIX_2
    return value ^ _shift(value, 31)


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical shift to the right (torch's own keeps the sign)."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
