"""The command line: what a user types, what comes back, and one clear message with exit code 2 for each mistake."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tiny_data
from click.testing import CliRunner, Result
from PIL import Image
from pydantic import ValidationError

from disentangle_bench.cli import main
from disentangle_bench.data import download
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.precision import has_instructions
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.specs import RunSpec


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    return tmp_path


def bench(*arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def files(path: Path) -> set[str]:
    return {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}


def test_a_study_from_grid_to_leaderboard_and_nothing_twice(here: Path) -> None:
    first = bench("run", "tiny.toml", "--device", "cpu")
    assert first.exit_code == 0, first.output
    assert "6 runs done, 0 failed" in first.output
    study = here / "results" / "tiny"
    scores = pd.read_csv(study / "scores.csv")
    assert len(scores) == 6
    assert scores[["mig", "factor_vae", "reconstruction_nats", "mse", "kl", "elbo"]].notna().all().all()
    assert set(pd.read_csv(study / "leaderboard.csv")["n_seeds"]) == {2}
    weights = {path: path.stat().st_mtime_ns for path in study.rglob("weights.safetensors")}
    assert len(weights) == 6

    second = bench("run", "tiny.toml", "--device", "cpu")
    assert second.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in study.rglob("weights.safetensors")} == weights
    assert pd.read_csv(study / "scores.csv").equals(scores)


def test_a_metric_more_is_scored_without_training(here: Path) -> None:
    bench("run", "tiny.toml", "--seeds", "1")
    study = here / "results" / "tiny"
    weights = {path: path.stat().st_mtime_ns for path in study.rglob("weights.safetensors")}
    before = pd.read_csv(study / "scores.csv")
    again = bench("run", "tiny.toml", "--seeds", "1", "--set", 'metrics=["mig", "factor_vae", "beta_vae"]')
    assert again.exit_code == 0, again.output
    after = pd.read_csv(study / "scores.csv")
    assert after["beta_vae"].notna().all()
    assert after["mig"].equals(before["mig"])
    assert {path: path.stat().st_mtime_ns for path in study.rglob("weights.safetensors")} == weights


def test_a_metric_of_another_revision_is_scored_again(here: Path) -> None:
    bench("run", "tiny.toml", "--seeds", "1")
    for path in here.rglob("scores.json"):
        kept = json.loads(path.read_text())
        kept["metrics"]["mig"]["revision"] = 0
        kept["scores"]["mig"] = 77.0
        path.write_text(json.dumps(kept))
    assert bench("run", "tiny.toml", "--seeds", "1").exit_code == 0
    assert (pd.read_csv("results/tiny/scores.csv")["mig"] < 1).all()


def test_more_seeds_add_runs_only(here: Path) -> None:
    bench("run", "tiny.toml", "--seeds", "1")
    before = pd.read_csv("results/tiny/scores.csv").set_index("run")
    assert bench("run", "tiny.toml", "--seeds", "2").exit_code == 0
    after = pd.read_csv("results/tiny/scores.csv").set_index("run")
    assert len(after) == 2 * len(before)
    assert after.loc[before.index, "mig"].equals(before["mig"])


def test_a_smaller_run_in_a_study_hides_nothing_from_score_and_status(here: Path) -> None:
    bench("run", "tiny.toml", "--seeds", "3")
    study = here / "results" / "tiny"
    runs = len(list(study.glob("runs/*/DONE")))
    bench("run", "tiny.toml", "--seeds", "1", "--set", 'models=[{name="vae"}]')
    kept = next(study.glob("runs/*-s2-*"))
    shutil.copytree(kept, kept.with_name(f"{kept.name}.bak"))
    (study / "runs" / "odd").mkdir()
    (study / "runs" / "odd" / "DONE").touch()
    assert f"{runs} of {runs} runs done, 0 failed, 0 to go; finished" in bench("status", str(study)).output
    shutil.rmtree(study / "runs" / "odd")
    assert (
        f"{runs} runs done, 0 failed"
        in bench("score", str(study), "--metric", "sap", "--allow", "tiny_data").output
    )
    scores = pd.read_csv(study / "scores.csv")
    assert len(scores) == runs
    assert scores["sap"].notna().all()


def test_the_same_study_twice_has_the_same_numbers(here: Path) -> None:
    tables = []
    for place in ("a", "b"):
        assert bench("run", "tiny.toml", "--out", place, "--seeds", "1").exit_code == 0
        tables.append(pd.read_csv(f"{place}/scores.csv"))
    assert tables[0].equals(tables[1])


def test_a_diverging_run_is_recorded_and_the_others_go_on(here: Path) -> None:
    result = bench(
        "run", "tiny.toml", "--set", 'models=[{name="vae"}, {name="tiny_data:Exploding"}]', "--seeds", "1"
    )
    assert result.exit_code == 1
    assert "1 runs done, 1 failed" in result.output
    scores = pd.read_csv("results/tiny/scores.csv").set_index("model")
    assert scores.loc["vae", "status"] == "DONE"
    assert scores.loc["tiny_data:Exploding", "status"] == "FAILED"
    assert "diverged" in scores.loc["tiny_data:Exploding", "failure"]
    again = bench(
        "run", "tiny.toml", "--set", 'models=[{name="vae"}, {name="tiny_data:Exploding"}]', "--seeds", "1"
    )
    assert "1 runs failed earlier and are left alone" in again.output


def test_a_crashing_metric_costs_its_own_column_only(here: Path) -> None:
    result = bench(
        "run", "tiny.toml", "--seeds", "1", "--set", 'metrics=["tiny_data:crashing_metric", "mig"]'
    )
    assert result.exit_code == 0, result.output
    assert "this metric always fails" in result.output
    scores = pd.read_csv("results/tiny/scores.csv")
    assert scores["mig"].notna().all()
    assert "crashing_metric" not in scores


def test_dry_run_plans_and_writes_nothing(here: Path) -> None:
    before = files(here)
    result = bench("run", "tiny.toml", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "to train: 6" in result.output
    assert "of training" in result.output
    assert files(here) == before
    bench("run", "tiny.toml", "--seeds", "1")
    assert "3 runs done" in bench("run", "tiny.toml", "--dry-run").output


def test_a_precision_without_instructions_is_told_of(here: Path) -> None:
    def told(precision: str) -> bool:
        arguments = ("--device", "cpu", "--dry-run", "--set", f"training.precision={precision}")
        return f"no instructions for {precision}" in bench("run", "tiny.toml", *arguments).stderr

    assert not told("float32")
    assert told("bfloat16") != has_instructions("bfloat16", "cpu")


AUTO = ("run", "tiny.toml", "--device", "cpu", "--seeds", "1", "--set", "training.precision=auto")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_auto_is_the_precision_of_the_device_and_then_of_the_study(
    here: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    other = {"float32": "bfloat16", "bfloat16": "float32"}[precision]
    monkeypatch.setattr("disentangle_bench.study.study.automatic", lambda device: precision)
    first = bench(*AUTO)
    assert first.exit_code == 0, first.output
    assert f'"auto" stands for {precision}: cpu has ' in first.stderr
    study = StudyDir(here / "results" / "tiny")
    assert study.precision() == precision
    before = sorted(os.listdir(study.runs))
    assert len(before) == 3
    for run in before:
        assert json.loads((study.runs / run / "spec.json").read_text())["training"]["precision"] == precision
    # On another machine the study goes on with what it has.
    monkeypatch.setattr("disentangle_bench.study.study.automatic", lambda device: other)
    again = bench(*AUTO)
    assert again.exit_code == 0, again.output
    assert f'"auto" stands for {precision}: as results/tiny was begun with' in again.stderr
    assert sorted(os.listdir(study.runs)) == before


def test_an_open_precision_is_no_runs_and_no_clusters(here: Path) -> None:
    grid = read_grid(here / "tiny.toml", ["training.precision=auto"])
    assert {spec.training.precision for spec in expand(grid)} == {"float32"}
    spec = expand(grid)[0].model_dump(mode="json")
    with pytest.raises(ValidationError, match="precision"):
        RunSpec.model_validate(spec | {"training": spec["training"] | {"precision": "auto"}})
    refused = bench(*AUTO, "--launcher", "ray")
    assert refused.exit_code == 2
    assert "a Ray cluster has others" in refused.stderr
    unknown = bench("run", "tiny.toml", "--set", "training.precision=half")
    assert unknown.exit_code == 2
    assert "'auto'" in unknown.stderr


def test_leaderboard_formats(here: Path) -> None:
    bench("run", "tiny.toml")
    table = bench("leaderboard", "results/tiny").output
    assert "factor_vae" in table
    assert (
        bench("leaderboard", "results/tiny", "--format", "csv").stdout
        == Path("results/tiny/leaderboard.csv").read_text()
    )
    markdown = bench("leaderboard", "results/tiny", "--format", "markdown", "--sort", "factor_vae").stdout
    assert markdown.startswith("| rank | dataset |")


def test_grids_of_the_package_have_names(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    listed = bench("grids").output.splitlines()
    files = sorted((Path(__file__).parents[1] / "grids").glob("*.toml"))
    assert [line.split()[0] for line in listed] == [path.stem for path in files]
    assert all(30 < len(line) <= 79 for line in listed)
    assert bench("grids", "quickstart").output == files[6].read_text()
    assert bench("validate", "quickstart").output.startswith("quickstart: 6 runs")
    # A file of that name is what is meant.
    Path("quickstart").write_text(
        'datasets = [{ name = "dsprites_rendered" }]\nmodels = [{ name = "pca" }]\nseeds = 1'
    )
    assert bench("validate", "quickstart").output.startswith("quickstart: 1 runs")
    for command in (("validate", "quikstart"), ("grids", "quikstart")):
        wrong = bench(*command)
        assert (wrong.exit_code, "unknown grid 'quikstart'. Did you mean 'quickstart'?" in wrong.output) == (
            2,
            True,
        )


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics"])
def test_lists(kind: str) -> None:
    result = bench("list", kind)
    assert result.exit_code == 0
    assert {"models": "factor_vae", "datasets": "shapes3d_rendered", "metrics": "mig"}[kind] in result.output


def test_validate(here: Path) -> None:
    assert "6 runs" in bench("validate", "tiny.toml").output


def own_data(kind: str, folder: Path) -> str:
    """The squares as a user's own npz, HDF5 file or image folder; what the grid calls them."""
    squares = tiny_data.squares()
    images = squares.images(range(48)).numpy()
    factors = squares.factors(range(48)).numpy()
    names = np.array(squares.factor_names)
    if kind == "npz":
        np.savez(folder / "mine.npz", images=images, factors=factors, factor_names=names)
        return "mine.npz"
    if kind == "h5":
        with h5py.File(folder / "mine.h5", "w") as file:
            file["images"], file["factors"] = images, factors
        return "mine.h5"
    (folder / "mine").mkdir()
    rows = ["file,row,column,light"]
    for number, (image, values) in enumerate(zip(images, factors, strict=True)):
        Image.fromarray(image[0]).save(folder / "mine" / f"{number}.png")
        rows.append(",".join(map(str, (f"{number}.png", *values))))
    (folder / "mine" / "factors.csv").write_text("\n".join(rows))
    return "./mine"


@pytest.mark.parametrize("kind", ["npz", "h5", "folder"])
def test_a_study_on_ones_own_data(here: Path, kind: str) -> None:
    name = own_data(kind, here)
    result = bench("run", "tiny.toml", "--seeds", "1", "--set", f'datasets=[{{name="{name}"}}]')
    assert result.exit_code == 0, result.output
    board = pd.read_csv("results/tiny/leaderboard.csv")
    assert set(board["provenance"]) == {"user"}
    assert set(board["dataset"]) == {Path(name).name}
    assert board["mig_mean"].notna().all()


def test_a_published_file_that_cannot_be_had_says_what_to_do(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there: no network
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    result = bench("run", "tiny.toml", "--set", 'datasets=[{name="dsprites"}]', "--data-dir", "files")
    assert result.exit_code == 2
    assert "by hand" in result.output
    assert "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz" in result.output
    assert not (here / "results").exists()


def test_data_commands(here: Path) -> None:
    assert "not there" in bench("data", "list", "--data-dir", "files").output
    assert bench("data", "verify", "shapes3d", "--data-dir", "files").exit_code == 1
    assert "Did you mean 'dsprites'" in bench("data", "verify", "dsprits").output
    unhashed = here / "real3d_complicated_shapes_ordered.npz"
    assert bench("data", "get", "mpi3d_real_complex", "--data-dir", ".").exit_code == 2
    unhashed.write_bytes(b"who knows")
    assert (
        "no hash of it is published" in bench("data", "get", "mpi3d_real_complex", "--data-dir", ".").output
    )
    assert "verified" not in bench("data", "verify", "mpi3d_real_complex", "--data-dir", ".").output
    unhashed.unlink()
    (here / "3dshapes.h5").write_bytes(b"not it")
    assert "DAMAGED" in bench("data", "list", "--data-dir", ".").output
    result = bench("data", "get", "shapes3d", "--data-dir", ".")
    assert result.exit_code == 2
    assert (here / "3dshapes.h5").read_bytes() == b"not it"
    assert bench("data", "show", "tiny_data:SQUARES", "--out", "sheet.png").exit_code == 0
    assert (here / "sheet.png").read_bytes().startswith(b"\x89PNG")


MISTAKES = [
    (["run", "nowhere.toml"], "no grid file"),
    (["run", "."], "cannot be read"),
    (["run", "tiny.toml", "--set", "training.steps=0"], "training.steps = 0"),
    (["run", "tiny.toml", "--set", 'models=[{name="betavae"}]'], "Did you mean 'beta_vae'"),
    (["run", "tiny.toml", "--set", 'metrics=["migg"]'], "Did you mean 'mig'"),
    (
        ["run", "tiny.toml", "--set", 'datasets=[{name="dsprites_renderd"}]'],
        "Did you mean 'dsprites_rendered'",
    ),
    (["run", "tiny.toml", "--set", "seeds=[]"], "seeds"),
    (["run", "tiny.toml", "--set", "nonsense=1"], "nonsense"),
    (["run", "tiny.toml", "--set", 'metrics=["no_such_module:f"]'], "no_such_module"),
    (["run", "tiny.toml", "--set", 'metrics=["tiny_data:nothing"]'], "nothing"),
    (
        ["run", "tiny.toml", "--set", "network.channels=[4,4,4,4,4]", "--set", "network.kernels=[4,4,4,4,4]"],
        "16 x 16",
    ),
    (["run", "tiny.toml", "--set", 'datasets=[{name="tiny_data:SQUARES", every={row=9}}]'], "row"),
    (["run", "tiny.toml", "--out", "tiny.toml"], "is a file"),
    (["run", "tiny.toml", "--out", "tiny.toml/study"], "cannot be written"),
    (["run", "tiny.toml", "--device", "cuda:7"], "CUDA"),
    (["run", "tiny.toml", "--device", "abacus"], "abacus"),
    (["run", "tiny.toml", "--seeds", "0"], "--seeds"),
    (["validate", "tiny.toml", "--set", "training.batch_size=-1"], "training.batch_size"),
    (["leaderboard", "nowhere"], "nowhere"),
    (["list", "model"], "models"),
    (["calibrate", "tiny_data:SQUARES", "--metric", "mig", "--out", "nowhere/c.csv"], "cannot be written"),
    (["show", "nowhere"], "nowhere is no folder of a study or run, and no grid"),
    (["data", "show", "tiny_data:SQUARES", "--out", "nowhere/sheet.png"], "cannot be written"),
    (["score", "nowhere", "--metric", "mig"], "no grid file"),
    (["score", "--codes", "nowhere.npz"], "no file nowhere.npz"),
    (["rnu", "tiny.toml"], "rnu"),
]


@pytest.mark.parametrize(("arguments", "word"), MISTAKES, ids=lambda value: " ".join(value)[:50])
def test_mistakes_exit_with_2_one_message_and_nothing_written(
    here: Path, arguments: list[str], word: str
) -> None:
    before = files(here)
    result = bench(*arguments)
    assert result.exit_code == 2
    assert word in result.output
    assert "Traceback" not in result.output
    assert files(here) == before


def test_a_broken_toml(here: Path) -> None:
    (here / "broken.toml").write_text("seeds = [1,\nname=")
    result = bench("run", "broken.toml")
    assert result.exit_code == 2
    assert "broken.toml is not valid TOML" in result.output


LOADED = """
import sys
from disentangle_bench.cli import main
try:
    main({arguments!r})
except SystemExit:
    print(sorted(sys.modules))
"""


def loaded_by(*arguments: str) -> tuple[str, set[str]]:
    """What the command prints in a fresh interpreter, and the modules that are loaded when it ends."""
    code = LOADED.format(arguments=list(arguments))
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return output, set(ast.literal_eval(output.splitlines()[-1]))


def test_help_imports_nothing_heavy() -> None:
    """Torch alone takes seconds to import; help and completion must not wait for it."""
    output, loaded = loaded_by("--help")
    assert "Usage" in output
    assert not loaded & {"torch", "numpy", "pandas", "pydantic", "scipy", "matplotlib", "rich", "sklearn"}


def test_a_leaderboard_opens_without_torch(here: Path) -> None:
    bench("run", "tiny.toml", "--seeds", "1")
    output, loaded = loaded_by("leaderboard", "results/tiny")
    assert "factor_vae" in output
    assert "torch" not in loaded


def test_a_model_of_pairs_on_images_that_make_none_is_refused_before_anything_is_written(here: Path) -> None:
    (here / "pairs.toml").write_text(
        tiny_data.GRID.replace('{ name = "vae" }', '{ name = "ada_gvae" }').replace(
            '{ name = "tiny_data:SQUARES" }', '{ name = "tiny_data:SQUARES", hold_out = { row = [0] } }'
        )
    )
    result = bench("run", "pairs.toml")
    assert result.exit_code == 2
    assert "every combination" in result.output
    assert not (here / "results").exists()


def test_controls_of_several_seeds_are_shown_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["calibrate", "tiny_data:SQUARES", "--metric", "mig", "--seeds", "3", "--jobs", "2"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    began = [line for line in result.output.splitlines() if line.startswith("[")]
    assert began == ["[1/1] tiny_data:SQUARES"]
