"""`bench show` of a study and of a grid: a line a run, in terminals of any width."""

import io
from pathlib import Path

import pytest
import synthetic_study
from click.testing import CliRunner
from rich.console import Console

from disentangle_bench.cli import main
from disentangle_bench.cli.run_list import Line, table
from disentangle_bench.records.study_dir import StudyDir

METRICS = ("factor_vae", "mig", "beta_vae", "sap", "dci_disentanglement", "modularity")
MODELS = {"vae": [0.0], "beta_vae": [2.0, 4.0]}


def records():
    return [
        synthetic_study.record("dsprites", model, "beta" if value else "", value, seed, METRICS)
        for model, values in MODELS.items()
        for value in values
        for seed in range(2)
    ]


def printed(lines: list[Line], width: int) -> list[str]:
    paper = Console(file=io.StringIO(), width=width)
    paper.print(table("dsprites", lines, width))
    return paper.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 140, 200])
def test_a_line_a_run_with_the_scores_that_fit(width: int) -> None:
    lines = [Line(r.spec, "done", {"nats": 12.5} | dict.fromkeys(METRICS, 0.25)) for r in records()]
    lines[-1] = Line(lines[-1].spec, "to do")
    shown = printed(lines, width)
    assert max(map(len, shown)) <= width
    rows = [line.split() for line in shown if line.lstrip().startswith(("done", "to do"))]
    assert len(rows) == 6
    assert rows[2][:4] == ["done", "beta_vae", "beta=2", "0"]
    assert rows[2].count("0.250") == {80: 2, 140: 6, 200: 6}[width]
    assert rows[2][-1] == (lines[2].spec.id if width == 200 else lines[2].spec.id[-8:])
    assert "FactorVAE" in " ".join(shown)
    assert rows[-1][:2] == ["to", "do"]


def test_a_study_and_a_grid_are_listed_with_what_is_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = """
name = "small"
seeds = 2
metrics = ["mig"]
datasets = [{ name = "dsprites_rendered" }]
models = [{ name = "vae" }, { name = "beta_vae", beta = [2, 4] }]
"""
    Path("small.toml").write_text(grid)

    def show(what: str) -> str:
        result = CliRunner().invoke(main, ["show", what])
        assert result.exit_code == 0, result.output
        return result.output

    before = show("small.toml")
    assert before.count("to do") == 6
    assert "6 runs: 0 done, 0 failed, 0 running" in before
    study = StudyDir(Path("results/small"))
    synthetic_study.write(study, iter(records()))
    (study.path / "grid.toml").write_text(grid)
    after = show("results/small")
    failed = sum(record.failure is not None for record in records())
    assert f"12 runs: {6 - failed} done, {failed} failed, 0 running" in after
    assert after.count("to do") == 6  # those of the grid, which are of another data set
    assert CliRunner().invoke(main, ["show", "quickstarts"]).exit_code == 2
