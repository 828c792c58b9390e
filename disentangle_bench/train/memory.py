"""The process's memory as training on a CPU wants it: freed pages kept, and torch's constants in place."""

from __future__ import annotations

import ctypes
import math
import os
import platform
from functools import cache

import torch

# Of glibc's malloc.h. The largest threshold that glibc takes on 64 bits is half a heap, 32 MiB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 * 2**20
TRIM_THRESHOLD = 2**30


@cache
def keep_freed_memory() -> None:
    """Let this process keep up to a GiB of freed memory instead of returning it after every step.

    A step frees tensors of some MB each. glibc hands those back to the system, which zeroes every page anew when the
    next step asks: a sixth of a VAE's step. Does nothing where the C library is another.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)


@cache
def map_constants() -> None:
    """Make torch's log1p fast in this process, by one call that reads what it has for special values.

    With AVX-512 it reads these under a mask. As long as no value is special the mask is empty, the page of the
    constants is never mapped, and every such read takes hundreds of cycles to give up: a twentieth of a VAE's step, in
    the Bernoulli likelihood.
    """
    special = torch.tensor([-0.0, -1.0, -2.0, math.inf, math.nan]).repeat_interleave(64)
    for dtype in (torch.float32, torch.float64):
        torch.log1p(special.to(dtype))


# A process that was forked has the page to map again. Windows has no forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=map_constants.cache_clear)
