"""A run a core: the same numbers however many processes there are, and a process that dies costs its own task."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_data
from forked import Bench, ends_well

from disentangle_bench.data import cache
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.pool import score_many, score_one
from disentangle_bench.metrics.side_by_side import side_by_side
from disentangle_bench.processes import worker as worker_module
from disentangle_bench.processes.cores import Cores, Task, count_cores
from disentangle_bench.processes.worker import Caller, Surroundings, Worker
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.stop import Stop, Stopped
from disentangle_bench.study.options import Jobs

RUN = ("run", "tiny.toml", "--set", "controls=true", "--set", "training.steps=40")
DEADLY = """
import os
from disentangle_bench.models.vae import VAE

class Deadly(VAE):
    def losses(self, call, step):
        if len(step.images) == 8:  # a batch of the grid's
            os._exit(7)
        return super().losses(call, step)

class Unbuilt(VAE):
    def build(self, *arguments):
        os._exit(8)

def exits(codes, factors):
    os._exit(3)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    (tmp_path / "deadly.py").write_text(DEADLY)
    return tmp_path


def csv_files(study: Path) -> dict[str, bytes]:
    """All tables but that of the time taken."""
    return {path.name: path.read_bytes() for path in study.glob("*.csv") if path.name != "seconds.csv"}


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in /proc")


def test_tables_are_the_same_byte_for_byte(folder: Path) -> None:
    """Whatever the number of processes, and from a program of one's own too."""
    for jobs in (1, 2, 3):
        ends_well(Bench(*RUN, "--jobs", jobs, "--out", f"jobs{jobs}", folder=folder))
    script = (
        "import disentangle_bench\n"
        "print('begun')\n"
        "disentangle_bench.run('tiny.toml', 'script', overrides=['controls=true', 'training.steps=40'], jobs=2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "begun\n", done.stderr
    one, *others = (csv_files(folder / name) for name in ("jobs1", "jobs2", "jobs3", "script"))
    assert len(one) == 8
    assert others == [one] * 3
    controls = [(folder / f"jobs{n}/controls").glob("*.json") for n in (1, 2)]
    first, second = (next(files).read_bytes() for files in controls)
    assert first == second


@linux
def test_a_worker_that_is_killed_costs_nothing_but_time(folder: Path) -> None:
    """Its run goes on from the last checkpoint, provenance says so, and the numbers are those of a calm study."""
    run = ("run", "tiny.toml", "--jobs", 2, "--set", "training.steps=400", "--seeds", 1)
    ends_well(Bench(*run, "--out", "calm", folder=folder))
    bench = Bench(*run, "--out", "hurt", "--checkpoint-every", "0.01s", folder=folder)
    while not list(folder.glob("hurt/checkpoints/*.safetensors")) and bench.process.is_alive():
        time.sleep(0.01)
    killed = children(bench.process.pid)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    ends_well(bench)
    assert len(killed) == 2
    assert csv_files(folder / "hurt") == csv_files(folder / "calm")
    lost = [record.provenance.get("lost_workers", ()) for record in StudyDir(folder / "hurt").records()]
    assert sorted(map(len, lost)) == [0, 1, 1]
    assert "exit code -9" in next(filter(None, lost))[0]


@linux
def test_workers_end_with_a_command_that_is_killed(folder: Path) -> None:
    bench = Bench("run", "tiny.toml", "--set", "training.steps=1000000", "--out", "study", folder=folder)
    while not list(folder.glob("study/progress/*.json")) or len(children(bench.process.pid)) < 2:
        assert bench.process.is_alive(), bench.said
        time.sleep(0.01)
    workers = children(bench.process.pid)
    bench.send(signal.SIGKILL)
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/fd").is_dir() and alive(pid) for pid in workers):
        assert time.monotonic() < end, "a worker outlives its command"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process is more than an entry in a table."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_model_that_ends_its_process_costs_its_run(folder: Path) -> None:
    sets = ('models=[{name="deadly:Deadly"}, {name="vae"}]', 'metrics=["mig"]')
    bench = Bench(
        "run", "tiny.toml", "--out", "study", "--seeds", 1,
        *(part for text in sets for part in ("--set", text)), folder=folder,
    )  # fmt: skip
    assert bench.wait() == 1, bench.said
    found = {record.spec.model: record for record in StudyDir(folder / "study").records()}
    assert found["vae"].failure is None
    deadly = found["deadly:Deadly"]
    assert str(deadly.failure).startswith("its process died 3 times: its process ended with exit code 7")
    assert len(deadly.provenance["lost_workers"]) == 3


def test_a_model_that_ends_its_process_when_it_is_tried_is_refused(folder: Path) -> None:
    bench = Bench(
        "run", "tiny.toml", "--out", "study", "--set", 'models=[{name="deadly:Unbuilt"}]', folder=folder
    )
    assert bench.wait() == 2, bench.said
    assert "model 'deadly:Unbuilt' cannot be tried: its process ended with exit code 8" in bench.said


def test_threads_are_kept_with_the_run(folder: Path) -> None:
    ends_well(Bench("run", "tiny.toml", "--seeds", 1, "--threads", 2, "--out", "study", folder=folder))
    (threads,) = {record.provenance["threads"] for record in StudyDir(folder / "study").records()}
    assert threads == 2


def test_the_number_of_processes() -> None:
    assert Jobs(3, 1).processes(tasks=10) == 3
    assert Jobs(3, 1).processes(tasks=2) == 2
    assert Jobs(None, 10_000).processes(tasks=5) == 1


# Tasks for the tests below.


def double(caller: Caller, number: int) -> int:
    caller.phase("doubling", 1)
    return 2 * number


def refuse(caller: Caller) -> None:
    raise BenchError("not like this")


def break_down(caller: Caller) -> None:
    raise ZeroDivisionError("a fault of ours")


def die(caller: Caller, number: int) -> None:
    os._exit(number)


def wait_for_a_stop(caller: Caller) -> None:
    caller.phase("training", 1)
    while True:
        caller.stop.check()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def surroundings() -> Surroundings:
    return Surroundings.here()


@pytest.fixture
def worker(surroundings: Surroundings) -> Iterator[Worker]:
    made = Worker(surroundings)
    yield made
    made.end()


def test_what_a_worker_says(worker: Worker) -> None:
    worker.give(double, 21)
    assert [worker.hear(), worker.hear()] == [("phase", ("doubling", 1, 0)), ("done", 42)]
    worker.give(refuse)
    assert worker.hear() == ("refused", "not like this")
    worker.give(break_down)
    kind, text = worker.hear() or ("", "")
    assert (kind, text.splitlines()[-1]) == ("broke", "ZeroDivisionError: a fault of ours")
    worker.give(wait_for_a_stop)
    worker.hear()
    assert worker.hear(0.05) is None
    worker.ask_to_stop("because")
    assert worker.hear() == ("stopped", "because")
    worker.give(die, 5)
    assert worker.hear() == ("died", "its process ended with exit code 5")
    assert worker.hear() == ("died", "its process ended with exit code 5")


def learners(caller: Caller, factors: int) -> int:
    """How many threads learn so many factors side by side."""

    def learn(factor: int) -> int:
        time.sleep(0.02)
        return threading.get_ident()

    return len(set(side_by_side(learn, range(factors))))


def test_metrics_learn_in_as_many_threads_as_a_process_has_cores() -> None:
    for jobs, threads in ((count_cores(), 1), (1, count_cores())):
        with Cores[Task](jobs) as cores:
            tasks = iter([Task(learners, 2 * count_cores())])
            assert [content for _, kind, content in cores.words(tasks, Stop()) if kind == "done"] == [threads]


def test_tasks_are_done_in_turn_and_again_where_one_dies() -> None:
    with Cores[Task](2) as cores:
        heard: dict[int, list[str]] = {}
        tasks = [Task(double, 1), Task(die, 4), Task(double, 3)]
        for task, kind, _ in cores.words(iter(tasks), Stop()):
            heard.setdefault(task.arguments[0], []).append(kind)
            if kind == "died" and heard[4].count("died") == 1:
                cores.again.append(task)
        assert heard[1] == heard[3] == ["began", "phase", "done"]
        assert heard[4] == ["began", "died", "began", "died"]


def test_a_stop_waits_for_those_that_train() -> None:
    stop = Stop()
    with stop.listening(), Cores[Task](2) as cores:
        heard = cores.words([Task(wait_for_a_stop), Task(wait_for_a_stop)], stop)
        words = [next(heard)[1:] for _ in range(4)]
        stop.ask("enough")
        words += [next(heard)[1:] for _ in range(2)]
        with pytest.raises(Stopped, match="enough"):
            next(heard)
    assert words[-2:] == [("stopped", "enough")] * 2


def test_tables_are_scored_in_order_and_a_metric_that_dies_costs_its_column(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(0)
    factors = np.arange(60).reshape(60, 1) % 3
    tables = np.stack([factors * scale + 0 * rng.normal(size=(60, 2)) for scale in (0, 1, 1)]).astype(
        np.float32
    )
    reports = list(score_many(tables, factors, [0, 1, 2], ["mig", "deadly:exits"]))
    assert [report["scores"]["mig"] > 0.4 for report in reports] == [False, False, False]
    assert all(set(report["failures"]) == {"deadly:exits"} for report in reports)


def test_a_fork_has_no_line_of_its_parents(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for others' metrics that the parent keeps is not asked by a child, whose end of the line is closed."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(worker_module, "_may_fork", sys.platform == "linux")
    codes = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    factors = np.arange(30).reshape(30, 1) % 3
    (folder / "kept.py").write_text("def half(codes, factors):\n    return 0.5\n")
    assert score_one(codes, factors, ["kept:half"], 0, None)["scores"] == {"half": 0.5}
    (report,) = score_many(codes[None], factors, [0], ["kept:half"])
    assert (report["scores"], report["failures"]) == ({"half": 0.5}, {})


def test_a_file_that_another_process_has_hashed_is_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is the same file: one that was changed since is looked at, and found damaged."""
    path = tmp_path / "a.npy"
    array = np.arange(6)
    _, digest = cache.cached_array(path, (6,), np.int64, lambda: [array])
    monkeypatch.setattr(cache, "_verified", {})
    files = {str(path): ((0, 0, 0, 0), "another")}
    cache.trust(files)
    assert cache.open_verified(path, (6,), np.int64)[1] == digest  # type: ignore[index]
    monkeypatch.setattr(cache, "_whole", lambda *file: pytest.fail("it was hashed again"))
    cache.trust(cache.verified())
    assert cache.open_verified(path, (6,), np.int64)[1] == digest  # type: ignore[index]
    monkeypatch.undo()
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    assert cache.open_verified(path, (6,), np.int64) is None
