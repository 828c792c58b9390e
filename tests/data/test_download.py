"""Downloads against a server on this machine that misbehaves in every way a server can."""

import hashlib
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from disentangle_bench.data import download, registered
from disentangle_bench.data.download import fetch, get, get_missing
from disentangle_bench.data.layouts import DSPRITES_NPZ
from disentangle_bench.data.official import CACHES, FileFacts, listing
from disentangle_bench.errors import BenchError

CONTENT = random.Random(7).randbytes(300_000)
QUICK = {"pause_s": 0.01, "timeout_s": 2.0}


class Server(BaseHTTPRequestHandler):
    """Answers as the first part of the path says; `asked` counts what was asked for."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_GET(self):
        manner = self.path.split("/")[1]
        self.asked.append((manner, self.headers.get("Range")))
        getattr(self, f"answer_{manner}")()

    def send(self, body: bytes, status: int = 200, declared: int | None = None, **headers: str):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if declared is None else declared))
        self.end_headers()
        self.wfile.write(body)
        if declared is not None:
            self.close_connection = True

    def start(self) -> int:
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def ranged(self, body: bytes, declared: int | None = None):
        first = self.start()
        place = f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
        self.send(body, 206 if first else 200, declared, Content_Range=place)

    def answer_good(self):
        self.ranged(CONTENT[self.start() :])

    def answer_cut(self):
        """Half of what is left, then the connection ends."""
        left = CONTENT[self.start() :]
        half = left if len(left) < 50_000 else left[: len(left) // 2]
        self.ranged(half, declared=len(left))

    def answer_cutnorange(self):
        """Cut the first time; whole the second time, from the start whatever was asked."""
        first = [manner for manner, _ in self.asked].count("cutnorange") == 1
        self.send(CONTENT[: 100_000 if first else None], declared=len(CONTENT))

    def answer_wrongplace(self):
        """Cut the first time; then it resumes one byte too early, once."""
        times = [manner for manner, _ in self.asked].count("wrongplace")
        if times == 1:
            self.send(CONTENT[:1000], declared=len(CONTENT))
        elif times == 2:
            self.send(CONTENT[999:], 206, Content_Range=f"bytes 999-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send(CONTENT)

    def answer_wronghash(self):
        self.send(CONTENT[:-1] + b"x")

    def answer_wrongsize(self):
        self.send(CONTENT + b"more")

    def answer_endless(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(CONTENT)
        self.close_connection = True

    def answer_missing(self):
        self.send(b"no such file", 404)

    def answer_broken(self):
        self.send(b"sorry", 503)

    def answer_shaky(self):
        """Unavailable twice, then well."""
        if [manner for manner, _ in self.asked].count("shaky") <= 2:
            self.send(b"sorry", 503)
        else:
            self.send(CONTENT)

    def answer_redirect(self):
        self.send(b"", 302, Location=f"/good/{self.path.split('/')[-1]}")

    def answer_trickle(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        for first in range(0, len(CONTENT), 30_000):
            self.wfile.write(CONTENT[first : first + 30_000])
            self.wfile.flush()
            time.sleep(0.05)

    def answer_stall(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:10])
        self.wfile.flush()
        time.sleep(1)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # whatever proxy this machine has
    Server.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture
def facts(address):
    def make(manner: str) -> FileFacts:
        hashes = {
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "md5": hashlib.md5(CONTENT).hexdigest(),
            "git-blob": hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest(),
        }
        return FileFacts("file.npz", f"{address}/{manner}/file.npz", DSPRITES_NPZ, hashes, len(CONTENT))

    return make


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.parametrize(
    "manner", ["good", "cut", "cutnorange", "wrongplace", "shaky", "redirect", "trickle"]
)
def test_the_right_file_arrives(tmp_path, facts, manner):
    path = fetch(facts(manner), tmp_path / "new", **QUICK)
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == {"file.npz"}


def test_a_cut_connection_is_resumed_where_it_broke(tmp_path, facts):
    fetch(facts("cut"), tmp_path, **QUICK)
    assert [asked for _, asked in Server.asked][:3] == [None, "bytes=150000-", "bytes=225000-"]


@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ("wronghash", "not the published"),
        ("wrongsize", "has 300004 bytes"),
        ("endless", "sends more than"),
        ("missing", "404"),
        ("broken", "503.*by hand"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_gets_the_name(tmp_path, facts, manner, message):
    with pytest.raises(BenchError, match=message):
        fetch(facts(manner), tmp_path, **QUICK)
    assert names(tmp_path) == set()


def test_a_file_of_unknown_size_is_held_by_its_hash(tmp_path, facts):
    with pytest.raises(BenchError, match="not the published"):
        fetch(replace(facts("wrongsize"), size=None), tmp_path, **QUICK)
    assert fetch(replace(facts("good"), size=None), tmp_path, **QUICK).read_bytes() == CONTENT


def test_a_stall_ends_and_the_next_call_goes_on(tmp_path, facts, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(BenchError, match=r"timed out.*kept"):
        fetch(facts("stall"), tmp_path, pause_s=0.01, timeout_s=0.1)
    assert names(tmp_path) == {"file.npz.part"}
    fetch(facts("good"), tmp_path, **QUICK)
    assert Server.asked[-1] == ("good", "bytes=10-")
    assert names(tmp_path) == {"file.npz"}


def test_rubbish_in_the_part_file_does_not_last(tmp_path, facts):
    (tmp_path / "file.npz.part").write_bytes(b"rubbish" * 100)
    assert fetch(facts("good"), tmp_path, **QUICK).read_bytes() == CONTENT
    (tmp_path / "file.npz").rename(tmp_path / "file.npz.part")
    assert fetch(facts("missing"), tmp_path, **QUICK).read_bytes() == CONTENT


def test_nobody_there(tmp_path, facts):
    nowhere = replace(facts("good"), url="http://127.0.0.1:9/file.npz")
    with pytest.raises(BenchError, match="by hand"):
        fetch(nowhere, tmp_path, **QUICK)
    assert names(tmp_path) == set()


def test_the_proxy_is_the_environments_of_the_moment(tmp_path, facts, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):  # what this machine has
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(BenchError, match="refused"):
        fetch(facts("good"), tmp_path, **QUICK)
    monkeypatch.delenv("http_proxy")
    assert fetch(facts("good"), tmp_path, **QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize("mirror", ["ftp://127.0.0.1/file.npz", "file:///etc/passwd", "nonsense"])
def test_only_http_is_spoken(tmp_path, facts, mirror):
    with pytest.raises(BenchError, match="no http"):
        fetch(facts("good"), tmp_path, mirror=mirror, **QUICK)


def test_a_mirror_is_an_address_or_a_folder(tmp_path, facts, address):
    for folder, mirror in (("a", f"{address}/good/other-name"), ("b", f"{address}/good/")):
        path = fetch(facts("missing"), tmp_path / folder, mirror=mirror, **QUICK)
        assert path.name == "file.npz"


def test_what_is_there_is_not_fetched_again_but_checked(tmp_path, facts):
    (tmp_path / "file.npz").write_bytes(CONTENT)
    fetch(facts("missing"), tmp_path, **QUICK)
    (tmp_path / "file.npz").write_bytes(CONTENT[:-1])
    with pytest.raises(BenchError, match="299999 bytes"):
        fetch(facts("good"), tmp_path, **QUICK)
    assert Server.asked == []


def test_a_folder_that_cannot_be_written(tmp_path, facts):
    (tmp_path / "taken").touch()
    with pytest.raises(BenchError, match="cannot be written"):
        fetch(facts("good"), tmp_path / "taken" / "folder", **QUICK)


def test_progress_is_told(tmp_path, facts):
    told = []
    fetch(facts("good"), tmp_path, notify=lambda *news: told.append(news), **QUICK)
    assert ("downloading file.npz", len(CONTENT), len(CONTENT)) in told
    assert told[-1] == ("checking file.npz.part", len(CONTENT), len(CONTENT))


def test_two_processes_end_with_one_good_file(tmp_path, facts):
    wanted = facts("trickle")
    script = (
        "import sys, pathlib\n"
        "from disentangle_bench.data.download import fetch\n"
        "from disentangle_bench.data.layouts import DSPRITES_NPZ\n"
        "from disentangle_bench.data.official import FileFacts\n"
        f"facts = FileFacts({wanted.name!r}, {wanted.url!r}, DSPRITES_NPZ, {wanted.hashes!r}, {wanted.size})\n"
        "fetch(facts, pathlib.Path(sys.argv[1]), pause_s=0.01)\n"
    )
    racers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(2)]
    assert [racer.wait() for racer in racers] == [0, 0]
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert names(tmp_path) == {"file.npz"}
    assert len(Server.asked) == 1


def test_what_a_source_needs_is_fetched_and_nothing_else(tmp_path, facts, monkeypatch):
    monkeypatch.setattr(download, "files_of", {"dsprites": (facts("good"),)}.__getitem__)
    get_missing(registered.DSpritesRendered(), tmp_path)
    assert names(tmp_path) == set()
    get_missing(registered.COLOR_DSPRITES, tmp_path)
    get_missing(registered.DSprites(), tmp_path)
    assert names(tmp_path) == {"file.npz"}
    (tmp_path / "file.npz").rename(tmp_path / CACHES["dsprites"])
    get_missing(registered.DSprites(), tmp_path)
    assert len(Server.asked) == 1


def test_of_a_set_in_parts_every_file_is_fetched(tmp_path, facts, monkeypatch):
    parts = tuple(replace(facts("good"), name=f"part{k}") for k in range(3))
    monkeypatch.setattr(download, "files_of", {"smallnorb": parts, "dsprites": parts}.__getitem__)
    (tmp_path / "part1").write_bytes(CONTENT)
    for _ in range(2):
        assert [path.name for path, _ in get("smallnorb", tmp_path)] == ["part0", "part1", "part2"]
    assert len(Server.asked) == 2
    # Of other sets the one that is there is enough.
    (tmp_path / "part0").unlink()
    assert [path.name for path, _ in get("dsprites", tmp_path)] == ["part1"]
    (tmp_path / "part2").write_bytes(CONTENT[1:])
    with pytest.raises(BenchError, match="part2"):
        get("smallnorb", tmp_path)


def test_what_lies_in_place_of_a_cache_needs_no_download(tmp_path, facts):
    """MPI3D's images are read from the published file itself: a start does not hash it for a download's sake."""
    (tmp_path / "mpi3d_toy.npz").write_bytes(CONTENT)
    get_missing(registered.MPI3D_TOY, tmp_path)
    assert not Server.asked


def test_an_unknown_data_set_has_no_file(tmp_path):
    with pytest.raises(BenchError, match="Did you mean 'dsprites'"):
        get("dsprite", tmp_path)


def test_a_wrong_file_under_the_official_name_is_refused(tmp_path):
    path = tmp_path / "3dshapes.h5"
    path.write_bytes(CONTENT)
    with pytest.raises(BenchError, match="267573662"):
        get("shapes3d", tmp_path)
    found = {entry.path.name: entry.verified for entry in listing(tmp_path)}
    assert found.pop("3dshapes.h5") is False
    assert set(found.values()) == {None}
