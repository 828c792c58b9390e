"""A study on a real Ray cluster of three nodes: undisturbed, with a node killed, with the driver killed, stopped."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_data
from click.testing import CliRunner
from ray_nodes import Nodes
from test_sharing import same_study

from disentangle_bench.cli import main

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
# Modules and a metric that no node has installed: they lie in the driver's own folder.
METRIC = """
def spread(codes, factors):
    return float(codes.std())
"""


class Cluster:
    """Three nodes, and a folder with a grid, its data set's module and a plug-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes = Nodes(3)
        (folder / "tiny.toml").write_text(tiny_data.GRID)
        (folder / "tiny_data.py").write_text((HERE / "tiny_data.py").read_text())
        (folder / "spread.py").write_text(METRIC)

    def bench(self, out: str, *more: str, steps: int = 300) -> subprocess.Popen[str]:
        arguments = ["--out", out, "--plugin", "spread.py", "--checkpoint-every", "0.1s"]
        arguments += ["--set", f"training.steps={steps}", "--set", "scoring.points=40", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "disentangle_bench", "run", "tiny.toml", *arguments],
            cwd=self.folder,
            env=self.nodes.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def on_ray(self, out: str, *more: str, **grid: int) -> subprocess.Popen[str]:
        return self.bench(out, "--launcher", "ray", "--address", self.nodes.address, *more, **grid)

    def provenances(self, out: str) -> list[dict[str, object]]:
        files = sorted((self.folder / out).glob("runs/*/provenance.json"))
        return [json.loads(path.read_text()) for path in files]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        alone = cluster.bench("alone")
        alone.communicate()
        assert alone.returncode == 0
        yield cluster
    finally:
        cluster.nodes.stop()


def training(cluster: Cluster, out: str, jobs: int) -> None:
    """Wait until so many runs have a checkpoint."""
    deadline = time.monotonic() + 120
    while len(list((cluster.folder / out).glob("checkpoints/[!.]*.safetensors"))) < jobs:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def busy_node(cluster: Cluster, out: str) -> int:
    """Wait until every node that has a job has kept a checkpoint of it; one of them that is not the head."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        busy = cluster.nodes.working("ray::run_one")
        kept = len(list((cluster.folder / out).glob("checkpoints/[!.]*.safetensors")))
        if busy and busy[-1] > 0 and kept >= len(busy):
            return busy[-1]
        time.sleep(1)  # looking costs as much as a step
    raise AssertionError("no node has worked")


def test_without_a_cluster_there_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the cluster of the other tests is there, which "auto" would find."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    command = ["run", "tiny.toml", "--launcher", "ray", "--address", "auto"]
    environment = {"RAY_TMPDIR": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    result = CliRunner(env=environment).invoke(main, command)
    assert result.exit_code == 2, result.output
    assert "no Ray cluster" in result.output


def test_a_study_completes(cluster: Cluster) -> None:
    process = cluster.on_ray("whole")
    training(cluster, "whole", 2)
    (told,) = (json.loads(path.read_text()) for path in cluster.folder.glob("whole/progress/[!.]*"))
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert len(told["runs"]) > 1, "progress shows one run, not the whole cluster"
    same_study(cluster.folder, "alone", "whole")
    assert {provenance["launcher"] for provenance in cluster.provenances("whole")} == {"ray"}


def test_the_driver_is_killed_and_restarted(cluster: Cluster) -> None:
    process = cluster.on_ray("restarted")
    training(cluster, "restarted", 2)
    process.kill()
    process.communicate()
    again = cluster.on_ray("restarted")
    said = again.communicate()[1]
    assert again.returncode == 0, said
    same_study(cluster.folder, "alone", "restarted")
    assert any(provenance["resumed_at_step"] for provenance in cluster.provenances("restarted"))


@pytest.mark.parametrize("how", ["SIGTERM", "time limit"])
def test_a_stop_keeps_every_workers_checkpoint(cluster: Cluster, how: str) -> None:
    limit = (
        ("--time-limit", "20s", "--checkpoint-every", "1h")
        if how == "time limit"
        else ("--checkpoint-every", "1h")
    )
    process = cluster.on_ray(how, *limit, steps=1_000_000)
    if how == "SIGTERM":
        assert process.stderr is not None
        begun = 0
        while begun < 3:
            begun += process.stderr.readline().startswith("[")
        time.sleep(3)
        process.terminate()
    said = process.communicate()[1]
    assert process.returncode == (143 if how == "SIGTERM" else 75), said
    assert "Traceback" not in said
    assert "the same command goes on" in said
    kept = list((cluster.folder / how).glob("checkpoints/[!.]*.safetensors"))
    assert len(kept) >= 1
    assert not list((cluster.folder / how).glob("runs/*"))


def test_a_cluster_without_room_is_a_message(cluster: Cluster) -> None:
    process = cluster.on_ray("roomless", "--cpus-per-job", "2")
    said = process.communicate()[1]
    assert process.returncode == 2
    assert "no node of the Ray cluster has 2 CPUs" in said
    assert "Traceback" not in said


def test_a_node_is_killed(cluster: Cluster) -> None:
    process = cluster.on_ray("hurt")
    cluster.nodes.kill(busy_node(cluster, "hurt"))
    said = process.communicate()[1]
    assert process.returncode == 0, said
    same_study(cluster.folder, "alone", "hurt")
    lost = [provenance for provenance in cluster.provenances("hurt") if "lost_workers" in provenance]
    assert lost, "no run was on the node; the test shows nothing"
    assert all(len(provenance["lost_workers"]) == 1 for provenance in lost)  # type: ignore[arg-type]
    assert any(provenance["resumed_at_step"] for provenance in lost)


DEADLY = """
import os
from disentangle_bench.models.vae import VAE

class Deadly(VAE):
    def losses(self, call, step):
        if len(step.images) > 2:  # not when the driver tries whether it fits
            os._exit(7)
        return super().losses(call, step)
"""


def test_a_run_that_kills_its_workers_is_given_up(cluster: Cluster) -> None:
    (cluster.folder / "deadly.py").write_text(DEADLY)
    process = cluster.on_ray("deadly", "--set", 'models=[{name="deadly:Deadly"}]', "--seeds", "1")
    said = process.communicate()[1]
    assert process.returncode == 1, said
    (provenance,) = cluster.provenances("deadly")
    assert len(provenance["lost_workers"]) == 4  # type: ignore[arg-type]
    (failed,) = cluster.folder.glob("deadly/runs/*/FAILED")
    assert "its process died 4 times" in failed.read_text()
