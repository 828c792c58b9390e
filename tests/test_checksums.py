"""One bit that has changed in a checkpoint or in a run's weights is found when the file is read."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_data
from forked import Bench, ends_well
from test_rundir import record
from test_streams import RUN

from disentangle_bench.errors import BenchError, Damaged
from disentangle_bench.records.run_record import WEIGHTS_SUM
from disentangle_bench.records.study_dir import StudyDir

ABOUT = {
    "step": 300,
    "runs": [{"id": "s1", "curves": [{"step": 1, "loss": 0.5}], "seconds": 1.5, "failure": None}],
}


def flips(path: Path, count: int) -> Iterator[int]:
    """Every bit of the head's length and `count` others anywhere, one at a time; the file is whole again after."""
    whole = path.read_bytes()
    chance = random.Random(0)
    for bit in [*range(64), *(chance.randrange(8 * len(whole)) for _ in range(count))]:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        yield bit
    path.write_bytes(whole)


def test_every_flipped_bit_of_a_checkpoint_is_found(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    tensors = {
        "a": np.arange(40, dtype=np.float32).reshape(1, 40),
        "moments": np.ones((1, 3)),
        "b": np.zeros((1, 0)),
    }
    study.checkpoints.save(ABOUT, tensors)
    ((about, path),) = study.checkpoints.each()
    assert about == ABOUT
    for bit in flips(path, 500):
        with pytest.raises(Damaged):
            study.checkpoints.load(path)
        assert all(found == ABOUT for found, _ in study.checkpoints.each()), (
            f"bit {bit} changes what is said of runs"
        )
    about, arrays = study.checkpoints.load(path)
    assert about == ABOUT
    assert all(np.array_equal(arrays[name], tensors[name]) for name in tensors)


def test_a_checkpoint_of_other_tensors_under_the_same_head_is_found(tmp_path: Path) -> None:
    """Equal bytes under other names are other tensors."""
    study = StudyDir(tmp_path)
    study.checkpoints.save(ABOUT, {"a": np.zeros((1, 2)), "b": np.ones((1, 2))})
    ((_, path),) = study.checkpoints.each()
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"a":', b'"?":').replace(b'"b":', b'"a":').replace(b'"?":', b'"b":'))
    with pytest.raises(Damaged, match="tensors"):
        study.checkpoints.load(path)


def test_a_damaged_checkpoint_is_told_and_the_run_starts_from_its_beginning(tmp_path: Path) -> None:
    """The end is that of a study that nobody disturbed, and nothing of the file is left."""
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    run = [*RUN, "--set", "training.steps=300"]
    ends_well(Bench(*run, "--out", "calm", folder=tmp_path))
    bench = Bench(*run, "--out", "hurt", "--checkpoint-every", "0.01s", folder=tmp_path)
    while not list(tmp_path.glob("hurt/checkpoints/*.safetensors")) and bench.process.is_alive():
        time.sleep(0.01)
    bench.send(signal.SIGTERM)
    assert bench.wait() == 143, bench.said
    (checkpoint,) = tmp_path.glob("hurt/checkpoints/*.safetensors")
    content = bytearray(checkpoint.read_bytes())
    content[-5] ^= 4
    checkpoint.write_bytes(content)
    again = Bench(*run, "--out", "hurt", folder=tmp_path)
    ends_well(again)
    assert f"the checkpoint hurt/checkpoints/{checkpoint.name} cannot be used" in again.said
    assert again.said.count("Its runs start from their beginning.") == 1
    assert not list(tmp_path.glob("hurt/checkpoints/*"))
    (calm,), (hurt,) = (
        list(tmp_path.glob(f"{name}/runs/*/weights.safetensors")) for name in ("calm", "hurt")
    )
    assert calm.read_bytes() == hurt.read_bytes()


def test_every_flipped_bit_of_weights_is_found(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    (tmp_path / "runs").mkdir()
    saved = record()
    study.save(saved)
    for _ in flips(study.run_path(saved.spec.id) / "weights.safetensors", 300):
        with pytest.raises(BenchError, match="damaged"):
            study.load(saved.spec.id, weights=True)
    assert study.load(saved.spec.id, weights=True).weights.keys() == saved.weights.keys()


def test_weights_without_a_checksum_are_not_read(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    (tmp_path / "runs").mkdir()
    saved = record()
    study.save(saved)
    path = study.run_path(saved.spec.id) / "provenance.json"
    path.write_text(path.read_text().replace(WEIGHTS_SUM, "something_else"))
    assert study.load(saved.spec.id).scores == saved.scores
    with pytest.raises(BenchError, match="is not the file whose"):
        study.load(saved.spec.id, weights=True)
