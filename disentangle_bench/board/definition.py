"""A board's frozen question: which points of which data set are encoded, and what is asked of the codes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator

from disentangle_bench import registry
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.protocols import PROTOCOLS, metrics_by_protocol
from disentangle_bench.files import refuse_odd_file, sha256, write_text, writing
from disentangle_bench.grid_file import complaint, read_toml
from disentangle_bench.specs import NonNegativeInt, PositiveInt, Table, as_tuple

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import FactorDataset
    from disentangle_bench.metrics.metric import Metric

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
LARGEST_TEXT = 1 << 20  # bytes of a TOML or CSV file
LARGEST_CODES = 4_000_000  # bytes: a hundred latents of 20,000 points

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
T = TypeVar("T", bound=Table)


class Drawn(Table):
    """Which points are encoded: so many, drawn with this seed; `sha256` is of their positions as int64 <i8."""

    number: Annotated[PositiveInt, Field(ge=2)]
    seed: NonNegativeInt
    sha256: Sha256


class Asked(Table):
    """A metric, and the revision that it had when the board was made."""

    name: str
    revision: PositiveInt


def _known_protocol(name: str) -> str:
    if name not in PROTOCOLS:
        raise ValueError(f"one of {', '.join(PROTOCOLS)} is needed")
    return name


class Board(Table):
    """The question of boards/<name>.toml. Entries are ranked by the first metric.

    `seeds` is the least number of seeds that an entry needs. `largest_bytes` holds for a file of codes, and for what
    is unpacked from it. `protocol` says how factors and codes come to the metrics.
    """

    name: Annotated[str, Field(exclude=True, pattern=f"^{NAME.pattern}$")]
    dataset: str
    every: dict[str, PositiveInt] = Field(default_factory=dict)
    size: PositiveInt | None = None
    provenance: str
    fingerprint: str
    factors: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    protocol: Annotated[str, AfterValidator(_known_protocol)] = "default"
    seeds: PositiveInt = 3
    largest_bytes: PositiveInt = LARGEST_CODES
    drawn: Drawn = Field(alias="points")
    metrics: Annotated[tuple[Asked, ...], BeforeValidator(as_tuple), Field(min_length=1)]

    @field_validator("metrics")
    @classmethod
    def _each_once(cls, metrics: tuple[Asked, ...]) -> tuple[Asked, ...]:
        if len({each.name for each in metrics}) < len(metrics):
            raise ValueError("each metric is named once")
        return metrics

    @property
    def question(self) -> str:
        """16 digits that change with whatever changes scores, beside the metrics and the codes."""
        parts = [self.fingerprint, self.drawn.sha256, self.protocol]
        return sha256("\n".join(parts).encode())[:16]

    def named_metrics(self) -> dict[str, Metric]:
        """The metrics as this version has them, by name. Raises BenchError for one that it does not have."""
        found = metrics_by_protocol(self.protocol, [each.name for each in self.metrics])
        for name, metric in found.items():
            if not metric.headlines:
                raise BenchError(
                    f"the board {self.name}: the metric {name!r} has no figure to show; leave it out"
                )
        return found

    def load(self, data_dir: Path | None) -> FactorDataset:
        """The data set, on the CPU. Raises BenchError where it is not the board's."""
        from disentangle_bench.data.load import load_dataset

        dataset = load_dataset(self.dataset, every=self.every, size=self.size, data_dir=data_dir)
        self.points(dataset)
        return dataset

    def factor_table(self, data_dir: Path | None) -> NDArray[np.int64]:
        """The factors [points, factors] of the board's points."""
        dataset = self.load(data_dir)
        table: NDArray[np.int64] = dataset.factors(self.points(dataset)).numpy()
        return table

    def points(self, dataset: FactorDataset) -> NDArray[np.int64]:
        """The positions [points] in `dataset` that are encoded, ascending. BenchError for another data set."""
        for what in ("fingerprint", "provenance"):
            asked, has = getattr(self, what), getattr(dataset, what)
            if asked != has:
                raise BenchError(
                    f"the board {self.name} is of other data than {dataset.name}: its {what} is {asked!r}, and this"
                    f" data set's is {has!r}"
                )
        index = drawn_points(dataset, self.drawn.number, self.drawn.seed)
        if dataset.factor_names != self.factors or digest(index) != self.drawn.sha256:
            raise BenchError(
                f"the board {self.name} does not name the factors of {dataset.name} and {self.drawn.number} points"
                f" drawn with seed {self.drawn.seed}: was its file edited?"
            )
        return index


def drawn_points(dataset: FactorDataset, number: int, seed: int) -> NDArray[np.int64]:
    """So many positions in the data set, drawn without replacement as for the scoring of runs, ascending."""
    from disentangle_bench.evaluation.encode import points_of

    index: NDArray[np.int64] = points_of(dataset, number, seed, "scoring points").cpu().numpy()
    return index


def digest(index: NDArray[np.int64]) -> str:
    """The sha256 of positions as little-endian int64."""
    return hashlib.sha256(index.astype("<i8").tobytes()).hexdigest()


def new_board(
    path: Path,
    dataset: FactorDataset,
    asked: Mapping[str, Any],
    drawn: tuple[int, int],
    metrics: Sequence[str],
) -> Board:
    """Write the board `path` about this data set; `drawn` is the number of points and their seed.

    `asked` has the keys `dataset`, and perhaps `every`, `size`, `protocol` and `seeds`, as in the file. Raises
    BenchError where there is such a board, for more points than images, for images whose factors are not all known, and
    for what the file cannot say.
    """
    number, seed = drawn
    if path.exists() or path.is_symlink():
        raise BenchError(f"{path} is there already; a board's question never changes: choose another name")
    dataset.check_labelled("a board")
    if number > len(dataset):
        raise BenchError(f"--points {number}: {dataset.name} has {len(dataset)} images")
    facts = {
        "provenance": dataset.provenance,
        "fingerprint": dataset.fingerprint,
        "factors": dataset.factor_names,
    }
    points = {"number": number, "seed": seed, "sha256": digest(drawn_points(dataset, number, seed))}
    found = metrics_by_protocol(asked.get("protocol", "default"), metrics)
    named = [{"name": name, "revision": metric.revision} for name, metric in found.items()]
    document = {**asked, **facts, "points": points, "metrics": named}
    board = _board(path, document)
    board.named_metrics()
    kept = {
        key: value
        for key, value in board.model_dump(mode="json", by_alias=True).items()
        if value not in ({}, None)
    }
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, tomli_w.dumps(kept))
    return board


def read_board(results: Path, name: str) -> Board:
    """The board called `name`. Raises BenchError that names file, key, value and what is allowed."""
    if not NAME.fullmatch(name):
        raise BenchError(f"{name!r} is no name of a board: small letters, digits, '_' and '-' are allowed")
    path = results / "boards" / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(board_names(results)) or "none"
        raise BenchError(f"there is no board {path}; {results} has {known}. `bench board new` makes one")
    refuse_trick(path, LARGEST_TEXT)
    return _board(path, read_toml(path, "board"))


def _board(path: Path, document: dict[str, Any]) -> Board:
    if "name" in document:
        raise BenchError(f"{path}: name is no key of a board, whose name is that of its file")
    board = checked(Board, document | {"name": path.stem}, path, {"points": Drawn, "metrics": Asked})
    # A board may be a stranger's: nothing that it names is imported.
    own = [("metric", each.name) for each in board.metrics] if board.protocol == "default" else []
    for kind, name in [("data set", board.dataset), *own]:
        try:
            registry.check(kind, name)
        except BenchError as error:
            raise BenchError(f"{path}: {error}") from error
        if ":" in name and not (kind == "data set" and registry.is_path(name)):
            raise BenchError(
                f"{path}: the {kind} {name!r} is code that is not this package's; a board names those of this"
                " package and of installed ones, so that everyone can score its entries"
            )
    return board


def board_names(results: Path) -> list[str]:
    """The names of all boards of a results folder."""
    found = (path.stem for path in (results / "boards").glob("*.toml"))
    return sorted(name for name in found if NAME.fullmatch(name))


def checked(schema: type[T], document: dict[str, Any], path: Path, inner: Mapping[str, type[Table]]) -> T:
    """What the document of the file `path` says; `inner` are the tables in it, by key.

    Raises BenchError with a line for each thing that is wrong.
    """
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        lines = []
        for each in error.errors():
            table = schema if len(each["loc"]) < 2 else inner.get(str(each["loc"][0]), schema)
            known = [field.alias or key for key, field in table.model_fields.items() if not field.exclude]
            lines.append(f"{path}: {complaint(each, known)}")
        raise BenchError("\n".join(lines)) from error


def refuse_trick(path: Path, largest: int) -> None:
    """Raise BenchError for a link, for what is no plain file, and for more than `largest` bytes."""
    if path.is_symlink():
        raise BenchError(f"{path} is a link; a file itself is needed")
    try:
        refuse_odd_file(path)
        size = path.stat().st_size
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from error
    if size > largest:
        raise BenchError(f"{path} has {size} bytes; at most {largest} are allowed")
