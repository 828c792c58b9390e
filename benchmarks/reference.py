"""Rebuild what README.md and results/README.md show of the published studies, from results/ alone.

    python benchmarks/reference.py

The tables stand between `<!-- name -->` and `<!-- end -->`; each is made by the function of that name. Tables and
figures of each study, and the figure of both, are written anew too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from disentangle_bench.report import figures
from disentangle_bench.report.leaderboard import SUFFIXES
from disentangle_bench.report.render import markdown
from disentangle_bench.report.study import Tables, make_tables, tables_of, write_tables
from disentangle_bench.rundir import StudyDir, write_bytes, write_text

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
PAGES = (ROOT / "README.md", RESULTS / "README.md")
FIGURE = ROOT / "docs" / "images" / "reference_tradeoff.png"
DATASETS = ("dsprites", "shapes3d")
SHOWN = ["factor_vae", "mig", "beta_vae", "dci_disentanglement"]
CONTROLS_SHOWN = ("control: ground_truth", "control: rotated", "control: random", "control: untrained")
STUDY_STEPS = 300_000
SAME_NETWORKS = {"vae": ("vae", "beta_vae"), "factor_vae": ("factor_vae",)}  # a step of these costs the same
# The 2019 study's VAE, beta-VAE and FactorVAE arms: two data sets, 50 seeds, 6 values of beta and 6 of gamma.
STUDY_MODELS = {"vae": 600, "factor_vae": 600}
P100_HOURS = 1.75  # a model, on average over that study


def main() -> None:
    for path in sorted(RESULTS.glob("reference-*/")):
        write_tables(StudyDir(path))
    write_bytes(FIGURE, figures.picture(figures.tradeoff(few_metrics()), "png"))
    for page in PAGES:
        write_text(page, rebuilt(page.read_text(encoding="utf-8")))


def rebuilt(text: str) -> str:
    """The page with every table between its marks made anew."""
    for name, make in BLOCKS.items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda found, make=make: f"{found[1]}\n{make()}\n{found[2]}",
            text,
            flags=re.DOTALL,
        )
    return text


def studies() -> list[StudyDir]:
    """The studies of both data sets."""
    return [StudyDir(RESULTS / f"reference-{dataset}") for dataset in DATASETS]


def with_experiment(name: str) -> pd.DataFrame:
    """The runs of both studies and of those beside them that vary one thing, `reference-<data set>-<name>...`."""
    others = [StudyDir(path) for path in sorted(RESULTS.glob(f"reference-*-{name}*/"))]
    return make_tables([*studies(), *others]).runs


def few_metrics() -> Tables:
    """Both studies' tables with the metrics that papers report most."""
    runs = make_tables(studies()).runs.copy()
    runs.attrs["headlines"] = SHOWN
    controls = [entry for study in studies() for entry in study.controls()]
    return tables_of(runs, controls)


def leaderboard(controls: bool = False) -> str:
    """The models' rows of the leaderboard, or the controls', with few metrics."""
    tables = few_metrics()
    kept = {"reconstruction_nats", *SHOWN}
    measures = [c.removesuffix("_mean") for c in tables.board if c.endswith("_mean")]
    hidden = tuple(f"{m}_{part}" for m in measures if m not in kept for part in SUFFIXES)
    of_controls = tables.rows["control"].astype(bool) == controls
    return markdown(
        tables.rows[of_controls], tables.board[of_controls].drop(columns=list(hidden), errors="ignore")
    )


def controls() -> str:
    """The controls' rows."""
    return leaderboard(controls=True)


def all_metrics() -> str:
    """Every metric's mean, a column a setting and some controls."""
    parts = []
    for study in studies():
        tables = make_tables([study])
        rows = tables.board.set_axis(setting_names(tables.board))
        chosen = rows.loc[[n for n in rows.index if n in CONTROLS_SHOWN or not n.startswith("control")]]
        means = chosen[[f"{name}_mean" for name in tables.headlines]].T
        means.index = tables.headlines
        parts.append(f"{study.path.name}:\n\n" + table(means.rename_axis("metric").reset_index(), digits=3))
    return "\n".join(parts)


def published() -> str:
    """Our means and intervals beside the range that papers report."""
    papers = pd.read_csv(RESULTS / "published.csv")
    board = make_tables(studies()).board
    lines = []
    for (dataset, model, metric), said in papers.groupby(["dataset", "model", "metric"], sort=False):
        for _, row in board[(board["dataset"] == dataset) & (board["model"] == model)].iterrows():
            mean, ci_low, ci_high = (row[f"{metric}_{part}"] for part in ("mean", "ci_low", "ci_high"))
            low, high = said["low"].min(), said["high"].max()
            where = "inside" if low <= mean <= high else "below" if mean < low else "above"
            if where != "inside" and ci_low <= high and ci_high >= low:
                where = f"{where}, interval overlaps"
            lines.append(
                {
                    "dataset": dataset,
                    "model": setting_names(row.to_frame().T)[0],
                    "metric": metric,
                    "ours [95 %]": f"{mean:.3f} [{ci_low:.3f}, {ci_high:.3f}]",
                    "papers": f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}",
                    "ours is": where,
                    "steps": f"{row['steps']:,}",
                }
            )
    return table(pd.DataFrame(lines))


def steps() -> str:
    """What more steps do to the settings that were also trained for longer."""
    runs = with_experiment("steps")
    longer = runs.groupby(["dataset", "model"])["steps"].transform("nunique") > 1
    return by_run(runs[longer], "steps")


def precision() -> str:
    """The same seeds in both precisions."""
    runs = with_experiment("float32")
    both = runs.groupby(["dataset", "model", "seed"])["precision"].transform("nunique") > 1
    return by_run(runs[both], "precision")


def by_run(runs: pd.DataFrame, varied: str) -> str:
    """A line per data set, model and value of `varied`: each seed's numbers."""
    lines = []
    for (dataset, model, value), group in runs.groupby(["dataset", "model", varied]):
        group = group.sort_values("seed")
        line = {"dataset": dataset, "model": model, varied: value if isinstance(value, str) else f"{value:,}"}
        line["seeds"] = ", ".join(map(str, group["seed"]))
        for name, digits in [("reconstruction_nats", 1), *((metric, 3) for metric in SHOWN)]:
            line[name] = ", ".join(f"{number:.{digits}f}" for number in group[name])
        lines.append(line)
    return table(pd.DataFrame(lines))


def cost() -> str:
    """Time a model, from the seed that was disturbed least, and what the whole 2019 study would take at that rate."""
    lines, hours = [], {}
    for study in studies():
        records = [record for record in study.records(curves=False) if record.failure is None]
        for name, models in SAME_NETWORKS.items():
            group = [record for record in records if record.spec.model in models]
            best = {
                part: min(record.provenance["seconds"][part] for record in group)
                for part in ("training", "encoding", "scoring")
            }
            step = best["training"] / group[0].spec.training.steps
            hours[study.path.name, name] = step * STUDY_STEPS / 3600
            lines.append(
                {
                    "study": study.path.name,
                    "model": ", ".join(models),
                    "training (s)": f"{best['training']:.0f}",
                    "ms a step": f"{1e3 * step:.0f}",
                    "encoding (s)": f"{best['encoding']:.0f}",
                    "all metrics (s)": f"{best['scoring']:.0f}",
                    "300,000 steps (core-hours)": f"{step * STUDY_STEPS / 3600:.1f}",
                }
            )
    each = pd.Series(hours).groupby(level=1).mean()
    total = sum(each[name] * count for name, count in STUDY_MODELS.items())
    models = sum(STUDY_MODELS.values())
    return (
        table(pd.DataFrame(lines))
        + f"\nThe 2019 study's {models:,} VAEs, beta-VAEs and FactorVAEs at this rate: {total:,.0f} core-hours,"
        f" {total / models:.1f} a model; its authors' {P100_HOURS} P100-hours a model make"
        f" {P100_HOURS * models:,.0f} GPU-hours.\n"
    )


def setting_names(board: pd.DataFrame) -> list[str]:
    """What to call each row of a leaderboard: model and hyper-parameters."""
    names = []
    for _, row in board.iterrows():
        hypers = [f"{h} {row[h]:g}" for h in ("beta", "gamma") if h in row and pd.notna(row[h])]
        names.append(" ".join([row["model"], *hypers]))
    return names


def table(data: pd.DataFrame, digits: int | None = None) -> str:
    """A Markdown table; numbers with so many decimals."""

    def write(cell: object) -> str:
        return f"{cell:.{digits}f}" if digits is not None and isinstance(cell, float) else str(cell)

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(map(write, cells)) + " |\n"

    return line(data.columns) + line(["---"] * len(data.columns)) + "".join(map(line, data.to_numpy()))


BLOCKS: dict[str, Callable[[], str]] = {
    "leaderboard": leaderboard,
    "controls": controls,
    "all metrics": all_metrics,
    "published": published,
    "steps": steps,
    "precision": precision,
    "cost": cost,
}

if __name__ == "__main__":
    main()
