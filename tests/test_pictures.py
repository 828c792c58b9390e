"""Pictures of trained models, made by `run_pictures` and by each command, from real run directories."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_data
import torch
from click.testing import CliRunner
from PIL import Image
from train_alone import train_alone

from disentangle_bench.cli import main
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.labelled_pictures import (
    TwoLatents,
    labelled_pictures,
    manifold,
    told_best,
    two_latents,
)
from disentangle_bench.evaluation.load import load_run
from disentangle_bench.evaluation.pictures import run_pictures, traversals
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.grid_file import check_grid
from disentangle_bench.models.objective import is_fitted
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.specs import RunSpec
from disentangle_bench.train.fit import train_fitted
from disentangle_bench.train.objective import make_objective

SQUARES = tiny_data.squares()
LATENTS = 4
TILE = 16 + 2  # pixels of an image and of the gap beside it

LABELLED = ("denoising.png", "inpainting.png", "latent_map.png", "manifold.png")
ALLOWED = ("--allow", "tiny_data")  # the data set that the studies here name is a module's


def model_of(model: str) -> tuple[TrainedModel, list[dict[str, float]]]:
    spec = RunSpec.model_validate(
        {
            "dataset": {"name": "tiny_data:SQUARES"},
            "model": model,
            "hypers": {},
            "options": {},
            "seed": 0,
            "network": {"channels": (4, 4), "kernels": (4, 4), "hidden": 16, "latents": LATENTS},
            "training": {"steps": 5, "batch_size": 8, "learning_rate": 1e-3},
        }
    )
    objective = make_objective(spec, SQUARES)
    trained = (train_fitted if is_fitted(objective) else train_alone)(objective, spec, SQUARES)
    return TrainedModel(
        spec, objective, trained.networks, SQUARES.device, SQUARES.image_shape
    ), trained.curves


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run directory each of a VAE and of PCA."""
    study = StudyDir(tmp_path_factory.mktemp("study"))
    study.write_grid(
        check_grid({"name": "x", "datasets": [{"name": "tiny_data:SQUARES"}], "models": [{"name": "vae"}]})
    )
    found = {}
    about = {"images": 48, "image_shape": [1, 16, 16], "provenance": "user", "fingerprint": "squares-1"}
    provenance = {"data": about, "device": "cpu", "precision": "float32"}
    scoring = {"points": "all", "reconstruction_points": 4}
    scores = {"scores": {}, "metrics": {}, "failures": {}, "scoring": scoring}
    for name in ("vae", "pca"):
        model, curves = model_of(name)
        record = RunRecord(model.spec, provenance, scores, curves, model.weights())
        study.save(record)
        found[name] = study.runs / model.spec.id
    return found


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("name", ["vae", "pca"])
def test_the_pictures_of_a_run(runs: dict[str, Path], name: str) -> None:
    model = load_run(runs[name])
    pictures = run_pictures(model, SQUARES)
    sizes = {file: opened(content).size for file, content in pictures.items()}
    expected = {
        "reconstructions.png": (2 + 10 * TILE, 2 + 2 * TILE),
        "traversals.png": (2 + 10 * TILE, 2 + LATENTS * TILE),
        "traversals.gif": (2 + LATENTS * TILE, 2 + TILE),
    }
    assert sizes == expected | ({"samples.png": (2 + 8 * TILE, 2 + 8 * TILE)} if name == "vae" else {})
    assert pictures == run_pictures(model, SQUARES)  # bit for bit, whatever was drawn before
    moving = opened(pictures["traversals.gif"])
    assert moving.n_frames > 2  # frames that are the same are merged
    sheet = np.asarray(opened(pictures["reconstructions.png"]))
    original, below = sheet[2:18, 2:18], sheet[20:36, 2:18] / 255
    every = SQUARES.images(range(48))[:, 0].numpy()
    given = every[(every == original).all((1, 2))]
    assert len(given) == 1  # the upper row holds images of the data set
    rebuilt = model.reconstruct(torch.from_numpy(given)[:, None])[0, 0].numpy()
    assert below == pytest.approx(rebuilt, abs=1 / 255)


def test_traversals_move_one_latent_and_pass_through_what_they_should(runs: dict[str, Path]) -> None:
    model = load_run(runs["vae"])
    drawn = traversals(model, SQUARES, 7)
    assert drawn.shape == (LATENTS, 10, 1, 16, 16)
    code = model.encode(SQUARES.images([7]))[0]
    code[2] = 2.0
    assert torch.allclose(drawn[2, -1], model.decode(code[None])[0], atol=1e-6)
    pca = load_run(runs["pca"])
    codes = pca.encode(SQUARES.images(range(48)))
    drawn = traversals(pca, SQUARES, 7)
    ends = torch.stack([codes.quantile(q, dim=0) for q in (0.05, 0.95)])
    assert drawn.std(1).sum() > 0
    assert (ends[0] < ends[1]).all()
    with pytest.raises(BenchError, match=r"images 0\.\.47, not 48"):
        traversals(model, SQUARES, 48)


@pytest.mark.parametrize("name", ["vae", "pca"])
def test_pictures_with_words(runs: dict[str, Path], name: str) -> None:
    model = load_run(runs[name])
    drawn = labelled_pictures(model, SQUARES)
    assert tuple(drawn) == LABELLED
    assert drawn == labelled_pictures(model, SQUARES)
    for content in drawn.values():
        assert np.asarray(opened(content).convert("L")).std() > 10  # not blank


def test_the_two_latents_are_those_that_vary_most(runs: dict[str, Path]) -> None:
    found = two_latents(load_run(runs["pca"]), SQUARES)
    spread = found.codes.std(0)
    assert sorted([found.first, found.second]) == sorted(spread.argsort()[-2:].tolist())
    chosen = two_latents(load_run(runs["pca"]), SQUARES, (3, 1))
    assert torch.equal(chosen.shown, chosen.codes[:, [3, 1]])


def test_the_map_is_coloured_by_what_the_two_latents_tell() -> None:
    factors = SQUARES.factors(range(48))
    noise = torch.randn(48, 1, generator=torch.Generator().manual_seed(0))
    codes = torch.cat([noise, factors[:, 1:2] * 0.01, factors[:, 2:]], dim=1)
    assert told_best(TwoLatents(codes, factors, 0, 1), SQUARES) == "column"
    assert told_best(TwoLatents(codes, factors, 2, 0), SQUARES) == "light"
    assert told_best(TwoLatents(codes[:1], factors[:1], 0, 1), SQUARES) is None


def test_the_manifold_holds_the_other_latents_at_their_medians(runs: dict[str, Path]) -> None:
    """A decoder that paints one grey: the third latent's value."""
    model = load_run(runs["pca"])
    asked: list[torch.Tensor] = []

    class Painter:
        spec = model.spec

        def decode(self, codes: torch.Tensor) -> torch.Tensor:
            asked.append(codes)
            return torch.zeros(len(codes), 1, 4, 4)

    codes = torch.stack([torch.linspace(0, 1, 101), torch.linspace(0, 10, 101), torch.arange(101.0)], dim=1)
    manifold(Painter(), TwoLatents(codes, codes.long(), 0, 1))  # type: ignore[arg-type]
    (grid,) = asked
    assert (grid[:, 2] == 50).all()
    # The first row is the top one: the largest value of the second latent, the first latent rising.
    assert grid[0, :2].tolist() == pytest.approx([0.02, 9.8])
    assert grid[9, :2].tolist() == pytest.approx([0.98, 9.8])
    assert grid[-1, :2].tolist() == pytest.approx([0.98, 0.2])


def bench(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_each_command_writes_its_picture(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vae = runs["vae"]
    assert f"samples-{vae.name}.png" in bench("sample", vae, "-n", 5)
    assert Image.open(f"samples-{vae.name}.png").size == (2 + 5 * TILE, 2 + TILE)
    bench("sample", vae, "-n", 5, "--seed", 1, "--out", "other.png")
    assert Path("other.png").read_bytes() != Path(f"samples-{vae.name}.png").read_bytes()
    bench("traverse", vae, "--image", 3, *ALLOWED)
    bench("traverse", vae, "--out", "moves.gif", *ALLOWED)
    assert Image.open("moves.gif").format == "GIF"
    bench("interpolate", vae, "--from", 0, "--to", 47, "--out", "line.png", *ALLOWED)
    line = np.asarray(Image.open("line.png"))
    assert line.shape == (2 + TILE, 2 + 12 * TILE)
    for position, image in ((0, 0), (11, 47)):
        tile = line[2:18, 2 + position * TILE : 18 + position * TILE]
        assert np.array_equal(tile, SQUARES.images([image])[0, 0].numpy())


def test_show_draws_once(runs: dict[str, Path]) -> None:
    drawn = bench("show", runs["pca"], *ALLOWED)
    assert sorted(path.name for path in (runs["pca"] / "pictures").iterdir()) == [
        "denoising.png",
        "inpainting.png",
        "latent_map.png",
        "manifold.png",
        "reconstructions.png",
        "traversals.gif",
        "traversals.png",
    ]
    stamps = {path: path.stat().st_mtime_ns for path in (runs["pca"] / "pictures").iterdir()}
    again = bench("show", runs["pca"], *ALLOWED)
    assert {line for line in again.splitlines() if "pictures" in line} <= set(drawn.splitlines())
    assert stamps == {path: path.stat().st_mtime_ns for path in (runs["pca"] / "pictures").iterdir()}


def test_show_adds_what_an_earlier_run_lacks_and_draws_the_map_as_asked(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["vae"], run)
    (run / "pictures").mkdir()
    kept = run / "pictures" / "samples.png"
    kept.write_bytes(b"as it was")
    told = bench("show", run, *ALLOWED)
    assert kept.read_bytes() == b"as it was"
    assert str(kept) in told
    assert {path.name for path in (run / "pictures").iterdir()} == {*LABELLED, "samples.png"}
    before = {name: (run / "pictures" / name).read_bytes() for name in LABELLED}
    bench("show", run, "--latents", 3, 0, "--factor", "light", *ALLOWED)
    after = {name: (run / "pictures" / name).read_bytes() for name in LABELLED}
    assert {name for name in LABELLED if before[name] != after[name]} == {"latent_map.png", "manifold.png"}
    assert "two different ones of 0..3" in bench("show", run, "--latents", 1, 1, *ALLOWED, code=2)
    assert "unknown factor" in bench("show", run, "--factor", "lights", *ALLOWED, code=2)


def test_show_lists_the_runs_of_a_study(runs: dict[str, Path], tmp_path: Path) -> None:
    study = StudyDir(tmp_path / "study")
    shutil.copytree(runs["vae"].parents[1], study.path)
    spec = study.load(runs["vae"].name).spec.model_copy(update={"seed": 1})
    provenance = study.load(runs["vae"].name).provenance
    study.save(RunRecord(spec, provenance, failure="diverged: at step 3\n\ndetails\n"))
    told = bench("show", study.path, "--allow", "tiny_data")
    listed = {line.split()[-1]: line.split()[0] for line in told.splitlines() if line.strip()}
    ended = {run.name: "done" for run in runs.values()} | {spec.id: "failed"}
    assert {name: state for name, state in listed.items() if name in ended} == ended
    assert f"FAILED {spec.id}: diverged: at step 3" in told


def test_mistakes_are_told(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "pca has no prior to sample from" in bench("sample", runs["pca"], code=2)
    assert "images 0..47, not 99" in bench(
        "interpolate", runs["vae"], "--from", 0, "--to", 99, *ALLOWED, code=2
    )
    assert "written as .png or .gif" in bench("traverse", runs["vae"], "--out", "a.jpg", *ALLOWED, code=2)
    assert "is not a run directory" in bench("show", tmp_path, code=2)
    assert "cannot be written" in bench("sample", runs["vae"], "--out", "nowhere/at/all.png", code=2)
    assert not list(tmp_path.iterdir())
