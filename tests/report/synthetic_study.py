"""Studies made of numbers instead of training, as large as anyone's."""

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.foreign import ForeignRow
from disentangle_bench.specs import DatasetSpec, NetworkSpec, RunSpec, TrainingSpec

FACTORS = {"shape": 3, "scale": 6, "orientation": 40, "posX": 32, "posY": 32}
MODELS = {
    "vae": ("", [0.0]),
    "beta_vae": ("beta", [1.0, 2.0, 4.0, 6.0, 8.0, 16.0]),
    "factor_vae": ("gamma", [10.0, 20.0, 30.0, 40.0, 50.0, 100.0]),
}
FOREIGN_METRICS = {
    name: {"headlines": [name], "revision": 1, "paper": "a paper"} for name in ("mig", "factor_vae")
}


def record(
    dataset: str,
    model: str,
    hyper: str,
    value: float,
    seed: int,
    metrics: tuple[str, ...],
    *,
    steps: int = 300_000,
    curve_rows: int = 100,
    revision: int = 1,
    precision: str = "float32",
) -> RunRecord:
    """A run whose scores follow its setting, with noise of its seed; one in fifty fails."""
    strength = {"vae": 0.0, "beta_vae": 0.3, "factor_vae": 0.55}.get(model, 0.2) + value / 250
    rng = np.random.default_rng([seed, int(value * 10), *f"{dataset} {model}".encode()])
    spec = RunSpec(
        dataset=DatasetSpec(name=dataset),
        model=model,
        hypers={hyper: value} if hyper else {},
        options={},
        seed=seed,
        network=NetworkSpec(),
        training=TrainingSpec(steps=steps),
    )
    provenance = {
        "started": f"2026-01-01T{seed % 24:02d}:00:00+00:00",
        "versions": {"disentangle_bench": "0.1.0", "torch": "2.8.0", "python": "3.12.1"},
        "data": {
            "name": dataset,
            "provenance": "rendered",
            "fingerprint": "ab" * 32,
            "images": 737280,
            "image_shape": [1, 64, 64],
            "factors": FACTORS,
        },
        "device": "cpu",
        "threads": 1,
        "precision": precision,
        "git_commit": "0" * 40,
        "seconds": {"training": 100.0 + seed},
    }
    if rng.random() < 0.02:
        return RunRecord(spec, provenance, failure="diverged: the loss is not finite at step 12000\n")
    reconstruction = float(20 + 60 * strength + rng.normal(0, 3))
    kl = float(25 - 15 * strength + rng.normal(0, 1))
    scores = {
        "reconstruction_nats": reconstruction,
        "mse": reconstruction / 4096,
        "kl": kl,
        "elbo": -reconstruction - kl,
    }
    for i, metric in enumerate(metrics):
        scores[metric] = float(np.clip(0.1 * (i % 7) + 0.5 * strength + rng.normal(0, 0.08), 0, 1))
    about = {name: {"headlines": [name], "revision": revision, "paper": "a paper"} for name in metrics}
    decay = np.exp(-np.arange(curve_rows) / 15)
    curve = [
        {
            "step": float(steps * (i + 1) // curve_rows),
            "reconstruction": float(reconstruction + 300 * decay[i]),
            "kl": float(kl * (1 - decay[i])),
        }
        for i in range(curve_rows)
    ]
    shares = rng.dirichlet(np.full(10, 0.2), size=len(FACTORS)).T
    kept = {
        "scores": scores,
        "metrics": about,
        "failures": {},
        "reconstruction": {"likelihood": "bernoulli", "floor_nats": 5.0, "constant_nats": 105.0},
        "scoring": {"points": "all", "reconstruction_points": 10_000},
        "points": 737280,
        "mutual_information": shares.round(4).tolist(),
    }
    return RunRecord(spec, provenance, kept, curve)


def foreign_row(seed: int = 0, **changed: object) -> ForeignRow:
    """Codes of set0 with a MIG above every run's, and no reconstruction."""
    scores = {"mig": 0.95 + seed / 1000, "factor_vae": 0.01 + seed / 1000}
    row = ForeignRow(
        name="their codes",
        source="codes file",
        dataset="set0",
        provenance="rendered",
        data_fingerprint="ab" * 32,
        seed=seed,
        scores=scores,
        metrics=FOREIGN_METRICS,
        points="all",
    )
    return replace(row, **changed)


def records(
    datasets: int = 2,
    models: dict[str, tuple[str, list[float]]] = MODELS,
    seeds: int = 5,
    metrics: tuple[str, ...] = ("factor_vae", "mig", "beta_vae"),
    **settings: object,
) -> Iterator[RunRecord]:
    for number in range(datasets):
        for model, (hyper, values) in models.items():
            for value in values:
                for seed in range(seeds):
                    yield record(f"set{number}", model, hyper, value, seed, metrics, **settings)  # type: ignore[arg-type]


def write(study: StudyDir, runs: Iterator[RunRecord], grid: str = "") -> StudyDir:
    """A study directory with these runs, laid down without the syncing to disk that real runs are worth."""
    study.runs.mkdir(parents=True)
    (study.path / "grid.toml").write_text(grid or GRID, encoding="utf-8")
    for run in runs:
        folder = study.runs / run.spec.id
        folder.mkdir()
        (folder / "spec.json").write_text(run.spec.model_dump_json(indent=1), encoding="utf-8")
        (folder / "provenance.json").write_text(json.dumps(run.provenance, indent=1), encoding="utf-8")
        if run.failure is not None:
            (folder / "FAILED").write_text(run.failure, encoding="utf-8")
            continue
        (folder / "scores.json").write_text(json.dumps(run.scores, indent=1), encoding="utf-8")
        lines = [",".join(run.curves[0])] + [",".join(map(str, row.values())) for row in run.curves]
        (folder / "curves.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "DONE").touch()
    return study


def large_records(
    metrics: tuple[str, ...] = ("factor_vae", "mig", "beta_vae"), **settings: object
) -> Iterator[RunRecord]:
    """12,600 runs, as the 2019 study had: 7 data sets, 6 models of 6 settings, 50 seeds."""
    grid = {f"model{m}": ("strength", [1.0 + 4 * v for v in range(6)]) for m in range(6)}
    return records(7, grid, 50, metrics, **settings)


GRID = """\
name = "synthetic"
seeds = 5
metrics = ["factor_vae", "mig", "beta_vae"]
[[datasets]]
name = "dsprites_rendered"
[[datasets]]
name = "shapes3d_rendered"
[[models]]
name = "vae"
[[models]]
name = "beta_vae"
beta = [1, 2, 4, 6, 8, 16]
[[models]]
name = "factor_vae"
gamma = [10, 20, 30, 40, 50, 100]
"""
