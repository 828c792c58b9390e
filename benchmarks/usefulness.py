"""Do scores predict what codes are good for? Rank correlations over the small track's runs.

    python benchmarks/usefulness.py STUDY...

writes docs/results/usefulness.csv, a row a run, from studies whose runs have been scored with `downstream_logistic`,
`downstream_gbt`, `unfairness`, `omes` and `mcc`. Their other scores stand in results/runs.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from published_runs import ROOT, read_runs, setting_of, table
from scipy.stats import rankdata
from small_track import EXPERIMENT, SHOWN

from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.words import measure_title

Array = NDArray[np.float64]
FILE = ROOT / "docs" / "results" / "usefulness.csv"
RUN = ["model", "setting", "seed"]
# What a column of the table is called, and the score behind it.
USES = {
    "downstream_gbt": "trees, 10,000 labels",
    "downstream_gbt_100": "trees, 100 labels",
    "downstream_gbt_efficiency_100": "trees, 100 over 10,000",
    "downstream_logistic": "logistic, 10,000 labels",
    "downstream_logistic_100": "logistic, 100 labels",
    "unfairness": "fairness (unfairness turned round)",
}
OTHERS = ["omes", "mcc"]
METRICS = [
    *SHOWN,
    "dci_completeness",
    "dci_informativeness",
    "sap",
    "modularity",
    "explicitness",
    "irs",
    "mig_sup",
]
METRICS += ["jemmig", "dcimig", "infom", "infoc", "infoe"]
DRAWS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", type=Path)
    rows = pd.DataFrame(row for study in parser.parse_args().studies for row in rows_of(study))
    # The seeds that every setting has.
    seeds = set.intersection(*(set(same["seed"]) for _, same in rows.groupby(["model", "setting"])))
    rows = rows[rows["seed"].isin(seeds)]
    rows.sort_values(RUN).to_csv(FILE, index=False, float_format="%.5g")
    print(f"{FILE.name}: {len(rows)} runs")


def rows_of(study: Path) -> Iterator[dict[str, object]]:
    """A row a run that has every score."""
    for record in StudyDir(study).records(curves=False):
        scores = record.scores["scores"]
        if all(name in scores for name in (*USES, *OTHERS)):
            about = {"model": record.spec.model, "setting": setting_of(record.spec), "seed": record.spec.seed}
            yield about | {name: scores[name] for name in (*USES, *OTHERS)}


@cache
def measured() -> pd.DataFrame:
    """The runs of the file with all of their scores; of unfairness and reconstruction more is better here."""
    runs = read_runs()
    runs = runs[(runs["experiment"] == EXPERIMENT) & runs["dataset"].str.startswith("dsprites")]
    found = pd.read_csv(FILE).fillna({"setting": ""}).merge(runs, on=RUN, validate="one_to_one")
    return found.assign(unfairness=-found["unfairness"], reconstruction_nats=-found["reconstruction_nats"])


def correlations() -> str:
    """Spearman's correlation of every metric with every use, with its interval."""
    runs = measured()
    settings = pd.factorize(runs["model"] + runs["setting"])[0]
    lines = []
    for metric in (*METRICS, *OTHERS, "reconstruction_nats"):
        line = {"metric": measure_title(metric)}
        for use, title in USES.items():
            value, low, high = correlation(*(runs[name].to_numpy(float) for name in (metric, use)), settings)
            value, low, high = (round(end, 2) + 0.0 for end in (value, low, high))  # no -0.00
            line[title] = f"{value:.2f} [{low:.2f}, {high:.2f}]"
        lines.append(line)
    return table(lines)


def correlation(a: Array, b: Array, groups: NDArray[np.intp]) -> tuple[float, float, float]:
    """Spearman's correlation of a and b, and a 95 % interval: the bootstrap's percentiles over whole groups.

    Runs of one setting resemble each other, so settings are drawn and not runs. Groups are of equal size.
    """
    rng = np.random.default_rng(0)
    number = int(groups.max()) + 1
    members = np.argsort(groups, kind="stable").reshape(number, -1)
    drawn = members[rng.integers(number, size=(DRAWS, number))].reshape(DRAWS, -1)
    # Where every group drawn is the same one, there is no correlation.
    low, high = np.nanquantile(_spearman(a[drawn], b[drawn]), [0.025, 0.975])
    return float(_spearman(a[None], b[None])[0]), float(low), float(high)


def _spearman(a: Array, b: Array) -> Array:
    """Of each row."""
    a, b = (rankdata(values, axis=1) for values in (a, b))
    a, b = (values - values.mean(axis=1, keepdims=True) for values in (a, b))
    with np.errstate(invalid="ignore"):
        found: Array = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return found


def spread_of_uses() -> str:
    """What the uses are like over the runs: the mean of each model's settings."""
    runs = measured()
    means = runs.groupby("model")[list(USES)].mean().sort_values("downstream_gbt", ascending=False)
    return table(
        {"model": model, **{title: f"{abs(row[use]):.3f}" for use, title in NAMES.items()}}
        for model, row in means.iterrows()
    )


NAMES = USES | {"unfairness": "unfairness"}


if __name__ == "__main__":
    main()
