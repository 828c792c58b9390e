"""Unfairness: does the prediction of one factor change if another, irrelevant factor changes?"""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.downstream import boosted_answers
from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.sampling import RowsByValue, draw_points

Rows = NDArray[np.intp]


def unfairness(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    train_points: int = 10_000,
    test_points: int = 100,
    width: int = 1,
) -> Scores:
    """Mean total variation of a factor's prediction when another factor is set to each of its values, 0..1.

    Boosted trees (those of `downstream_gbt`) learn each factor from `train_points` rows, drawn with
    replacement. For each pair of a target and a sensitive factor, `test_points` rows are drawn. The
    sensitive factor is set to each of its values while all others stay. The unfairness of the pair is the
    total variation distance between the predictions of the target at one sensitive value and those at all
    values, mean over the sensitive values. 0 is best. Codes without information about the target, which
    always give the same answer, get 0 too. Factors that do not vary are left out. With fewer than two
    factors there is no pair, and the score is 0.

    A table may lack combinations of values. Then a row with the sensitive value and the target's value is
    drawn instead of the one where all others stay. If there is none either, the row itself is taken. The
    noise of these draws adds to the score. If every `width` columns are one latent, a vector, all columns
    are read.

    Returns `unfairness`, mean over the pairs, and its means by target factor `_of_I` and by sensitive
    factor `_by_J`. Locatello et al. 2019, On the Fairness of Disentangled Representations, section 4, by
    disentanglement_lib's fairness.py (its mean_fairness:mean_pred:mean_sens).
    """
    # Values counted from 0 without gaps, so that a combination has a number.
    values = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], axis=1)
    values = values[:, values.max(axis=0) > 0]
    count = values.shape[1]
    if count < 2:
        return {"unfairness": 0.0}
    train, labels = draw_points(codes, values, train_points, rng)
    set_rows = _Interventions(values)
    others = [[j for j in range(count) if j != i] for i in range(count)]
    rows = [
        [set_rows(rng.integers(len(codes), size=test_points), i, j, rng) for j in others[i]]
        for i in range(count)
    ]
    tests = [codes[np.concatenate(each)].reshape(-1, codes.shape[1]).astype(np.float64) for each in rows]
    distance = np.full((count, count), np.nan)
    for i, said in enumerate(boosted_answers(train, labels, tests, rng)):
        answers = said.reshape(-1, test_points)
        ends = np.cumsum([len(each) for each in rows[i]])[:-1]
        distance[i, others[i]] = [_mean_total_variation(each) for each in np.split(answers, ends)]
    return {
        "unfairness": float(np.nanmean(distance)),
        **{f"unfairness_of_{i}": float(np.nanmean(distance[i])) for i in range(count)},
        **{f"unfairness_by_{j}": float(np.nanmean(distance[:, j])) for j in range(count)},
    }


class _Interventions:
    """The rows of a table where one factor is set to each of its values."""

    def __init__(self, values: Factors) -> None:
        self._values = values
        self._sizes = values.max(axis=0) + 1
        # Floats, for the number of combinations may be beyond any integer.
        self._row_of = None
        if np.prod(self._sizes.astype(float)) <= len(values):
            row_of = np.full(int(self._sizes.prod()), -1)
            row_of[np.ravel_multi_index(tuple(values.T), tuple(self._sizes))] = np.arange(len(values))
            self._row_of = row_of if (row_of >= 0).all() else None

    def __call__(self, rows: Rows, target: int, sensitive: int, rng: np.random.Generator) -> Rows:
        """Rows [sensitive values, rows] like `rows`, with the sensitive factor at each of its values."""
        chosen = self._values[rows]
        found = []
        for value in range(self._sizes[sensitive]):
            chosen[:, sensitive] = value
            if self._row_of is not None:
                found.append(self._row_of[np.ravel_multi_index(tuple(chosen.T), tuple(self._sizes))])
            else:
                found.append(self._alike(rows, target, sensitive, value, rng))
        return np.stack(found)

    def _alike(self, rows: Rows, target: int, sensitive: int, value: int, rng: np.random.Generator) -> Rows:
        """A random row with the sensitive `value` and the target's value of each of `rows`; where none is, itself."""
        having = np.flatnonzero(self._values[:, sensitive] == value)
        by_target = RowsByValue(self._values[having, target])
        present = np.unique(self._values[having, target])
        wanted = self._values[rows, target]
        place = np.minimum(np.searchsorted(present, wanted), len(present) - 1)
        drawn = having[by_target.draw_rows(place, rng)]
        return np.where(present[place] == wanted, drawn, rows)


def _mean_total_variation(said: NDArray[np.int64]) -> float:
    """Mean over the rows of `said` [sensitive values, points] of the distance of its answers from those of all."""
    counts = np.stack([np.bincount(row, minlength=said.max() + 1) for row in said])
    # In whole numbers until the end, so that answers which stay the same give 0.
    moved = np.abs(len(counts) * counts - counts.sum(axis=0)).sum()
    return float(moved / (2 * len(counts) * counts.sum()))


METRIC = Metric(
    score=unfairness,
    headlines=("unfairness",),
    paper="Locatello et al. 2019, On the Fairness of Disentangled Representations, section 4 (arXiv:1905.13662)",
    lower_is_better=("unfairness",),
    training_rows=10_000,
    takes_width=True,
    # It is 0 for a perfect code and for one that is drowned alike.
    expects=Expects(falls_with_noise=False, slack=0.03),
)
