"""Every file of a study, changed at random: messages at most, and nothing imported, called or written elsewhere."""

import json
import os
import random
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tiny_data
from click.testing import CliRunner

from disentangle_bench import load_run
from disentangle_bench.cli import main
from disentangle_bench.errors import BenchError
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.html import write_report
from disentangle_bench.report.status import study_status
from disentangle_bench.report.study import load_scores
from disentangle_bench.study.plan import plan

BAIT = "from pathlib import Path\nPath('pwned').touch()\n\nclass Model:\n    def build(self): ...\n"
HOSTILE: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**30, 10**400, 1e308, float("nan"), float("inf"), 0.5),
    *("", "x", "\x00", "\x1b[2J", "../../x", "/etc/passwd", "os:system", "bait:Model", "bait", "é\u202e"),
    *(
        "run",
        "model",
        "status",
        "hidden",
        "mig",
        "[red]",
        "[/x]",
        "$a$",
        "a\nb",
        "a,b",
        "\ud800",
        "x" * 10_000,
    ),
    *(
        [],
        {},
        [[]],
        [1],
        [None],
        ["bait:Model"],
        {"x": 1},
        {"name": "bait:Model"},
        [[0.5, None]],
        [[1], [1, 2]],
    ),
]
FILES = (
    *("grid.toml", "runs/*/spec.json", "runs/*/scores.json", "runs/*/provenance.json", "runs/*/curves.csv"),
    *("runs/*/weights.safetensors", "controls/*.json", "progress/*.json", "checkpoints/*.safetensors"),
    "stack_sizes/*.json",
)
MEMORY = 16 << 30  # of addresses, far more than this package takes and far less than hostile files ask for


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a file of each kind."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny.toml").write_text(tiny_data.GRID)
    asked = ("--seeds", "1", "--set", 'models=[{name="vae"}, {name="pca"}]', "--set", "controls=true")
    done = CliRunner().invoke(
        main, ["run", str(folder / "tiny.toml"), *asked, "--out", str(folder / "study")]
    )
    assert done.exit_code == 0, done.output
    study = StudyDir(folder / "study")
    phase = {"phase": "training", "done": 1, "total": 6}
    study.progress.write({"host": "a", "pid": 1, "updated": 9e12, "runs": {"a": phase}})
    record = next(study.records())
    about = {
        "step": 3,
        "data": "squares-1",
        "runs": [{"id": "a", "curves": [], "seconds": 1.0, "failure": None}],
    }
    study.checkpoints.save(about, study.load(record.spec.id, weights=True).weights)
    study.save_stack_size("vae on cpu", {"runs": 2, "speeds": {"1": 0.5}})
    return study.path


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A limit of memory; and no waiting for the disk, since nobody cuts the power here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container within the value with every key of it."""
    if isinstance(value, dict):
        return [(value, key) for key in value] + [place for each in value.values() for place in places(each)]
    if isinstance(value, list):
        return [(value, key) for key in range(len(value))] + [
            place for each in value for place in places(each)
        ]
    return []


def changed_json(text: str, chance: random.Random) -> str:
    document = json.loads(text)
    for _ in range(chance.choice([1, 1, 2, 5])):
        container, key = chance.choice(places(document) or [([document], 0)])
        match chance.randrange(4):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[str(chance.choice(HOSTILE))] = container[key]
            case _:
                container[key] = chance.choice(HOSTILE)
    return json.dumps(document)


def changed_bytes(content: bytes, chance: random.Random) -> bytes:
    new = bytearray(content)
    for _ in range(chance.choice([1, 1, 3, 20])):
        place = chance.randrange(min(len(new), chance.choice([200, 10**6]))) if new else 0
        match chance.randrange(5):
            case 0:
                new[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del new[place : place + chance.choice([1, 10, 10**6])]
            case 2:
                new[place:place] = new[:place][-chance.randrange(1, 100) :]
            case 3:
                new[place:place] = chance.choice(
                    [b"[" * 50_000, b'"', b",", b"\n", b"1e999", b"9" * 5000, b"\xff"]
                )
            case 4:
                word = chance.choice([b'"bait:Model"', b'"os:system"', b"-1", b"{}", b"nan", b"\x1b[2J"])
                new[place : place + len(word)] = word
    return bytes(new)


def change(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    if path.suffix == ".json" and chance.random() < 0.7:
        content = changed_json(content.decode(), chance).encode("utf-8", "surrogatepass")
    else:
        content = changed_bytes(content, chance)
    path.unlink()  # the other name of the file keeps what it had
    path.write_bytes(content)


def look(study: StudyDir, own: Path) -> None:
    """All that reads a study; what is no message is raised. Nothing that the study says may be imported by it."""
    grid = read_grid(own, seeds=1)
    runs = [path for path in study.runs.iterdir() if path.is_dir()]
    looks = [
        lambda: load_scores(study.path),
        lambda: write_report(study),  # which makes and writes all tables first
        lambda: study_status(study, expand(grid)),
        lambda: read_grid(study.path / "grid.toml", with_data=False, allow=()),
        lambda: read_grid(study.path / "grid.toml", allow=["tiny_data"]),
        lambda: plan(grid, study),
        study.dataset_names,
        study.controls,
        lambda: [study.checkpoints.load(path) for _, path in study.checkpoints.each()],
        lambda: study.checkpoints.drop(["run"], lambda run_id: True),
        lambda: study.stack_size("vae on cpu"),
        *[lambda run=run: load_run(run) for run in runs],
    ]
    for each in looks:
        with suppress(BenchError):
            each()


def fuzz(made: Path, folder: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    (folder / "bait.py").write_text(BAIT)
    (folder / "own.toml").write_text(tiny_data.GRID)
    for _ in range(count):
        study = folder / "study"
        shutil.rmtree(study, ignore_errors=True)
        shutil.copytree(made, study, copy_function=os.link)
        for pattern in chance.sample(FILES, chance.choice([1, 1, 1, 3])):
            change(chance.choice(sorted(study.glob(pattern))), chance)
        look(StudyDir(study), folder / "own.toml")
        assert "bait" not in sys.modules
        assert {path.name for path in folder.iterdir()} == {"study", "bait.py", "own.toml"}


@pytest.mark.usefixtures("bounded")
@pytest.mark.filterwarnings("ignore")
def test_studies_changed_at_random(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz(made, tmp_path, 60, seed=0)


@pytest.mark.slow
@pytest.mark.usefixtures("bounded")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(1, 11))
def test_thousands_of_studies_changed_at_random(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz(made, tmp_path, 500, seed)
