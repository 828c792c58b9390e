"""Index, factors and sub-grids, which every full data set shares."""

import pytest
import torch

from disentangle_bench.data.load import default_data_dir, load_dataset
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.errors import BenchError


def some(dataset, n=500):
    return torch.randint(len(dataset), (n,), generator=torch.Generator().manual_seed(3))


def test_index_and_factors_are_inverse(dsprites):
    index = some(dsprites)
    factors = dsprites.factors(index)
    assert torch.equal(dsprites.index(factors), index)
    assert (factors >= 0).all()
    assert (factors < torch.tensor(dsprites.factor_sizes)).all()


def test_the_last_factor_runs_fastest(dsprites):
    assert dsprites.factors([0, 1, 32]).tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0]]
    assert dsprites.index([[2, 5, 39, 31, 31]]).tolist() == [737279]


def test_what_is_outside_is_refused(dsprites):
    for index in ([-1], [737280], [0.5]):
        with pytest.raises(IndexError):
            dsprites.images(index)
    with pytest.raises(IndexError):
        dsprites.index([[0, 6, 0, 0, 0]])


def test_a_subgrid_picks_from_the_whole(dsprites):
    every = {"orientation": 7, "posX": 4, "shape": 2}
    part = subgrid(dsprites, every)
    assert part.factor_sizes == (2, 6, 6, 8, 32)
    index = some(part)
    steps = torch.tensor([every.get(name, 1) for name in dsprites.factor_names])
    whole = dsprites.index(part.factors(index) * steps)
    assert torch.equal(part.images(index), dsprites.images(whole))
    assert part.provenance == dsprites.provenance


def test_a_subgrid_says_what_was_kept(dsprites):
    part = subgrid(dsprites, {"posX": 4, "orientation": 5})
    assert part.name == "dsprites_rendered[orientation/5,posX/4]"
    assert part.fingerprint != dsprites.fingerprint
    assert part.fingerprint == subgrid(dsprites, {"orientation": 5, "posX": 4}).fingerprint
    assert subgrid(dsprites, {"posX": 1}) is dsprites


def test_a_subgrid_of_a_subgrid(dsprites):
    twice = subgrid(subgrid(dsprites, {"posX": 2}), {"posX": 4})
    once = subgrid(dsprites, {"posX": 8})
    index = some(once)
    assert twice.factor_sizes == once.factor_sizes
    assert torch.equal(twice.images(index), once.images(index))


def test_a_factor_may_be_held_still(dsprites):
    assert subgrid(dsprites, {"shape": 3}).factor_sizes == (1, 6, 40, 32, 32)


@pytest.mark.parametrize("every", [{"pos_x": 2}, {"posX": 0}, {"posX": 33}, {"posX": 1.5}, {"posX": True}])
def test_an_impossible_subgrid_is_refused(dsprites, every):
    with pytest.raises(BenchError, match="posX"):
        subgrid(dsprites, every)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(BenchError, match="Did you mean 'dsprites_rendered'"):
        load_dataset("dsprites_renderd")


def test_where_data_lives(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DISENTANGLE_BENCH_DATA", raising=False)
    assert default_data_dir() == tmp_path / "cache" / "disentangle_bench"
    (tmp_path / "datasets").mkdir()
    assert default_data_dir() == tmp_path / "datasets"
    monkeypatch.setenv("DISENTANGLE_BENCH_DATA", str(tmp_path / "here"))
    assert default_data_dir() == tmp_path / "here"
