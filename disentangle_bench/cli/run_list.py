"""`bench show STUDY`: a line for each run, with its state and its first scores, in a terminal as narrow as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.cli.output import console, say, say_failed
from disentangle_bench.errors import BenchError
from disentangle_bench.shown import printable, settings

if TYPE_CHECKING:
    from rich.table import Table

    from disentangle_bench.records.run_record import RunRecord
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.specs import RunSpec

HASH = 8  # characters at the end of a run's name, which differ between runs
FOLDED = 16  # characters of a model's name and of its settings; what is longer goes on in the next line


@dataclass
class Line:
    """A run with its state ("done", "failed", "running", "to do") and the scores that its metrics are known by."""

    spec: RunSpec
    state: str
    scores: Mapping[str, float | None] = field(default_factory=dict)


def list_study(study: StudyDir, allow: Collection[str]) -> None:
    """List the runs of a study: those of its grid, and others that were run in it."""
    from disentangle_bench.grid import expand
    from disentangle_bench.grid_file import read_grid

    asked: Sequence[RunSpec] = ()
    try:
        asked = expand(read_grid(study.path / "grid.toml", with_data=False, allow=allow))
    except BenchError as error:
        say(f"note: only runs that have ended are listed: {error}", err=True)
    list_runs(study, asked)


def list_grid(path: Path) -> None:
    """List the runs of a grid as they stand in the study that `bench run` makes of it."""
    from disentangle_bench.grid import expand
    from disentangle_bench.grid_file import read_grid
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.study.plan import default_study

    grid = read_grid(path)
    list_runs(StudyDir(default_study(grid)), expand(grid))


def list_runs(study: StudyDir, asked: Iterable[RunSpec]) -> None:
    """Print the runs `asked`, in their order, and all others that the study holds."""
    from disentangle_bench.report.status import at_work_now

    there = study.runs.is_dir()
    tell = lambda reason: say(reason, err=True)  # noqa: E731
    records = {r.spec.id: r for r in study.records(curves=False, tell=tell)} if there else {}
    running = {phase.run for phase in at_work_now(study)}
    specs = {spec.id: spec for spec in asked} | {run_id: record.spec for run_id, record in records.items()}
    lines = [_line(spec, records.get(spec.id), spec.id in running) for spec in specs.values()]
    paper = console()
    for label in dict.fromkeys(line.spec.dataset.label for line in lines):
        part = [line for line in lines if line.spec.dataset.label == label]
        paper.print(table(label, part, paper.width))
    say_failed({r.spec.id: r.failure.splitlines()[0] for r in records.values() if r.failure is not None})
    counts = {state: sum(line.state == state for line in lines) for state in ("done", "failed", "running")}
    say(
        f"{len(lines)} runs: {', '.join(f'{count} {state}' for state, count in counts.items())}. {study.runs}"
    )


def _line(spec: RunSpec, record: RunRecord | None, running: bool) -> Line:
    if record is None:
        return Line(spec, "running" if running else "to do")
    if record.failure is not None:
        return Line(spec, "failed")
    scores = record.scores["scores"]
    headlines = [name for about in record.scores["metrics"].values() for name in about["headlines"]]
    return Line(spec, "done", {name: scores.get(name) for name in ("reconstruction_nats", *headlines)})


def table(dataset: str, lines: Sequence[Line], width: int) -> Table:
    """The runs on a data set as a table so wide, with as many scores as there is room for, the first in any case.

    Settings are those that differ between runs of a model. A run's name is in full where there is room for it beside
    all scores, else the hash at its end.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from disentangle_bench.report.words import metric_title

    chosen = _varied(lines)
    cells: dict[str, list[str]] = {
        "state": [line.state for line in lines],
        "model": [line.spec.model for line in lines],
        "settings": [settings({k: v for k, v in _own(line).items() if k in chosen}) for line in lines],
        "seed": [str(line.spec.seed) for line in lines],
    }
    scores = list(dict.fromkeys(name for line in lines for name in line.scores))
    titles = {name: metric_title(name).replace("reconstruction_nats", "nats") for name in scores}
    numbers = {titles[name]: [_number(line.scores.get(name)) for line in lines] for name in scores}
    names = [line.spec.id for line in lines]
    room = width - sum(min(_wide(title, of), FOLDED) for title, of in cells.items())
    if sum(_wide(title, of) for title, of in numbers.items()) + _wide("run", names) > room:
        names = [name[-HASH:] for name in names]
    room -= _wide("run", names)
    for place, (title, of) in enumerate(numbers.items()):
        room -= _wide(title, of)
        if room >= 0 or place == 0:
            cells[title] = of
    found = Table(title=Text(printable(dataset)), title_justify="left", box=box.SIMPLE_HEAD)
    cells["run"] = names
    for title in cells:
        score = title in numbers or title == "run"
        head = title.replace(" ", "\n") if title in numbers else title
        found.add_column(Text(printable(head)), overflow="fold", no_wrap=score or title in ("state", "seed"))
    for row in zip(*cells.values(), strict=True):
        found.add_row(*(Text(printable(cell)) for cell in row))
    return found


def _own(line: Line) -> dict[str, object]:
    return {**line.spec.hypers, **line.spec.options}


def _varied(lines: Sequence[Line]) -> set[str]:
    """The settings of which some model has several values."""
    values: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        for key, value in _own(line).items():
            values.setdefault((line.spec.model, key), set()).add(str(value))
    return {key for (_, key), found in values.items() if len(found) > 1}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _wide(title: str, cells: Sequence[str]) -> int:
    """The characters that a column takes, with its margin."""
    return max(map(len, (*title.split(), *cells))) + 3
