"""Do scores say how well codes generalise? Rank correlations over the runs of grids/unseen.toml.

    python benchmarks/unseen.py STUDY

writes docs/results/unseen.csv, a row a trained run of the study.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import pandas as pd
from published_runs import ROOT, setting_of, table
from usefulness import METRICS, OTHERS, correlation

from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.words import measure_title

FILE = ROOT / "docs" / "results" / "unseen.csv"
FITTED = ("pca", "ica")  # their nats are a Gaussian's
STRONG = "strong_generalisation"
PARTS = ("seen", "unseen")
# What a column of the table is called, and the score behind it. Nats are turned round: more is better everywhere.
USES = {
    "r2_unseen": "R2, unseen combinations",
    "informativeness_unseen": "trees, unseen combinations",
    "nats_unseen": "reconstruction, unseen combinations",
    STRONG: "trees, one factor shifted",
    f"{STRONG}_r2": "R2, one factor shifted",
}
SCORES = [
    *(*METRICS, *OTHERS, STRONG, f"{STRONG}_unshifted", f"{STRONG}_r2"),
    *(
        f"{name}_{part}"
        for name in ("reconstruction_nats", "informativeness", "r2")
        for part in ("seen", "unseen")
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    rows = [
        {"model": record.spec.model, "setting": setting_of(record.spec), "seed": record.spec.seed}
        | {name: record.scores["scores"][name] for name in SCORES}
        for record in StudyDir(parser.parse_args().study).records(curves=False)
        if record.failure is None
    ]
    found = pd.DataFrame(rows).sort_values(["model", "setting", "seed"])
    found.to_csv(FILE, index=False, float_format="%.5g")
    print(f"{FILE.name}: {len(found)} runs")


@cache
def measured(fitted: bool = False) -> pd.DataFrame:
    """The runs of the file, of trained models alone or of all."""
    runs = pd.read_csv(FILE).fillna({"setting": ""})
    return runs if fitted else runs[~runs["model"].isin(FITTED)].reset_index(drop=True)


def parts() -> str:
    """What each model makes of both parts: means over its runs."""
    means = measured(fitted=True).groupby("model").mean(numeric_only=True)
    lines = []
    for model, row in means.sort_values("r2_unseen", ascending=False).iterrows():
        nats = [f"{row[f'reconstruction_nats_{part}']:.1f}" for part in PARTS]
        line = {"model": model}
        line |= dict(
            zip(("nats (seen)", "nats (unseen)"), ("-", "-") if model in FITTED else nats, strict=True)
        )
        for name, title in (("informativeness", "trees"), ("r2", "R2")):
            line |= {f"{title} ({part})": f"{row[f'{name}_{part}']:.3f}" for part in PARTS}
        line |= {"trees (unshifted)": f"{row[f'{STRONG}_unshifted']:.3f}"}
        lines.append(line | {"trees (one factor shifted)": f"{row[STRONG]:.3f}"})
    return table(lines)


def correlations() -> str:
    """Spearman's correlation of every metric with every use, with its interval."""
    runs = measured()
    runs = runs.assign(nats_unseen=-runs["reconstruction_nats_unseen"])
    settings = pd.factorize(runs["model"] + runs["setting"])[0]
    lines = []
    for metric in (*METRICS, *OTHERS, "r2_seen", "informativeness_seen", "reconstruction_nats_seen"):
        sign = -1 if metric.startswith("reconstruction") else 1
        line = {"metric": measure_title(metric)}
        for use, title in USES.items():
            ends = correlation(sign * runs[metric].to_numpy(float), runs[use].to_numpy(float), settings)
            value, low, high = (round(end, 2) + 0.0 for end in ends)  # no -0.00
            line[title] = f"{value:.2f} [{low:.2f}, {high:.2f}]"
        lines.append(line)
    return table(lines)


if __name__ == "__main__":
    main()
