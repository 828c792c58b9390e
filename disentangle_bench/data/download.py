"""Getting a published file: resumed where it broke off, tried again, and named only once it is proven whole."""

from __future__ import annotations

import http
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from disentangle_bench.data.official import CACHES, PARTED, FileFacts, by_hand, check, files_of
from disentangle_bench.errors import BenchError
from disentangle_bench.locks import take_whole

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import Notify
    from disentangle_bench.data.source import DataSource

PIECE = 1 << 16
# A file whose size is not published may not grow beyond this.
LARGEST = 1 << 31
ATTEMPTS = 5
TIMEOUT_S = 30.0
# After the first failure; doubled after each further one.
PAUSE_S = 1.0


class Interrupted(Exception):
    """A transfer that broke off and may be tried again; says why."""


def get(
    name: str, data_dir: Path, *, mirror: str | None = None, notify: Notify | None = None
) -> list[tuple[Path, FileFacts]]:
    """(path, facts) of the official files that the data set `name` needs, downloaded to `data_dir` if need be.

    `mirror` is another address of the file, or of the folder that holds it if it ends in "/". Raises BenchError
    for an unknown name, for a file that is there and is not the published one, and where it cannot be had.
    """
    files = files_of(name)
    if name not in PARTED:
        there = [facts for facts in files if (data_dir / facts.name).is_file()]
        files = (there[0] if there else files[0],)
    elif mirror is not None and not mirror.endswith("/"):
        raise BenchError(
            f"{name} has {len(files)} files: the mirror must be the address of a folder, which ends in /"
        )
    return [(_have(facts, data_dir, mirror, notify), facts) for facts in files]


def _have(facts: FileFacts, data_dir: Path, mirror: str | None, notify: Notify | None) -> Path:
    """The path of the file in `data_dir`, checked; it is downloaded if it is not there."""
    path = data_dir / facts.name
    if not path.is_file():
        return fetch(facts, data_dir, mirror=mirror, notify=notify)
    check(path, facts, notify)
    return path


def get_missing(
    source: DataSource, data_dir: Path, *, mirror: str | None = None, notify: Notify | None = None
) -> None:
    """Have in `data_dir` what `source.load` needs: nothing is downloaded if it is there or none is needed.

    Raises BenchError where it cannot be had.
    """
    if source.published is not None and not (data_dir / CACHES[source.published]).is_file():
        get(source.published, data_dir, mirror=mirror, notify=notify)


def fetch(
    facts: FileFacts,
    folder: Path,
    *,
    mirror: str | None = None,
    notify: Notify | None = None,
    pause_s: float = PAUSE_S,
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """The path of the file in `folder`, downloaded and verified.

    What has arrived stays in a `.part` file, where the next call goes on. One process at a time works on it;
    others wait for the result. Raises BenchError where the file cannot be had or is not the published one.
    """
    if facts.by_hand:
        raise BenchError(f"{facts.name} cannot be downloaded by a command. {by_hand(facts, folder)}")
    own = Path(facts.name).name
    url = facts.url if mirror is None else mirror + own if mirror.endswith("/") else mirror
    if urlsplit(url).scheme not in ("http", "https"):
        raise BenchError(f"{url!r} is no http or https address")
    final = folder / facts.name
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with claimed(final, folder / f"{facts.name}.part") as part:
            if part is not None:
                Transfer(url, facts, part, notify, pause_s, timeout_s).complete()
        check(final, facts)
    except OSError as error:
        raise BenchError(f"{final} cannot be written: {error}") from error
    return final


@contextmanager
def claimed(final: Path, part: Path) -> Iterator[IO[bytes] | None]:
    """The `.part` file, held by this process alone, or None if the file is there under its final name."""
    while not final.is_file():
        with part.open("a+b") as file:
            take_whole(file)
            # While this process waited, another one may have given the file its final name, or thrown it away.
            if not part.exists() or not os.path.samestat(part.stat(), os.fstat(file.fileno())):
                continue
            try:
                yield file
            finally:
                if not os.fstat(file.fileno()).st_size:
                    part.unlink(missing_ok=True)
            return
    yield None


@dataclass(frozen=True)
class Transfer:
    """A published file on its way: from `url` into a `.part` file, which loses that suffix once it is proven whole."""

    url: str
    facts: FileFacts
    part: IO[bytes]
    notify: Notify | None
    pause_s: float
    timeout_s: float

    def complete(self) -> None:
        """Fill the part file, going on after failures, check it and rename it."""
        inherited = self.part.seek(0, os.SEEK_END) > 0
        self.fill()
        partial = Path(self.part.name)
        try:
            check(partial, self.facts, self.notify)
        except BenchError as error:
            self.part.truncate(0)
            if not inherited:
                name = self.facts.name
                raise BenchError(f"what {self.url} sent is not the published {name}: {error}") from error
            # What an earlier call left may be at fault: once more from the start.
            return self.complete()
        os.fsync(self.part.fileno())
        partial.replace(partial.with_suffix(""))

    def fill(self) -> None:
        """Fill the part file. Raises BenchError after `ATTEMPTS` failures in a row without a byte of progress."""
        failures = 0
        while True:
            before = self.part.seek(0, os.SEEK_END)
            try:
                return self.ask()
            except Interrupted as trouble:
                failures = 1 if self.part.seek(0, os.SEEK_END) > before else failures + 1
                if failures == ATTEMPTS:
                    final = Path(self.part.name).with_suffix("")
                    raise BenchError(
                        f"{self.url} cannot be had: {trouble}. What has arrived is kept and the next try goes on from"
                        f" there. The file may also be put at {final} by hand, or fetched from a mirror."
                    ) from trouble
                time.sleep(self.pause_s * 2 ** (failures - 1))

    def ask(self) -> None:
        """Ask once for what the part file lacks and append it.

        Raises Interrupted where trying again may help and BenchError where it will not.
        """
        url, part, name, size = self.url, self.part, self.facts.name, self.facts.size
        start = part.seek(0, os.SEEK_END)
        if start and start == size:
            return
        with answer(url, start, self.timeout_s) as response:
            if start and response.status != http.HTTPStatus.PARTIAL_CONTENT:
                start = 0
                part.truncate(0)
            elif start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                part.truncate(0)
                raise Interrupted("the server resumed at another place than asked for")
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdecimal() else None
            if None not in (size, total) and total != size:
                raise BenchError(f"{url} has {total} bytes, the published file {name} has {size}")
            done = start
            while piece := next_piece(response):
                part.write(piece)
                done += len(piece)
                if done > (size or LARGEST):
                    part.truncate(0)
                    raise BenchError(f"{url} sends more than the {size or LARGEST} bytes of {name}")
                if self.notify is not None:
                    self.notify(f"downloading {name}", done, total or size or done)
            part.flush()
        if total is not None and done < total:
            raise Interrupted(f"the connection ended after {done} of {total} bytes")


def answer(url: str, start: int, timeout_s: float) -> http.client.HTTPResponse:
    """The server's answer to a request for the bytes from `start` on."""
    # `urlopen` would keep the proxies that the environment named at the process's first request.
    opener = urllib.request.build_opener()
    headers = {"User-Agent": "disentangle_bench", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response: http.client.HTTPResponse = opener.open(
            urllib.request.Request(url, headers=headers), timeout=timeout_s
        )
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return answer(url, 0, timeout_s)
        if error.code == http.HTTPStatus.TOO_MANY_REQUESTS or error.code >= 500:
            raise Interrupted(f"the server answers {error.code} {error.reason}") from error
        raise BenchError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(str(getattr(error, "reason", "") or error or type(error).__name__)) from error
    return response


def next_piece(response: http.client.HTTPResponse) -> bytes:
    """The next bytes of an answer, empty at its end."""
    try:
        return response.read1(PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(str(error) or type(error).__name__) from error
