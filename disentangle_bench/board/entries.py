"""Entries of a board: what somebody says of a method, and its codes of the board's points, a file a seed."""

from __future__ import annotations

import io
import re
import secrets
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from disentangle_bench.board.definition import LARGEST_TEXT, Board, Sha256, checked, refuse_trick
from disentangle_bench.data.load import default_data_dir
from disentangle_bench.data.strict_npz import open_npz
from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.evaluation.tables import checked_codes
from disentangle_bench.files import sha256, sync, write_bytes, write_text, writing
from disentangle_bench.grid_file import read_toml
from disentangle_bench.specs import NonNegativeInt, PositiveInt, Table, as_tuple

NAME = re.compile(r"(?=.{7,60}\Z)[A-Z][A-Za-z]*[0-9]{4}[A-Z][A-Za-z0-9]*")
CODES_FILE = re.compile(r"codes-s(0|[1-9][0-9]{0,8})\.npz")
ADDRESS = re.compile(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~%+-]+)+(\?[A-Za-z0-9_=&-]*)?")
ABOUT, SCORES = "entry.toml", "scores.csv"
TO_FILL_IN = "to be filled in"  # what its author has not said yet, which `bench board check` refuses
FLOAT16 = np.dtype("<f2")
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the oldest that a zip archive can say


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("one line of text is needed")
    return text


def _address(text: str) -> str:
    if not ADDRESS.fullmatch(text) or "/." in text:
        raise ValueError("an https address of a file is needed, without a user, a port or odd characters")
    return text


Line = Annotated[str, Field(max_length=300), AfterValidator(_line)]


class CodesAt(Table):
    """A file of codes that lies elsewhere: of how many bytes, and with which sha256."""

    seed: Annotated[NonNegativeInt, Field(lt=10**9)]
    url: Annotated[str, Field(max_length=500), AfterValidator(_address)]
    sha256: Sha256
    bytes: PositiveInt


class About(Table):
    """entry.toml. `name` is what tables call the method; `tuning` says how hyper-parameters were chosen.

    A control is shown beside the others and has no rank.
    """

    name: Line
    method: Line
    paper: Line | None = None
    code: Line | None = None
    commit: Line | None = None
    licence: Line
    supervision: Literal["none", "weak", "full"]
    tuning: Line
    budget: Line
    contact: Line | None = None
    control: bool = False
    codes: Annotated[tuple[CodesAt, ...], BeforeValidator(as_tuple)] = ()

    @field_validator("codes")
    @classmethod
    def _each_seed_once(cls, codes: tuple[CodesAt, ...]) -> tuple[CodesAt, ...]:
        if len({each.seed for each in codes}) < len(codes):
            raise ValueError("each seed has one file of codes")
        return codes


def fetched(data_dir: Path | None) -> Path:
    """The folder of codes that were downloaded."""
    return (default_data_dir() if data_dir is None else data_dir) / "board_codes"


def fetched_name(codes: CodesAt) -> str:
    """The name of a downloaded file: what was asked for, whoever asked."""
    return f"{codes.sha256}.npz"


@dataclass(frozen=True)
class Entry:
    """An entry as it lies in its folder."""

    path: Path
    about: About

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.name


def codes_files(path: Path, elsewhere: Sequence[CodesAt] = (), cache: Path | None = None) -> dict[int, Path]:
    """Where the codes of each seed of the entry in `path` are, by seed.

    Those that lie `elsewhere` are in the folder `cache` once they are downloaded. Raises BenchError for a seed that has
    codes both here and elsewhere.
    """
    names = (CODES_FILE.fullmatch(each.name) for each in path.iterdir())
    found = {int(match[1]): path / match[0] for match in names if match}
    for each in elsewhere:
        if each.seed in found:
            raise BenchError(f"{path}: seed {each.seed} has both a file and an address of codes; keep one")
        found[each.seed] = (cache or path) / fetched_name(each)
    return dict(sorted(found.items()))


def entry_names(results: Path, board: Board) -> list[str]:
    """The names of the board's entries; what cannot be one is left out (`bench board check` tells of it)."""
    folder = _folder(results, board)
    return (
        sorted(path.name for path in folder.iterdir() if NAME.fullmatch(path.name)) if folder.is_dir() else []
    )


def entry_path(results: Path, board: Board, name: str) -> Path:
    """The folder of the entry. Raises BenchError for what is no entry's name, and for a link."""
    if not NAME.fullmatch(name):
        raise BenchError(
            f"{name!r} is no name of an entry: AuthorYearWord is needed, for instance Kingma2014Vae, of at most 60"
            " letters and digits"
        )
    path = _folder(results, board) / name
    for each in (path, path.parent):
        if each.is_symlink():
            raise BenchError(f"{each} is a link; a folder itself is needed")
    return path


def there(results: Path, board: Board, name: str) -> Path:
    """The folder of an entry that is there; else BenchError."""
    path = entry_path(results, board, name)
    if not path.is_dir():
        raise unknown_name(f"entry of the board {board.name}", name, entry_names(results, board))
    return path


def read_entry(results: Path, board: Board, name: str) -> Entry:
    """The entry of this name. Raises BenchError where there is none, and for what is wrong in entry.toml."""
    path = there(results, board, name)
    refuse_trick(path / ABOUT, LARGEST_TEXT)
    document = read_toml(path / ABOUT, "entry")
    return Entry(path, checked(About, document, path / ABOUT, {"codes": CodesAt}))


def read_codes(board: Board, path: Path) -> NDArray[np.float16]:
    """The codes [points, latents] of a file. Raises BenchError before anything large is read, and for odd codes."""
    refuse_trick(path, board.largest_bytes)
    with open_npz(path) as file:
        members = file.archive.namelist()
        if members != ["codes.npy"]:
            raise BenchError(
                f"{path} holds {', '.join(members[:5]) or 'nothing'}; one array `codes` is needed"
            )
        header = file.header("codes")
        rows = board.drawn.number
        if (
            header.dtype != FLOAT16
            or len(header.shape) != 2
            or header.shape[0] != rows
            or not header.shape[1]
        ):
            raise BenchError(
                f"{path}: codes are {header.dtype} {list(header.shape)}; needed are float16 [{rows}, latents]"
            )
        if rows * header.shape[1] * FLOAT16.itemsize > board.largest_bytes:
            raise BenchError(
                f"{path}: {header.shape[1]} latents are more than {board.largest_bytes} bytes, unpacked, can hold"
            )
        codes = np.concatenate(list(file.blocks("codes")))
    _refuse_odd(codes, str(path))
    return codes


def _refuse_odd(codes: NDArray[np.float16], where: str) -> None:
    finite = np.isfinite(codes)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise BenchError(
            f"{where}: codes are not finite in row {row}, latent {column}; float16 ends at 65504"
        )
    if (codes == codes[0]).all():
        raise BenchError(f"{where}: codes are the same for all points")


def content(codes: NDArray[np.float16]) -> str:
    """16 digits that tell codes apart, whatever file they are in. Minus zero is zero."""
    return sha256(str(codes.shape).encode() + (codes + FLOAT16.type(0)).tobytes())[:16]


def codes_file(codes: NDArray[np.float16]) -> bytes:
    """An .npz file with the array `codes`; the same codes give the same bytes."""
    packed, array = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(array, np.ascontiguousarray(codes, FLOAT16), version=(1, 0), allow_pickle=False)
    with zipfile.ZipFile(packed, "w") as archive:
        about = zipfile.ZipInfo("codes.npy", FIRST_DAY)
        about.create_system = 3  # else it would say which system wrote it
        archive.writestr(about, array.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return packed.getvalue()


def write_entry(
    results: Path, board: Board, name: str, about: Mapping[str, Any], codes: Mapping[int, NDArray[Any]]
) -> Path:
    """Make the entry, or add seeds to it, and return its folder; nothing of it is there where anything is wrong.

    `about` has the keys of entry.toml (`name` is the entry's own unless given; None stands for none); where the
    entry is there, what it says is kept. `codes` are, by seed, real numbers [points, latents] of the board's
    points, which are kept in float16; latents far from zero are moved to it first. Raises BenchError for codes that
    `bench board check` would refuse, for other codes of a seed that is there, and for another text than the entry's.
    """
    path = entry_path(results, board, name)
    said = {"name": name} | {key: value for key, value in about.items() if value is not None}
    files = {f"codes-s{seed}.npz": _short(board, name, seed, table) for seed, table in codes.items()}
    for file in files:
        if not CODES_FILE.fullmatch(file):
            raise BenchError(f"{file}: a seed is a whole number from 0 to 999999999")
    if path.exists():
        _add(board, read_entry(results, board, name), about, files)
        return path
    checked(About, said, path / ABOUT, {"codes": CodesAt})
    draft = path.with_name(f".{name}.{secrets.token_hex(4)}.tmp")
    with writing(path):
        draft.mkdir(parents=True)
        try:
            write_text(draft / ABOUT, tomli_w.dumps(said))
            for file, table in files.items():
                write_bytes(draft / file, codes_file(table))
            draft.rename(path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        sync(path.parent)
    return path


def _short(board: Board, name: str, seed: int, table: NDArray[Any]) -> NDArray[np.float16]:
    """These codes in float16, as an entry can have them."""
    where = f"{name}, seed {seed}"
    try:
        whole = checked_codes(np.asarray(table, np.float64))
    except BenchError as error:
        raise BenchError(f"{where}: {error}") from error
    if len(whole) != board.drawn.number:
        raise BenchError(f"{where}: codes have {len(whole)} rows; the board has {board.drawn.number} points")
    with np.errstate(over="ignore"):
        short = whole.astype(FLOAT16)
    _refuse_odd(short, where)
    if short.nbytes > board.largest_bytes:
        raise BenchError(f"{where}: codes have {short.nbytes} bytes; the board allows {board.largest_bytes}")
    return short


def _add(
    board: Board, entry: Entry, about: Mapping[str, Any], files: Mapping[str, NDArray[np.float16]]
) -> None:
    """Add these files to an entry that is there."""
    has = entry.about.model_dump()
    for key, value in about.items():
        if value is not None and value != has.get(key):
            raise BenchError(
                f"{entry.path / ABOUT}: {key} is {has.get(key)!r}, not {value!r}; change the file first"
            )
    fresh = []
    for file, table in files.items():
        path = entry.path / file
        if not path.exists():
            fresh.append(path)
        elif content(read_codes(board, path)) != content(table):
            raise BenchError(f"{path} holds other codes; delete it first if it is to be replaced")
    with writing(entry.path):
        try:
            for path in fresh:
                write_bytes(path, codes_file(files[path.name]))
        except BaseException:
            for path in fresh:
                path.unlink(missing_ok=True)
            raise


def _folder(results: Path, board: Board) -> Path:
    return results / "entries" / board.name
