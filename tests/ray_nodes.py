"""A Ray cluster of several nodes on this machine, each a process group of its own that can be killed."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Nodes:
    """Nodes with one CPU each; the first is the head, where the drivers are."""

    def __init__(self, count: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: sockets lie in it
        self.environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "RAY_TMPDIR": str(self.folder),
            "RAY_AUTH_MODE": "disabled",
            "RAY_worker_niceness": "0",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_health_check_initial_delay_ms": "1000",
        }
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.count = 0
        for _ in range(count):
            self.add()

    def add(self) -> None:
        """One more node, in the foreground of its own process group."""
        host, port = self.address.split(":")
        first = not self.nodes
        where = (
            ["--head", "--port", port, "--include-dashboard=false"] if first else ["--address", self.address]
        )
        if first:
            where += ["--temp-dir", str(self.folder)]
        self.nodes.append(
            subprocess.Popen(
                [
                    Path(sys.executable).with_name("ray"), "start", *where, "--node-ip-address", host,
                    "--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats", "--block",
                ],
                env=self.environment,
                stdout=(self.folder / f"node{self.count}.log").open("wb"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )  # fmt: skip
        self.count += 1
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in (self.folder / f"node{self.count - 1}.log").read_text():
            assert self.nodes[-1].poll() is None, (self.folder / f"node{self.count - 1}.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def kill(self, node: int) -> None:
        """Every process of this node, at once; workers have process groups of their own."""
        process = self.nodes.pop(node)
        family = descendants(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def working(self, title: str) -> list[int]:
        """The nodes that have a process of this title."""
        found = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        workers = {int(line.split()[0]) for line in found.splitlines() if title in line}
        return [i for i, node in enumerate(self.nodes) if workers & set(descendants(node.pid))]

    def stop(self) -> None:
        while self.nodes:
            self.kill(-1)
        shutil.rmtree(self.folder, ignore_errors=True)


def descendants(pid: int) -> list[int]:
    """The process's children, their children, and so on."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]
