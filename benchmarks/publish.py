"""Put the runs of a study, and its controls, into results/runs.csv, in place of the experiment's rows of the same.

    python benchmarks/publish.py STUDY EXPERIMENT [--seeds N] [--commit HASH]

A setting takes the place of all rows that the experiment has of it, and a data set's controls that of its controls;
other rows stay. `--seeds` leaves out settings that have other than so many runs,
and `--commit` is for studies trained where there was no git. Then `python benchmarks/results.py` makes the tables anew.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from published_runs import setting_of

from disentangle_bench import load_dataset, load_run, registry
from disentangle_bench.evaluation.sample import latent_sample
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.agreement import udr_of_samples
from disentangle_bench.specs import RunSpec

RUNS = Path(__file__).parent.parent / "results" / "runs.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("experiment")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--commit")
    arguments = parser.parse_args()
    old = pd.read_csv(RUNS)
    rows = list(rows_of(arguments.study, arguments.experiment, arguments.commit, arguments.seeds))
    new = pd.DataFrame(rows).reindex(columns=old.columns)
    whole = replaced(old, new)
    counts = [name for name in whole if name in COUNTS]
    whole = whole.astype(dict.fromkeys(counts, "Int64"))
    whole.to_csv(RUNS, index=False, float_format="%.7g")
    print(f"{RUNS.name}: {len(new)} rows of {arguments.experiment}, {len(whole)} in all")


COUNTS = {"seed", "steps", "batch_size", "latents", "hidden", "threads", "stack", "points", "active_units"}


def replaced(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The old rows without those of a setting, or of a data set's controls, that `new` has; then the new rows."""
    same = ["experiment", "dataset", "model", "setting", "steps", "learning_rate", "precision", "latents"]
    keys = [pd.MultiIndex.from_frame(rows[same].astype(object).fillna("")) for rows in (old, new)]
    return pd.concat([old[~keys[0].isin(keys[1])], new])


def rows_of(
    study: Path, experiment: str, commit: str | None, seeds: int | None = None
) -> Iterator[dict[str, Any]]:
    """A row a finished run, then a row a control; only what runs.csv has columns for is kept of it.

    With `seeds` only settings that have so many runs.
    """
    directory = StudyDir(study)
    done = [record for record in directory.records() if record.failure is None]
    runs = Counter(key_of(record.spec) for record in done)
    done = [record for record in done if seeds in (None, runs[key_of(record.spec)])]
    done.sort(key=lambda record: (record.spec.dataset.label, record.spec.id))
    agreement = udr_of(directory, done)
    for record in done:
        yield {"experiment": experiment, **row_of(record, commit), "udr": agreement.get(record.spec.id)}
    # What a run of the data set calls all of its points.
    whole = {record.spec.dataset.label: record.scores["points"] for record in done}
    for kept in directory.controls():
        about = {"experiment": experiment, "dataset": kept["dataset"], "provenance": kept["provenance"]}
        points = kept["asked"]["points"]
        about |= {"status": "DONE", "points": whole.get(kept["dataset"]) if points == "all" else points}
        about["metric_revisions"] = revisions(
            {name: registry.resolve("metric", name).revision for name in kept["asked"]["metrics"]}
        )
        for row in kept["rows"]:
            yield {**row, **about, "model": f"control: {row['control']}"}


def row_of(record: RunRecord, commit: str | None) -> dict[str, Any]:
    """What runs.csv says of a run."""
    spec, about, scores = record.spec, record.provenance, record.scores
    bounds = scores.get("reconstruction") or {}
    return {
        **scores["scores"],
        "floor_nats": bounds.get("floor_nats"),
        "constant_nats": bounds.get("constant_nats"),
        "dataset": spec.dataset.label,
        "provenance": about["data"]["provenance"],
        "model": spec.model,
        "setting": setting_of(spec),
        "seed": spec.seed,
        "status": "DONE",
        "steps": spec.training.steps,
        "learning_rate": spec.options.get("learning_rate", spec.training.learning_rate),
        "batch_size": spec.training.batch_size,
        "precision": spec.training.precision,
        # That of PCA is no option.
        "likelihood": spec.options.get("likelihood") or bounds.get("likelihood"),
        "architecture": spec.network.architecture or "conv",
        "latents": spec.network.latents,
        "hidden": spec.network.hidden,
        "started": about["started"][:10],
        "git_commit": shortened(about["git_commit"] or commit),
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


def udr_of(study: StudyDir, records: Sequence[RunRecord]) -> dict[str, float]:
    """UDR of each run whose setting has other seeds in the study, by its id, as the study's own tables have it.

    What a run has no codes kept of is encoded again from its weights.
    """
    found: dict[str, float] = {}
    settings: dict[str, list[RunSpec]] = {}
    for record in records:
        spec = record.spec
        settings.setdefault(key_of(spec), []).append(spec)
    for specs in settings.values():
        if len(specs) > 1:
            found |= dict(zip((spec.id for spec in specs), udr_among(study, specs), strict=True))
    return found


def key_of(spec: RunSpec) -> str:
    """All that the seeds of a setting have in common, such as the steps: the id that seed 0 would have."""
    return spec.model_copy(update={"seed": 0}).id


def udr_among(study: StudyDir, specs: Sequence[RunSpec]) -> list[float]:
    """UDR of runs of one setting."""
    samples = [study.sample(spec.id) for spec in specs]
    if any(sample is None for sample in samples):
        entry = specs[0].dataset
        dataset = load_dataset(entry.name, every=entry.every, size=entry.size, parameters=entry.parameters)
        samples = [latent_sample(load_run(study.run_path(spec.id)), dataset) for spec in specs]
    return udr_of_samples(samples).tolist()


def shortened(commit: str | None) -> str | None:
    """The first 12 digits, and what stands behind the hash."""
    return None if commit is None else re.sub(r"^([0-9a-f]{12})[0-9a-f]*", r"\1", commit)


def revisions(kept: Mapping[str, int | str]) -> str:
    return " ".join(f"{name}={revision}" for name, revision in kept.items())


if __name__ == "__main__":
    main()
