"""A small grid from files of further published sets to its leaderboard, and their contact sheets."""

import pandas as pd
import small_published

from disentangle_bench import load_dataset, run
from disentangle_bench.data.contact_sheet import contact_sheet

GRID = {
    "name": "further",
    "seeds": 1,
    "metrics": ["mig", "factor_vae"],
    "controls": False,
    "datasets": [
        {"name": "small_published:Cars"},
        {"name": "small_published:Toys", "size": 32},
        {"name": "small_published:Robots", "size": 64},
        {"name": "small_published:Renderings"},
    ],
    "models": [{"name": "vae"}],
    "network": {"latents": 3, "channels": [4, 4, 4], "kernels": [4, 4, 4], "hidden": 16},
    "training": {"steps": 4, "batch_size": 8},
}


def test_a_grid_over_the_further_sets(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    small_published.write_all(data)
    outcome = run(GRID, tmp_path / "study", data_dir=data, jobs=1)
    assert (outcome.done, outcome.failed) == (4, 0)
    scores = pd.read_csv(tmp_path / "study" / "scores.csv")
    assert scores.groupby("model").dataset.nunique().tolist() == [4]
    assert scores.mig.between(0, 1).all()
    assert (scores.reconstruction_nats != 0).all()


def test_their_contact_sheets_show_every_factor(tmp_path):
    small_published.write_all(tmp_path)
    for name in ("Cars", "Toys", "Robots", "Renderings"):
        dataset = load_dataset(f"small_published:{name}", data_dir=tmp_path)
        _, height, _ = dataset.image_shape
        assert len(contact_sheet(dataset)) == 2 + len(dataset.factor_names) * (height + 33)
