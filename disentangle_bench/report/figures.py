"""Static figures of a study for papers, the same byte for byte for the same data and library versions."""

from __future__ import annotations

import io
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text

from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.report.comparison import compared_by, of_one_likelihood, several_likelihoods
from disentangle_bench.report.leaderboard import with_reconstruction
from disentangle_bench.report.styles import ABOVE, BELOW, COLOURS, MARKERS, ZERO, styles_of
from disentangle_bench.report.summaries import MODEL, best_row
from disentangle_bench.report.tables import Tables
from disentangle_bench.report.words import CURVES, measure_title, metric_title

FORMATS = ("png", "svg", "pdf")
# Inches: the text of a page of two columns, and one of them.
WIDTHS = {"text": 6.9, "column": 3.35}
PANEL, TITLE = (2.2, 1.9), 0.45
FONT = 7
# Inches of a heat map's cell, below which a number in it cannot be read.
LEAST_CELL = 0.24
SHARES = LinearSegmentedColormap.from_list("shares", [ZERO, ABOVE])
CORRELATIONS = LinearSegmentedColormap.from_list("correlations", [BELOW, ZERO, ABOVE])
# Each format's own way to leave out the time and the library's version.
METADATA: Mapping[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def all_figures(
    tables: Tables, pictured: Sequence[tuple[int, RunRecord]], width: float = WIDTHS["text"]
) -> dict[str, Figure]:
    """Every figure that the study has the numbers for, by name, `width` inches wide.

    `pictured` is what `study.pictured_runs` gives.
    """
    found = {"tradeoff": tradeoff(tables, width)} if tables.headlines else {}
    found["metric_correlation"] = metric_correlation(tables, width)
    if pictured:
        found["curves"] = curves(tables, [record for _, record in pictured], width)
    heat_maps = mutual_information(tables, pictured, width)
    return found | ({"mutual_information": heat_maps} if heat_maps is not None else {})


def tradeoff(tables: Tables, width: float = WIDTHS["text"]) -> Figure:
    """A panel per data set, likelihood and metric: seeds as dots, settings' means with intervals, their front a line.

    Reconstruction grows better to the left, the metric upwards unless its axis says that lower is better. Rows that
    were not trained here and have no reconstruction are left out, as are panels without scores and those of nats.
    """
    headlines = [name for name in tables.headlines if not of_one_likelihood(name)]
    rows = with_reconstruction(tables.rows)
    styles = styles_of(tables)
    several = {group for group, part in rows.groupby("group") if several_likelihoods(part)}
    runs = tables.grouped_runs
    blocks = []
    for _, means in rows.groupby(compared_by("reconstruction_nats"), sort=True):
        group, likelihood = means["group"].iloc[0], means["reconstruction_likelihood"].iloc[0]
        here = (runs["group"] == group) & (runs["reconstruction_likelihood"] == likelihood)
        title = _title(means) + (f", {likelihood}" if group in several else "")
        shown = [name for name in headlines if means[f"{name}_mean"].notna().any()]
        blocks.append((title, shown, means, runs[here & (runs["status"] == "DONE")]))
    figure, panels = _blocks([(title, len(shown)) for title, shown, *_ in blocks], width, PANEL)
    for (_, shown, means, seeds), axes in zip(blocks, panels, strict=True):
        for metric, panel in zip(shown, axes, strict=True):
            for model in sorted(set(means["model"])):
                own = (seeds[seeds["model"] == model], means[means["model"] == model])
                _points(panel, *own, metric, styles[model])
            front = means[means[f"front_{metric}"]].sort_values("reconstruction_nats_mean")
            panel.plot(
                front["reconstruction_nats_mean"], front[f"{metric}_mean"], color="0.5", lw=1, zorder=1
            )
            lower = " (lower is better)" * (metric in tables.lower_is_better)
            panel.set_ylabel(metric_title(metric) + lower)
        for panel in axes[-_across(width, PANEL) :]:
            panel.set_xlabel("reconstruction (nats)")
    legend(figure, panels)
    return figure


def curves(tables: Tables, records: Sequence[RunRecord], width: float = WIDTHS["text"]) -> Figure:
    """Training curves: reconstruction, KL and the TC estimate over steps, a line a run, a style a model."""
    datasets = list(dict.fromkeys(record.spec.dataset.label for record in records))
    styles = styles_of(tables)
    figure, panels = _blocks([(_broken(label), len(CURVES)) for label in datasets], width, PANEL)
    for record in records:
        axes = panels[datasets.index(record.spec.dataset.label)]
        colour, marker = styles[record.spec.model]
        table = pd.DataFrame(record.curves)
        # The marker stands at the end alone.
        style = {"color": COLOURS[colour], "marker": MARKERS[marker], "ms": 3, "markevery": [len(table) - 1]}
        for panel, (name, title) in zip(axes, CURVES.items(), strict=True):
            panel.set(xlabel="step", ylabel=title)
            if name in table:
                panel.plot(table["step"], table[name], lw=0.9, alpha=0.8, label=record.spec.model, **style)
    legend(figure, panels)
    return figure


def metric_correlation(tables: Tables, width: float = WIDTHS["text"]) -> Figure:
    """A heat map per data set: Spearman's rank correlation of every two measures across all finished runs."""
    groups = [part for _, part in tables.table("metric_correlation").groupby("group", sort=True)]
    most = max(int(len(part) ** 0.5) for part in groups)
    side = min(width, 1.6 + 0.55 * most)
    figure, panels = _blocks([(_title(part), 1) for part in groups], width, (side, side))
    for (panel,), part in zip(panels, groups, strict=True):
        names = list(dict.fromkeys(part["measure_a"]))
        table = part["spearman"].to_numpy(float).reshape(len(names), len(names))
        titles = [measure_title(name) for name in names]
        readable = side / most > LEAST_CELL
        image = _heat_map(panel, table, titles, titles, CORRELATIONS, (-1, 1), numbers=readable)
        _colour_bar(panel.figure, image, [panel], "Spearman's rank correlation")
    return figure


def mutual_information(
    tables: Tables, pictured: Sequence[tuple[int, RunRecord]], width: float = WIDTHS["text"]
) -> Figure | None:
    """A heat map per data set and model: how much of each factor's entropy each latent knows; None for no such numbers.

    The run shown is the first finished seed of the model's setting with the best mean ELBO.
    """
    found = _information_panels(tables, pictured)
    if not found:
        return None
    lines = list(dict.fromkeys(title for title, *_ in found))
    size = (PANEL[0], 1.3 * PANEL[1])
    figure, panels = _blocks(
        [(line, sum(line == title for title, *_ in found)) for line in lines], width, size
    )
    places = {line: iter(axes) for line, axes in zip(lines, panels, strict=True)}
    for title, _, words, record in found:
        panel = next(places[title])
        table = np.array(record.scores["mutual_information"])
        factors = list(record.provenance["data"].get("factors", ()))
        image = _heat_map(panel, table, [f"z{i}" for i in range(len(table))], factors, SHARES, (0, 1))
        panel.set_title(f"{words}, seed {record.spec.seed}", fontsize=FONT)
    _colour_bar(figure, image, [panel for axes in panels for panel in axes], "share of the factor's entropy")
    return figure


def _across(width: float, size: tuple[float, float]) -> int:
    """How many panels of this size stand side by side, at least one."""
    return max(1, int(width / size[0] + 0.01))


def _blocks(
    blocks: Sequence[tuple[str, int]], width: float, size: tuple[float, float]
) -> tuple[Figure, list[list[Any]]]:
    """A figure of blocks one below the other, each with its title and so many panels, and the panels of each.

    Panels are about `size` inches and wrapped to the figure's width.
    """
    across = _across(width, size)
    rows = [max(1, -(-count // across)) for _, count in blocks]
    # A title, and the legend below all.
    figure = Figure(figsize=(width, sum(size[1] * n + TITLE for n in rows) + TITLE), layout="constrained")
    parts = figure.subfigures(max(1, len(blocks)), 1, squeeze=False, height_ratios=rows or [1])[:, 0]
    panels = []
    for part, (title, count), n in zip(parts, blocks, rows, strict=False):
        part.suptitle(title, fontsize=9)
        panels.append([part.add_subplot(n, min(across, max(count, 1)), k + 1) for k in range(count)])
    for panel in (panel for axes in panels for panel in axes):
        panel.tick_params(labelsize=FONT - 1)
        for label in (panel.xaxis.label, panel.yaxis.label, panel.title):
            label.set_size(FONT)
    return figure, panels


def legend(figure: Figure, panels: Sequence[Sequence[Any]]) -> None:
    """One legend below all panels, each label once."""
    handles = {
        label: handle
        for axes in panels
        for panel in axes
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=max(2, int(figure.get_figwidth() / 1.4)),
            fontsize=FONT,
            frameon=False,
        )


def picture(figure: Figure, style: str) -> bytes:
    """The figure as a PNG, SVG or PDF, its text as it stands: a dollar sign in a name begins no formula."""
    content = io.BytesIO()
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    # Labels that are made while it draws ask these settings.
    # TrueType fonts are embedded; some publishers refuse those of type 3.
    with mpl.rc_context({"svg.hashsalt": "disentangle_bench", "text.parse_math": False, "pdf.fonttype": 42}):
        figure.savefig(content, format=style, dpi=200, metadata=METADATA[style])
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
    colours: LinearSegmentedColormap,
    ends: tuple[float, float],
    numbers: bool = True,
) -> Any:
    image = panel.imshow(table, cmap=colours, vmin=ends[0], vmax=ends[1], aspect="auto")
    panel.set_xticks(range(len(across)), across, rotation=90, fontsize=FONT - 1)
    panel.set_yticks(range(len(down)), down, fontsize=FONT - 1)
    for (i, j), value in np.ndenumerate(table):
        if np.isnan(value) or not numbers:
            continue
        shade = image.cmap(image.norm(value))
        light = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] > 0.5
        panel.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=5, color="k" if light else "w")
    return image


def _colour_bar(figure: Any, image: Any, panels: Sequence[Any], label: str) -> None:
    """What the colours of these heat maps mean, in a bar below them."""
    bar = figure.colorbar(image, ax=panels, location="bottom", shrink=0.5, aspect=30)
    bar.set_label(label, size=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)


def _points(
    panel: Any, seeds: pd.DataFrame, means: pd.DataFrame, metric: str, style: tuple[int, int]
) -> None:
    colour, marker = COLOURS[style[0]], MARKERS[style[1]]
    panel.scatter(seeds["reconstruction_nats"], seeds[metric], s=6, color=colour, alpha=0.4, lw=0, zorder=2)
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
    panel.scatter(
        x, y, s=22, color=colour, marker=marker, edgecolor="white", label=means["model"].iloc[0], zorder=4
    )


def _arms(means: pd.DataFrame, name: str) -> list[pd.Series]:
    """How far the interval reaches below and above the mean; nowhere for a single seed."""
    mean, low, high = (means[f"{name}_{suffix}"] for suffix in ("mean", "ci_low", "ci_high"))
    return [(mean - low).clip(lower=0).fillna(0), (high - mean).clip(lower=0).fillna(0)]


def _title(rows: pd.DataFrame) -> str:
    return f"{_broken(rows['dataset'].iloc[0])} ({rows['provenance'].iloc[0]})"


def _broken(dataset: str) -> str:
    """The data set's label, its sub-grid on a line of its own."""
    return dataset.replace("[", "\n[", 1)
