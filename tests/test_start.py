"""What each command imports: who only looks at a study does not wait for torch, nor a first step for scikit-learn."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import disentangle_bench
from disentangle_bench.evaluation.scores import named_metrics
from disentangle_bench.grid import Grid, expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.specs import RunSpec

GRID = """
name = "finished"
seeds = 2
metrics = ["mig", "sap"]
datasets = [{ name = "dsprites_rendered" }, { name = "shapes3d_rendered", every = { scale = 2 } }]
models = [{ name = "beta_vae", beta = [1, 4] }, { name = "pca" }]
"""
TRAINING = {"torch", "torch._dynamo", "torchvision"}
FILES = {"h5py", "PIL"}
SCORING = {"sklearn", "lightgbm", "scipy.stats"}
TABLES = {"pandas", "scipy"}
FIGURES = {"matplotlib"}
ALL = TRAINING | FILES | SCORING | TABLES | FIGURES
COMMANDS = {
    "--version": ALL | {"numpy", "pydantic", "rich"},
    "--help": ALL | {"numpy", "pydantic", "rich"},
    "run --help": ALL | {"numpy", "pydantic", "rich"},
    "list metrics": ALL | {"rich"},
    "list models": ALL | {"rich"},
    "list datasets": ALL | {"rich"},
    "data list": ALL,
    "status results/finished": ALL | {"rich"},
    "leaderboard results/finished": TRAINING | FILES | SCORING | FIGURES,
    "compare results/finished --a model=beta_vae --b model=pca": TRAINING | FILES | SCORING | FIGURES,
    "run grid.toml": TRAINING | FILES | SCORING | FIGURES,
    "run grid.toml --seeds 1 --shard 1/1 --device cpu": TRAINING | FILES | SCORING | FIGURES,
}
# Prints the names of all modules, however the command ends.
COMMAND = """
import sys
from disentangle_bench.cli import main
try:
    main(sys.argv[1:], prog_name="bench")
finally:
    print("\\n" + " ".join(sys.modules))
"""
FIRST_STEP = """
import sys
import tiny_data
import disentangle_bench.study.study
from disentangle_bench.build import new_objective
from disentangle_bench.specs import DatasetSpec, NetworkSpec, RunSpec, TrainingSpec
from disentangle_bench.train.plan import make_training
network = NetworkSpec(latents=3, channels=(4, 4, 4, 4), hidden=16)
spec = RunSpec(
    dataset=DatasetSpec(name="tiny_data:SQUARES"), model="factor_vae", hypers={"gamma": 10.0}, seed=0,
    options={"discriminator_width": 16, "discriminator_layers": 2}, network=network, training=TrainingSpec(),
)
make_training(new_objective(spec), (spec,), tiny_data.squares()).advance()
print(" ".join(sys.modules))
"""


def modules_of(code: str, *arguments: str, cwd: Path) -> set[str]:
    """The modules that a process of its own has imported at the end of this code, which prints them last."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def record(spec: RunSpec, grid: Grid) -> RunRecord:
    """What `bench run` keeps of a run of the grid, scored with the metrics as they are now."""
    metrics = {
        name: {"headlines": list(metric.headlines), "revision": metric.revision, "paper": metric.paper}
        for name, metric in named_metrics(grid.metrics).items()
    }
    scores = {"reconstruction_nats": 20.0 + spec.seed, "mse": 0.1, "mig": 0.5, "sap": 0.1 * spec.seed}
    data = {"provenance": "rendered", "fingerprint": "ab" * 32}
    return RunRecord(
        spec,
        provenance={"data": data, "device": "cpu", "precision": "float32", "seconds": {"training": 9.0}},
        scores={"scores": scores, "metrics": metrics, "scoring": grid.scoring.model_dump()},
        curves=[{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}],
        weights={"encoder.weight": np.zeros(1, np.float32)},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a grid, and all its runs in results/finished."""
    place = tmp_path_factory.mktemp("start")
    (place / "grid.toml").write_text(GRID)
    grid, study = read_grid(place / "grid.toml"), StudyDir(place / "results" / "finished")
    study.write_grid(grid)
    for spec in expand(grid):
        study.save(record(spec, grid))
    modules_of(COMMAND, "run", "grid.toml", cwd=place)  # makes the tables
    return place


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_what_it_needs(command: str, folder: Path) -> None:
    assert not modules_of(COMMAND, *command.split(), cwd=folder) & COMMANDS[command]


def test_tables_that_are_gone_are_drawn_without_torch(folder: Path) -> None:
    for name in ("scores.csv", "tradeoff.png"):
        (folder / "results" / "finished" / name).unlink()
    assert not modules_of(COMMAND, "run", "grid.toml", cwd=folder) & (TRAINING | SCORING)
    assert (folder / "results" / "finished" / "tradeoff.png").is_file()


def test_the_first_step_comes_without_what_scores_and_draws() -> None:
    late = SCORING | TABLES | FIGURES | {"torch._dynamo", "torchvision", "h5py"}
    assert not modules_of(FIRST_STEP, cwd=Path(__file__).parent) & late


def test_the_package_itself_imports_nothing_and_says_what_it_has() -> None:
    code = "import sys, disentangle_bench\nprint(dir(disentangle_bench))\nprint(*sys.modules)"
    assert not modules_of(code, cwd=Path(__file__).parent) & (ALL | {"numpy", "pydantic", "click", "rich"})
    assert set(disentangle_bench.__all__) <= set(dir(disentangle_bench))
