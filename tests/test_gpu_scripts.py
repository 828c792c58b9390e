"""The few minutes on a GPU: rows by name, each kept at once; files that fit."""

import argparse
import io
import json
import subprocess
import tarfile
from collections import Counter
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


def test_where_both_forms_were_measured_it_says_which_to_choose() -> None:
    names = [
        "vae:ours:tf32:4",
        "vae:kernels:tf32:4",
        "vae:ours:tf32:8",
        "vae:kernels:tf32:8",
        "vae:kernels:tf32:2",
    ]
    rates = dict(zip(map(row_spec, names), [100.0, 150.0, 100.0, 80.0, 9.0], strict=True))
    assert gpu_speed.forms_compared(rates) == [
        "vae:kernels:tf32:4: 1.50 times the speed of products; choose kernels",
        "vae:kernels:tf32:8: 0.80 times the speed of products; choose products",
    ]


def test_the_short_grid_is_what_it_says() -> None:
    runs = expand(read_grid(GRID))
    assert len(runs) == 9
    assert {run.training.steps for run in runs} == {300_000}
    assert len({run.program for run in runs}) == 2
    assert {(run.model, *run.hypers.values()) for run in runs} == {
        ("beta_vae", 1.0),
        ("beta_vae", 4.0),
        ("factor_vae", 40.0),
    }


def test_a_packed_study_has_no_bulk(tmp_path: Path) -> None:
    study = tmp_path / "study"
    bulk = ["curves.png", "runs/a/weights.safetensors", "runs/a/pictures/x.svg", "checkpoints/b.safetensors"]
    for name in ["scores.csv", "runs/a/curves.csv", *bulk]:
        (study / name).parent.mkdir(parents=True, exist_ok=True)
        (study / name).write_text("some")
    gpu_study.pack_tables(study, tmp_path)
    with tarfile.open(tmp_path / "study.tgz") as archive:
        files = [entry.name for entry in archive.getmembers() if entry.isfile()]
    assert sorted(files) == ["study/runs/a/curves.csv", "study/scores.csv"]


def test_weights_come_home_in_parts_and_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "study"
    paths = [study / "runs" / name / "weights.safetensors" for name in "abc"]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes([number]) * 30_000)
    monkeypatch.setattr(gpu_study, "weights_by_seed", lambda study: iter(paths))
    monkeypatch.setattr(gpu_study, "PART_BYTES", 25_000)
    checkpoint = study / "checkpoints" / "d.safetensors"  # of what is not finished: it comes with every call
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"step 7")
    for call, names in enumerate([["a", "b"], ["c"]]):
        out = tmp_path / str(call)
        out.mkdir()
        gpu_study.pack_weights(study, out)
        parts = sorted(out.glob("weights.tar.*"))
        assert all(part.stat().st_size <= 25_000 for part in parts)
        with tarfile.open(fileobj=io.BytesIO(b"".join(part.read_bytes() for part in parts))) as archive:
            weights = [f"study/runs/{name}/weights.safetensors" for name in names]
            assert archive.getnames() == [*weights, "study/checkpoints/d.safetensors"]
            archive.extractall(out, filter="data")
        for name in names:
            file = Path("runs", name, "weights.safetensors")
            assert (out / "study" / file).read_bytes() == (study / file).read_bytes()


def test_tiles_are_timed_for_every_launch_of_a_step() -> None:
    pytest.importorskip("triton")
    import kernel_tiles

    found = kernel_tiles.launches((1, 64, 64))
    # Four layers each way; the first has no gradient by its images.
    assert Counter(launch.name for launch in found.elements()) == {"halve": 8, "double": 7, "outer": 8}


@pytest.mark.parametrize("script", ["on_gpu.sh", "wheels.sh"])
def test_scripts_are_valid(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / "benchmarks" / script], check=True)
