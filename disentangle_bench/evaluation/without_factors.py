"""What can be scored where images have no factors: metrics that need none; and what is said of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.scores import named_metrics

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import FactorDataset

# The metric of this package that needs no factors.
NEEDS_NONE = "unsupervised"


def scored_and_left_out(
    metrics: Iterable[str], dataset: FactorDataset
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(those of the metrics that can be scored on the data set, those that cannot, because it has no factors)."""
    names = tuple(metrics)
    left_out = () if dataset.factor_names else needing_factors(names)
    return tuple(name for name in names if name not in left_out), left_out


def needing_factors(metrics: Iterable[str]) -> tuple[str, ...]:
    """Those of these metrics that need factors. One that cannot be had is not among them: it fails by itself."""
    return tuple(name for name in metrics if _needs_factors(name))


def _needs_factors(name: str) -> bool:
    try:
        return named_metrics([name])[name].needs_factors
    except BenchError:
        return False


def refuse_all_left_out(metrics: Sequence[str], datasets: Collection[str]) -> None:
    """Raise BenchError where each of the metrics that somebody named needs factors, which the data sets do not have."""
    if metrics and len(needing_factors(metrics)) == len(metrics):
        raise BenchError(
            f"{', '.join(datasets)}: these are images without factors (a file has them in an array `factors`, a folder"
            f" in factors.csv), and all of the metrics that are named need factors ({', '.join(metrics)}): name"
            f" {NEEDS_NONE!r}, which needs none, or leave metrics out"
        )


def refuse_protocol(protocol: str, dataset: str) -> None:
    """Raise BenchError for a paper's way of scoring on a data set without factors."""
    if protocol != "default":
        raise BenchError(
            f"{dataset}: these are images without factors, which all metrics of the protocol {protocol!r} need; leave"
            " the protocol out"
        )


def words_of_factors(label: str, dataset: FactorDataset, left_out: Sequence[str]) -> list[str]:
    """What a user should hear of a data set that lacks factors, in sentences; nothing of one that has them."""
    known = dataset.labelled
    words = [left_out_words(label, left_out)] if left_out else []
    return words + ([] if known is None else [labelled_words(label, len(known), len(dataset))])


def left_out_words(label: str, left_out: Sequence[str]) -> str:
    """A sentence on what is left out on a data set without factors."""
    return f"{label} has images without factors: what needs factors is left out there ({', '.join(left_out)})"


def labelled_words(label: str, labelled: int, images: int) -> str:
    """A sentence on a data set of which only some images have factors."""
    return f"{label} has factors for {labelled:,} of its {images:,} images, on which metrics are scored"
