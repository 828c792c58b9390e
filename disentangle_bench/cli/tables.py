"""`bench leaderboard` and `bench list`: what a study holds, and what a grid can name."""

from __future__ import annotations

from pathlib import Path

import click

from disentangle_bench import registry
from disentangle_bench.cli.group import main
from disentangle_bench.cli.output import print_leaderboard

LISTED = {"models": "model", "datasets": "data set", "metrics": "metric"}


@main.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--sort", metavar="METRIC", help="Rank by this measure.  [default: the first metric]")
@click.option(
    "--format", "style", type=click.Choice(["table", "csv", "markdown"]), default="table", show_default=True
)
def leaderboard(study: Path, sort: str | None, style: str) -> None:
    """Print the leaderboard of the study directory STUDY, rebuilt from its runs."""
    print_leaderboard(study, sort, style)


@main.command("list")
@click.argument("kind", type=click.Choice(list(LISTED)))
def list_command(kind: str) -> None:
    """List the models, datasets or metrics that a grid can name."""
    for name in registry.names(LISTED[kind]):
        click.echo(f"{name:<22} {describe(LISTED[kind], name)}")


def describe(kind: str, name: str) -> str:
    """One line on a registered thing: what it can be set to, or where it is from."""
    if kind == "metric":
        from disentangle_bench.scoring import named_metrics

        found = named_metrics([name])[name]
        return f"{', '.join(found.headlines) or 'diagnostics'} (revision {found.revision}): {found.paper}"
    found = registry.resolve(kind, name)
    if kind == "data set":
        factors = zip(found.factor_names, found.factor_sizes, strict=True)
        return f"{found.provenance}: " + ", ".join(f"{factor} {size}" for factor, size in factors)
    from disentangle_bench.spec import model_options

    settings = dict(found.hypers) | model_options(found)
    return f"{', '.join(f'{key}={value}' for key, value in settings.items())}: {found.paper}"
