"""Callbacks hear what is kept of each run, by its id; they cost no run and change none."""

import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import tiny_data
import torch
from click.testing import CliRunner

from disentangle_bench.callbacks import Callback, make_callbacks
from disentangle_bench.cli import main
from disentangle_bench.errors import BenchError
from disentangle_bench.grid_file import check_grid, read_grid
from disentangle_bench.progress import Silent
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.specs import RunSpec
from disentangle_bench.study.calls import Calls, replay
from disentangle_bench.study.options import Options
from disentangle_bench.study.study import Study

OVERRIDES = ("training.steps=4", "metrics=['mig']", "models=[{ name = 'vae' }]")


class Recorder(Callback):
    """Keeps what it hears, by run."""

    def __init__(self, study: Path | None = None) -> None:
        self.heard: dict[str, list] = defaultdict(list)

    def started(self, run) -> None:
        self.heard[run.id].append("started")

    def step(self, run, step, losses) -> None:
        self.heard[run.id].append({"step": step, **losses})

    def finished(self, run, scores) -> None:
        self.heard[run.id].append(dict(scores))

    def failed(self, run, reason) -> None:
        self.heard[run.id].append(reason)


class Raising(Callback):
    """Fails at its first step."""

    def __init__(self, study: Path | None = None) -> None:
        self.calls = 0

    def step(self, run, step, losses) -> None:
        self.calls += 1
        raise ConnectionError("the server is gone\nand more")


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def study(folder: Path, *callbacks: Callback, stack: int = 1, notes: Notes | None = None) -> StudyDir:
    """The tiny grid, trained in this process."""
    (folder / "tiny.toml").write_text(tiny_data.GRID)
    directory = StudyDir(folder / "study")
    options = Options(torch.device("cpu"), stack_size=stack, callbacks=callbacks)
    Study(read_grid(folder / "tiny.toml", OVERRIDES), directory, options, notes).train()
    return directory


def read_grid_runs() -> tuple[RunSpec, ...]:
    return check_grid(tomllib.loads(tiny_data.GRID)).runs


def weights(directory: StudyDir) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in directory.runs.glob("*/weights.safetensors")}


@pytest.mark.parametrize("stack", [1, 2])
def test_each_run_has_its_own_losses_and_no_bit_changes(tmp_path: Path, stack: int) -> None:
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    recorder = Recorder()
    seen = study(tmp_path / "with", recorder, stack=stack)
    records = list(seen.records())
    assert [record.provenance["stack"] for record in records] == [stack] * 2
    for record in records:
        began, *rows, scores = recorder.heard[record.spec.id]
        assert began == "started"
        assert rows == list(record.curves)
        assert scores == record.scores["scores"]
    assert weights(seen) == weights(study(tmp_path / "without", stack=stack))


def test_one_that_raises_is_switched_off_once_and_costs_no_run(tmp_path: Path) -> None:
    notes, raising, recorder = Notes(), Raising(), Recorder()
    directory = study(tmp_path, raising, recorder, notes=notes)
    assert raising.calls == 1
    said = [note for note in notes.notes if "Raising" in note]
    assert said == ["the callback Raising is switched off, step raised ConnectionError: the server is gone"]
    records = list(directory.records())
    assert [record.failure for record in records] == [None] * 2
    assert all(len(recorder.heard[record.spec.id]) == 2 + len(record.curves) for record in records)


def test_other_processes_tell_theirs_and_a_failure_has_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    models = '[{ name = "vae" }, { name = "tiny_data:Exploding" }]'
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    kept = Recorder()
    monkeypatch.setitem(sys.modules, "ours", SimpleNamespace(Kept=lambda study: kept))
    arguments = ["run", "tiny.toml", "--device", "cpu", "--jobs", "2", "--callback", "ours:Kept"]
    for override in (*OVERRIDES, "seeds=1", f"models={models}"):
        arguments += ["--set", override]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1, result.output
    records = list(StudyDir(tmp_path / "results/tiny").records())
    assert len(records) == len(kept.heard) == 2
    for record in records:
        heard = kept.heard[record.spec.id]
        assert heard[1:-1] == list(record.curves)
        failure = (record.failure or "").partition("\n")[0]
        assert heard[-1] == (failure or record.scores["scores"])


def test_a_run_whose_launcher_says_nothing_is_begun_with_its_first_losses() -> None:
    (spec, *_) = read_grid_runs()
    recorder = Recorder()
    calls = Calls([recorder], [spec])
    calls.losses({spec.id: {"step": 2.0, "kl": 1.5}, "another": {"step": 2.0}})
    assert recorder.heard == {spec.id: ["started", {"step": 2, "kl": 1.5}]}


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in [each for each in sys.modules if each.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BenchError, match=f"--callback {name} needs .*pip install"):
        make_callbacks([name], tmp_path)


def test_what_is_no_callback_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ours", SimpleNamespace(Nothing=lambda study: object()))
    with pytest.raises(BenchError, match="'ours:Nothing' lacks started, step"):
        make_callbacks(["ours:Nothing"], tmp_path)
    with pytest.raises(BenchError, match="tensorboard"):
        make_callbacks(["tensorbord"], tmp_path)


class WandbRun:
    """A run of wandb as far as it is used: log(data, step), summary, finish(exit_code)."""

    def __init__(self, **about) -> None:
        self.about, self.rows, self.summary, self.exit_code = about, [], {}, None

    def log(self, data: dict, step: int | None = None, commit: bool | None = None) -> None:
        self.rows.append((step, data))

    def finish(self, exit_code: int | None = None) -> None:
        self.exit_code = exit_code or 0


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: dict[str, WandbRun] = {}
    module = ModuleType("wandb")
    module.init = lambda **about: runs.setdefault(about["id"], WandbRun(**about))
    monkeypatch.setitem(sys.modules, "wandb", module)
    first, second, *_ = read_grid_runs()
    (callback,) = make_callbacks(["wandb"], tmp_path / "squares")
    for run, kl in ((first, 1.0), (second, 2.0)):
        callback.started(run)
        callback.step(run, 3, {"kl": kl})
    callback.finished(first, {"mig": 0.5, "sap": None})
    callback.failed(second, "diverged")
    assert [runs[run.id].rows for run in (first, second)] == [[(3, {"kl": 1.0})], [(3, {"kl": 2.0})]]
    assert runs[first.id].about["project"] == "squares"
    assert runs[first.id].about["config"]["model"] == "vae"
    assert (runs[first.id].summary, runs[first.id].exit_code) == ({"scores/mig": 0.5}, 0)
    assert (runs[second.id].summary, runs[second.id].exit_code) == ({"failure": "diverged"}, 1)


class MlflowClient:
    """The client of mlflow as far as it is used, with its own argument names."""

    def __init__(self) -> None:
        self.runs: dict[str, dict] = {}

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return f"of {name}"

    def search_runs(self, experiment_ids: list[str], filter_string: str = "") -> list:
        wanted = filter_string.partition("= ")[2].strip("'")
        return [about["there"] for about in self.runs.values() if about["name"] == wanted]

    def create_run(self, experiment_id, start_time=None, tags=None, run_name=None):
        there = SimpleNamespace(info=SimpleNamespace(run_id=f"{experiment_id} {len(self.runs)}"))
        self.runs[there.info.run_id] = {"there": there, "name": run_name, "tags": dict(tags), "metrics": []}
        return there

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        self.runs[run_id]["metrics"] += [(m.key, m.value, m.step) for m in metrics]
        self.runs[run_id].setdefault("params", {}).update({p.key: p.value for p in params})

    def set_tag(self, run_id, key, value):
        self.runs[run_id]["tags"][key] = value

    def set_terminated(self, run_id, status=None):
        self.runs[run_id]["status"] = status


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient()
    module, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    module.MlflowClient = lambda: client
    entities.Metric = lambda key, value, timestamp, step: SimpleNamespace(key=key, value=value, step=step)
    entities.Param = lambda key, value: SimpleNamespace(key=key, value=value)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    first, second, *_ = read_grid_runs()
    (callback,) = make_callbacks(["mlflow"], tmp_path / "squares")
    for run in (first, second, first):  # the first one goes on from a checkpoint
        callback.started(run)
    callback.step(first, 3, {"kl": 1.0})
    callback.finished(first, {"mig": 0.5, "sap": None})
    callback.failed(second, "diverged")
    done, failed = client.runs.values()
    assert (done["name"], failed["name"]) == (first.id, second.id)
    assert done["metrics"] == [("kl", 1.0, 3), ("scores/mig", 0.5, first.training.steps)]
    assert done["params"]["model"] == "vae"
    assert (done["status"], failed["status"]) == ("FINISHED", "FAILED")
    assert failed["tags"]["failure"] == "diverged"


def test_tensorboard_writes_while_a_run_trains(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    (run, *_) = read_grid_runs()
    (callback,) = make_callbacks(["tensorboard"], tmp_path)
    callback.started(run)
    callback.step(run, 3, {"kl": 1.5})
    (file,) = (tmp_path / "tensorboard" / run.id).iterdir()

    def points() -> list[tuple[int, str, float]]:
        events = [e for e in loader.EventFileLoader(str(file)).Load() if e.summary.value]
        return [(e.step, v.tag, round(v.tensor.float_val[0], 6)) for e in events for v in e.summary.value]

    assert points() == [(3, "kl", 1.5)]  # before the run has ended
    callback.finished(run, {"mig": 0.5})
    assert points() == [(3, "kl", 1.5), (run.training.steps, "scores/mig", 0.5)]


def test_a_finished_run_is_replayed_as_while_it_trained() -> None:
    (run, *_) = read_grid_runs()
    curves, scores = [{"step": 2.0, "kl": 1.5}, {"step": 4.0, "kl": 1.25}], {"mig": 0.5}
    recorder = Recorder()
    replay(RunRecord(run, {}, {"scores": scores}, curves), recorder)
    assert recorder.heard == {run.id: ["started", *curves, scores]}
