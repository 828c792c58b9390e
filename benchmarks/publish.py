"""Put the runs of a finished study, and its controls, into results/runs.csv, in place of the experiment's old rows.

    python benchmarks/publish.py STUDY EXPERIMENT [--commit HASH]

`--commit` is for studies trained where there was no git. Then `python benchmarks/results.py` makes the tables anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir

RUNS = Path(__file__).parent.parent / "results" / "runs.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("experiment")
    parser.add_argument("--commit")
    arguments = parser.parse_args()
    old = pd.read_csv(RUNS)
    rows = list(rows_of(arguments.study, arguments.experiment, arguments.commit))
    new = pd.DataFrame(rows).reindex(columns=old.columns)
    whole = pd.concat([old[old["experiment"] != arguments.experiment], new])
    counts = [name for name in whole if name in COUNTS]
    whole = whole.astype(dict.fromkeys(counts, "Int64"))
    whole.to_csv(RUNS, index=False, float_format="%.7g")
    print(f"{RUNS.name}: {len(new)} rows of {arguments.experiment}, {len(whole)} in all")


COUNTS = {"seed", "steps", "batch_size", "latents", "hidden", "threads", "stack", "points", "active_units"}


def rows_of(study: Path, experiment: str, commit: str | None) -> Iterator[dict[str, Any]]:
    """A row a finished run, then a row a control; only what runs.csv has columns for is kept of it."""
    directory = StudyDir(study)
    for record in sorted(directory.records(curves=False), key=lambda record: record.spec.id):
        if record.failure is None:
            yield {"experiment": experiment, **row_of(record, commit)}
    for kept in directory.controls():
        about = {"experiment": experiment, "dataset": kept["dataset"], "provenance": kept["provenance"]}
        about |= {"status": "DONE", "points": kept["asked"]["points"]}
        about["metric_revisions"] = revisions(kept["asked"]["revisions"])
        for row in kept["rows"]:
            yield {**row, **about, "model": f"control: {row['control']}"}


def row_of(record: RunRecord, commit: str | None) -> dict[str, Any]:
    """What runs.csv says of a run."""
    spec, about, scores = record.spec, record.provenance, record.scores
    return {
        **scores["scores"],
        "dataset": spec.dataset.label,
        "provenance": about["data"]["provenance"],
        "model": spec.model,
        "setting": ", ".join(f"{name}={value:g}" for name, value in sorted(spec.hypers.items())),
        "seed": spec.seed,
        "status": "DONE",
        "steps": spec.training.steps,
        "learning_rate": spec.options.get("learning_rate", spec.training.learning_rate),
        "batch_size": spec.training.batch_size,
        "precision": spec.training.precision,
        "likelihood": spec.options.get("likelihood"),
        "architecture": spec.network.architecture or "conv",
        "latents": spec.network.latents,
        "hidden": spec.network.hidden,
        "started": about["started"][:10],
        "git_commit": about["git_commit"] or commit,
        "device": about["device"],
        "threads": about["threads"],
        "torch": about["versions"]["torch"],
        **{f"{what}_seconds": about["seconds"][what] for what in ("training", "encoding", "scoring")},
        "stack": about["stack"],
        "data_fingerprint": about["data"]["fingerprint"][:12],
        "points": scores["points"],
        "metric_revisions": revisions(
            {name: metric["revision"] for name, metric in scores["metrics"].items()}
        ),
    }


def revisions(kept: Mapping[str, int | str]) -> str:
    return " ".join(f"{name}={revision}" for name, revision in kept.items())


if __name__ == "__main__":
    main()
