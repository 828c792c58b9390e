"""The published numbers: results/runs.csv and published.csv, and the pages' tables that come from them."""

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from standard_size import rank_correlation

from disentangle_bench.grid import expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.specs import RunSpec

ROOT = Path(__file__).parents[2]
RUN = ["experiment", "dataset", "model", "setting", "seed", "steps"]
ABOUT = {
    "experiment",
    "dataset",
    "provenance",
    "model",
    "setting",
    "seed",
    "status",
    "points",
    "metric_revisions",
}
TRAINING = {
    "steps",
    "learning_rate",
    "batch_size",
    "precision",
    "likelihood",
    "architecture",
    "latents",
    "hidden",
}
ORIGIN = {"started", "git_commit", "device", "threads", "torch", "stack", "data_fingerprint"}
SECONDS = {"training_seconds", "encoding_seconds", "scoring_seconds"}
MEASURES = {
    "reconstruction_nats",
    "mse",
    "kl",
    "elbo",
    "iwae",
    "active_units",
    "udr",
    "floor_nats",
    "constant_nats",
}


def load_script():
    spec = importlib.util.spec_from_file_location("results", ROOT / "benchmarks" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


results = load_script()
PAGES = {str(page.relative_to(ROOT)): page for page in results.PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_tables_of_the_files(page: str) -> None:
    text = PAGES[page].read_text()
    assert results.rebuilt(text) == text


def test_an_edited_number_is_noticed() -> None:
    for page in PAGES.values():
        text = page.read_text()
        for block in re.findall(r"<!-- (?!end).*?<!-- end -->", text, flags=re.DOTALL):
            last_digit = max(found.start() for found in re.finditer(r"\d(?=[^\d\n]*\|)", block))
            edited = f"{block[:last_digit]}{9 - int(block[last_digit])}{block[last_digit + 1 :]}"
            changed = text.replace(block, edited)
            assert results.rebuilt(changed) == text != changed


def test_every_table_stands_in_a_page() -> None:
    shown = {
        name for page in PAGES.values() for name in re.findall(r"<!-- (?!end)(.+) -->", page.read_text())
    }
    assert shown == set(results.BLOCKS)


def test_runs_are_unique_and_complete() -> None:
    runs = pd.read_csv(ROOT / "results" / "runs.csv")
    assert set(runs) == ABOUT | TRAINING | ORIGIN | SECONDS | MEASURES | set(results.METRICS)
    assert not runs.duplicated(RUN).any()
    assert set(runs["status"]) == {"DONE"}
    trained = runs[~runs["model"].str.startswith("control: ")]
    assert runs[sorted(ABOUT - {"setting"})].notna().all(axis=None)
    assert trained[sorted(TRAINING | ORIGIN | SECONDS)].notna().all(axis=None)
    assert trained[["reconstruction_nats", "mse", "factor_vae", "mig", "beta_vae"]].notna().all(axis=None)


def test_every_published_figure_has_a_source() -> None:
    papers = pd.read_csv(ROOT / "results" / "published.csv")
    columns = ["dataset", "model", "hyper", "metric", "value", "spread", "steps", "protocol", "source"]
    assert list(papers) == columns
    assert papers["source"].str.len().gt(5).all()
    assert papers["value"].between(0, 1).all()
    assert papers["spread"].dropna().between(0, 1).all()
    assert not papers.duplicated(["dataset", "model", "hyper", "metric", "source"]).any()


def test_an_interval_is_students() -> None:
    # t at 2 degrees of freedom is 4.303; the standard deviation of 1, 2, 3 is 1.
    assert results.mean_and_interval(pd.Series([1.0, 2.0, 3.0]), 2) == "2.00 [-0.48, 4.48]"
    assert results.mean_and_interval(pd.Series([1.0, 3.0]), 2) == "2.00"
    assert results.mean_and_interval(pd.Series([1.0, float("nan"), 3.0]), 2) == "-"


def test_a_rank_correlations_p_value_counts_orders() -> None:
    one = np.arange(5.0)
    # Of 120 orders this one and its reverse.
    assert rank_correlation(one, one**3) == pytest.approx((1, 2 / 120))
    assert rank_correlation(one[:3], -one[:3]) == pytest.approx((-1, 2 / 6))
    # 0.9 where two neighbours are exchanged, which are four orders, and as many of -0.9.
    assert rank_correlation(one, np.array([0.0, 2, 1, 3, 4])) == pytest.approx((0.9, 10 / 120))


def test_the_pages_commands_describe_the_published_runs() -> None:
    runs = pd.read_csv(ROOT / "results" / "runs.csv")
    runs = runs[~runs["model"].str.startswith("control: ")].fillna({"setting": ""})
    described = [row for page in PAGES.values() for row in runs_of_commands(page.read_text())]
    published = runs[list(described[0])].to_dict("records")
    assert sorted(described, key=str) == sorted(published, key=str)


def runs_of_commands(text: str) -> list[dict[str, object]]:
    """The runs that the page's `bench run ... --out results/<experiment>` would make, with columns of runs.csv."""
    rows = []
    for command in re.findall(r"^bench run .* --out results/.*$", text, flags=re.MULTILINE):
        words = shlex.split(command)
        overrides = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        experiment = Path(words[-1]).name
        rows += [row_of(experiment, spec) for spec in expand(read_grid(ROOT / words[2], overrides))]
    return rows


def row_of(experiment: str, spec: RunSpec) -> dict[str, object]:
    return {
        "experiment": experiment,
        "dataset": spec.dataset.label,
        "model": spec.model,
        "setting": ", ".join(f"{name}={value:g}" for name, value in sorted(spec.hypers.items())),
        "seed": spec.seed,
        "steps": spec.training.steps,
        "learning_rate": spec.options.get("learning_rate", spec.training.learning_rate),
        "batch_size": spec.training.batch_size,
        "precision": spec.training.precision,
        "likelihood": spec.options.get("likelihood", "gaussian"),  # PCA has no other
        "architecture": spec.network.architecture or "conv",
        "latents": spec.network.latents,
        "hidden": spec.network.hidden,
    }
