"""`bench sample`, `traverse`, `interpolate` and `show`: what a finished run's model draws."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from disentangle_bench import registry
from disentangle_bench.cli import complete
from disentangle_bench.cli.group import main
from disentangle_bench.cli.options import allow_option, data_dir_option
from disentangle_bench.cli.output import make_progress, say
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import FactorDataset
    from disentangle_bench.evaluation.trained_model import TrainedModel

run_argument = click.argument("run", type=click.Path(path_type=Path), shell_complete=complete.runs)


@main.command()
@run_argument
@click.option(
    "-n", "count", type=click.IntRange(1, 4096), default=64, show_default=True, help="Draw so many."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draw other samples.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write this PNG file.  [default: samples-<run>.png]"
)
@allow_option
def sample(run: Path, count: int, seed: int, out: Path | None, allow: tuple[str, ...]) -> None:
    """Draw images that RUN decodes from its prior."""
    from disentangle_bench.evaluation.load import load_run
    from disentangle_bench.evaluation.pictures import sample_picture

    write(out or Path(f"samples-{run.name}.png"), sample_picture(load_run(run, allow=allow), count, seed))


@main.command()
@run_argument
@click.option("--image", type=int, help="Start from this image.  [default: one at random, always the same]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write this PNG or GIF file.  [default: traversals-<run>.png]",
)
@data_dir_option
@allow_option
def traverse(
    run: Path, image: int | None, out: Path | None, data_dir: Path | None, allow: tuple[str, ...]
) -> None:
    """Draw what each latent of RUN does.

    Each row moves a latent. The others stay as an image's code has them. In a GIF (--out moves.gif) all rows move at
    once.
    """
    from disentangle_bench.evaluation import pictures

    path = out or Path(f"traversals-{run.name}.png")
    if path.suffix not in (".png", ".gif"):
        raise BenchError(f"{path}: a traversal is written as .png or .gif")
    model, dataset = load(run, data_dir, allow)
    start = int(pictures.shown_index(dataset, 1)[0]) if image is None else image
    drawn = pictures.traversals(model, dataset, start)
    moving = path.suffix == ".gif"
    write(path, pictures.gif(drawn) if moving else pictures.png(drawn.flatten(0, 1), drawn.shape[1]))


@main.command()
@run_argument
@click.option("--from", "first", type=int, required=True, help="Start at the image of this number.")
@click.option("--to", "last", type=int, required=True, help="End at the image of this number.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write this PNG file.  [default: interpolation-<run>.png]"
)
@data_dir_option
@allow_option
def interpolate(
    run: Path, first: int, last: int, out: Path | None, data_dir: Path | None, allow: tuple[str, ...]
) -> None:
    """Draw what RUN decodes between the codes of two images.

    The two images stand at the ends.
    """
    from disentangle_bench.evaluation.pictures import interpolation_picture

    content = interpolation_picture(*load(run, data_dir, allow), first, last)
    write(out or Path(f"interpolation-{run.name}.png"), content)


@main.command()
@click.argument(
    "run",
    type=click.Path(path_type=Path),
    metavar="RUN|STUDY|GRID",
    shell_complete=complete.studies_and_runs,
)
@click.option(
    "--latents",
    type=int,
    nargs=2,
    help="Draw map and manifold of these two.  [default: those that vary most]",
)
@click.option(
    "--factor", help="Colour the map by this factor.  [default: the one that the two latents show best]"
)
@data_dir_option
@allow_option
def show(
    run: Path,
    latents: tuple[int, int] | None,
    factor: str | None,
    data_dir: Path | None,
    allow: tuple[str, ...],
) -> None:
    """List the runs of a study or a grid, or the pictures of RUN.

    A list says which runs are done, failed, running and to do, and has their first scores. Pictures that are missing
    are drawn. With --latents or --factor, the map of the data in two latents and the manifold are drawn again.
    """
    from disentangle_bench.cli.run_list import list_grid, list_study
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.shipped_grids import shipped_grids

    if (run / "grid.toml").is_file():
        list_study(StudyDir(run), allow)
        return
    if not run.is_dir() and (run.suffix == ".toml" or len(run.parts) == 1):
        if not run.suffix and str(run) not in shipped_grids():
            raise BenchError(
                f"{run} is no folder of a study or run, and no grid; bench grids lists the grids"
            )
        list_grid(run)
        return
    from disentangle_bench.evaluation.labelled_pictures import labelled_pictures
    from disentangle_bench.evaluation.pictures import run_pictures

    folder = run / "pictures"
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    again = latents is not None or factor is not None
    drawn: dict[str, bytes] = {}
    if again or "denoising.png" not in there:
        model, dataset = load(run, data_dir, allow)
        drawn = labelled_pictures(model, dataset, latents, factor) | (
            {} if there else run_pictures(model, dataset)
        )
        folder.mkdir(exist_ok=True)
    for name in sorted(there - drawn.keys()):
        say(folder / name)
    for name, content in drawn.items():
        write(folder / name, content)


def load(run: Path, data_dir: Path | None, allow: tuple[str, ...]) -> tuple[TrainedModel, FactorDataset]:
    """The run's model and its data set, on the CPU."""
    from disentangle_bench.evaluation.load import load_run
    from disentangle_bench.study import study as pipeline

    model = load_run(run, allow=allow)
    registry.check_allowed("data set", model.spec.dataset.name, allow)
    return model, pipeline.load(model.spec.dataset, make_progress(), data_dir)


def write(path: Path, content: bytes) -> None:
    """Write a picture and say so."""
    from disentangle_bench.files import write_bytes

    try:
        write_bytes(path, content)
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {error.strerror or error}") from error
    say(path)
