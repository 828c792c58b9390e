"""UDR: whether runs of one setting agree latent by latent, from the codes that are kept with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from disentangle_bench.metrics.udr import udr
from disentangle_bench.report.measures import Numbers

UDR = "udr"
# Runs squared times latents cubed, which one sweep of the regressions multiplies: a second, whoever wrote the files.
MOST_PRODUCTS = 1e8
Sample = Mapping[str, NDArray[Any]]


def agreement(
    runs: pd.DataFrame, row: Numbers, sample_of: Callable[[str], Sample | None]
) -> pd.Series[float]:
    """UDR of each of the `runs`; NaN where fewer than two runs of its row [runs] have a sample, or too many latents.

    `sample_of` gives what is kept with a run by its name (`evaluation.sample.latent_sample`), or None.
    """
    found = pd.Series(np.nan, index=runs.index)
    done = (runs["status"] == "DONE").to_numpy()
    for number in np.unique(row[done]):
        names = runs.loc[done & (row == number), "run"]
        samples = [sample_of(str(name)) for name in names] if len(names) > 1 else []
        kept = [sample for sample in samples if sample is not None]
        # Samples of a data set that has changed in length are of other images.
        alike = len({len(sample["codes"]) for sample in kept}) == 1
        widest = max((sample["codes"].shape[1] for sample in kept), default=0)
        few = len(kept) ** 2 * widest**3 <= MOST_PRODUCTS
        if len(kept) >= 2 and alike and few:
            has = [sample is not None for sample in samples]
            found[names.index[has]] = udr_of_samples(kept)
    return found


def udr_of_samples(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """UDR of runs [runs], from all images of their samples."""
    kl = [sample["kl"] for sample in samples if "kl" in sample]
    codes = [sample["codes"] for sample in samples]
    return udr(codes, kl=kl if len(kl) == len(samples) else None)
