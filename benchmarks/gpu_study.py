"""A study that a GPU's minutes hold: how many seeds fit, and the packing of what it has produced.

    python benchmarks/gpu_study.py plan GRID --speed speed.jsonl --seconds 390
    python benchmarks/gpu_study.py pack STUDY OUT

`plan` prints options for `bench run GRID`, one a line: the largest number of seeds whose stacks are trained in that
time, going by the rows that gpu_speed.py has measured. Where not even one seed fits, the grid's last models are left
out. `pack` writes OUT/study.tgz (scores, curves, provenance, tables) and the weights of some runs in up to three
files OUT/weights-N.tgz; unpacked in one place they are the study again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from disentangle_bench.errors import BenchError
from disentangle_bench.grid import Grid, ModelSpec, expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.records.study_dir import StudyDir

START_SECONDS = 30  # to import, to load the data and to write tables
SCORE_SECONDS = 2  # a run, encoded and scored beside others
MEASURED_AS = {"beta_vae": "vae"}  # a step of these costs the same, where they are not measured themselves
MOST_SEEDS = 64
WEIGHT_FILES, FILE_BYTES, STUDY_BYTES = 3, 15 * 2**20, 2**20
LEFT_OUT = {"weights.safetensors", "pictures", "checkpoints", "progress", ".lock"}
DERIVED = ".png"  # figures are drawn again from the rest

Speed = dict[str, dict[int, float]]  # by model, by runs of the stack: seconds of a step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser("plan", help="print the options for `bench run`")
    plan.add_argument("grid", type=Path)
    plan.add_argument("--speed", type=Path, required=True, help="what gpu_speed.py --json-lines wrote")
    plan.add_argument("--seconds", type=float, required=True, help="for everything, from start to tables")
    plan.add_argument("--precision", default="bfloat16", help="of the measured rows to go by")
    plan.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    plan.add_argument("--most", type=int, default=MOST_SEEDS, help="seeds")
    pack = commands.add_parser("pack", help="pack a study's files")
    pack.add_argument("study", type=Path)
    pack.add_argument("out", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "pack":
        pack_study(arguments.study, arguments.out)
        return
    speed, compiling = measured(arguments.speed.read_text().splitlines(), arguments.precision)
    grid = read_grid(arguments.grid, arguments.overrides)
    models, seeds, seconds = fitting(grid, speed, compiling, arguments.seconds, arguments.most)
    print(
        f"{seeds} seeds of {', '.join(model.name for model in models)}: about {seconds:.0f} s of"
        f" {arguments.seconds:.0f}",
        file=sys.stderr,
    )
    print("--seeds", seeds, sep="\n")
    if models != grid.models:
        print("--set", f"models=[{', '.join(map(inline, models))}]", sep="\n")


def measured(lines: Iterable[str], precision: str) -> tuple[Speed, float]:
    """Seconds of a step of our stacks in that precision, and the longest compiling among them."""
    rows = [json.loads(line) for line in lines]
    ours = [
        row
        for row in rows
        if row.get("trainer") == "ours" and row["precision"] == precision and row["steps_per_second"]
    ]
    speed: Speed = {}
    for row in ours:
        speed.setdefault(row["model"], {})[row["runs"]] = row["runs"] / row["steps_per_second"]
    return speed, max((row["compile_seconds"] for row in ours), default=0.0)


def fitting(
    grid: Grid, speed: Speed, compiling: float, seconds: float, most: int = MOST_SEEDS
) -> tuple[tuple[ModelSpec, ...], int, float]:
    """Models of the grid, seeds, and the seconds that they take: all models if they fit, with the most seeds that do.

    One seed of the first model, where nothing fits: the study goes on where its time limit stops it.
    """
    for count in range(len(grid.models), 0, -1):
        models = grid.models[:count]
        times = [
            study_seconds(
                grid.model_copy(update={"models": models, "seeds": tuple(range(seeds))}), speed, compiling
            )
            for seeds in range(1, most + 1)
        ]
        fits = [seeds for seeds, time in enumerate(times, 1) if time <= seconds]
        if fits:
            return models, fits[-1], times[fits[-1] - 1]
    return grid.models[:1], 1, times[0]


def study_seconds(grid: Grid, speed: Speed, compiling: float) -> float:
    """What the whole study takes, each program in one stack; infinite where a model has not been measured."""
    specs = expand(grid)
    programs = {spec.program: spec for spec in specs}
    total = START_SECONDS + SCORE_SECONDS * len(specs)
    for program, runs in Counter(spec.program for spec in specs).items():
        spec = programs[program]
        measured_as = spec.model if spec.model in speed else MEASURED_AS.get(spec.model, spec.model)
        step = step_seconds(speed, measured_as, runs)
        total += compiling + spec.training.steps * step
    return total


def step_seconds(speed: Speed, model: str, runs: int) -> float:
    """Of a stack of so many runs, between and beyond the sizes measured.

    A stack below the smallest one measured is taken to be no faster. A model with a single size grows from there as
    the VAE does.
    """
    sizes = speed.get(model, {})
    if not sizes:
        return float("inf")
    others = speed.get("vae", {})
    if len(sizes) == 1 and len(others) > 1:
        ((size, seconds),) = sizes.items()
        return seconds * between(others, runs) / between(others, size)
    return between(sizes, runs)


def between(sizes: dict[int, float], runs: int) -> float:
    """Linear between sizes, constant below the smallest, proportional to the runs above the largest."""
    known = sorted(sizes)
    largest = known[-1]
    if runs > largest:
        return sizes[largest] * runs / largest
    return float(np.interp(runs, known, [sizes[size] for size in known]))


def inline(model: ModelSpec) -> str:
    """The model as an inline table of TOML."""
    settings = [
        f"{key} = {json.dumps(value)}" for key, value in {"name": model.name, **model.settings}.items()
    ]
    return "{ " + ", ".join(settings) + " }"


def pack_study(study: Path, out: Path) -> None:
    """Write study.tgz and as many runs' weights as the files hold, and say what is left out."""
    if not study.is_dir():
        raise BenchError(f"there is no study {study}")
    target = out / "study.tgz"
    with tarfile.open(target, "w:gz") as archive:
        archive.add(study, arcname="study", filter=without_bulk)
    size = target.stat().st_size
    print(
        f"{target.name}: {size / 2**10:.0f} KiB" + (", more than it should be" if size > STUDY_BYTES else "")
    )
    weights = list(weights_by_seed(study))
    files = filled(weights, [path.stat().st_size for path in weights])
    for number, paths in enumerate(files, 1):
        with tarfile.open(out / f"weights-{number}.tgz", "w:gz", compresslevel=1) as archive:
            for path in paths:
                archive.add(path, arcname=str(Path("study") / path.relative_to(study)))
        print(f"weights-{number}.tgz: " + ", ".join(path.parent.name for path in paths))
    packed = {path for paths in files for path in paths}
    for path in weights:
        if path not in packed:
            print(f"left out: the weights of {path.parent.name}, {path.stat().st_size / 2**20:.1f} MiB")


def without_bulk(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = Path(entry.name)
    return None if path.name in LEFT_OUT or path.suffix == DERIVED else entry


def weights_by_seed(study: Path) -> Iterator[Path]:
    """The weights of finished runs; the first seed of every model and setting before the second of any."""
    directory = StudyDir(study)
    done = [record.spec for record in directory.records(curves=False) if record.failure is None]
    for spec in sorted(done, key=lambda spec: (spec.seed, spec.id)):
        yield directory.run_path(spec.id) / "weights.safetensors"


def filled(paths: Sequence[Path], sizes: Sequence[int]) -> list[list[Path]]:
    """The paths in files, each path in the first that has room for its bytes; those without room are left out."""
    files: list[list[Path]] = [[] for _ in range(WEIGHT_FILES)]
    room = [FILE_BYTES] * WEIGHT_FILES
    for path, size in zip(paths, sizes, strict=True):
        number = next((n for n in range(WEIGHT_FILES) if size <= room[n]), None)
        if number is not None:
            files[number].append(path)
            room[number] -= size
    return [file for file in files if file]


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"error: {error}")
