"""A metric or a model that was edited is not its earlier self."""

import json
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import tiny_data
import torch
from click.testing import CliRunner

from disentangle_bench import registry
from disentangle_bench.cli import main
from disentangle_bench.evaluation.scores import named_metrics
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import check_grid
from disentangle_bench.progress import Silent
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.source_hash import source_hash
from disentangle_bench.study.claims import Claims
from disentangle_bench.study.job import Job
from disentangle_bench.study.opened import OpenStudy
from disentangle_bench.study.options import Options
from disentangle_bench.study.work import Work
from disentangle_bench.train.checkpoint import Checkpoint

ONE = "def own(codes, factors):\n    return 1.0\n"
TWO = "def own(codes, factors):\n    return 100.0\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # A plug-in's directory is searched from then on, also by the processes that score.
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    return tmp_path


def bench(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_hash_is_of_the_file_and_of_what_it_uses_beside_it(tmp_path: Path) -> None:
    def loaded(text: str, helper: str) -> str | None:
        (tmp_path / "hashed_helper.py").write_text(helper)
        (tmp_path / "hashed_metric.py").write_text(text)
        (tmp_path / "hashed_other.py").write_text("print")
        registry.load_plugin(tmp_path / "hashed_helper.py")
        registry.load_plugin(tmp_path / "hashed_metric.py")
        name = "hashed_metric:own"
        return source_hash(name, registry.resolve("metric", name))

    uses = "from hashed_helper import half\n" + ONE
    helper = "def half(x):\n    return x / 2\n"
    first = loaded(ONE, helper)
    assert first is not None
    assert len(first) == 12
    assert loaded(ONE, helper + "# more") == first
    assert loaded(TWO, helper) != first
    using = loaded(uses, helper)
    assert loaded(uses, helper) == using
    assert loaded(uses, helper + "# more") != using


def test_what_is_this_package_s_has_a_revision_and_no_hash() -> None:
    assert {metric.source for metric in named_metrics(registry.METRICS).values()} == {None}
    models = {name: registry.resolve("model", name) for name in registry.MODELS}
    assert {source_hash(name, found) for name, found in models.items()} == {None}


def test_an_edited_metric_is_scored_again_where_it_is_run_and_told_apart_elsewhere(here: Path) -> None:
    study = here / "results" / "tiny"
    run = ("run", "tiny.toml", "--plugin", "own.py", "--set", 'models=[{name="vae"}]')
    (here / "own.py").write_text(ONE)
    bench(*run, "--seeds", "2")
    (here / "own.py").write_text(TWO)
    said = " ".join(bench(*run, "--set", "seeds=[2, 3]").split())
    assert "the metrics' revisions or sources" in said
    scores = pd.read_csv(study / "scores.csv")
    assert scores["own"].tolist() == [1, 1, 100, 100]
    board = pd.read_csv(study / "leaderboard.csv")
    assert dict(zip(board["own_mean"], board["n_seeds"], strict=True)) == {1: 2, 100: 2}
    bench("score", str(study), "--plugin", "own.py", "--allow", "tiny_data")
    assert pd.read_csv(study / "leaderboard.csv")["own_mean"].tolist() == [100]
    kept = [json.loads(path.read_text())["metrics"] for path in study.glob("runs/*/scores.json")]
    assert len({metrics["own:own"]["source"] for metrics in kept}) == 1
    assert all("source" not in metrics["mig"] for metrics in kept)


def test_scores_that_an_edited_metric_no_longer_gives_are_gone(here: Path) -> None:
    run = ("run", "tiny.toml", "--plugin", "own.py", "--set", 'models=[{name="vae"}]', "--seeds", "1")
    for detail in ("before", "after"):
        (here / "own.py").write_text(
            f'def own(codes, factors):\n    return {{"own": 1.0, "own_{detail}": 2.0}}\n'
        )
        bench(*run)
    scores = pd.read_csv(here / "results" / "tiny" / "scores.csv")
    assert {"own", "own_after"} <= set(scores.columns)
    assert "own_before" not in scores.columns


MODEL = """
from dataclasses import dataclass
from disentangle_bench.models.vae import BetaVAE

@dataclass(frozen=True)
class Own(BetaVAE):
    '''{}'''
"""


def test_runs_of_an_edited_model_stand_in_rows_of_their_own(here: Path) -> None:
    study = here / "results" / "tiny"
    models = 'models=[{name="own_model:Own"}, {name="vae"}]'
    for text, seeds in (("as it was", "[0, 1]"), ("edited", "[0, 1, 2]")):
        (here / "own_model.py").write_text(MODEL.format(text))
        registry.load_plugin(here / "own_model.py")
        said = " ".join(bench("run", "tiny.toml", "--set", models, "--set", f"seeds={seeds}").split())
        assert ("a model's source, which was edited," in said) == (text == "edited")
    board = pd.read_csv(study / "leaderboard.csv")
    assert sorted(board.loc[board["model"] == "own_model:Own", "n_seeds"]) == [1, 2]
    assert board.loc[board["model"] == "vae", "n_seeds"].tolist() == [3]
    assert board["model_source"].nunique() == 2


def test_a_checkpoint_of_an_edited_model_is_not_gone_on_from(here: Path) -> None:
    study, notes = StudyDir(here / "study"), list[str]()

    class Noting(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    def next_job() -> tuple[Work, Job]:
        (here / "own_model.py").write_text(MODEL.format(text))
        registry.load_plugin(here / "own_model.py")
        asked = {"models": [{"name": "own_model:Own"}], "seeds": 1}
        grid = check_grid(tomllib.loads(tiny_data.GRID) | asked)
        study.write_grid(grid)
        (spec,) = expand(grid)
        opened = OpenStudy(grid, study, Options(torch.device("cpu")), Noting(), Claims(study))
        opened.datasets = {spec.dataset.label: squares}
        work = Work([spec], opened)
        (job,) = work.jobs(spec.dataset.label, lambda group: 1)
        work.claims.release([spec.id])
        return work, job

    text, squares = "as it was", tiny_data.squares()
    work, job = next_job()
    so_far = SimpleNamespace(curves=[{"step": 1.0}], seconds=1.0, failure=None)
    work.keep(Checkpoint.of(job.specs, 3, {"w": torch.zeros(1, 2)}, [so_far]))
    _, job = next_job()
    assert job.resume is not None
    assert job.resume.step == 3
    assert not notes
    text = "edited"
    _, job = next_job()
    assert job.resume is None
    (note,) = notes
    assert "the source of own_model:Own has changed since the checkpoint" in note
    assert "start from their beginning" in note
