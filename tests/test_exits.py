"""Code of anyone's that ends its process: `sys.exit` and `os._exit` cost a column or a run, and are told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_data
from forked import Bench

from disentangle_bench.evaluation.pool import score_one
from disentangle_bench.records.study_dir import StudyDir

EXITS = """
import os, sys
from disentangle_bench.models.vae import BetaVAE
from tiny_data import Squares

def quits(codes, factors):
    sys.exit(0)

def kills(codes, factors):
    os._exit(0)

def fine(codes, factors):
    return 0.5

class Losses(BetaVAE):
    def kl_weight(self, hyper):
        sys.exit(0)

class Encode(BetaVAE):
    def encode(self, call, images):
        sys.exit(0)

class Build(BetaVAE):
    def build(self, image_shape, size):
        sys.exit(0)

class Data(Squares):
    def open(self, data_dir, notify):
        sys.exit(0)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    (tmp_path / "exits.py").write_text(EXITS)
    return tmp_path


def run(folder: Path, *settings: str) -> tuple[int, str]:
    """The study's exit code and what it said."""
    sets = [part for setting in ("controls=false", *settings) for part in ("--set", setting)]
    bench = Bench("run", "tiny.toml", "--out", "study", "--seeds", "1", *sets, folder=folder)
    return bench.wait(), bench.said


@pytest.mark.parametrize("metric", ["quits", "kills"])
def test_a_metric_that_exits_costs_its_column(folder: Path, metric: str) -> None:
    code, said = run(folder, f'metrics=["exits:{metric}", "mig", "exits:fine"]', 'models=[{name="vae"}]')
    assert code == 0, said
    assert f"metric exits:{metric} gave no score: " in said
    (record,) = StudyDir(folder / "study").records()
    assert record.scores["scores"]["fine"] == 0.5
    assert "mig" in record.scores["scores"]
    assert set(record.scores["failures"]) == {f"exits:{metric}"}


@pytest.mark.parametrize("model", ["Losses", "Encode"])
def test_a_model_that_exits_costs_its_run(folder: Path, model: str) -> None:
    code, said = run(folder, 'metrics=["mig"]', f'models=[{{name="exits:{model}"}}, {{name="vae"}}]')
    assert code == 1, said
    records = {record.spec.model: record for record in StudyDir(folder / "study").records()}
    assert "SystemExit" in str(records[f"exits:{model}"].failure)
    assert records["vae"].failure is None


@pytest.mark.parametrize("what", ['models=[{name="exits:Build"}]', 'datasets=[{name="exits:Data"}]'])
def test_what_exits_before_any_run_is_refused(folder: Path, what: str) -> None:
    code, said = run(
        folder, 'metrics=["mig"]', *({'models=[{name="vae"}]', what} if "data" in what else {what})
    )
    assert code == 2, said
    assert "exits" in said
    assert "sys.exit(0)" in said or "SystemExit" in said


def test_a_script_without_a_guard_scores_with_a_metric_of_its_own(folder: Path) -> None:
    """Processes for metrics do not do the script's work again."""
    (folder / "script.py").write_text(
        "import numpy as np\n"
        "from disentangle_bench.evaluation.pool import score_one\n"
        "print('begun')\n"
        "codes = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)\n"
        "factors = np.arange(60).reshape(60, 1) % 3\n"
        "found = score_one(codes, factors, ['exits:fine', 'exits:kills', 'mig'], 0, None)\n"
        "print(found['scores']['fine'], found['failures'])\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == [
        "begun",
        "0.5 {'exits:kills': 'its process ended with exit code 0'}",
    ], done.stderr


def test_a_metric_that_is_edited_is_not_its_earlier_self(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that lasts is not asked with code that is no more."""
    import numpy as np

    from disentangle_bench import registry

    monkeypatch.chdir(folder)
    codes = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    factors = np.arange(30).reshape(30, 1) % 3
    for value in ("0.25", "0.125"):
        (folder / "edited.py").write_text(f"def m(codes, factors):\n    return {value}\n")
        registry.load_plugin(folder / "edited.py")
        assert score_one(codes, factors, ["edited:m"], 0, None)["scores"] == {"m": float(value)}
