"""Static figures of a study for papers, the same byte for byte for the same data and library versions."""

from __future__ import annotations

import io
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.report.comparison import compared_by, of_one_likelihood, several_likelihoods
from disentangle_bench.report.leaderboard import with_reconstruction
from disentangle_bench.report.summaries import MODEL, best_row
from disentangle_bench.report.tables import Tables
from disentangle_bench.report.words import CURVES

# Okabe and Ito's palette, which any colour vision can distinguish.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FORMATS = ("png", "svg", "pdf")
# Each format's own way to leave out the time and the library's version.
METADATA: Mapping[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def all_figures(tables: Tables, pictured: Sequence[tuple[int, RunRecord]]) -> dict[str, Figure]:
    """Every figure that the study has the numbers for, by name; `pictured` is what `study.pictured_runs` gives."""
    found = {"tradeoff": tradeoff(tables), "metric_correlation": metric_correlation(tables)}
    if pictured:
        found["curves"] = curves([record for _, record in pictured])
    heat_maps = mutual_information(tables, pictured)
    return found | ({"mutual_information": heat_maps} if heat_maps is not None else {})


def tradeoff(tables: Tables) -> Figure:
    """A panel per data set, likelihood and metric: seeds as dots, settings' means with intervals, their front a line.

    Reconstruction grows better to the left, the metric upwards unless its axis says that lower is better. Rows that
    were not trained here and have no reconstruction are left out, as are panels without scores and those of nats.
    """
    headlines = [name for name in tables.headlines if not of_one_likelihood(name)]
    rows = with_reconstruction(tables.rows)
    groups = list(rows.groupby(compared_by("reconstruction_nats"), sort=True))
    models = sorted(set(rows["model"]))
    lines, columns = max(1, len(groups)), max(1, len(headlines))
    figure = Figure(figsize=(4.2 * columns, 3.6 * lines + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    several = {group for group, part in rows.groupby("group") if several_likelihoods(part)}
    runs = tables.grouped_runs
    for line, (_, means) in enumerate(groups):
        group, likelihood = means["group"].iloc[0], means["reconstruction_likelihood"].iloc[0]
        here = (runs["group"] == group) & (runs["reconstruction_likelihood"] == likelihood)
        seeds = runs[here & (runs["status"] == "DONE")]
        title = _title(means) + (f", {likelihood}" if group in several else "")
        for column, metric in enumerate(headlines):
            panel = axes[line][column]
            for i, model in enumerate(models):
                _points(
                    panel, seeds[seeds["model"] == model], means[means["model"] == model], metric, i, model
                )
            front = means[means[f"front_{metric}"]].sort_values("reconstruction_nats_mean")
            panel.plot(
                front["reconstruction_nats_mean"], front[f"{metric}_mean"], color="0.5", lw=1, zorder=1
            )
            words = f"{metric} (lower is better)" if metric in tables.lower_is_better else metric
            panel.set(xlabel="reconstruction (nats per image, lower is better)", ylabel=words)
            panel.set_title(title, fontsize=9)
            panel.set_visible(bool(means[f"{metric}_mean"].notna().any()))
    if headlines and groups:
        axes[0][0].legend(fontsize=8)
    return figure


def curves(records: Sequence[RunRecord]) -> Figure:
    """Training curves: reconstruction, KL and the TC estimate over steps, a line a run, a colour a model."""
    datasets = list(dict.fromkeys(record.spec.dataset.label for record in records))
    models = sorted({record.spec.model for record in records})
    figure = Figure(figsize=(4.2 * len(CURVES), 3.2 * max(1, len(datasets))), layout="constrained")
    axes = figure.subplots(max(1, len(datasets)), len(CURVES), squeeze=False)
    for record in records:
        row, colour = datasets.index(record.spec.dataset.label), _style(models.index(record.spec.model))[0]
        table = pd.DataFrame(record.curves)
        for column, (name, title) in enumerate(CURVES.items()):
            panel = axes[row][column]
            panel.set(xlabel="step", ylabel=title)
            panel.set_title(_broken(record.spec.dataset.label), fontsize=9)
            if name in table:
                seen = {line.get_label() for line in panel.get_lines()}
                label = record.spec.model if record.spec.model not in seen else "_"
                panel.plot(table["step"], table[name], color=colour, lw=0.9, alpha=0.8, label=label)
    for panel in axes.flat:
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8)
    return figure


def metric_correlation(tables: Tables) -> Figure:
    """A heat map per data set: Spearman's rank correlation of every two measures across all finished runs."""
    groups = [part for _, part in tables.table("metric_correlation").groupby("group", sort=True)]
    side = 1.6 + 0.55 * max(int(len(part) ** 0.5) for part in groups)
    figure = Figure(figsize=(side * len(groups) + 0.8, side), layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False)[0]
    for panel, part in zip(axes, groups, strict=True):
        names = list(dict.fromkeys(part["measure_a"]))
        table = part["spearman"].to_numpy(float).reshape(len(names), len(names))
        image = _heat_map(panel, table, names, names, "PuOr", (-1, 1))
        panel.set_title(_title(part), fontsize=9)
    figure.colorbar(image, ax=list(axes), label="Spearman's rank correlation", shrink=0.8)
    return figure


def mutual_information(tables: Tables, pictured: Sequence[tuple[int, RunRecord]]) -> Figure | None:
    """A heat map per data set and model: how much of each factor's entropy each latent knows; None for no such numbers.

    The run shown is the first finished seed of the model's setting with the best mean ELBO.
    """
    panels = _information_panels(tables, pictured)
    if not panels:
        return None
    lines = list(dict.fromkeys(title for title, *_ in panels))
    columns = list(dict.fromkeys(model for _, model, *_ in panels))
    figure = Figure(figsize=(3.2 * len(columns) + 1, 3.4 * len(lines)), layout="constrained")
    axes = figure.subplots(len(lines), len(columns), squeeze=False)
    for panel in axes.flat:
        panel.set_axis_off()
    for title, model, words, record in panels:
        panel = axes[lines.index(title)][columns.index(model)]
        panel.set_axis_on()
        table = np.array(record.scores["mutual_information"])
        factors = list(record.provenance["data"].get("factors", ()))
        image = _heat_map(panel, table, [f"z{i}" for i in range(len(table))], factors, "cividis", (0, 1))
        panel.set_title(f"{title}\n{words}, seed {record.spec.seed}", fontsize=8)
    figure.colorbar(image, ax=list(axes.flat), label="share of the factor's entropy", shrink=0.8)
    return figure


def picture(figure: Figure, style: str) -> bytes:
    """The figure as a PNG, SVG or PDF, its text as it stands: a dollar sign in a name begins no formula."""
    content = io.BytesIO()
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    # Labels that are made while it draws ask these settings.
    with mpl.rc_context({"svg.hashsalt": "disentangle_bench", "text.parse_math": False}):
        figure.savefig(content, format=style, dpi=110, metadata=METADATA[style])
    return content.getvalue()


def _information_panels(
    tables: Tables, pictured: Sequence[tuple[int, RunRecord]]
) -> list[tuple[str, tuple[Hashable, ...], str, RunRecord]]:
    """(title of the data set, model and likelihood, model and setting, run) for every panel that has numbers."""
    first = dict(reversed(pictured))  # the lowest seed of each row
    rows = tables.rows[~tables.rows["control"].astype(bool)]
    panels = []
    for _, group in rows.groupby("group", sort=True):
        for model, part in group.groupby(MODEL, sort=False):
            row = best_row(part, "", "elbo")
            if row is None:
                continue
            record = first.get(row["row"])  # none for a row that was not trained here
            if record is not None and record.scores.get("mutual_information"):
                panels.append((_title(part), model, f"{record.spec.model} {row['setting']}".strip(), record))
    return panels


def _heat_map(
    panel: Any,
    table: np.ndarray[Any, Any],
    down: Sequence[str],
    across: Sequence[str],
    colours: str,
    ends: tuple[float, float],
) -> Any:
    image = panel.imshow(table, cmap=colours, vmin=ends[0], vmax=ends[1], aspect="auto")
    panel.set_xticks(range(len(across)), across, rotation=90, fontsize=7)
    panel.set_yticks(range(len(down)), down, fontsize=7)
    for (i, j), value in np.ndenumerate(table):
        if np.isnan(value):
            continue
        shade = image.cmap(image.norm(value))
        light = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] > 0.5
        panel.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color="k" if light else "w")
    return image


def _points(panel: Any, seeds: pd.DataFrame, means: pd.DataFrame, metric: str, i: int, model: str) -> None:
    colour, marker = _style(i)
    panel.scatter(seeds["reconstruction_nats"], seeds[metric], s=10, color=colour, alpha=0.4, lw=0, zorder=2)
    x, y = means["reconstruction_nats_mean"], means[f"{metric}_mean"]
    panel.errorbar(
        x,
        y,
        xerr=_arms(means, "reconstruction_nats"),
        yerr=_arms(means, metric),
        fmt="none",
        ecolor=colour,
        elinewidth=1,
        zorder=3,
    )
    panel.scatter(x, y, s=40, color=colour, marker=marker, edgecolor="white", label=model, zorder=4)


def _arms(means: pd.DataFrame, name: str) -> list[pd.Series]:
    """How far the interval reaches below and above the mean; nowhere for a single seed."""
    mean, low, high = (means[f"{name}_{suffix}"] for suffix in ("mean", "ci_low", "ci_high"))
    return [(mean - low).clip(lower=0).fillna(0), (high - mean).clip(lower=0).fillna(0)]


def _title(rows: pd.DataFrame) -> str:
    return f"{_broken(rows['dataset'].iloc[0])} ({rows['provenance'].iloc[0]})"


def _broken(dataset: str) -> str:
    """The data set's label, its sub-grid on a line of its own."""
    return dataset.replace("[", "\n[", 1)


def _style(i: int) -> tuple[str, str]:
    return COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
