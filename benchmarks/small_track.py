"""Tables of the small track from its rows in results/runs.csv.

Only that of the quickstart's triples stands in a page yet: the track has not been run whole.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from published_runs import ROOT, published_tables, read_runs, setting_of, table

from disentangle_bench import registry
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.report.render import markdown
from disentangle_bench.report.statistics import differences, significant_pairs
from disentangle_bench.report.tables import Tables
from disentangle_bench.report.verdict import verdicts

EXPERIMENT, GRID = "small", "small.toml"
MORE_SEEDS, QUICKSTART = "small-seeds", "quickstart.toml"
SHOWN = ["factor_vae", "mig", "beta_vae", "dci_disentanglement"]
BASELINE = "vae"


@cache
def tables() -> dict[str, Tables]:
    """The tables of each of the track's data sets, by the first word of its name."""
    runs = read_runs()
    labels = [dataset.label for dataset in read_grid(ROOT / "grids" / GRID).datasets]
    return {label.split("_")[0]: published_tables(runs, EXPERIMENT, GRID, label) for label in labels}


def leaderboard(name: str) -> str:
    """The rows of one data set with the metrics of SHOWN, controls below."""
    found = tables()[name]
    head = list(found.leaderboard.columns)
    about = head[: head.index("steps") + 1]
    kept = [
        f"{measure}_{s}" for measure in ("reconstruction_nats", *SHOWN) for s in ("mean", "ci_low", "ci_high")
    ]
    return markdown(
        found.rows, found.leaderboard[[n for n in about if n not in ("dataset", "provenance")] + kept]
    )


def against_vae(name: str) -> str:
    """For each setting the difference of its mean to the VAE's, in standard deviations of runs, bold where it is told.

    Hedges' g: the difference over the pooled standard deviation, times 1 - 3 / (4 n - 9). All pairs of rows are one
    family of Holm's correction for each metric.
    """
    rows = models_of(tables()[name])
    place = int(np.flatnonzero(rows["model"] == BASELINE)[0])
    lines = [{"model": row["model"], "setting": row["setting"]} for _, row in rows.iterrows()]
    for metric in ["reconstruction_nats", *SHOWN]:
        mean, std, n = (rows[f"{metric}_{s}"].to_numpy(float) for s in ("mean", "std", "n"))
        (apart,) = significant_pairs(differences(mean, std, n))
        pooled = np.sqrt(((n - 1) * std**2 + (n[place] - 1) * std[place] ** 2) / (n + n[place] - 2))
        effect = (mean - mean[place]) / pooled * (1 - 3 / (4 * (n + n[place]) - 9))
        digits = 1 if metric == "reconstruction_nats" else 3
        for i, line in enumerate(lines):
            text = f"{mean[i] - mean[place]:+.{digits}f} ({effect[i]:+.1f})"
            line[metric] = f"**{text}**" if apart[i, place] else text
    return table(line for i, line in enumerate(lines) if i != place)


def told_apart() -> str:
    """Of all pairs of rows, how many each metric tells apart after Holm's correction."""
    lines: dict[str, dict[str, Any]] = {}
    for name, found in tables().items():
        rows = models_of(found)
        for metric in ["reconstruction_nats", *found.runs.attrs["headlines"]]:
            mean, std, n = (rows[f"{metric}_{s}"].to_numpy(float) for s in ("mean", "std", "n"))
            has = ~np.isnan(mean)
            (apart,) = significant_pairs(differences(mean[has], std[has], n[has]))
            pairs = int(has.sum() * (has.sum() - 1) // 2)
            lines.setdefault(metric, {"metric": metric})[name] = f"{int(apart.sum()) // 2} of {pairs}"
    return table(lines.values())


def agreement(name: str) -> str:
    """Spearman's rank correlation of every two measures over all runs."""
    found = tables()[name].table("metric_correlation")
    measures = list(dict.fromkeys(found["measure_a"]))
    square = found.pivot(index="measure_a", columns="measure_b", values="spearman").loc[measures, measures]
    lines = []
    for i, measure in enumerate(measures[1:], 1):
        cells = {other: f"{square.iloc[i, j]:.2f}" if j < i else "" for j, other in enumerate(measures[:-1])}
        lines.append({"": measure, **cells})
    return table(lines)


def variance() -> str:
    """How much of each measure's variance over runs the model, its setting and the seed make."""
    lines: dict[str, dict[str, Any]] = {}
    for name, found in tables().items():
        for _, row in found.table("variance").iterrows():
            if row["measure"] in ("reconstruction_nats", "elbo", *found.runs.attrs["headlines"]):
                line = lines.setdefault(row["measure"], {"measure": row["measure"]})
                shares = (row["objective"], row["hyperparameter"], row["seed"])
                line[f"{name}: model / setting / seed"] = " / ".join(f"{share:.2f}" for share in shares)
    return table(lines.values())


def choice(name: str) -> str:
    """What choosing one setting of all costs in each metric of SHOWN (choice.csv)."""
    found = tables()[name].table("choice")
    lines: dict[str, dict[str, object]] = {}
    for _, row in found[found["metric"].isin(SHOWN)].iterrows():
        line = lines.setdefault(row["metric"], {"metric": row["metric"], "best mean": f"{row['best']:.3f}"})
        line[f"by {row['chosen_by']}"] = f"{labelled(row)} {row['mean']:.3f} (-{row['regret']:.3f})".strip()
    return table(lines.values())


def triples() -> str:
    """What the quickstart says of disjoint triples of seeds."""
    runs = read_runs()
    grid = read_grid(ROOT / "grids" / QUICKSTART)
    (label,) = (dataset.label for dataset in grid.datasets)
    settings = {(spec.model, setting_of(spec)) for spec in expand(grid)}
    runs = runs[(runs["experiment"] == MORE_SEEDS) & (runs["dataset"] == label)]
    named = [pair in settings for pair in zip(runs["model"], runs["setting"], strict=True)]
    runs = runs[named].assign(experiment="quickstart")
    (headline, *_) = registry.resolve("metric", grid.metrics[0]).headlines
    lines = []
    for first in range(0, int(runs["seed"].max()) + 1, 3):
        part = runs[runs["seed"].between(first, first + 2)]
        found = published_tables(part, "quickstart", QUICKSTART, label, seeds=first + 3)
        (said,) = (verdict.finding for verdict in verdicts(found) if verdict.metric == headline)
        lines.append({"seeds": f"{first} to {first + 2}", "what is said": said})
    return table(lines)


def models_of(found: Tables) -> pd.DataFrame:
    """The rows that are no controls."""
    return found.rows[~found.rows["control"].astype(bool)].reset_index(drop=True)


def labelled(row: pd.Series) -> str:
    return f"{row['model']} {row['setting']}".strip()
