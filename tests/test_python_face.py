"""The package from Python: run a grid, read its scores, use a trained model, score codes."""

from pathlib import Path

import pytest
import tiny_data
import torch

import disentangle_bench
from disentangle_bench import BenchError, load_dataset, load_run, load_scores, run, score_codes


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("face")
    (folder / "tiny.toml").write_text(tiny_data.GRID)
    outcome = run(folder / "tiny.toml", folder / "study", device="cpu", seeds=1)
    assert (outcome.done, outcome.failed) == (3, 0)
    return outcome.path


def test_every_name_of_the_face_is_there() -> None:
    for name in disentangle_bench.__all__:
        assert getattr(disentangle_bench, name) is not None
    assert set(disentangle_bench.__all__) <= set(dir(disentangle_bench))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = disentangle_bench.no_such_name


def test_a_trained_model_gives_the_codes_that_were_scored(study: Path) -> None:
    squares = load_dataset("tiny_data:SQUARES")
    table = load_scores(study)
    for _, row in table.iterrows():
        model = load_run(study / "runs" / row["run"])
        codes = model.encode(squares.images(range(48)))
        assert codes.shape == (48, 3)
        scores = score_codes(
            codes, squares.factors(range(48)), metrics=["mig", "factor_vae"], seed=row["seed"]
        )
        assert scores["mig"] == row["mig"]
        assert scores["factor_vae"] == row["factor_vae"]


def test_a_trained_model_decodes_reconstructs_and_samples(study: Path) -> None:
    squares = load_dataset("tiny_data:SQUARES")
    model = load_run(study / "runs" / load_scores(study)["run"][0])
    images = squares.images([0, 7, 47])
    assert torch.equal(model.reconstruct(images), model.decode(model.encode(images)))
    assert torch.equal(model.encode(images), model.encode(images.float() / 255))
    drawn = model.sample(5, seed=3)
    assert drawn.shape == (5, 1, 16, 16)
    assert torch.equal(drawn, model.sample(5, seed=3))
    assert not torch.equal(drawn, model.sample(5, seed=4))


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="not a run directory"):
        load_run(tmp_path)
