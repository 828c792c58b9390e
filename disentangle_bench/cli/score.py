"""`bench score` and `bench calibrate`: metrics without training."""

from __future__ import annotations

from pathlib import Path

import click

from disentangle_bench import registry
from disentangle_bench.cli import complete
from disentangle_bench.cli.group import main
from disentangle_bench.cli.options import (
    allow_option,
    data_dir_option,
    jobs_option,
    metric_limit_option,
    metrics_option,
    plugin_metrics,
    plugin_option,
    refuse_jobs,
    refuse_options,
    with_metrics,
)
from disentangle_bench.cli.output import finish, make_progress, say
from disentangle_bench.cli.signals import stopping_politely
from disentangle_bench.errors import BenchError
from disentangle_bench.streams import go_on_unread


@main.command()
@click.argument("study", type=click.Path(path_type=Path), required=False, shell_complete=complete.studies)
@metrics_option("Score this metric; may be repeated.")
@plugin_option
@click.option(
    "--codes", type=click.Path(path_type=Path), help="Score the codes in this .npz, .npy, .csv or .parquet."
)
@click.option(
    "--dataset",
    metavar="NAME",
    shell_complete=complete.names("data set"),
    help="Take the factors of this data set, row for row.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The seed of metrics, with --codes.",
)
@click.option("--device", default="auto", show_default=True, help="Compute here: auto, cpu, cuda or cuda:N.")
@data_dir_option
@metric_limit_option
@allow_option
@jobs_option
def score(
    study: Path | None,
    metrics: tuple[str, ...],
    plugins: tuple[Path, ...],
    codes: Path | None,
    dataset: str | None,
    seed: int,
    device: str,
    data_dir: Path | None,
    metric_seconds: float | None,
    allow: tuple[str, ...],
    jobs: int | None,
) -> None:
    """Score runs of STUDY, or codes, without training.

    Finished runs are scored with further metrics: they are encoded again from their weights, and the study's tables are
    rebuilt. With --codes, a file of codes is scored.
    """
    if (study is None) == (codes is None):
        raise BenchError("name either a study directory or --codes FILE")
    if codes is not None:
        refuse_options("with --codes", "device", "allow", "jobs", *(() if dataset else ("data_dir",)))
    else:
        refuse_options("with a STUDY, whose runs know their own", "seed", "dataset")
    asked = tuple(dict.fromkeys((*metrics, *plugin_metrics(plugins))))
    if codes is not None:
        score_codes_file(codes, dataset, asked, seed, data_dir, metric_seconds)
        return
    from disentangle_bench.device import pick_device
    from disentangle_bench.grid_file import read_grid
    from disentangle_bench.processes.worker import fork_from_here
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.study.checks import check_metrics
    from disentangle_bench.study.options import Jobs, Options
    from disentangle_bench.study.study import Study

    if not asked:
        raise BenchError("name at least one metric with --metric or --plugin")
    assert study is not None
    fork_from_here()
    go_on_unread("stdout")  # what it prints is kept in the study too
    grid = with_metrics(read_grid(study / "grid.toml", allow=(*allow, *asked)), asked)
    check_metrics(grid, asked)
    place = pick_device(device)
    refuse_jobs(place.type, jobs)
    options = Options(
        place,
        retry_failed=True,
        data_dir=data_dir,
        metric_seconds=metric_seconds,
        allow=allow,
        jobs=Jobs(jobs),
    )
    with stopping_politely(options.stop):
        outcome = Study(grid, StudyDir(study), options, make_progress()).evaluate()
    finish(outcome)


@main.command()
@click.argument("dataset", shell_complete=complete.names("data set"))
@metrics_option(f"Score these only.  [default: all but {', '.join(registry.ON_REQUEST)}]")
@click.option("--points", type=click.IntRange(min=2), help="Use this many random images.  [default: all]")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Repeat with seeds 0..N-1."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write this CSV file.  [default: calibration-<dataset>.csv]",
)
@click.option("--device", default="auto", show_default=True, help="Compute here: auto, cpu, cuda or cuda:N.")
@data_dir_option
@metric_limit_option
@jobs_option
def calibrate(
    dataset: str,
    metrics: tuple[str, ...],
    points: int | None,
    seeds: int,
    out: Path | None,
    device: str,
    data_dir: Path | None,
    metric_seconds: float | None,
    jobs: int | None,
) -> None:
    """Score codes of known worth on DATASET.

    These are ceilings, chance, and an encoder that never trained.
    """
    import pandas as pd

    from disentangle_bench.device import pick_device
    from disentangle_bench.evaluation.models import Scoring
    from disentangle_bench.files import write_text, writing
    from disentangle_bench.processes.worker import fork_from_here
    from disentangle_bench.specs import DatasetSpec, ScoringSpec
    from disentangle_bench.study.options import Jobs, Options
    from disentangle_bench.study.study import calibrated, load

    fork_from_here()
    progress = make_progress()
    spec = DatasetSpec(name=dataset)
    images = load(spec, progress, data_dir)
    if not images.factor_names:
        raise BenchError(
            f"{images.name} has images without factors: there are no codes of known worth for it"
        )
    names = metrics or [name for name in registry.names("metric") if name not in registry.ON_REQUEST]
    place = pick_device(device)
    refuse_jobs(place.type, jobs)
    scoring = Scoring(tuple(names), ScoringSpec(points=points or "all"), metric_seconds)
    options = Options(place, data_dir=data_dir, jobs=Jobs(jobs))
    with stopping_politely(options.stop, kept="Nothing is written."):
        found = calibrated(spec, images, scoring, range(seeds), options, progress)
    for name, reason in found.failures.items():
        say(f"metric {name} gave no score: {reason}", err=True)
    table = pd.DataFrame(found.rows)
    path = out or Path(f"calibration-{dataset.replace('/', '_')}.csv")
    with writing(path):
        write_text(path, table.to_csv(index=False))
    say(table.groupby("control", sort=False).mean().drop(columns="seed").T.round(3).to_string())
    say(f"{images.provenance} data, {seeds} seeds; written to {path}")


def score_codes_file(
    codes: Path,
    dataset: str | None,
    metrics: tuple[str, ...],
    seed: int,
    data_dir: Path | None,
    metric_seconds: float | None,
) -> None:
    """What `bench evaluate --codes` does with these options."""
    from disentangle_bench.cli.evaluate import EvaluateCommand

    EvaluateCommand(
        codes=codes,
        dataset=dataset,
        metrics=metrics,
        seed=seed,
        data_dir=data_dir,
        metric_seconds=metric_seconds,
    ).do()
