"""What the files of a study hold, so that nothing is believed of them that was not looked at.

Keys that are not listed may stand beside: a later version keeps more. `checked` is the one way in.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# Columns of the tables that are no scores: neither a score nor a setting can have such a name.
RUN_COLUMNS = frozenset(
    {
        *("run", "dataset", "provenance", "model", "control", "seed", "steps", "status", "failure", "device"),
        *("reconstruction_likelihood", "threads", "torch", "precision", "revisions", "training_seconds"),
        *("data_fingerprint", "scored_on", "metric_revisions", "model_source", "n_seeds", "n_failed"),
        *("rank", "row", "group", "ranking", "setting", "source"),
    }
)
Count = Annotated[int, Field(ge=0, le=2**53)]
Side = Annotated[int, Field(ge=1, le=1 << 16)]
Points = Annotated[int, Field(ge=1, le=2**53)] | Literal["all"]
Numbers = dict[str, float | None]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class DataKept(_Kept):
    """Which data a run saw."""

    provenance: str
    fingerprint: str
    images: Count | None = None
    labelled: Count | None = None
    image_shape: Annotated[list[Side], Field(min_length=3, max_length=3)] | None = None
    factors: dict[str, Count] = {}


class ProvenanceKept(_Kept):
    """provenance.json."""

    data: DataKept
    device: str
    precision: str
    threads: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    versions: dict[str, str] = {}
    seconds: dict[str, float] = {}
    git_commit: str | None = None
    model_source: str | None = None
    weights_sha256: str | None = None


class MetricKept(_Kept):
    """What scores.json says of a metric."""

    headlines: list[str]
    revision: Count | str
    paper: str
    lower_is_better: list[str] = []
    keys: list[str] | None = None
    source: str | None = None


class ScoringKept(_Kept):
    """What a run was scored on."""

    points: Points
    reconstruction_points: Points


class ReconstructionKept(_Kept):
    """What the nats of a reconstruction are read against."""

    likelihood: str | None = None
    floor_nats: float | None = None
    constant_nats: float | None = None


class ScoresKept(_Kept):
    """scores.json."""

    scores: Numbers
    metrics: dict[str, MetricKept]
    failures: dict[str, str] = {}
    left_out: list[str] = []
    scoring: ScoringKept | None = None
    points: Count | None = None
    mutual_information: list[list[float]] | None = None
    reconstruction: ReconstructionKept | None = None


class ControlRow(BaseModel):
    """The scores of one control with one seed."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: Numbers
    control: str
    seed: Count


class ControlsKept(_Kept):
    """controls/<data set>.json."""

    dataset: str
    provenance: str
    asked: dict[str, Any]
    rows: list[ControlRow]
    failures: dict[str, str]


class RecordSource(_Kept):
    """What an evaluation scored."""

    kind: Literal["encoder", "codes"]
    what: str


class RecordData(_Kept):
    """Which data an evaluation used."""

    label: str
    provenance: str
    fingerprint: str


class RecordPoints(_Kept):
    """Which points of it."""

    number: Count
    sha256: str


class RecordScoring(_Kept):
    """How they were scored."""

    metrics: dict[str, MetricKept]
    protocol: str
    points: Points
    reconstruction_points: Points
    reconstruction: ReconstructionKept = ReconstructionKept()


class RecordKept(_Kept):
    """The record of an evaluation."""

    name: str
    seed: Count
    source: RecordSource
    dataset: RecordData
    points: RecordPoints
    scoring: RecordScoring
    scores: Numbers
    controls: dict[str, Numbers] = {}
    failures: dict[str, str] = {}
    provenance: dict[str, Any] = {}
    notes: list[str] = []


class PhaseKept(_Kept):
    """What a run in work is doing."""

    phase: str
    done: Count
    total: Count


class ProgressKept(_Kept):
    """progress/<host>-<pid>.json."""

    host: str
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    updated: float
    jobs: Count = 1
    runs: dict[str, PhaseKept] = {}


class CheckpointRun(_Kept):
    """What a checkpoint says of one of its runs."""

    id: str
    curves: list[dict[str, float]] = []
    seconds: float = 0.0
    failure: str | None = None


class CheckpointKept(_Kept):
    """What a checkpoint says beside its tensors."""

    runs: list[CheckpointRun]
    step: Count = 0
    model_source: str | None = None


def checked(schema: type[BaseModel], value: Any) -> dict[str, Any]:
    """The value itself, where it is as the schema says. Raises ValueError that names the key and what is wrong."""
    try:
        schema.model_validate(value)
    except ValidationError as error:
        raise ValueError(in_words(error)) from error
    return dict(value)


def in_words(error: ValidationError) -> str:
    """The first of the errors in one line, and how many more there are."""
    first, count = error.errors(include_url=False, include_input=False)[0], error.error_count()
    place = ".".join(str(part) for part in first["loc"]) or "the whole of it"
    more = f" (and {count - 1} more)" if count > 1 else ""
    return f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}{more}"


def says_more(error: ValidationError) -> bool:
    """Whether all that is wrong is what a later version may have added: keys, or words where a few are allowed."""
    return all(each["type"] in ("extra_forbidden", "literal_error") for each in error.errors())
