"""A study is data: what its files say is never imported, called or believed."""

import json
import os
import shutil
import string
from pathlib import Path

import pytest
import tiny_data
from click.testing import CliRunner, Result

from disentangle_bench import load_run
from disentangle_bench.cli import main
from disentangle_bench.errors import BenchError
from disentangle_bench.specs import RunSpec

BAIT = "from pathlib import Path\nPath('pwned').touch()\n\nclass Model:\n    def build(self): ...\n"


def bench(*arguments: object) -> Result:
    """The command, in this process; what is no message is raised."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of one run of a registered model."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.toml").write_text(tiny_data.GRID.replace(', "factor_vae"]', "]"))
    model = 'models=[{name="vae"}]'
    out = folder / "study"
    assert bench("run", folder / "tiny.toml", "--seeds", 1, "--set", model, "--out", out).exit_code == 0
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in a current directory that holds a module which leaves a trace when it is imported."""
    shutil.copytree(finished / "study", tmp_path / "study")
    shutil.copy(finished / "tiny.toml", tmp_path)
    (tmp_path / "bait.py").write_text(BAIT)
    monkeypatch.chdir(tmp_path)
    return Path("study")


def the_run(study: Path) -> Path:
    return next((study / "runs").iterdir())


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_score_imports_nothing_that_a_run_beyond_the_grid_names(study: Path) -> None:
    run = the_run(study)
    stranger = RunSpec.model_validate(json.loads((run / "spec.json").read_text()) | {"model": "bait:Model"})
    copied = shutil.copytree(run, run.with_name(stranger.id))
    edit(copied / "spec.json", model="bait:Model")
    said = bench("score", study, "--metric", "mig", "--allow", "tiny_data")
    assert said.exit_code == 2
    assert "--allow bait:Model" in said.output
    assert not Path("pwned").exists()


LOOKS = [
    ("sample", "{run}", "--out", "x.png"),
    ("traverse", "{run}", "--out", "x.png", "--allow", "tiny_data"),
    ("interpolate", "{run}", "--from", "0", "--to", "1", "--out", "x.png"),
    ("show", "{run}"),
]


@pytest.mark.parametrize("command", LOOKS, ids=lambda command: command[0])
@pytest.mark.parametrize("name", ["bait:Model", "os:system", "subprocess:run"])
def test_no_command_imports_or_calls_what_a_spec_names(
    study: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: tuple[str, ...]
) -> None:
    called: list[str] = []
    monkeypatch.setattr(os, "system", called.append)
    run = the_run(study)
    edit(run / "spec.json", model=name, options={"command": "touch pwned"})
    for picture in (run / "pictures").iterdir():
        picture.unlink()
    result = bench(*(part.format(run=run) for part in command))
    assert result.exit_code == 2
    assert f"--allow {name}" in result.output
    assert not called
    assert not Path("pwned").exists()


def test_a_data_set_that_a_spec_names_is_not_imported(study: Path) -> None:
    run = the_run(study)
    edit(run / "spec.json", dataset={"name": "bait:Model"})
    result = bench("traverse", run, "--out", "x.png")
    assert result.exit_code == 2
    assert "--allow bait:Model" in result.output
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("old", "new"), [('{ name = "vae" }', '{ name = "bait:Model" }'), ('["mig"]', '["bait:Model"]')]
)
@pytest.mark.parametrize("command", ["status", "score", "report", "leaderboard"])
def test_the_grid_that_a_study_keeps_imports_nothing(study: Path, old: str, new: str, command: str) -> None:
    grid = Path("tiny.toml").read_text()
    assert old in grid
    (study / "grid.toml").write_text(grid.replace(old, new))
    result = bench(
        command, study, *(["--metric", "sap", "--allow", "tiny_data"] if command == "score" else [])
    )
    assert not Path("pwned").exists()
    if command == "score":
        assert "--allow bait:Model" in result.output


def test_a_report_does_not_import_the_metrics_that_scores_name(study: Path) -> None:
    path = the_run(study) / "scores.json"
    scores = json.loads(path.read_text())
    scores["metrics"]["bait:Model"] = scores["metrics"]["mig"]
    path.write_text(json.dumps(scores))
    assert bench("report", study).exit_code == 0
    assert not Path("pwned").exists()


def test_resuming_a_grid_calls_nothing_that_the_directory_says(study: Path) -> None:
    edit(the_run(study) / "spec.json", model="bait:Model")
    result = bench("run", "tiny.toml", "--out", study, "--seeds", 1, "--set", 'models=[{name="vae"}]', "--set",
                   'metrics=["mig","sap"]')  # fmt: skip
    assert not Path("pwned").exists()
    assert result.exit_code != 0


def test_what_the_user_allows_is_loaded(study: Path) -> None:
    run = the_run(study)
    edit(run / "spec.json", model="tiny_data:Exploding", options={}, hypers={"beta": 1.0})
    with pytest.raises(BenchError, match="--allow tiny_data:Exploding"):
        load_run(run)
    assert load_run(run, allow=["tiny_data:Exploding"]).spec.model == "tiny_data:Exploding"
    assert bench("sample", run, "--out", "x.png", "--allow", "tiny_data:Exploding").exit_code == 0
    assert Path("x.png").is_file()


def test_an_allowed_name_that_is_no_model_is_not_called(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(os, "system", called.append)
    edit(the_run(study) / "spec.json", model="os:system", options={"command": "touch pwned"})
    with pytest.raises(BenchError, match="must be the class of an Objective"):
        load_run(the_run(study), allow=["os:system"])
    assert not called


@pytest.mark.parametrize("network", [{"latents": 10**9}, {"hidden": 10**8}, {"channels": [10**6] * 4}])
def test_a_spec_of_larger_networks_than_its_weights_takes_no_memory(study: Path, network: dict) -> None:
    run = the_run(study)
    spec = json.loads((run / "spec.json").read_text())
    edit(run / "spec.json", network=spec["network"] | network)
    with pytest.raises(BenchError, match=r"weights do not fit the spec|cannot be built"):
        load_run(run)


@pytest.mark.parametrize("key", ["images", "image_shape"])
def test_a_run_that_does_not_say_what_its_images_are(study: Path, key: str) -> None:
    path = the_run(study) / "provenance.json"
    data = json.loads(path.read_text())["data"]
    edit(path, data=data | {key: None})
    with pytest.raises(BenchError, match=r"provenance\.json does not say"):
        load_run(the_run(study))
    edit(path, data={name: value for name, value in data.items() if name not in (key, "factors")})
    with pytest.raises(BenchError, match=r"provenance\.json does not say"):
        load_run(the_run(study))
    assert bench("figures", study, "--format", "svg").exit_code == 0


ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


def test_what_a_terminal_would_obey_is_shown_and_not_sent(study: Path) -> None:
    run = the_run(study)
    scores = json.loads((run / "scores.json").read_text())
    about = scores["metrics"]["mig"] | {"headlines": [f"[red]{ESCAPES}"]}
    scores["scores"][f"[red]{ESCAPES}"] = 0.5
    edit(run / "scores.json", scores=scores["scores"], metrics={ESCAPES: about, "[/x]": about})
    provenance = json.loads((run / "provenance.json").read_text())
    edit(run / "provenance.json", device=ESCAPES, data=provenance["data"] | {"provenance": ESCAPES})
    edit(run / "spec.json", model=f"vae{ESCAPES}")
    (run / "pictures" / f"a{ESCAPES}.png").touch()
    (study / "progress").mkdir(exist_ok=True)
    phase = {"phase": ESCAPES, "done": 1, "total": 2}
    told = {"host": ESCAPES, "pid": 1, "updated": 9e12, "runs": {ESCAPES: phase}}
    (study / "progress" / "a-1.json").write_text(json.dumps(told))
    commands = [("leaderboard", study, "--format", style) for style in ("table", "csv", "markdown", "latex")]
    looks = [("status", study, "--allow", "tiny_data"), ("show", run), ("sample", run), ("report", study)]
    for command in [*commands, *looks]:
        output = bench(*command).output
        assert not set(output) & set(ESCAPES) - set(string.printable), command
        if command[0] != "report":
            assert "\\x1b" in output, command


def test_a_picture_that_leads_out_of_the_run_is_not_published(study: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the user's own")
    pictures = the_run(study) / "pictures"
    (pictures / "samples.png").unlink()
    (pictures / "samples.png").symlink_to(secret)
    assert bench("report", study).exit_code == 0
    copied = {path.name: path for path in (study / "report" / "pictures").rglob("*.*")}
    assert "traversals.png" in copied
    assert "samples.png" not in copied
    pictures.rename(tmp_path / "elsewhere")
    pictures.symlink_to(tmp_path / "elsewhere")
    assert bench("report", study).exit_code == 0
    assert not list((study / "report").rglob("*.png"))


def test_a_report_is_not_written_through_a_link(study: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "tables").mkdir(parents=True)
    (tmp_path / "mine" / "tables" / "kept").touch()
    shutil.rmtree(study / "report", ignore_errors=True)
    (study / "report").symlink_to(tmp_path / "mine")
    assert bench("report", study).exit_code == 2
    assert [path.name for path in (tmp_path / "mine").rglob("*")] == ["tables", "kept"]


def test_a_report_of_a_grid_that_is_none(study: Path) -> None:
    for text in ("models = 3\ndatasets = [1]\n", "a = " + "[" * 5000, "\x00", "name = 'x'\nnew_table = {}\n"):
        (study / "grid.toml").write_text(text)
        assert bench("report", study).exit_code == 0
        assert "this version cannot read it" in (study / "report" / "index.html").read_text()


def test_a_lock_that_is_a_link_makes_no_file_elsewhere(study: Path, tmp_path: Path) -> None:
    (study / ".lock").unlink(missing_ok=True)
    (study / ".lock").symlink_to(tmp_path / "elsewhere")
    result = bench("run", "tiny.toml", "--out", study, "--seeds", 1, "--set", 'models=[{name="vae"}]')
    assert result.exit_code == 2
    assert not (tmp_path / "elsewhere").exists()
