"""Pictures of a study: reconstruction against disentanglement, and the training curves."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from disentangle_bench.rundir import RunRecord

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
CURVES = {"reconstruction": "reconstruction (nats)", "kl": "KL (nats)", "tc": "TC estimate (nats)"}


def tradeoff(runs: pd.DataFrame, board: pd.DataFrame) -> Figure:
    """A panel per data set and metric: each seed a dot, each setting's mean with its interval, the Pareto front a line.

    Reconstruction grows better to the left, the metric upwards.
    """
    headlines = list(runs.attrs["headlines"])
    datasets = list(dict.fromkeys(board["dataset"]))
    models = sorted(set(runs["model"]))
    figure = Figure(figsize=(4.2 * max(1, len(headlines)), 3.6 * len(datasets) + 0.6), layout="constrained")
    axes = figure.subplots(len(datasets), max(1, len(headlines)), squeeze=False)
    for row, dataset in enumerate(datasets):
        seeds = runs[(runs["dataset"] == dataset) & (runs["status"] == "DONE")]
        means = board[board["dataset"] == dataset]
        for column, metric in enumerate(headlines):
            panel = axes[row][column]
            for i, model in enumerate(models):
                _points(
                    panel, seeds[seeds["model"] == model], means[means["model"] == model], metric, i, model
                )
            front = means[means[f"pareto_{metric}"]].sort_values("reconstruction_nats_mean")
            panel.plot(
                front["reconstruction_nats_mean"], front[f"{metric}_mean"], color="0.5", lw=1, zorder=1
            )
            panel.set(xlabel="reconstruction (nats per image, lower is better)", ylabel=metric)
            panel.set_title(_title(dataset), fontsize=9)
    if headlines:
        axes[0][0].legend(fontsize=8)
    return figure


def curves(records: Iterable[RunRecord]) -> Figure:
    """Training curves: reconstruction, KL and the TC estimate over steps, a line a run, a colour a model."""
    kept = [record for record in records if record.curves]
    datasets = list(dict.fromkeys(record.spec.dataset.label for record in kept))
    models = sorted({record.spec.model for record in kept})
    figure = Figure(figsize=(4.2 * len(CURVES), 3.2 * max(1, len(datasets))), layout="constrained")
    axes = figure.subplots(max(1, len(datasets)), len(CURVES), squeeze=False)
    for record in kept:
        row, colour = datasets.index(record.spec.dataset.label), _style(models.index(record.spec.model))[0]
        table = pd.DataFrame(record.curves)
        for column, (name, title) in enumerate(CURVES.items()):
            panel = axes[row][column]
            panel.set(xlabel="step", ylabel=title)
            panel.set_title(_title(record.spec.dataset.label), fontsize=9)
            if name in table:
                seen = {line.get_label() for line in panel.get_lines()}
                label = record.spec.model if record.spec.model not in seen else "_"
                panel.plot(table["step"], table[name], color=colour, lw=0.9, alpha=0.8, label=label)
    for panel in axes.flat:
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG, the same byte for byte for the same data and library versions."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


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


def _title(dataset: str) -> str:
    """The data set's label, its sub-grid on a line of its own."""
    return dataset.replace("[", "\n[", 1)


def _style(i: int) -> tuple[str, str]:
    return COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
