"""Small tables whose scores can be worked out by hand, shared by the tests of the metrics."""

import numpy as np

SIZES = (3, 4, 5)


def full_factorial(sizes=SIZES):
    """Every combination of factor values once, the last factor fastest."""
    return np.indices(sizes).reshape(len(sizes), -1).T.astype(np.int64)


def perfect_code(factors):
    """Each latent is one factor, centred and of unit spread."""
    return ((factors - factors.mean(axis=0)) / factors.std(axis=0)).astype(np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)
