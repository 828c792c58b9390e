"""What a trained model makes of the combinations of factors that training never saw, beside those it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from disentangle_bench import randomness
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.evaluation.encode import encode_points, points_of, refuse_odd_codes
from disentangle_bench.evaluation.reconstruction import measures_of_images
from disentangle_bench.evaluation.scores import UNSEEN, UNSEEN_REVISION, failed_part, generator, scored_part
from disentangle_bench.evaluation.tables import checked_codes
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.metrics.metric import Codes, Factors, Scores
from disentangle_bench.metrics.side_by_side import side_by_side
from disentangle_bench.metrics.standardised import standardised
from disentangle_bench.splits import seen_and_unseen

PARTS = ("seen", "unseen")
DETAILS = tuple(f"mse_{part}" for part in PARTS)
LOWER_IS_BETTER = [f"reconstruction_nats_{part}" for part in PARTS]
PAPER = (
    "Schott et al. 2022, Visual Representation Learning Does Not Generalize Strongly Within the Same Domain"
)
# DCI's numbers of points.
TRAIN_POINTS, TEST_POINTS = 10_000, 5_000


def unseen_report(model: TrainedModel, dataset: FactorDataset, points: int | str) -> dict[str, Any]:
    """What a report has of seen and unseen combinations, or the reason why it has none, as a metric's own part.

    `points` images of each part are reconstructed.
    """
    try:
        scores = seen_and_unseen_scores(model, dataset, points)
    except (Exception, SystemExit) as error:  # as a metric's, this failure costs its own columns, not the run
        return failed_part(UNSEEN, error)
    about = {
        "headlines": [key for key in scores if key not in DETAILS],
        "lower_is_better": LOWER_IS_BETTER,
        "revision": UNSEEN_REVISION,
        "paper": PAPER,
        "keys": list(scores),
        "trained_on": 0.0,
    }
    return scored_part(UNSEEN, scores, about)


def seen_and_unseen_scores(model: TrainedModel, dataset: FactorDataset, points: int | str) -> Scores:
    """`<measure>_seen` and `<measure>_unseen` for reconstruction_nats, mse, informativeness and r2; and `told_apart`.

    Reconstruction is a mean over `points` random images of each part. For the other two, 10,000 seen images train a
    predictor of each factor, which 5,000 further seen and 5,000 unseen images test; of fewer seen images two thirds
    train. All are drawn without replacement, a function of the run's seed.

    Raises ValueError where fewer than three images were seen, and BenchError for codes that are not finite.
    """
    parts = seen_and_unseen(model.spec.dataset, dataset)
    assert parts is not None
    seed = model.spec.seed
    scores: Scores = {}
    measured: list[dict[str, NDArray[np.float64]]] = []
    for name, part in zip(PARTS, parts, strict=True):
        index = points_of(part, points, seed, f"{name} reconstruction points")
        found = measures_of_images(model, part, index)
        measured.append({key: torch.cat(values).numpy() for key, values in found.items()})
        scores |= {f"{key}_{name}": float(measured[-1][key].mean()) for key in ("reconstruction_nats", "mse")}
    scores |= told_apart(*measured)
    tables = [
        drawn(model, part, name, count)
        for name, part, count in zip(PARTS, parts, (TRAIN_POINTS + TEST_POINTS, TEST_POINTS), strict=True)
    ]
    seen = len(tables[0][0])
    train = min(TRAIN_POINTS, 2 * seen // 3)
    if train < 2:
        raise ValueError(
            f"{seen} images were seen: too few to train a predictor on some and test it on others"
        )
    codes = checked_codes(np.concatenate([codes for codes, _ in tables]))
    factors = np.concatenate([factors for _, factors in tables])
    tests = {"seen": slice(train, seen), "unseen": slice(seen, None)}
    rows = Rows(codes, factors, train, tests, factor_variances(dataset))
    return scores | predicted(rows, generator(seed, UNSEEN))


def told_apart(seen: Mapping[str, NDArray[np.float64]], unseen: Mapping[str, NDArray[np.float64]]) -> Scores:
    """`auroc_mse`, and `auroc_elbo` of a model that has an ELBO: how well unseen images are told from seen ones, 0..1.

    Given are measures of each image, [seen images] and [unseen images]. The area under the ROC curve is the probability
    that a random unseen image has a larger squared error (a lower ELBO) than a random seen one, and half of it where
    they are equal: 1 for a perfect detector, 0.5 for chance, less where unseen images have the smaller errors. NaN
    where a measure is not finite. Sakurada and Yairi 2014 take the error, Xiao et al. 2020 (arXiv:2003.02977) the ELBO.
    """
    # Looked up here, for the library takes seconds to load.
    from sklearn.metrics import roc_auc_score

    found: Scores = {}
    odd = np.concatenate([np.zeros(len(seen["mse"])), np.ones(len(unseen["mse"]))])
    for name, sign in (("mse", 1), ("elbo", -1)):
        if name in seen:
            values = sign * np.concatenate([seen[name], unseen[name]])
            finite = bool(np.isfinite(values).all())
            found[f"auroc_{name}"] = float(roc_auc_score(odd, values)) if finite else float("nan")
    return found


def factor_variances(dataset: FactorDataset) -> NDArray[np.float64]:
    """The variance of each factor's values over the whole data set, [factors]."""
    everywhere = dataset.factors(torch.arange(len(dataset), device=dataset.device)).double()
    variances: NDArray[np.float64] = everywhere.var(0, correction=0).cpu().numpy()
    return variances


@dataclass(frozen=True)
class Rows:
    """Codes [points, latents] and factors [points, factors]: rows to train on, then those to test on.

    The first `train` rows train a predictor; each slice of `tests` tests it apart, under its name. `variance` [factors]
    is that of each factor over the whole data set.
    """

    codes: Codes
    factors: Factors
    train: int
    tests: Mapping[str, slice]
    variance: NDArray[np.float64]


def predicted(rows: Rows, rng: np.random.Generator) -> Scores:
    """`informativeness_<test>` and `r2_<test>` of each test: means over the factors that vary among the trained rows.

    Informativeness is the accuracy of DCI's boosted trees (Eastwood and Williams 2018). R2 is that of a linear
    predictor (least squares with an intercept) of the factors' values as numbers: 1 less the mean squared error in
    units of the factor's variance over the whole data set, so that all tests have one scale. Raises ValueError where
    no factor varies.
    """
    # Looked up here, for the trees' library takes seconds to load.
    from disentangle_bench.metrics import boosted_trees

    factors, train = rows.factors, rows.train
    varying = np.flatnonzero(factors[:train].max(axis=0) > factors[:train].min(axis=0))
    if not len(varying):
        raise ValueError("no factor varies among the images to train on: there is nothing to predict")
    codes = standardised(rows.codes.astype(np.float64), by=rows.codes[:train].astype(np.float64))
    fits = side_by_side(
        lambda k, stream: (
            boosted_trees.fit_histogram(codes[:train], factors[:train, k], codes[train:], stream).on_test
        ),
        varying,
        rng.spawn(len(varying)),
    )
    hits = np.stack(fits, axis=1) == factors[train:, varying]
    design = np.column_stack([codes, np.ones(len(codes))])
    truth = factors[:, varying].astype(np.float64)
    weights = np.linalg.lstsq(design[:train], truth[:train], rcond=None)[0]
    errors = (design @ weights - truth)[train:] ** 2 / rows.variance[varying]
    found: Scores = {}
    for name, test in rows.tests.items():
        part = np.arange(len(factors))[test] - train
        found |= {
            f"informativeness_{name}": float(hits[part].mean()),
            f"r2_{name}": float(1 - errors[part].mean()),
        }
    return found


def drawn(model: TrainedModel, part: FactorDataset, name: str, count: int) -> tuple[Codes, Factors]:
    """Codes and factors of at most `count` images of the part, in a random order."""
    stream = randomness.key(torch.tensor(model.spec.seed), 0, f"{name} prediction points")
    index = randomness.permutations(stream, len(part), 1)[:count, 0].to(part.device)
    codes = encode_points(model.encode, part, index)
    refuse_odd_codes(codes, (len(index),))
    return codes.numpy(), part.factors(index).cpu().numpy()
