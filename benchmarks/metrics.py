"""Time every registered metric on a table as large as dSprites, beside a plain loop that computes the same.

Run it with `python benchmarks/metrics.py [metric ...]`; it prints seconds and, where a naive version stands below, how
many times longer that takes in the same run. Loops are timed on a part of their work and scaled up. The boosted trees
alone need many seconds.
"""

import sys
import time

import numpy as np
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from disentangle_bench import registry
from disentangle_bench.metrics.mig import mig

SIZES = (3, 6, 40, 32, 32)
LATENTS = 10
VOTES = 15_000
POINTS = 10_000
EVERYDAY = set(registry.METRICS) - {"dci", *registry.ON_REQUEST}


def table():
    """Codes of which half the latents know a factor with noise; the factors of dSprites."""
    factors = np.indices(SIZES).reshape(len(SIZES), -1).T.astype(np.int64)
    codes = np.random.default_rng(0).normal(size=(len(factors), LATENTS))
    codes[:, : len(SIZES)] += 4 * (factors / np.array(SIZES) - 0.5)
    return codes.astype(np.float32), factors


def draw(codes, factors, rng, fixed=None):
    """64 rows as a generator of images would give them, one factor held."""
    values = rng.integers(0, SIZES, size=(64, len(SIZES)))
    if fixed is not None:
        values[:, fixed] = values[0, fixed]
    return codes[np.ravel_multi_index(tuple(values.T), SIZES)]


def naive_factor_vae(codes, factors, rng, share=100):
    scale = codes[rng.integers(len(codes), size=POINTS)].var(axis=0, ddof=1)
    for _ in range(VOTES // share):
        rows = draw(codes, factors, rng, fixed=rng.integers(len(SIZES)))
        (rows.var(axis=0, ddof=1) / scale).argmin()
    return share


def naive_beta_vae(codes, factors, rng, share=100):
    for _ in range(VOTES // share):
        np.abs(draw(codes, factors, rng) - draw(codes, factors, rng)).mean(axis=0)
    return share


def naive_mig(codes, factors, rng):
    rows = rng.integers(len(codes), size=POINTS)
    for latent in codes[rows].T:
        binned = np.digitize(latent, np.histogram(latent, 20)[1][:-1])
        for factor in factors[rows].T:
            mutual_info_score(factor, binned)
    return 1


def naive_mig_all(codes, factors, rng):
    latent = codes[:, 0]
    mutual_info_score(factors[:, 0], np.digitize(latent, np.histogram(latent, 20)[1][:-1]))
    return LATENTS * len(SIZES)


def naive_sap(codes, factors, rng):
    """The solver that was scikit-learn's default when the study was made."""
    rows = rng.integers(len(codes), size=POINTS)
    for factor in factors[rows].T:
        LinearSVC(C=0.01, class_weight="balanced", dual=True).fit(codes[rows][:, :1], factor)
    return LATENTS


def naive_infomec(codes, factors, rng):
    rows = rng.integers(len(codes), size=POINTS)
    for factor in factors[rows].T:
        mutual_info_classif(codes[rows][:, :1], factor, n_neighbors=10)
    return LATENTS


def naive_dci(codes, factors, rng):
    """Three of the 113 values of all factors."""
    registry.resolve("metric", "dci").score(codes, factors[:, :1], rng=rng, booster="exact")
    return sum(SIZES) / SIZES[0]


def mig_on_all_points(codes, factors, rng):
    return mig(codes, factors, rng=rng, points=None)


NAIVE = {
    "factor_vae": naive_factor_vae,
    "mig": naive_mig,
    "mig on all points": naive_mig_all,
    "beta_vae": naive_beta_vae,
    "sap": naive_sap,
    "infomec": naive_infomec,
    "dci": naive_dci,
}


def seconds(function, *arguments, **constants):
    start = time.perf_counter()
    result = function(*arguments, **constants)
    return time.perf_counter() - start, result


def main(names):
    codes, factors = table()
    metrics = {name: registry.resolve("metric", name).score for name in registry.METRICS}
    metrics["mig on all points"] = mig_on_all_points
    total = 0.0
    print(f"{len(codes)} points, {codes.shape[1]} latents, {len(SIZES)} factors")
    for name, score in metrics.items():
        if names and name not in names:
            continue
        score(codes[:1000], factors[:1000], rng=np.random.default_rng(0))  # imports, first calls
        taken, _ = seconds(score, codes, factors, rng=np.random.default_rng(0))
        total += taken if name in EVERYDAY else 0.0
        line = f"{name:20s} {taken:7.2f} s"
        if name in NAIVE:
            part, share = seconds(NAIVE[name], codes, factors, np.random.default_rng(0))
            line += f"   a naive version {part * share:8.1f} s, {part * share / taken:6.1f} times that"
        print(line, flush=True)
    print(f"{'all but dci and those on request':18s} {total:7.2f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
