"""bench leaderboard of several studies, compare, figures, report and status, as they are typed."""

import os
import platform
import time
from pathlib import Path

import pandas as pd
import pytest
import synthetic_study
from click.testing import CliRunner, Result

from disentangle_bench.cli import main
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.status import study_status
from disentangle_bench.specs import RunSpec

MODELS = {"vae": ("", [0.0]), "beta_vae": ("beta", [2.0, 4.0])}


def bench(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "one"
    synthetic_study.write(StudyDir(path), synthetic_study.records(1, MODELS, 3))
    return path


def test_the_tables_are_rebuilt_in_every_format(study: Path, tmp_path: Path) -> None:
    tables = {path: path.unlink() for path in study.glob("*.csv")}
    shown = bench("leaderboard", study)
    assert shown.exit_code == 0, shown.output
    names = {
        "scores",
        "leaderboard",
        "measures",
        "models",
        "improvement",
        "variance",
        "metric_correlation",
        "choice",
        "seconds",
    }
    assert {path.stem for path in study.glob("*.csv")} == names | {path.stem for path in tables}
    before = (study / "leaderboard.csv").read_bytes()
    assert bench("leaderboard", study, "--sort", "mig", "--format", "csv").stdout.startswith("dataset,")
    assert (study / "leaderboard.csv").read_bytes() == before  # --sort is for the eye
    assert bench("leaderboard", study, "--format", "csv").stdout.encode() == before
    assert bench("leaderboard", study, "--format", "latex").stdout.count(r"\\") == 1 + 1 + 3
    chosen = (
        bench("leaderboard", study, "--format", "csv", "--columns", "mig").stdout.splitlines()[0].split(",")
    )
    assert [name for name in chosen if name.startswith("factor_vae")] == []
    assert "mig_mean" in chosen
    assert bench("leaderboard", study, "--columns", "nothing").exit_code == 2
    assert bench("leaderboard", study, "--format", "markdown").stdout.count("\n") == 2 + 3 + 2

    other = tmp_path / "two"
    synthetic_study.write(StudyDir(other), synthetic_study.records(1, MODELS, 3, steps=1000))
    both = bench("leaderboard", study, other, "--format", "csv")
    assert "note: set0: runs differ in steps (300000, 1000) and stand in rows of their own" in both.stderr
    assert both.stdout.count("\n") == 1 + 6
    assert not (other / "leaderboard.csv").exists()


def test_compare(study: Path) -> None:
    result = bench("compare", study, "--a", "model=beta_vae", "--b", "model=vae", "--format", "csv")
    assert "note: model=beta_vae takes 2 settings together" in result.stderr
    assert "mig" in result.stdout
    table = bench("compare", study, "--a", "model=beta_vae,beta=4", "--b", "model=vae")
    assert "A better than B" in table.stdout
    assert "exact rank test" in table.stdout
    wrong = bench("compare", study, "--a", "beta=5", "--b", "model=vae")
    assert wrong.exit_code == 2
    assert "Known: 2, 4" in wrong.output


def test_figures_are_drawn_and_events_written(study: Path, tmp_path: Path) -> None:
    assert bench("figures", study, "--format", "svg").exit_code == 0
    drawn = {path.name: path.read_bytes() for path in (study / "figures").iterdir()}
    names = ("tradeoff", "curves", "metric_correlation", "mutual_information")
    assert set(drawn) == {f"{name}.svg" for name in names}
    bench("figures", study, "--format", "svg", "--out", tmp_path / "again")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == drawn

    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    result = bench("figures", study, "--tensorboard", tmp_path / "events")
    done = sorted(path.parent.name for path in study.glob("runs/*/DONE"))
    assert f"{len(done)} runs written" in result.output
    assert sorted(path.name for path in (tmp_path / "events").iterdir()) == done
    (file,) = (tmp_path / "events" / done[0]).iterdir()
    events = [e for e in loader.EventFileLoader(str(file)).Load() if e.summary.value]
    curve = pd.read_csv(study / "runs" / done[0] / "curves.csv")
    assert [e.step for e in events[:-1]] == list(curve["step"])
    assert "scores/mig" in {value.tag for value in events[-1].summary.value}
    assert {value.tag for value in events[0].summary.value} == {"reconstruction", "kl"}
    assert "0 runs written" in bench("figures", study, "--tensorboard", tmp_path / "events").output


def test_report(study: Path) -> None:
    result = bench("report", study)
    assert result.exit_code == 0
    assert (study / "report" / "index.html").is_file()
    assert (study / "report" / "tables" / "leaderboard.csv").is_file()


def specs() -> list[RunSpec]:
    return [record.spec for record in synthetic_study.records(1, MODELS, 3)]


def working(study: StudyDir, **changed: object) -> None:
    runs = {specs()[-1].id: {"phase": "training", "done": 3, "total": 4}}
    about = {"updated": time.time(), "pid": os.getpid(), "host": platform.node(), "runs": runs}
    study.progress.write(about | changed)


def test_status_counts_and_foretells(tmp_path: Path) -> None:
    study = StudyDir(tmp_path / "half")
    kept = [r for r in synthetic_study.records(1, MODELS, 3) if r.spec.hypers.get("beta") != 4]
    assert [r.failure for r in kept] == [None] * 6
    synthetic_study.write(study, iter(kept))
    found = study_status(study, specs())
    assert (found.total, found.done, found.failed, found.state) == (9, 6, 0, "idle")
    assert found.rate == pytest.approx(3600 / 101)  # runs are charged 100, 101 and 102 seconds
    assert found.seconds_left is None

    working(study)
    found = study_status(study, specs())
    assert found.state == "running"
    assert [(p.phase, p.done, p.total) for p in found.running] == [("training", 3, 4)]
    assert found.seconds_left == pytest.approx(101 * 2.25)
    assert study_status(study, specs()[:6]).state == "running"
    working(study, jobs=2)  # which share what is left
    found = study_status(study, specs())
    assert found.rate == pytest.approx(2 * 3600 / 101)
    assert found.seconds_left == pytest.approx(101 * 2.25 / 2)


def test_status_tells_who_is_gone(tmp_path: Path) -> None:
    study = StudyDir(tmp_path / "gone")
    synthetic_study.write(study, iter(list(synthetic_study.records(1, MODELS, 3))[:6]))
    for changed in ({"updated": time.time() - 120}, {"pid": 2**22 + 1}):
        working(study, **changed)
        found = study_status(study, specs())
        assert (found.state, found.running, found.seconds_left) == ("stopped", (), None)
        study.clean()
    working(study, pid=2**22 + 1, host="another")  # its processes cannot be seen from here
    assert study_status(study, specs()).state == "running"
    study.clean()
    assert study_status(study, specs()[:6]).state == "finished"


def test_status_as_it_is_typed(tmp_path: Path) -> None:
    assert bench("status", tmp_path).exit_code == 2
    study = StudyDir(tmp_path / "empty")
    synthetic_study.write(study, iter([]))
    result = bench("status", study.path)
    assert "0 of 130 runs done, 0 failed, 130 to go; nobody is at work" in result.output


@pytest.mark.parametrize("directory", [True, False])
def test_a_study_in_which_nothing_has_finished(tmp_path: Path, directory: bool) -> None:
    study = StudyDir(tmp_path / "new")
    synthetic_study.write(study, iter([]))
    working(study, host="<b>elsewhere</b>")
    if not directory:
        study.runs.rmdir()
    assert bench("report", study.path).exit_code == 0
    page = (study.path / "report" / "index.html").read_text()
    assert "No run has finished yet: 0 of 130." in page
    assert f"<li>{specs()[-1].id}: training, 3 of 4</li>" in page
    assert "beta_vae" in page
    for command in ("figures", "leaderboard"):
        result = bench(command, study.path)
        assert result.exit_code == 2
        assert "no run of this study has finished yet" in result.output
    run = study.path / "runs" / specs()[0].id
    run.mkdir(parents=True)
    (run / "DONE").touch()
    assert bench("report", study.path).exit_code == 0
    page = (study.path / "report" / "index.html").read_text()
    assert f"{specs()[0].id} is damaged" in page
    assert bench("report", tmp_path).exit_code == 2, "no study"


def test_a_report_takes_the_place_of_one_that_waited(tmp_path: Path) -> None:
    study = StudyDir(tmp_path / "new")
    synthetic_study.write(study, iter([]))
    assert bench("report", study.path).exit_code == 0
    study.runs.rmdir()
    synthetic_study.write(study, iter(list(synthetic_study.records(1, MODELS, 3))[:3]))
    assert bench("report", study.path).exit_code == 0
    assert "No run has finished yet" not in (study.path / "report" / "index.html").read_text()
    assert (study.path / "report" / "tables" / "scores.csv").is_file()
