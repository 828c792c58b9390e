"""Rebuild what README.md and results/README.md show of the published studies, from results/ alone.

    python benchmarks/reference.py

The tables stand between `<!-- name -->` and `<!-- end -->`; each is made by the function of that name. Tables and
figures of each study, and the figure of both, are written anew too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from disentangle_bench import registry
from disentangle_bench.report import figures
from disentangle_bench.report.leaderboard import SUFFIXES
from disentangle_bench.report.render import markdown
from disentangle_bench.report.study import Tables, make_tables, tables_of, write_tables
from disentangle_bench.rundir import RunRecord, StudyDir, write_bytes, write_text
from disentangle_bench.spec import NetworkSpec, TrainingSpec

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
PAGES = (ROOT / "README.md", RESULTS / "README.md")
FIGURE = ROOT / "docs" / "images" / "reference_tradeoff.png"
DATASETS = ("dsprites", "shapes3d")
PARTS = ("", "-models")  # of each data set's study: its three models, and further ones in another precision
SHOWN = ["factor_vae", "mig", "beta_vae", "dci_disentanglement"]
HYPERS = ("beta", "gamma")
INFOMEC = ["infom", "infoc", "infoe"]
CONTROLS_SHOWN = ("control: ground_truth", "control: rotated", "control: random", "control: untrained")
MANY_STEPS = 6_000
WITH_SHARES = ("vae", "beta_vae", "beta_tcvae", "factor_vae", "qlae")
OF_NETWORKS = ("recipe-style*", "steps-qlae", "recipe-infomec")  # on 3D Shapes
STUDY_STEPS = 300_000
LIKELIHOOD = "bernoulli"
STUDY_LEARNING_RATE = 1e-4
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
    return [StudyDir(RESULTS / f"reference-{dataset}{part}") for dataset in DATASETS for part in PARTS]


def with_experiment(name: str, studied: bool = True) -> pd.DataFrame:
    """The runs of `reference-<data set>-<name>...`, and those of both studies, from which they differ in one thing."""
    others = [StudyDir(path) for path in sorted(RESULTS.glob(f"reference-*-{name}*/"))]
    return make_tables([*(studies() if studied else []), *others]).runs


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
    """Our means and intervals beside the range that papers report, and what the experiments' runs get."""
    papers = pd.read_csv(RESULTS / "published.csv")
    board = make_tables(studies()).board
    standard = with_experiment("rate")
    experiments = {
        "more steps": longest_runs(),
        "standard learning rate": standard[standard["learning_rate"] == STUDY_LEARNING_RATE],
        "a paper's settings": with_experiment("recipe", studied=False),
    }
    lines = []
    for (dataset, model, metric), said in papers.groupby(["dataset", "model", "metric"], sort=False):
        low, high = said["low"].min(), said["high"].max()
        papers_say = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        rows = board[(board["dataset"] == dataset) & (board["model"] == model)]
        for row in [row for _, row in rows.iterrows()] or [None]:
            line = {"dataset": dataset, "model": model, "metric": metric, "papers": papers_say}
            line |= NOT_STUDIED if row is None else studied(row, metric, low, high)
            for name, runs in experiments.items():
                same = runs[(runs["dataset"] == dataset) & (runs["model"] == model)]
                line[name] = experiment(same, metric, row, low, high)
            lines.append(line)
    return table(pd.DataFrame(lines))


NOT_STUDIED = {"ours [95 %]": "-", "steps": "-", "is": "not in the study"}


def studied(row: pd.Series, metric: str, low: float, high: float) -> dict[str, str]:
    """What a row of the leaderboard says of a metric, and where that is beside the range."""
    mean, ci_low, ci_high = (row[f"{metric}_{part}"] for part in ("mean", "ci_low", "ci_high"))
    where = beside(mean, low, high)
    if where != "inside" and ci_low <= high and ci_high >= low:
        where = f"{where}, interval overlaps"
    return {
        "model": setting_names(row.to_frame().T)[0],
        "ours [95 %]": f"{mean:.3f} [{ci_low:.3f}, {ci_high:.3f}]",
        "steps": f"{row['steps']:,}",
        "is": where,
    }


def experiment(runs: pd.DataFrame, metric: str, row: pd.Series | None, low: float, high: float) -> str:
    """What an experiment's runs of a model get and where that is beside the range, a mean over seeds a setting."""
    said = []
    settings = [*runs.attrs["settings"], "precision", "steps"]
    for _, same in sorted(runs.groupby(settings, dropna=False), key=lambda group: group[0][-1]):
        run, mean = same.iloc[0], same[metric].mean()
        notes = [*unlike(run, row), f"{run['steps']:,}"] + [f"{len(same)} seeds"] * (len(same) > 1)
        said.append(f"{mean:.3f} ({', '.join(notes)}): {beside(mean, low, high)}")
    return ", ".join(said)


def unlike(run: pd.Series, row: pd.Series | None) -> list[str]:
    """The settings of a run that are not those of the study's row, but for steps and learning rate."""
    own = [f"{h} {run[h]:g}" for h in HYPERS if pd.notna(run.get(h)) and (row is None or run[h] != row[h])]
    # Tables have a column for a setting only where it differs.
    if (latents := run.get("latents", NetworkSpec().latents)) != NetworkSpec().latents:
        own.append(f"{latents} latents")
    if (likelihood := run.get("likelihood", LIKELIHOOD)) != LIKELIHOOD:
        own.append(likelihood)
    if pd.notna(architecture := run.get("architecture")):
        own.append(architecture)
    return own


def beside(value: float, low: float, high: float) -> str:
    """Where a value lies beside a range. Papers give two or three decimals, so much is granted at the ends."""
    return "inside" if low - 0.005 <= value <= high + 0.005 else "below" if value < low else "above"


def longest_runs() -> pd.DataFrame:
    """The runs of each data set and model that trained for most steps, where that is more than the study's."""
    runs = with_experiment("steps")
    most = runs.groupby(["dataset", "model"])["steps"].transform("max")
    least = runs.groupby(["dataset", "model"])["steps"].transform("min")
    return runs[(runs["steps"] == most) & (most > least)]


def protocols() -> str:
    """Runs scored as this project and as two papers score them (benchmarks/protocols.py)."""
    runs = pd.read_csv(RESULTS / "protocols.csv", dtype={"seed": "string"}).drop(columns="dataset")
    for name in (*HYPERS, "learning_rate"):
        runs[name] = [written(name, value) for value in runs[name]]
    return table(runs.astype(object).where(runs.notna(), ""), digits=3)


def infomec() -> str:
    """Runs scored by InfoMEC with this project's constants and its authors' (benchmarks/infomec_protocols.py)."""
    runs = pd.read_csv(RESULTS / "protocols_infomec.csv")
    for name in ("beta", "steps", "infom_active"):
        runs[name] = [written(name, value) for value in runs[name]]
    return table(runs.astype(object), digits=3)


def steps() -> str:
    """What more steps do to the settings that were also trained for longer."""
    runs = with_experiment("steps")
    longer = runs.groupby(["dataset", "model"])["steps"].transform("nunique") > 1
    return by_run(runs[longer], "steps")


def rate() -> str:
    """What the standard learning rate does, beside the same settings at the study's."""
    runs = with_experiment("rate")
    both = runs.groupby(["dataset", "model"])["learning_rate"].transform("nunique") > 1
    return by_run(runs[both], *HYPERS, "learning_rate", "precision", "steps")


def shares() -> str:
    """How much of each factor's entropy its two best informed latents know, in the longer runs on 3D Shapes."""
    lines = []
    for path in sorted(RESULTS.glob("reference-shapes3d-*/")):
        for record in StudyDir(path).records(curves=False):
            spec = record.spec
            if spec.training.steps < MANY_STEPS or spec.model not in WITH_SHARES:
                continue
            known = np.array(record.scores["mutual_information"])
            pairs = (f"{best:.2f}, {second:.2f}" for best, second in np.sort(known, axis=0)[:-3:-1].T)
            names = registry.resolve("data set", spec.dataset.name).factor_names
            line = {"model": spec.model, "beta": f"{spec.hypers['beta']:g}" if "beta" in spec.hypers else ""}
            line |= {"networks": spec.network.architecture or "conv", "latents": spec.network.latents}
            line |= {"steps": spec.training.steps}
            line |= {"mig": f"{record.scores['scores']['mig']:.3f}", "once": f"{gap_of_groups(known):.3f}"}
            lines.append(line | dict(zip(names, pairs, strict=True)))
    rows = pd.DataFrame(lines).sort_values(["model", "networks", "latents", "steps"], kind="stable")
    return table(rows.assign(steps=rows["steps"].map("{:,}".format)))


def gap_of_groups(known: NDArray[np.float64]) -> float:
    """MIG where the latents that know the same factor best count as one; `known` is [latents, factors]."""
    group = known.argmax(axis=1)
    gaps = [shares.max() - shares[group != factor].max(initial=0.0) for factor, shares in enumerate(known.T)]
    return float(np.mean(gaps))


def latents() -> str:
    """What fewer latents do to the same settings."""
    runs = with_experiment("latents")
    both = runs.groupby(["dataset", "model"])["latents"].transform("nunique") > 1
    return by_run(runs[both], "latents")


def recipes() -> str:
    """What runs get whose settings are closer to a paper's."""
    runs = with_experiment("recipe", studied=False)
    settings = runs.attrs["settings"]
    runs = with_kind_of_networks(runs)
    runs = runs[runs["architecture"] != "style"]
    varied = [name for name in settings if runs[name].nunique() > 1]
    return by_run(runs, *varied, "steps", metrics=[*SHOWN, *INFOMEC])


def networks() -> str:
    """What networks of QLAE's kind do on 3D Shapes, beside the standard ones."""
    paths = sorted(path for name in OF_NETWORKS for path in RESULTS.glob(f"reference-shapes3d-{name}/"))
    runs = with_kind_of_networks(make_tables([StudyDir(path) for path in paths]).runs)
    varied = ("beta", "latents", "batch_size", "architecture", "steps")
    return by_run(runs, *varied, metrics=[*SHOWN, *INFOMEC])


def with_kind_of_networks(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, with the standard networks named too."""
    return runs.assign(architecture=runs["architecture"].fillna("conv"))


def precision() -> str:
    """The same seeds in both precisions."""
    runs = with_experiment("float32")
    both = runs.groupby(["dataset", "model", "seed"])["precision"].transform("nunique") > 1
    return by_run(runs[both], "precision")


def by_run(runs: pd.DataFrame, *varied: str, metrics: Iterable[str] = SHOWN) -> str:
    """A line per data set, model and values of `varied`: each seed's numbers."""
    lines = []
    for (dataset, model, *values), group in runs.groupby(["dataset", "model", *varied], dropna=False):
        group = group.sort_values("seed")
        line = {"dataset": dataset, "model": model}
        line |= {name: written(name, value) for name, value in zip(varied, values, strict=True)}
        line["seeds"] = ", ".join(map(str, group["seed"]))
        for name, digits in [("reconstruction_nats", 1), *((metric, 3) for metric in metrics)]:
            line[name] = ", ".join(f"{number:.{digits}f}" for number in group[name])
        lines.append(line)
    return table(pd.DataFrame(lines))


def written(name: str, value: object) -> object:
    """A setting's value for a table; nothing where a model has no such setting."""
    if name == "steps":
        return f"{value:,}"
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:g}"
    return value


def cost() -> str:
    """Time a model, by the run with the least seconds a step, and the whole 2019 study at that rate."""
    lines, hours = [], {}
    for dataset in DATASETS:
        paths = sorted(RESULTS.glob(f"reference-{dataset}*/"))
        records = [record for path in paths for record in StudyDir(path).records(curves=False)]
        for name, models in SAME_NETWORKS.items():
            best = min((r for r in records if r.spec.model in models and alike(r)), key=seconds_a_step)
            hours[dataset, name] = seconds_a_step(best) * STUDY_STEPS / 3600
            seconds = best.provenance["seconds"]
            lines.append(
                {
                    "dataset": best.spec.dataset.label,
                    "model": ", ".join(models),
                    "steps": f"{best.spec.training.steps:,}",
                    "training (s)": f"{seconds['training']:.0f}",
                    "ms a step": f"{1e3 * seconds_a_step(best):.0f}",
                    "encoding (s)": f"{seconds['encoding']:.0f}",
                    "all metrics (s)": f"{seconds['scoring']:.0f}",
                    "300,000 steps (core-hours)": f"{hours[dataset, name]:.1f}",
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


def alike(record: RunRecord) -> bool:
    """Whether the run has the reference study's sizes and precision."""
    spec = record.spec
    standard = spec.network == NetworkSpec() and spec.training.batch_size == TrainingSpec().batch_size
    return record.failure is None and spec.training.precision == "bfloat16" and standard


def seconds_a_step(record: RunRecord) -> float:
    """How long a step of the run's training took."""
    return record.provenance["seconds"]["training"] / record.spec.training.steps


def setting_names(board: pd.DataFrame) -> list[str]:
    """What to call each row of a leaderboard: model and hyper-parameters."""
    names = []
    for _, row in board.iterrows():
        hypers = [f"{h} {row[h]:g}" for h in HYPERS if h in row and pd.notna(row[h])]
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
    "protocols": protocols,
    "infomec": infomec,
    "rate": rate,
    "shares": shares,
    "latents": latents,
    "recipes": recipes,
    "networks": networks,
    "precision": precision,
    "cost": cost,
}

if __name__ == "__main__":
    main()
