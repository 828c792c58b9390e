"""`bench validate` says all that `bench run` would say before it starts, in the same words, and what to set."""

from pathlib import Path

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

from disentangle_bench.cli import main

GRID = {
    "seeds": 1,
    "metrics": ["mig"],
    "datasets": [{"name": "mine.npz"}],
    "models": [{"name": "vae"}],
    "network": {"latents": 3, "channels": [4, 4], "kernels": [4, 4], "hidden": 8},
    "training": {"steps": 2, "batch_size": 4},
    "scoring": {"reconstruction_points": 4},
}
DEFAULT_NETWORK = {"latents": 3}


def write(folder: Path, side: int = 28, rows: int = 20, **changes: object) -> None:
    factors = np.stack(np.divmod(np.arange(rows), 5), axis=1)
    np.savez(folder / "mine.npz", images=np.zeros((rows, side, side), np.uint8), factors=factors)
    (folder / "g.toml").write_text(tomli_w.dumps(GRID | changes))


def bench(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(main, [*arguments, "g.toml"])
    return ended.exit_code, ended.output


REFUSED = {
    "too often halved": (
        {"network": DEFAULT_NETWORK},
        "28 x 28 pixels can be halved 2 times: set network.channels and network.kernels to at most 2 entries, such as"
        " channels = [32, 32] and kernels = [4, 4]",
    ),
    "never halved": ({"side": 25}, 'set network.architecture = "fc"'),
    "more latents than images": (
        {"models": [{"name": "pca"}], "network": {"latents": 21}},
        "21 latents are more than the 20 components of 20 images",
    ),
    "an unknown held-out factor": (
        {"datasets": [{"name": "mine.npz", "hold_out": {"factor7": [1]}}]},
        "unknown factor of mine.npz 'factor7'",
    ),
    "held-out values": (
        {"datasets": [{"name": "mine.npz", "hold_out": {"factor1": [5]}}]},
        "factor1 of mine.npz has the values 0..4",
    ),
    "an unknown factor of a split": (
        {"datasets": [{"name": "mine.npz", "split": {"kind": "extrapolation", "factors": ["factor7"]}}]},
        "unknown factor of mine.npz 'factor7'",
    ),
    "a split that leaves nothing unseen": (
        {"datasets": [{"name": "mine.npz", "split": {"kind": "random", "share": 0.01}}]},
        "holding out random 0.01 leaves nothing unseen of mine.npz's 20 images",
    ),
    "a split that leaves nothing to train on": (
        {"datasets": [{"name": "mine.npz", "split": {"kind": "random", "share": 0.99}}]},
        "holding out random 0.99 leaves nothing to train on of mine.npz's 20 images",
    ),
    "a correlation in a table": (
        {
            "rows": 19,
            "datasets": [
                {
                    "name": "mine.npz",
                    "correlated": {"first": "factor0", "second": "factor1", "sigma": 0.2},
                }
            ],
        },
        "lacks some combinations of factors",
    ),
    "pairs of a table": ({"rows": 19, "models": [{"name": "ada_gvae"}]}, "trains on pairs of images"),
    "two metrics that give one score": (
        {"metrics": ["mig", "disentangle_bench.metrics.mig:METRIC"]},
        "both give",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("command", [["validate"], ["run", "--dry-run"], ["run", "--out", "study"]])
def test_refused_alike(
    case: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, message = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    write(tmp_path, **changes)
    code, output = bench(*command)
    assert (code, message in output) == (2, True), output
    assert not (tmp_path / "study").exists()


def test_what_is_advised_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, network={"latents": 3, "channels": [32, 32], "kernels": [4, 4]})
    assert bench("validate")[0] == 0
    write(tmp_path, side=25, network={"latents": 3, "architecture": "fc", "hidden": 8})
    assert bench("validate")[0] == 0


@pytest.mark.parametrize("device", ["xpu", "hpu", "mtia", "privateuseone", "meta", "nonsense", "cpu:x"])
def test_a_device_that_is_not_there(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    code, output = bench("run", "--dry-run", "--device", device)
    assert (code, f"device {device!r}" in output) == (2, True), output


def test_a_study_is_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    write(here)
    monkeypatch.chdir(here)
    assert bench("run")[0] == 0
    (run,) = (here / "results" / "g" / "runs").iterdir()
    trained = (run / "weights.safetensors").stat().st_mtime_ns
    monkeypatch.chdir(there)

    def said(*arguments: object) -> str:
        ended = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert ended.exit_code == 0, ended.output
        return ended.output

    study = here / "results" / "g"
    assert "1 of 1 runs done" in said("status", study)
    said("score", study, "--metric", "sap")
    said("traverse", run)
    said("interpolate", run, "--from", 0, "--to", 3)
    # The same grid from the same place goes on where it was; a relative path is one with its absolute one.
    monkeypatch.chdir(here)
    assert bench("run", "--set", "datasets.0.name=../here/mine.npz")[0] == 0
    assert [path.name for path in (study / "runs").iterdir()] == [run.name]
    assert (run / "weights.safetensors").stat().st_mtime_ns == trained
    table = said("leaderboard", study, "--format", "csv")
    assert "mine.npz" in table
    assert str(here) not in table
    (here / "mine.npz").unlink()
    assert "1 of 1 runs done" in said("status", study)


def test_other_data_do_not_mix_into_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        write(folder)
    monkeypatch.chdir(here)
    assert bench("run", "--out", str(tmp_path / "study"))[0] == 0
    monkeypatch.chdir(there)
    code, output = bench("run", "--out", str(tmp_path / "study"))
    assert (code, f"holds a study of {here}/mine.npz" in output) == (2, True), output
    code, output = bench("run", "--set", f'datasets=[{{name="mine.npz"}}, {{name="{here}/mine.npz"}}]')
    assert (code, "rename one" in output) == (2, True), output
    # The same path with other content.
    monkeypatch.chdir(here)
    with np.load("mine.npz") as kept:
        np.savez("mine.npz", images=kept["images"] + np.uint8(9), factors=kept["factors"])
    code, output = bench("run", "--out", str(tmp_path / "study"), "--seeds", "2")
    assert (code, "has changed since" in output) == (2, True), output


def test_a_study_may_grow_by_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    assert bench("run", "--out", "study")[0] == 0
    (tmp_path / "mine.npz").rename(tmp_path / "second.npz")
    write(tmp_path, datasets=[{"name": "mine.npz"}, {"name": "second.npz"}])
    assert bench("run", "--out", "study")[0] == 0
    assert len(list((tmp_path / "study" / "runs").iterdir())) == 2


def test_a_study_knows_the_data_of_all_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The grid that it keeps is that of the last command alone."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    (tmp_path / "mine.npz").rename(tmp_path / "second.npz")
    write(tmp_path)
    both, second = ({"name": "mine.npz"}, {"name": "second.npz"}), ({"name": "second.npz"},)
    for asked in (both, second, both[:1], second):
        (tmp_path / "g.toml").write_text(tomli_w.dumps(GRID | {"datasets": list(asked)}))
        code, output = bench("run", "--out", "study")
        assert code == 0, output
    (tmp_path / "other").mkdir()
    write(tmp_path / "other")
    for datasets in ([{"name": "other/mine.npz"}], [{"name": "other/mine.npz"}, {"name": "second.npz"}]):
        (tmp_path / "g.toml").write_text(tomli_w.dumps(GRID | {"datasets": datasets}))
        code, output = bench("run", "--out", "study")
        assert (code, f"holds a study of {tmp_path}/second.npz, {tmp_path}/mine.npz" in output) == (2, True)
