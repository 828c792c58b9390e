"""Run directories: whole or not at all, damaged ones named, nothing unpickled, a kill at any moment survived."""

import json
import os
import random
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
from forked import processes

from disentangle_bench.errors import BenchError
from disentangle_bench.files import write_bytes
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import check_grid
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.study import make_tables

GRID = check_grid(
    {"name": "g", "datasets": [{"name": "dsprites_rendered"}], "models": [{"name": "vae"}], "seeds": 40}
)
PROVENANCE = {
    "data": {"provenance": "rendered", "fingerprint": "f" * 64},
    "device": "cpu",
    "precision": "float32",
}


def record(seed: int = 0, failure: str | None = None) -> RunRecord:
    scores = {"scores": {"mig": 0.5, "kl": None}, "metrics": {}, "failures": {}}
    scores["scoring"] = {"points": "all", "reconstruction_points": 4}
    return RunRecord(
        spec=expand(GRID)[seed],
        provenance=PROVENANCE,
        scores=scores,
        curves=[{"step": 1, "loss": 0.1}, {"step": 2, "loss": 1 / 3}],
        weights={"encoder.w": np.arange(6, dtype=np.float32).reshape(2, 3).T},
        failure=failure,
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    study = StudyDir(tmp_path / "study")
    study.write_grid(GRID)
    study.save(record())
    loaded = study.load(record().spec.id, weights=True)
    assert loaded.spec == record().spec
    assert loaded.scores == record().scores
    assert loaded.curves == [{"step": 1.0, "loss": 0.1}, {"step": 2.0, "loss": 1 / 3}]
    assert np.array_equal(loaded.weights["encoder.w"], record().weights["encoder.w"])
    assert study.status(record().spec.id) == "DONE"


def test_a_failed_run_keeps_its_reason_and_gives_way_to_a_good_one(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    study.write_grid(GRID)
    study.save(record(failure="diverged: loss is not finite\n"))
    assert study.status(record().spec.id) == "FAILED"
    assert [kept.failure for kept in study.records()] == ["diverged: loss is not finite\n"]
    study.save(record())
    assert study.status(record().spec.id) == "DONE"
    assert [kept.failure for kept in study.records()] == [None]


def test_half_written_runs_are_no_runs(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    study.write_grid(GRID)
    study.save(record())
    (study.runs / ".partial-abc").mkdir()
    (study.runs / ".partial-abc" / "DONE").touch()
    (study.runs / "no-marker").mkdir()
    assert [kept.spec.seed for kept in study.records()] == [0]


FILES = ("spec.json", "scores.json", "provenance.json", "weights.safetensors", "curves.csv")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", [None, b"", b"\x80\x04garbage\xff"], ids=["deleted", "emptied", "garbage"]
)
def test_a_damaged_run_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    study = StudyDir(tmp_path)
    study.write_grid(GRID)
    study.save(record())
    path = study.runs / record().spec.id / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(BenchError, match=record().spec.id):
        study.load(record().spec.id, weights=True)


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(BenchError, match="holds no study"):
        StudyDir(tmp_path).create()
    with pytest.raises(BenchError, match="is a file"):
        StudyDir(tmp_path / "precious.txt").create()
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BenchError, match="cannot be written"):
        StudyDir(tmp_path / "study").create()


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="cannot be written"):
        StudyDir(tmp_path / "file" / "study").create()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    write_bytes(path, b"old")
    monkeypatch.setattr(
        os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def write_for_ever(path: Path, ready: Event) -> None:
    study = StudyDir(path)
    study.write_grid(GRID)
    ready.set()
    while True:
        for seed in range(40):
            study.save(record(seed))


def test_killed_at_random_moments_every_run_is_whole_or_absent(tmp_path: Path) -> None:
    chance = random.Random(0)
    study = StudyDir(tmp_path / "study")
    for _ in range(5):
        ready = processes.Event()
        writer = processes.Process(target=write_for_ever, args=(study.path, ready))
        writer.start()
        assert ready.wait(60)
        time.sleep(chance.uniform(0.05, 0.4))
        writer.kill()
        writer.join()
        for kept in study.records():
            whole = study.load(kept.spec.id, weights=True)
            assert whole.scores == json.loads(json.dumps(record().scores))
            assert whole.weights["encoder.w"].shape == (3, 2)
    assert list(study.records())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    study = StudyDir(tmp_path / "study")
    before = os.umask(umask)
    try:
        study.write_grid(GRID)
        study.save(record())
        study.checkpoints.save({"runs": [{"id": "a"}]}, {"x": np.zeros(3, np.float32)})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in study.path.rglob("*") if path.is_file()}
    assert {"weights.safetensors", "scores.json", "grid.toml"} < modes.keys()
    assert set(modes.values()) == {mode}


def spoil(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def two(tmp_path: Path) -> StudyDir:
    study = StudyDir(tmp_path / "study")
    study.write_grid(GRID)
    study.save(record(0))
    study.save(record(1))
    return study


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("spec.json", {"ema": 0.9}),
        ("spec.json", {"training": {"ema": 0.9}}),
        ("spec.json", {"training": {"precision": "float8"}}),
        ("provenance.json", {"versions": {"disentangle_bench": "9.1"}, "device": {"kind": "cpu"}}),
        ("provenance.json", None),
    ],
    ids=["key", "inner key", "word", "version", "unreadable"],
)
def test_what_is_not_damaged_is_not_called_so(two: StudyDir, name: str, changes: dict | None) -> None:
    path = two.run_path(record().spec.id) / name
    if changes is None:
        path.unlink()
        path.mkdir()
    else:
        spoil(path, **changes)
    with pytest.raises(BenchError) as found:
        two.load(record().spec.id)
    assert "Delete" not in str(found.value)
    assert "is damaged" not in str(found.value)
    assert ("newer version" in str(found.value)) == (changes is not None)


ODD = {
    "scores.json": [{"scores": {"mig": "x"}}, {"scores": {"run": 0.5}},
                    {"scores": {"hidden": 1}},
                    {"scores": {"mig": 10**400}}, {"failures": []}, {"metrics": {"mig": {}}},
                    {"scoring": {"points": 0}}, {"scores": {"\ud800": 0.5}},
                    {"mutual_information": [[1.0], [1.0, 2.0]]}, {"mutual_information": [[]]}, {"points": "x"},
                    {"mutual_information": [[float("inf")]]}, {"mutual_information": [[1e308]]},
                    {"metrics": {"mig": {"headlines": ["x"], "revision": 1, "paper": ""}}}],
    "provenance.json": [{"data": {}}, {"device": None}, {"threads": 10**30}, {"seconds": {"training": "x"}},
                        {"device": "\ud800"}, {"model_source": {}}],
    "spec.json": [{"hypers": {"run": 1.0}}, {"seed": "x"}, {"model": None}, {"seed": 2**63}, {"seed": -1},
                  {"hypers": {"beta": -1.0}}, {"hypers": {"beta": float("inf")}},
                  {"training": {"steps": 10**400}}, {"network": {"latents": 2**63}}],
}  # fmt: skip


@pytest.mark.parametrize(("name", "changes"), [(name, each) for name, all_ in ODD.items() for each in all_])
def test_an_odd_run_costs_itself(two: StudyDir, name: str, changes: dict) -> None:
    spoil(two.run_path(record().spec.id) / name, **changes)
    told: list[str] = []
    assert [kept.spec.seed for kept in two.records(tell=told.append)] == [1]
    assert record().spec.id in told[0]
    made = make_tables([two])
    assert len(made.runs) == 1
    assert record().spec.id in made.warnings[0]


@pytest.mark.parametrize(
    "text",
    ["step,kl\n1\n", "kl\n1\n", "step,kl\n1,2,3\n", "step,step\n1,2\n", "step\n" + "1" * 200_000 + "x\n", ""],
)
def test_curves_that_are_none(two: StudyDir, text: str) -> None:
    (two.run_path(record().spec.id) / "curves.csv").write_text(text)
    with pytest.raises(BenchError, match="damaged"):
        two.load(record().spec.id)


def test_a_pipe_is_not_waited_for(two: StudyDir) -> None:
    for name in ("scores.json", "weights.safetensors"):
        path = two.run_path(record().spec.id) / name
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(BenchError, match="no plain file"):
            two.load(record().spec.id, weights=True)


def test_a_run_under_the_name_of_another_is_refused(two: StudyDir) -> None:
    ids = [record(seed).spec.id for seed in (0, 1)]
    (two.run_path(ids[0]) / "spec.json").write_bytes((two.run_path(ids[1]) / "spec.json").read_bytes())
    with pytest.raises(BenchError, match="holds another run"):
        two.load(ids[0])
