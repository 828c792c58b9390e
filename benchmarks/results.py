"""Make the tables of README.md, results/README.md and docs/results/ anew, and their figure, from results/.

    python benchmarks/results.py

results/runs.csv has a row a published run, results/published.csv a row a figure of a paper. A table stands between
`<!-- name -->` and `<!-- end -->` of a page and is made by the function of that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pandas as pd
import questions
import small_track
import standard_size
import unseen
import usefulness
from matplotlib.figure import Figure
from published_runs import mean_and_interval, read_runs, table

from disentangle_bench.report import figures
from disentangle_bench.report.styles import COLOURS, MARKERS, model_styles
from disentangle_bench.report.words import measure_title

ROOT = Path(__file__).parent.parent
TABLES = ROOT / "docs" / "results"
PAGES = (ROOT / "README.md", ROOT / "results" / "README.md", *sorted(TABLES.glob("*.md")))
FIGURE = ROOT / "docs" / "images" / "reference_tradeoff.png"
STUDY = ("dsprites", "dsprites-models", "shapes3d", "shapes3d-models")
SHOWN = ["factor_vae", "mig", "beta_vae", "dci_disentanglement"]
METRICS = [*SHOWN, "sap", "dci_completeness", "dci_informativeness", "modularity", "explicitness", "irs"]
METRICS += ["mig_sup", "jemmig", "dcimig", "infom", "infoc", "infoe"]
CONTROLS = ["control: rotated", "control: pca", "control: random"]
BOUNDS = ["control: ground_truth", *CONTROLS, "control: untrained"]
PAPERS_NAMES = {"dsprites_rendered": "dSprites", "shapes3d_rendered": "3D Shapes"}
PAPERS_MODELS = {("beta_vae", "beta=1"): "vae"}
SAME_NETWORKS = {"vae": ("vae", "beta_vae"), "factor_vae": ("factor_vae",)}  # a step of these costs the same
SETTINGS_IN_FILES = {"beta", "gamma", "learning_rate"}
STANDARD_STEPS = 300_000


def main() -> None:
    for page in PAGES:
        page.write_text(rebuilt(page.read_text(encoding="utf-8")), encoding="utf-8")
    draw_tradeoff()
    small_track.draw()


def rebuilt(text: str) -> str:
    """The page with every table between its marks made anew."""
    return re.sub(
        r"<!-- (?!end)([a-z ]+) -->\n.*?<!-- end -->",
        lambda found: f"<!-- {found[1]} -->\n\n{BLOCKS[found[1]]()}\n<!-- end -->",
        text,
        flags=re.DOTALL,
    )


def experiments(*patterns: str) -> pd.DataFrame:
    """The runs, without controls, of the experiments whose names match."""
    runs = read_runs()
    named = runs["experiment"].map(lambda name: any(fnmatch(name, pattern) for pattern in patterns))
    return runs[named & ~runs["model"].str.startswith("control")]


def leaderboard() -> str:
    """A row a setting of the study, by the mean of the FactorVAE metric, and rows of the controls below."""
    runs = read_runs()
    runs = runs[runs["experiment"].isin(STUDY)]
    lines = []
    for _, same in runs.groupby("dataset"):
        models = same[~same["model"].str.startswith("control")]
        order = models.groupby(["model", "setting"])["factor_vae"].mean().sort_values(ascending=False).index
        groups = [models[(models["model"] == m) & (models["setting"] == s)] for m, s in order]
        groups += [same[same["model"] == control] for control in CONTROLS]
        lines += [board_line(group) for group in groups]
    return table(lines)


def board_line(runs: pd.DataFrame) -> dict[str, str]:
    """A row of the leaderboard from the runs of one setting."""
    line = {
        name: str(runs[name].iloc[0]) for name in ("dataset", "provenance", "model", "setting", "precision")
    }
    line["steps"] = f"{runs['steps'].iloc[0]:,}" if runs["steps"].iloc[0] else ""
    line["seeds"] = str(len(runs))
    line["reconstruction (nats)"] = mean_and_interval(runs["reconstruction_nats"], 1)
    return line | {metric: mean_and_interval(runs[metric], 3) for metric in SHOWN}


def every_metric() -> str:
    """Every metric's mean over seeds, a column a setting and a control of the study."""
    runs = read_runs()
    parts = []
    for dataset, same in runs[runs["experiment"].isin(STUDY)].groupby("dataset"):
        means = same.groupby(same["model"] + (" " + same["setting"]).str.rstrip())[METRICS].mean().T
        means = means.dropna(how="all")
        chosen = [name for name in means if not name.startswith("control")] + BOUNDS
        rows = means[chosen].map("{:.3f}".format).iterrows()
        lines = [{"metric": metric} | row.to_dict() for metric, row in rows]
        parts.append(f"{dataset}:\n\n" + table(lines))
    return "\n".join(parts)


def gpu() -> str:
    """The runs of the standard length, beside what papers say of the same models."""
    lines = []
    for (model, setting), same in experiments("gpu-short").groupby(["model", "setting"], sort=False):
        model = PAPERS_MODELS.get((model, setting), model)
        line = board_line(same) | {"model": model}
        for metric in ("factor_vae", "mig"):
            line[f"papers' {metric}"] = papers_say(said_of(line["dataset"], model, metric, setting))
        lines.append({name: line[name] for name in line if name not in ("provenance", "precision")})
    return table(lines)


def said_of(dataset: str, model: str, metric: str, setting: str) -> pd.DataFrame:
    """What papers report of a model and metric, but for figures of another setting of the model's."""
    papers = pd.read_csv(ROOT / "results" / "published.csv").fillna({"hyper": ""})
    of = papers["dataset"] + papers["model"] + papers["metric"] == PAPERS_NAMES[dataset] + model + metric
    return papers[of & papers["hyper"].isin(["", "6 latents", setting.replace("=", " ")])]


def papers_say(rows: pd.DataFrame) -> str:
    """Papers' values, what stands behind their +-, and the source's first words: authors and year, or a repository."""
    said = []
    for _, row in rows.iterrows():
        spread = "" if pd.isna(row["spread"]) else f" ± {row['spread']:g}"
        said.append(f"{row['value']:g}{spread} ({re.split(r' [(]|,', row['source'])[0]})")
    return "; ".join(said) or "-"


def published() -> str:
    """What papers report of the models that we ran, beside the study's means and the other experiments'."""
    runs = experiments("*")
    names = zip(runs["model"], runs["setting"], strict=True)
    runs["model"] = [PAPERS_MODELS.get(name, name[0]) for name in names]
    in_study = runs["experiment"].isin(STUDY)
    lines = []
    for (dataset, model, setting), same in runs[in_study].groupby(["dataset", "model", "setting"]):
        others = runs[~in_study & (runs["dataset"] == dataset) & (runs["model"] == model)]
        for metric in METRICS:
            said = said_of(dataset, model, metric, setting)
            if len(said) and same[metric].notna().any():
                line = {"dataset": dataset, "model": model, "setting": setting, "metric": metric}
                line |= {"papers": papers_say(said), "study [95 %]": mean_and_interval(same[metric], 3)}
                means = others.groupby(["experiment", "setting"])[metric].mean().dropna()
                named = {
                    f"{name} {own if own != setting else ''}".strip(): m for (name, own), m in means.items()
                }
                found = [f"{mean:.3f} {name}" for name, mean in named.items()]
                lines.append(line | {"other runs": "; ".join(found)})
    return table(lines)


def run_table(name: str) -> str:
    """A table of single runs, see RUN_TABLES."""
    patterns, beside_study, varied, metrics = RUN_TABLES[name]
    runs = experiments(*patterns)
    runs = runs[~runs["experiment"].str.startswith(small_track.EXPERIMENT)]  # another size
    if beside_study:
        study = experiments(*STUDY)
        models = set(zip(runs["dataset"], runs["model"], strict=True))
        same = [pair in models for pair in zip(study["dataset"], study["model"], strict=True)]
        runs = pd.concat([study[same], runs])
    return by_run(runs, varied, metrics)


def by_run(runs: pd.DataFrame, varied: list[str], metrics: list[str]) -> str:
    """A line per data set, model and values of `varied`: each seed's numbers."""
    lines = []
    for (dataset, model, *values), group in runs.groupby(["dataset", "model", *varied], dropna=False):
        group = group.sort_values("seed")
        line = {"dataset": dataset, "model": model}
        line |= {name: setting_text(name, value) for name, value in zip(varied, values, strict=True)}
        line["seeds"] = ", ".join(map(str, group["seed"]))
        line["reconstruction (nats)"] = numbers(group["reconstruction_nats"], 1)
        lines.append(line | {m: numbers(group[m], 0 if m == "active_units" else 3) for m in metrics})
    return table(lines)


def pca() -> str:
    """PCA and autoencoders with as many latents: what their reconstructions cost."""
    lines = []
    for (latents, model, likelihood), same in experiments("small-pca-*").groupby(
        ["latents", "model", "likelihood"]
    ):
        line = {
            "latents": f"{latents:.0f}",
            "model": model,
            "likelihood": likelihood,
            "seeds": str(len(same)),
        }
        line["MSE of a pixel [95 %]"] = mean_and_interval(same["mse"], 4)
        lines.append(
            line | {"reconstruction (nats) [95 %]": mean_and_interval(same["reconstruction_nats"], 1)}
        )
    return table(lines)


def setting_text(name: str, value: object) -> str:
    """A setting's value for a table."""
    return f"{value:,}" if name == "steps" else f"{value:g}" if isinstance(value, float) else str(value)


def numbers(values: pd.Series, digits: int) -> str:
    """Each seed's number; nothing where a model has none."""
    return ", ".join("-" if pd.isna(value) else f"{value:.{digits}f}" for value in values)


def from_file(name: str) -> str:
    """docs/results/<name>.csv as a table: measured numbers with three decimals, settings as they are."""

    def cell(column: str, value: object) -> str:
        if pd.isna(value):
            return ""
        if isinstance(value, float) and column not in SETTINGS_IN_FILES:
            return f"{value:.3f}"
        return setting_text(column, value)

    data = pd.read_csv(TABLES / f"{name}.csv", dtype={"seed": "string"})
    return table([{column: cell(column, row[column]) for column in data} for _, row in data.iterrows()])


def cost() -> str:
    """Time a model, by the run with the least seconds a step on a core with bfloat16 instructions."""
    runs = experiments("dsprites*", "shapes3d*")
    standard = (runs["precision"] == "bfloat16") & (runs["architecture"] == "conv") & (runs["latents"] == 10)
    runs = runs[standard & (runs["batch_size"] == 64)].assign(a_step=runs["training_seconds"] / runs["steps"])
    lines = []
    for dataset, same in runs.groupby("dataset"):
        for models in SAME_NETWORKS.values():
            best = same[same["model"].isin(models)].sort_values("a_step").iloc[0]
            line = {"dataset": dataset, "model": ", ".join(models), "steps": f"{best['steps']:,}"}
            line |= {"training (s)": f"{best['training_seconds']:.0f}"}
            line |= {"ms a step": f"{1e3 * best['a_step']:.0f}"}
            line |= {f"{what} (s)": f"{best[f'{what}_seconds']:.0f}" for what in ("encoding", "scoring")}
            hours = best["a_step"] * STANDARD_STEPS / 3600
            lines.append(line | {f"{STANDARD_STEPS:,} steps (core-hours)": f"{hours:.1f}"})
    return table(lines)


def draw_tradeoff() -> None:
    """Reconstruction against each metric of the study: a small mark a seed, a large one a setting's mean."""
    runs = experiments(*STUDY)
    styles = model_styles(runs["model"])
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    axes = figure.subplots(2, len(SHOWN))
    for panels, (dataset, same) in zip(axes, runs.groupby("dataset"), strict=True):
        panels[0].set_title(f"{dataset} (rendered)", fontsize=figures.FONT + 2, loc="left")
        for axis, metric in zip(panels, SHOWN, strict=True):
            for model, seeds in same.groupby("model"):
                colour, mark = styles[model]
                look = {"color": COLOURS[colour], "marker": MARKERS[mark]}
                place = seeds["reconstruction_nats"], seeds[metric]
                axis.scatter(*place, s=6, alpha=0.5, **look)
                axis.scatter(*(values.mean() for values in place), s=36, label=model, **look)
            axis.set_xlabel("reconstruction (nats)", fontsize=figures.FONT)
            axis.set_ylabel(measure_title(metric), fontsize=figures.FONT)
            axis.tick_params(labelsize=figures.FONT - 1)
    figures.legend(figure, axes)
    FIGURE.write_bytes(figures.picture(figure, "png"))


# Tables of single runs: experiments, whether the study's runs of the same models stand beside them, the settings that
# differ, and the measures.
MORE = [*SHOWN, "infoe", "active_units"]
NETWORK = ["setting", "latents", "batch_size", "architecture"]
RUN_TABLES: dict[str, tuple[list[str], bool, list[str], list[str]]] = {
    "steps": (["*-steps*"], True, ["steps"], SHOWN),
    "rate": (["*-rate*"], True, ["setting", "learning_rate", "precision", "steps"], SHOWN),
    "latents": (["*-latents"], True, ["latents"], SHOWN),
    "precision": (["*-float32"], True, ["precision"], SHOWN),
    "recipes": (
        ["*-recipe-[!s]*", "*-recipe-six*"],
        False,
        [*NETWORK, "likelihood", "hidden", "learning_rate", "steps"],
        MORE,
    ),
    "networks": (
        ["*-recipe-style*", "*-steps-qlae", "*-recipe-infomec"],
        False,
        [*NETWORK, "steps"],
        MORE,
    ),
}
BLOCKS: dict[str, Callable[[], str]] = {
    "leaderboard": partial(small_track.short_leaderboard, "dsprites"),
    "reference leaderboard": leaderboard,
    "every metric": every_metric,
    "gpu": gpu,
    "published": published,
    "cost": cost,
    "pca": pca,
    "triples": small_track.triples,
    "more steps": small_track.more_steps,
    "small leaderboard": partial(small_track.leaderboard, "dsprites"),
    "small against vae": partial(small_track.against_vae, "dsprites"),
    "small shapes leaderboard": partial(small_track.leaderboard, "shapes3d"),
    "small shapes against vae": partial(small_track.against_vae, "shapes3d"),
    "small shapes choice": partial(small_track.choice, "shapes3d"),
    "small across": small_track.across,
    "small told apart": small_track.told_apart,
    "small variance": small_track.variance,
    "small choice": partial(small_track.choice, "dsprites"),
    "small against standard": standard_size.prediction,
    "small steps": partial(small_track.over, "dsprites", small_track.STEPS, "steps"),
    "small shapes steps": partial(small_track.over, "shapes3d", small_track.STEPS, "steps"),
    "small shapes long": partial(small_track.over, "shapes3d", small_track.LONG, "steps"),
    "small shapes rates": partial(small_track.over, "shapes3d", small_track.RATES, "learning_rate"),
    **{name: partial(questions.answer, name) for name in questions.QUESTIONS},
    "unseen": unseen.correlations,
    "unseen parts": unseen.parts,
    "usefulness": usefulness.correlations,
    "uses": usefulness.spread_of_uses,
    **{name: partial(run_table, name) for name in RUN_TABLES},
    **{name: partial(from_file, name) for name in ("shares", "protocols", "infogan")},
}

if __name__ == "__main__":
    main()
