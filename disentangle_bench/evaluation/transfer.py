"""What a trained model makes of a data set that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.data.channels import in_shape
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.evaluation.encode import encode_dataset, points_of
from disentangle_bench.evaluation.generalisation import (
    TEST_POINTS,
    TRAIN_POINTS,
    Rows,
    drawn,
    factor_variances,
    predicted,
)
from disentangle_bench.evaluation.pool import score_one
from disentangle_bench.evaluation.reconstruction import mean_measures
from disentangle_bench.evaluation.scores import (
    TRANSFER,
    TRANSFER_REVISION,
    failed_part,
    generator,
    on,
    scored_part,
)
from disentangle_bench.evaluation.tables import checked_codes
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.metrics.metric import Scores
from disentangle_bench.splits import seen_and_unseen

if TYPE_CHECKING:
    from disentangle_bench.evaluation.models import Scoring

PAPER = "Dittadi et al. 2021, On the Transfer of Disentangled Representations in Realistic Settings (arXiv:2010.14407)"


@dataclass(frozen=True)
class Pair:
    """The data set that a model was trained on, and another one in its image shape, which tables call `label`.

    `fingerprint` is that of the other's images as they were given.
    """

    dataset: FactorDataset
    other: FactorDataset
    label: str
    fingerprint: str

    @property
    def same_factors(self) -> bool:
        """Whether a value of a factor means the same in both, as far as names and numbers of values tell."""
        names, sizes = self.dataset.factor_names, self.dataset.factor_sizes
        return names == self.other.factor_names and sizes == self.other.factor_sizes


def transfer_parts(model: TrainedModel, dataset: FactorDataset, scoring: Scoring) -> Iterator[dict[str, Any]]:
    """What a report has of the further data sets that are asked for: a part for each, as metrics have."""
    for label, load in scoring.others.items():
        ending = on("", label)
        asked = [name.removesuffix(ending) for name in scoring.metrics if name.endswith(ending)]
        if not asked:
            continue
        other = load()
        fitting = in_shape(other, model.image_shape).to(model.device)
        pair = Pair(dataset, fitting, label, other.fingerprint)
        metrics = [name for name in asked if name != TRANSFER]
        if metrics:
            yield _metrics_part(model, pair, metrics, scoring)
        if TRANSFER in asked:
            yield _transfer_part(model, pair, scoring.images.reconstruction_points)


def _metrics_part(model: TrainedModel, pair: Pair, metrics: list[str], scoring: Scoring) -> dict[str, Any]:
    """The headlines of these metrics on the other data set, under names that say so; details are not kept."""
    label, seed = pair.label, model.spec.seed
    codes, factors = encode_dataset(model.encode, pair.other, scoring.images.points, seed)
    report = score_one(codes, factors, metrics, seed, scoring.metric_seconds)
    part: dict[str, Any] = {"scores": {}, "metrics": {}, "failures": {}}
    for name, about in report["metrics"].items():
        keys = [f"{key}_on_{label}" for key in about["headlines"]]
        lower = [f"{key}_on_{label}" for key in about["lower_is_better"]]
        part["metrics"][on(name, label)] = about | {"headlines": keys, "lower_is_better": lower, "keys": keys}
        part["scores"] |= {
            f"{key}_on_{label}": value for key, value in report["scores"].items() if key in about["headlines"]
        }
    part["failures"] = {on(name, label): text for name, text in report["failures"].items()}
    return part


def _transfer_part(model: TrainedModel, pair: Pair, points: int | str) -> dict[str, Any]:
    """Reconstruction and prediction on the other data set, or the reason why there is none."""
    name = on(TRANSFER, pair.label)
    try:
        scores = transfer_scores(model, pair, points)
    except (Exception, SystemExit) as error:  # as a metric's, this failure costs its own columns, not the run
        return failed_part(name, error)
    nats, mse = (f"{key}_on_{pair.label}" for key in ("reconstruction_nats", "mse"))
    about = {
        "headlines": [key for key in scores if key != mse],
        "lower_is_better": [nats],
        "revision": TRANSFER_REVISION,
        "paper": PAPER,
        "keys": list(scores),
        "trained_on": 0.0,
        "data_fingerprint": pair.fingerprint,
    }
    return scored_part(name, scores, about)


def transfer_scores(model: TrainedModel, pair: Pair, points: int | str) -> Scores:
    """`reconstruction_nats_on_X`, `mse_on_X`, `informativeness_on_X`, `r2_on_X`; `informativeness_to_X`, `r2_to_X`.

    X is the other data set's label. Reconstruction is a mean over `points` random images. `on` has predictors that
    are trained on 10,000 images of X and tested on 5,000 further ones; of fewer, two thirds train. `to` has predictors
    that are trained on 10,000 images of the training data set, of those that were seen where some were not, and
    tested on the same images of X; it is there where both have the same factors.

    Raises ValueError for fewer than three images, and BenchError for codes that are not finite.
    """
    seed, other, label = model.spec.seed, pair.other, pair.label
    index = points_of(other, points, seed, "reconstruction points")
    measured = mean_measures(model, other, index)
    scores = {f"{key}_on_{label}": measured[key] for key in ("reconstruction_nats", "mse")}
    codes, factors = drawn(model, other, "other", TRAIN_POINTS + TEST_POINTS)
    train = min(TRAIN_POINTS, 2 * len(codes) // 3)
    if train < 2:
        raise ValueError(f"{len(codes)} images: too few to train a predictor on some and test it on others")
    rng = generator(seed, TRANSFER)
    variances = factor_variances(other)
    own = Rows(checked_codes(codes), factors, train, _after(train, f"on_{label}"), variances)
    scores |= predicted(own, rng)
    if not pair.same_factors:
        return scores
    parts = seen_and_unseen(model.spec.dataset, pair.dataset)
    seen = pair.dataset if parts is None else parts[0]
    first_codes, first_factors = drawn(model, seen, "seen", TRAIN_POINTS)
    carried = Rows(
        checked_codes(np.concatenate([first_codes, codes[train:]])),
        np.concatenate([first_factors, factors[train:]]),
        len(first_codes),
        _after(len(first_codes), f"to_{label}"),
        variances,
    )
    return scores | predicted(carried, rng)


def _after(train: int, name: str) -> Mapping[str, slice]:
    return {name: slice(train, None)}
