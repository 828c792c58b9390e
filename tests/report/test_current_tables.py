"""Tables are left alone while they are those of the runs, and rebuilt when anything they are made of has changed."""

import json
import shutil
from pathlib import Path

import pytest
import synthetic_study

from disentangle_bench.records import table_files
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.study.claims import Claims
from disentangle_bench.study.finished import rebuild_tables


def controls(mig: float) -> dict[str, object]:
    rows = [{"control": "random", "seed": 0, "mig": mig}]
    return {"provenance": "rendered", "asked": {}, "rows": rows, "failures": {}}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    """A study with its tables."""
    runs = synthetic_study.records(1, {"vae": ("", [0.0])}, seeds=3, curve_rows=3)
    made = synthetic_study.write(StudyDir(tmp_path_factory.mktemp("original") / "study"), runs)
    made.save_controls("set0", controls(0.1))
    rebuild(made)
    return made


@pytest.fixture
def study(original: StudyDir, tmp_path: Path) -> StudyDir:
    """A copy of it, to change."""
    return StudyDir(shutil.copytree(original.path, tmp_path / "study"))


def rebuild(study: StudyDir) -> None:
    claims = Claims(study)
    with claims.working():
        rebuild_tables(study, claims)


def tables(study: StudyDir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in study.path.iterdir() if path.suffix in (".csv", ".png")}


def first_run(study: StudyDir) -> Path:
    return min(study.runs.iterdir())


def edit_scores(study: StudyDir) -> None:
    path = first_run(study) / "scores.json"
    scores = json.loads(path.read_text())
    scores["scores"]["mig"] = 0.123456
    path.write_text(json.dumps(scores))


def add_run(study: StudyDir) -> None:
    study.save(synthetic_study.record("set0", "vae", "", 0.0, 77, ("factor_vae", "mig", "beta_vae")))


def note(study: StudyDir, **kept: object) -> None:
    (study.path / ".tables").write_text(json.dumps({"digest": study.tables.digest(), "files": {}} | kept))


CHANGES = {
    "a table is gone": lambda study: (study.path / "scores.csv").unlink(),
    "a figure is gone": lambda study: (study.path / "curves.png").unlink(),
    "a table was edited": lambda study: (study.path / "scores.csv").write_text("run\n"),
    "a run came": add_run,
    "a run went": lambda study: shutil.rmtree(first_run(study)),
    "a run failed": lambda study: (first_run(study) / "DONE").rename(first_run(study) / "FAILED"),
    "a run was scored again": edit_scores,
    "a run's curves changed": lambda study: (first_run(study) / "curves.csv").write_text("step,loss\n1,2\n"),
    "controls were scored again": lambda study: study.save_controls("set0", controls(0.2)),
    "controls came": lambda study: study.save_controls("set1", controls(0.1)),
    "the note is gone": lambda study: (study.path / ".tables").unlink(),
    "the note is damaged": lambda study: (study.path / ".tables").write_text('{"digest": '),
    "the note is something else": lambda study: note(study, files=["scores.csv"]),
    "the note names no table": note,
    "the note leads elsewhere": lambda study: note(study, files={"../x.csv": "0"}),
}


def test_tables_of_the_same_runs_are_left_alone(study: StudyDir) -> None:
    written = (study.path / "scores.csv").stat().st_mtime_ns
    rebuild(study)
    assert study.tables.are_current()
    assert (study.path / "scores.csv").stat().st_mtime_ns == written


@pytest.mark.parametrize("change", CHANGES)
def test_tables_are_not_taken_for_current_when(change: str, study: StudyDir) -> None:
    CHANGES[change](study)
    assert not study.tables.are_current()


@pytest.mark.parametrize("what", ["code", "libraries"])
def test_other_code_or_libraries_make_the_tables_anew(
    what: str, study: StudyDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, other = {"code": ("_stamp", lambda path: "edited"), "libraries": ("LIBRARIES", ("numpy",))}[what]
    monkeypatch.setattr(table_files, name, other)
    assert not study.tables.are_current()


def test_what_is_left_alone_is_what_would_be_written(study: StudyDir) -> None:
    kept = tables(study)
    for name in kept:
        (study.path / name).unlink()
    rebuild(study)
    assert tables(study) == kept


def test_a_run_that_comes_while_tables_are_made_is_not_forgotten(
    study: StudyDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = StudyDir.records

    def with_one_more(self: StudyDir, *args: object, **how: object) -> object:
        found = list(records(self, *args, **how))
        add_run(self)
        return found

    (study.path / "scores.csv").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(StudyDir, "records", with_one_more)
        rebuild(study)
    assert not study.tables.are_current()
