"""Several processes on one study: shards, two at once, kills; every run once, and the scores of one process alone."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import tiny_data
from click.testing import CliRunner
from forked import Bench, ends_well

from disentangle_bench.cli import main
from disentangle_bench.errors import BenchError
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import check_grid, read_grid
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.study.claims import Claims
from disentangle_bench.study.plan import in_shard

STEPS = ("--set", "training.steps=300", "--set", "scoring.points=40", "--checkpoint-every", "0.1s")


def bench(folder: Path, out: str, *more: str) -> Bench:
    return Bench("run", "tiny.toml", "--out", out, *STEPS, *more, folder=folder)


def started(process: Bench) -> None:
    """Wait until it works on a run."""
    for line in process.lines():
        if line.startswith("["):
            return
    raise AssertionError(f"it ended with {process.wait()}")


def same_study(folder: Path, one: str, other: str) -> None:
    """Every run is there once, with the same weights and scores to the byte, and nothing is left lying about."""
    runs = {path.name for path in (folder / one / "runs").iterdir()}
    assert {path.name for path in (folder / other / "runs").iterdir()} == runs
    for run in runs:
        for name in ("weights.safetensors", "curves.csv", "scores.json"):
            one_file, other_file = (folder / study / "runs" / run / name for study in (one, other))
            assert one_file.read_bytes() == other_file.read_bytes(), (run, name)
    tables = [pd.read_csv(folder / study / "scores.csv") for study in (one, other)]
    assert tables[0].equals(tables[1])
    assert len(tables[0]) == len(runs)
    assert not list((folder / other).glob("checkpoints/*"))
    assert not list((folder / other).rglob(".*.tmp"))
    assert not list((folder / other).glob("progress/*"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "tiny.toml").write_text(tiny_data.GRID)
    ends_well(bench(folder, "alone"))
    return folder


def test_four_shards_two_of_them_killed(folder: Path) -> None:
    shards = [bench(folder, "shards", "--shard", f"{i}/4") for i in (1, 2, 3, 4)]
    grid = read_grid(folder / "tiny.toml", [STEPS[1], STEPS[3]])
    sizes = [sum(in_shard(spec, (i, 4)) for spec in expand(grid)) for i in (1, 2, 3, 4)]
    assert sum(sizes) == 6
    largest = sorted(range(4), key=lambda i: -sizes[i])[:2]
    for i in largest:
        started(shards[i])
        shards[i].send(signal.SIGKILL)
    for i, process in enumerate(shards):
        assert process.wait() == (-signal.SIGKILL if i in largest else 0), process.said
    again = [bench(folder, "shards", "--shard", f"{i + 1}/4") for i in largest]
    for process in again:
        ends_well(process)
    same_study(folder, "alone", "shards")


def test_two_at_once_share_the_work(folder: Path) -> None:
    both = [bench(folder, "both") for _ in range(2)]
    for process in both:
        ends_well(process)
    begun = [line for process in both for line in process.said.splitlines() if line.startswith("[")]
    assert len(begun) == 6, begun  # each run by one of them
    same_study(folder, "alone", "both")


def test_what_a_killed_process_had_claimed_is_free(folder: Path) -> None:
    first = bench(folder, "taken")
    started(first)
    time.sleep(0.5)
    first.send(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    (folder / "taken" / "runs" / ".partial-0123abcd").mkdir()
    (folder / "taken" / ".scores.csv.0123abcd.tmp").touch()
    (folder / "taken" / "checkpoints").mkdir(exist_ok=True)
    (folder / "taken" / "checkpoints" / ".tmpAb12Cd").touch()
    ends_well(bench(folder, "taken"))
    same_study(folder, "alone", "taken")


CLAIM = """
import sys
from pathlib import Path
from disentangle_bench.study.claims import Claims
from disentangle_bench.records.study_dir import StudyDir
claims = Claims(StudyDir(Path(sys.argv[1])))
with claims.working():
    print(claims.take(sys.argv[2:]), flush=True)
    sys.stdin.read()
"""


def claimer(study: Path, *names: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM, study, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_claims_are_one_processes_until_it_ends(tmp_path: Path) -> None:
    other, taken = claimer(tmp_path, "a", "b")
    assert taken == "['a', 'b']"
    claims = Claims(StudyDir(tmp_path))
    assert claims.take(["a", "c"]) == ["c"]
    other.kill()
    other.wait()
    assert claims.take(["a"]) == ["a"]
    claims.release(["a"])
    third, taken = claimer(tmp_path, "a", "c")
    assert taken == "['a']"
    third.communicate()


def test_leftovers_stay_while_another_process_works(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    (study.runs / ".partial-abc").mkdir(parents=True)
    other, _ = claimer(tmp_path)
    assert not list(study.runs.iterdir())  # it came first
    (study.runs / ".partial-abc").mkdir()
    with Claims(study).working():
        assert list(study.runs.iterdir())
    other.communicate()
    with Claims(study).working():
        assert not list(study.runs.iterdir())


def test_shards_are_stable_and_disjoint() -> None:
    document = {"name": "g", "datasets": [{"name": "dsprites_rendered"}], "models": [{"name": "vae"}]}
    small, large = (expand(check_grid(document | {"seeds": seeds})) for seeds in (50, 400))
    parts = [{spec.id for spec in large if in_shard(spec, (i, 8))} for i in range(1, 9)]
    assert sum(map(len, parts)) == 400 == len(set().union(*parts))
    assert all(25 < len(part) < 80 for part in parts)
    for spec in small:
        assert [spec.id in part for part in parts] == [in_shard(spec, (i, 8)) for i in range(1, 9)]


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/0", "-1/3", "1/2/3"])
def test_a_wrong_shard_is_a_message(shard: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    result = CliRunner().invoke(main, ["run", str(tmp_path / "tiny.toml"), "--shard", shard])
    assert result.exit_code == 2
    assert "2/8" in result.output


def test_status_shows_every_process(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    for pid in (1, 2):
        study.progress.write({"host": "node/../a", "pid": pid, "updated": time.time(), "runs": {}})
    assert [told["pid"] for told in study.progress.each()] == [1, 2]
    assert {path.parent for path in tmp_path.rglob("*.json")} == {tmp_path / "progress"}
    with pytest.raises(BenchError):
        study.run_path("../escaped")
    json.dumps(study.progress.each())
