"""DCI: disentanglement, completeness and informativeness, by the latents that boosted trees use."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.sampling import draw_train_and_test
from disentangle_bench.metrics.side_by_side import side_by_side
from disentangle_bench.metrics.standardised import standardised

Array = NDArray[np.float64]


def dci(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    train_points: int = 10_000,
    test_points: int = 5_000,
    booster: Literal["histogram", "exact"] = "histogram",
    disjoint: bool = False,
    width: int = 1,
) -> Scores:
    """Disentanglement, completeness and informativeness, each 0..1.

    Gradient-boosted trees (100 rounds, depth 3, rate 0.1) predict each factor from all latents. The
    importance of a latent is its share of the fall in squared error, by the splits on it. Disentanglement
    is 1 minus the entropy of a latent's importances over the factors, divided by the largest possible
    entropy, and weighted by the latent's importance. Completeness is the same for a factor over the
    latents. Informativeness is the mean accuracy on the test points.

    With `booster` "histogram", splits are among 4,095 quantiles of each latent. "exact" is scikit-learn's
    GradientBoostingClassifier, as in the study: it tries every point and takes minutes instead of seconds.
    Training and test points are drawn with replacement, as in the study, so small tables share rows between
    them unless they are `disjoint`. Factors that do not vary are left out. A single factor, or latent, has
    nothing to be mixed up with. If no tree finds a split, disentanglement and completeness are 0. If every
    `width` columns of the codes are one latent, a vector, their importances are added up.

    Returns `dci_disentanglement`, `dci_completeness`, `dci_informativeness` and the accuracy on the
    training points `dci_informativeness_train`. Eastwood and Williams 2018, section 2; constants of
    Locatello et al. 2019. Raises ValueError for another `booster`.
    """
    # Looked up here, for the trees' library takes seconds to load and no other metric needs it.
    from disentangle_bench.metrics import boosted_trees

    fits = {"histogram": boosted_trees.fit_histogram, "exact": boosted_trees.fit_exact}
    if booster not in fits:
        raise ValueError(f"booster must be one of {', '.join(fits)}, not {booster!r}")
    (train, train_factors), (test, test_factors) = draw_train_and_test(
        codes, factors, train_points, test_points, rng, disjoint
    )
    test, train = standardised(test, by=train), standardised(train)
    varying = [k for k in range(factors.shape[1]) if train_factors[:, k].min() < train_factors[:, k].max()]
    if not varying:
        return dict.fromkeys((*METRIC.headlines, "dci_informativeness_train"), 0.0)
    found = side_by_side(
        lambda k, stream: fits[booster](train, train_factors[:, k], test, stream),
        varying,
        rng.spawn(len(varying)),
    )
    importance = np.array([fit.importance for fit in found])
    importance = importance.reshape(len(importance), -1, width).sum(axis=2)
    on_test = [(fit.on_test == test_factors[:, k]).mean() for k, fit in zip(varying, found, strict=True)]
    on_train = [(fit.on_train == train_factors[:, k]).mean() for k, fit in zip(varying, found, strict=True)]
    return {
        "dci_disentanglement": concentration(importance.T),
        "dci_completeness": concentration(importance),
        "dci_informativeness": float(np.mean(on_test)),
        "dci_informativeness_train": float(np.mean(on_train)),
    }


def concentration(importance: Array) -> float:
    """One less the entropy of each row in units of its largest, mean over the rows weighted by their sums."""
    total = importance.sum(axis=1)
    importance, total = importance[total > 0], total[total > 0]
    if not len(total):
        return 0.0
    if importance.shape[1] == 1:
        return 1.0
    share = importance / total[:, None]
    logarithms = np.log(share, out=np.zeros_like(share), where=share > 0)
    entropy = -(share * logarithms).sum(axis=1) / np.log(importance.shape[1])
    return float(np.average(1 - entropy, weights=total))


METRIC = Metric(
    score=dci,
    headlines=("dci_disentanglement", "dci_completeness", "dci_informativeness"),
    paper="Eastwood and Williams 2018, A Framework for the Quantitative Evaluation of Disentangled Representations",
    training_rows=10_000,
    takes_width=True,
    expects=Expects(slack=0.03),
)
