"""The few minutes on a GPU: rows by name, each kept at once; seeds by measured speed; files that fit."""

import argparse
import json
import subprocess
import tarfile
from pathlib import Path

import gpu_speed
import gpu_study
import pytest
import torch
from gpu_speed import Lines, Place, RowSpec, row_spec, row_specs

from disentangle_bench.grid import expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.train.estimate import noise_dataset

ROOT = Path(__file__).parent.parent
GRID = ROOT / "grids" / "gpu_short.toml"
LIMITS = {"copied_bytes_per_second": 1e12, "bfloat16_operations_per_second": 1e12}


def test_rows_by_name() -> None:
    assert row_specs("vae:eager, factor_vae:ours:bfloat16:64,vae:compiled,vae:eager:tf32") == [
        RowSpec("vae", "eager", "float32", 1),
        RowSpec("factor_vae", "ours", "bfloat16", 64),
        RowSpec("vae", "compiled", "tf32", 1),
        RowSpec("vae", "eager", "tf32", 1),
    ]
    assert [str(spec) for spec in row_specs(gpu_speed.ROWS)][2] == "vae:ours:bfloat16:64"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gan:eager", "the model is one of vae, factor_vae"),
        ("vae", "the trainer is one of eager"),
        ("vae:our:bfloat16:64", "the trainer is one of eager"),
        ("vae:ours", "the precision is one of float32"),
        ("vae:ours:half:64", "the precision is one of float32"),
        ("vae:ours:bfloat16", "ours needs a number of runs"),
        ("vae:ours:bfloat16:0", "ours needs a number of runs"),
        ("vae:eager:float32:2", "eager trains one model"),
        ("vae:ours:bfloat16:64:1", "too much"),
        ("", "the model is one of"),
    ],
)
def test_a_wrong_row_says_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=said) as error:
        row_spec(text)
    assert f"row {text!r}" in str(error.value)


def test_a_row_that_fails_is_kept_and_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trainer_of(spec: RowSpec, place: Place):
        def step() -> None:
            if spec.trainer == "vmap":
                raise RuntimeError("not here\nand more")

        return step, str

    monkeypatch.setattr(gpu_speed, "trainer_of", trainer_of)
    path = tmp_path / "speed.jsonl"
    place = Place(noise_dataset((1, 64, 64), torch.device("cpu")), torch.zeros(0), compiled=False)
    specs = row_specs("vae:eager,vae:vmap:tf32:4,vae:ours:float32:2")
    gpu_speed.table(specs, place, 0.001, LIMITS, Lines(path))
    eager, failed, ours = map(json.loads, path.read_text().splitlines())
    assert failed["failure"] == "RuntimeError: not here"
    assert failed["steps_per_second"] is None
    assert eager["ratio"] == 1
    assert ours["ratio"] == pytest.approx(ours["steps_per_second"] / eager["steps_per_second"])


def speed_lines(**steps: float) -> list[str]:
    """The lines of a speed.jsonl: seconds of a step by `model_runs`; compiling takes 20 s and 30 s."""
    lines = [{"row": "about", "device": "a hand's example"}, {"row": "ceilings", **LIMITS}]
    for number, (name, seconds) in enumerate(steps.items()):
        model, _, runs = name.rpartition("_")
        ours = {"model": model, "trainer": "ours", "precision": "bfloat16", "runs": int(runs)}
        lines.append(
            ours | {"steps_per_second": int(runs) / seconds, "compile_seconds": 20 + 10 * (number > 0)}
        )
    failed = {"model": "vae", "trainer": "ours", "precision": "bfloat16", "runs": 128}
    lines.append(failed | {"steps_per_second": None, "compile_seconds": None, "failure": "out of memory"})
    lines.append(failed | {"precision": "tf32", "steps_per_second": 1e9, "compile_seconds": 99.0})
    return [json.dumps(line) for line in lines]


def test_seconds_of_a_step_between_the_sizes_measured() -> None:
    speed, compiling = gpu_study.measured(
        speed_lines(vae_16=0.001, vae_64=0.003, factor_vae_64=0.006), "bfloat16"
    )
    assert compiling == 30
    assert gpu_study.step_seconds(speed, "vae", 8) == pytest.approx(0.001)
    assert gpu_study.step_seconds(speed, "vae", 40) == pytest.approx(0.002)
    assert gpu_study.step_seconds(speed, "vae", 128) == pytest.approx(0.006)
    assert gpu_study.step_seconds(speed, "factor_vae", 40) == pytest.approx(0.004)  # grows as the VAE does
    assert gpu_study.step_seconds(speed, "other", 1) == float("inf")


@pytest.mark.parametrize(
    ("seconds", "models", "seeds"),
    [
        # 30 s to start, 30 s to compile a stack, 2 s to score a run. VAE and beta-VAE: 2 M runs at 1 ms a step up to 16
        # runs, 300 s. FactorVAE: M runs at 2 ms, 600 s. All three are M seeds in 990 + 6 M seconds, for M up to 8.
        (990 + 6 * 7 + 5, 2, 7),
        (990 + 6 * 8, 2, 8),
        # Without FactorVAE: M seeds in 360 + 4 M seconds.
        (360 + 4 * 5, 1, 5),
        (100, 1, 1),
    ],
)
def test_as_many_seeds_as_fit(seconds: float, models: int, seeds: int) -> None:
    lines = speed_lines(vae_16=0.001, vae_64=0.003, factor_vae_64=0.006)
    grid = read_grid(GRID)
    found = gpu_study.fitting(grid, *gpu_study.measured(lines, "bfloat16"), seconds)
    assert found[:2] == (grid.models[:models], seeds)


def test_a_model_that_was_not_measured_is_left_out() -> None:
    speed, compiling = gpu_study.measured(speed_lines(vae_16=0.001), "bfloat16")
    models, seeds, _ = gpu_study.fitting(read_grid(GRID), speed, compiling, 1000)
    assert [model.name for model in models] == ["beta_vae"]
    assert seeds > 8
    again = read_grid(GRID, [f"models=[{', '.join(map(gpu_study.inline, models))}]"])
    assert again.models == models


def test_the_short_grid_is_what_it_says() -> None:
    runs = expand(read_grid(GRID))
    assert len(runs) == 12
    assert {run.training.steps for run in runs} == {300_000}
    assert len({run.program for run in runs}) == 2
    assert {(run.model, *run.hypers.values()) for run in runs} == {
        ("beta_vae", 1.0),
        ("beta_vae", 4.0),
        ("factor_vae", 40.0),
    }


def test_weights_fill_files_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_study, "FILE_BYTES", 10)
    monkeypatch.setattr(gpu_study, "WEIGHT_FILES", 2)
    paths = [Path(name) for name in "abcdef"]
    files = gpu_study.filled(paths, [6, 11, 6, 4, 5, 4])
    assert [[path.name for path in file] for file in files] == [["a", "d"], ["c", "f"]]


def test_a_packed_study_has_no_bulk(tmp_path: Path) -> None:
    study = tmp_path / "study"
    bulk = ["curves.png", "runs/a/weights.safetensors", "runs/a/pictures/x.svg", "checkpoints/b.safetensors"]
    for name in ["scores.csv", "runs/a/curves.csv", *bulk]:
        (study / name).parent.mkdir(parents=True, exist_ok=True)
        (study / name).write_text("some")
    gpu_study.pack_study(study, tmp_path)
    with tarfile.open(tmp_path / "study.tgz") as archive:
        files = [entry.name for entry in archive.getmembers() if entry.isfile()]
    assert sorted(files) == ["study/runs/a/curves.csv", "study/scores.csv"]


@pytest.mark.parametrize("script", ["on_gpu.sh", "wheels.sh"])
def test_scripts_are_valid(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / "benchmarks" / script], check=True)
