"""Tables and figures of the small track from its rows in results/runs.csv, of the data sets that have been run."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from published_runs import ROOT, mean_and_interval, published_tables, read_runs, table
from scipy.stats import kendalltau

from disentangle_bench import registry
from disentangle_bench.grid_file import read_grid
from disentangle_bench.report import figures
from disentangle_bench.report.render import markdown
from disentangle_bench.report.statistics import differences, holm, significant_pairs
from disentangle_bench.report.styles import COLOURS, MARKERS, model_styles
from disentangle_bench.report.tables import Tables
from disentangle_bench.report.verdict import verdicts
from disentangle_bench.report.words import measure_title

EXPERIMENT, GRID = "small", "small.toml"
STEPS, LONG, RATES = ["small-steps"], ["small-long"], ["small-shapes-rate-high", "small-shapes-rate-higher"]
QUICKSTART, MORE_SEEDS, MORE_STEPS = "quickstart.toml", "small-quickstart", "small-seeds"
SHOWN = ["factor_vae", "mig", "beta_vae", "dci_disentanglement"]
BASELINE = "vae"
FITTED = ("pca", "ica")  # no steps; their nats are a Gaussian's
CONTROLS = ("rotated", "pca", "random")
DATASETS = ["dsprites", "shapes3d"]
# Nats on a logarithmic axis: three seeds of InfoVAE that ignore their latents have ten times as many as most.
LOGARITHMIC = {"dsprites": [10, 20, 50, 100]}
IMAGES = ROOT / "docs" / "images"


@cache
def tables(fitted: bool = True) -> dict[str, Tables]:
    """The tables of each of the track's data sets, by the first word of its name; `fitted` says whether with FITTED."""
    runs = read_runs()
    runs = runs[runs["experiment"] == EXPERIMENT]
    if not fitted:
        runs = runs[~runs["model"].isin(FITTED)]
    labels = [dataset.label for dataset in read_grid(ROOT / "grids" / GRID).datasets]
    found = {
        label.split("_")[0]: published_tables(runs, EXPERIMENT, GRID, label)
        for label in labels
        if label in set(runs["dataset"])
    }
    for one in found.values():
        one.runs.attrs["headlines"] = [
            *SHOWN, *(name for name in one.runs.attrs["headlines"] if name not in SHOWN)
        ]  # fmt: skip
    return found


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


def short_leaderboard(name: str) -> str:
    """A row a model: its only setting, or the middle one of three; some controls below."""
    found = tables()[name]
    rows, hypers = found.rows, found.runs.attrs["settings"]
    control = rows["control"].astype(bool)
    models = [middle(same, hypers) for _, same in rows[~control].groupby("model")]
    models.sort(key=lambda row: -row["mig_mean"])
    lines = models + [rows[control & (rows["model"] == f"control: {name}")].iloc[0] for name in CONTROLS]
    return table(
        {
            "model": row["model"],
            "setting": row["setting"],
            "seeds": int(row[f"{SHOWN[0]}_n"]),
            "reconstruction (nats)": "-"
            if row["model"] in FITTED
            else interval_of(row, "reconstruction_nats", 1),
            **{metric: interval_of(row, metric, 3) for metric in SHOWN},
        }
        for row in lines
    )


def middle(rows: pd.DataFrame, hypers: list[str]) -> pd.Series:
    """The row in the middle by the one hyper-parameter that differs; the only row where none does."""
    varied = [name for name in hypers if rows[name].nunique() > 1]
    return rows.sort_values(varied).iloc[len(rows) // 2] if varied else rows.iloc[0]


def interval_of(row: pd.Series, measure: str, digits: int) -> str:
    """`mean [low, high]` as the tables have it."""
    mean, low, high = (row[f"{measure}_{s}"] for s in ("mean", "ci_low", "ci_high"))
    if np.isnan(mean):
        return "-"
    text = f"{mean:.{digits}f}"
    return text if np.isnan(low) else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def against_vae(name: str) -> str:
    """For each setting the difference of its mean to the VAE's, in standard deviations of runs, bold where it is told.

    Hedges' g: the difference over the pooled standard deviation, times 1 - 3 / (4 n - 9). All pairs of rows are one
    family of Holm's correction for each metric.
    """
    rows = models_of(tables(fitted=False)[name])
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
    for name in DATASETS:
        found = tables(fitted=False)[name]
        rows = models_of(found)
        for metric in ["reconstruction_nats", *found.runs.attrs["headlines"]]:
            mean, std, n = (rows[f"{metric}_{s}"].to_numpy(float) for s in ("mean", "std", "n"))
            has = ~np.isnan(mean)
            (apart,) = significant_pairs(differences(mean[has], std[has], n[has]))
            pairs = int(has.sum() * (has.sum() - 1) // 2)
            lines.setdefault(metric, {"metric": metric})[name] = f"{int(apart.sum()) // 2} of {pairs}"
    return table(lines.values())


def across() -> str:
    """Whether the trained settings that both data sets have are in the same order: Kendall's tau of means.

    p is exact; then Holm's correction over all measures.
    """
    of = ["model", "setting"]
    one, other = (models_of(tables(fitted=False)[name]).set_index(of) for name in DATASETS)
    both = one.index.intersection(other.index)
    measures = ["reconstruction_nats", *tables(fitted=False)[DATASETS[0]].runs.attrs["headlines"]]
    found = [
        kendalltau(*(rows.loc[both, f"{measure}_mean"] for rows in (one, other)), method="exact")
        for measure in measures
    ]
    corrected = holm(np.array([test.pvalue for test in found]))
    return table(
        {
            "measure": name,
            "Kendall's tau": f"{test.statistic:.2f}",
            "p": f"{test.pvalue:.4f}",
            "Holm": f"{p:.3f}",
        }
        for name, test, p in zip(measures, found, corrected, strict=True)
    )


def over(name: str, experiments: list[str], column: str) -> str:
    """Scores of the models of some experiments as one `column` of theirs changes, such as the steps."""
    return table(
        {
            "model": f"{model} {setting}".strip(),
            column: f"{value:,}" if column == "steps" else f"{value:g}",
            "reconstruction (nats)": mean_and_interval(part["reconstruction_nats"], 1),
            **{metric: mean_and_interval(part[metric], 3) for metric in SHOWN},
        }
        for (model, setting, value), part in beside(name, experiments).groupby(["model", "setting", column])
    )


def beside(name: str, experiments: list[str]) -> pd.DataFrame:
    """The runs of some experiments, and those of the track with the same models, settings and seeds."""
    runs = read_runs()
    runs = runs[runs["dataset"].str.startswith(name) & runs["experiment"].isin([EXPERIMENT, *experiments])]
    same = ["model", "setting", "seed"]
    few = runs.loc[runs["experiment"] != EXPERIMENT, same].drop_duplicates()
    return runs.merge(few, on=same)


def draw_steps(name: str) -> Figure:
    """The scores over steps: a line a seed, a colour and mark a model."""
    runs = beside(name, STEPS)
    styles = model_styles(runs["model"])
    figure = Figure(figsize=(9.0, 2.2), layout="constrained")
    panels = figure.subplots(1, 1 + len(SHOWN))
    for panel, measure in zip(panels, ["reconstruction_nats", *SHOWN], strict=True):
        for (model, _), part in runs.sort_values("steps").groupby(["model", "seed"]):
            colour, mark = styles[model]
            look = {"color": COLOURS[colour], "marker": MARKERS[mark], "lw": 1, "ms": 3}
            panel.plot(part["steps"], part[measure], **look, label=model)
        panel.set_xscale("log", base=2)
        panel.set_xticks([500, 2000, 8000], ["500", "2,000", "8,000"], fontsize=figures.FONT)
        panel.set_title(measure_title(measure), fontsize=figures.FONT + 1)
        panel.tick_params(axis="y", labelsize=figures.FONT)
        panel.set_xlabel("steps", fontsize=figures.FONT)
    figures.legend(figure, [panels])
    return figure


def draw() -> None:
    """The track's figures: reconstruction against the metrics of SHOWN, how metrics agree, scores over steps."""
    for name in DATASETS:
        found = tables(fitted=False)[name]
        agreement = figures.metric_correlation(found)
        found.runs.attrs["headlines"] = SHOWN
        tradeoff = figures.tradeoff(found, width=9.0)
        if ticks := LOGARITHMIC.get(name):
            for panel in tradeoff.axes:
                panel.set_xscale("log")
                panel.set_xticks(ticks, [str(tick) for tick in ticks])
                panel.minorticks_off()
        drawn = {"tradeoff": tradeoff, "agreement": agreement, "steps": draw_steps(name)}
        for kind, figure in drawn.items():
            (IMAGES / f"small_{name}_{kind}.png").write_bytes(figures.picture(figure, "png"))


def variance() -> str:
    """How much of each measure's variance over runs the model, its setting and the seed make."""
    lines: dict[str, dict[str, Any]] = {}
    for name in DATASETS:
        found = tables(fitted=False)[name]
        for _, row in found.table("variance").iterrows():
            if row["measure"] in ("reconstruction_nats", "elbo", *found.runs.attrs["headlines"]):
                line = lines.setdefault(row["measure"], {"measure": row["measure"]})
                shares = (row["objective"], row["hyperparameter"], row["seed"])
                line[f"{name}: model / setting / seed"] = " / ".join(f"{share:.2f}" for share in shares)
    return table(lines.values())


def choice(name: str) -> str:
    """What choosing one setting of all costs in each metric of SHOWN (choice.csv)."""
    found = tables(fitted=False)[name].table("choice")
    lines: dict[str, dict[str, object]] = {}
    for _, row in found[found["metric"].isin(SHOWN)].iterrows():
        line = lines.setdefault(row["metric"], {"metric": row["metric"], "best mean": f"{row['best']:.3f}"})
        line[f"by {row['chosen_by']}"] = f"{labelled(row)} {row['mean']:.3f} (-{row['regret']:.3f})".strip()
    return table(lines.values())


def triples() -> str:
    """What the quickstart says of disjoint triples of seeds."""
    grid = read_grid(ROOT / "grids" / QUICKSTART)
    (label,) = (dataset.label for dataset in grid.datasets)
    runs = read_runs()
    runs = runs[runs["experiment"] == MORE_SEEDS].assign(experiment="quickstart")
    (headline, *_) = registry.resolve("metric", grid.metrics[0]).headlines
    lines = []
    for first in range(0, int(runs["seed"].max()) + 1, 3):
        part = runs[runs["seed"].between(first, first + 2)]
        found = published_tables(part, "quickstart", QUICKSTART, label, seeds=first + 3)
        (said,) = (verdict.finding for verdict in verdicts(found) if verdict.metric == headline)
        lines.append({"seeds": f"{first} to {first + 2}", "what is said": said})
    return table(lines)


def more_steps() -> str:
    """The means of all these seeds after the quickstart's steps, and after those of the track."""
    runs = read_runs()
    runs = runs[runs["experiment"].isin([MORE_SEEDS, MORE_STEPS])]
    metrics = ["dci_disentanglement", "mig", "factor_vae"]
    return table(
        {
            "model": model,
            "steps": f"{count:,}",
            "seeds": len(part),
            **{metric: mean_and_interval(part[metric], 3) for metric in metrics},
            "reconstruction (nats)": mean_and_interval(part["reconstruction_nats"], 1),
        }
        for (model, count), part in runs.groupby(["model", "steps"])
    )


def models_of(found: Tables) -> pd.DataFrame:
    """The rows that are no controls."""
    return found.rows[~found.rows["control"].astype(bool)].reset_index(drop=True)


def labelled(row: pd.Series) -> str:
    return f"{row['model']} {row['setting']}".strip()
