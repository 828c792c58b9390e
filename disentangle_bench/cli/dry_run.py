"""`bench run --dry-run`: what would be done, a line for each data set and model, and how long it may take."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.cli.output import console, say, say_unreadable
from disentangle_bench.shown import duration, printable

if TYPE_CHECKING:
    from rich.table import Table

    from disentangle_bench.grid import Grid
    from disentangle_bench.records.costs import Kind
    from disentangle_bench.specs import RunSpec
    from disentangle_bench.study.plan import Plan
    from disentangle_bench.train.estimate import Estimate


@dataclass(frozen=True)
class DryRun:
    """What `bench run` would do on this device with so many processes. Nothing is written."""

    grid: Grid
    study: Path
    todo: Plan
    device: str
    processes: int

    def print(self) -> None:
        """Print it; exit code 1 where a run of the study cannot be read."""
        from disentangle_bench.study.checks import check_study

        for sentence in check_study(self.grid):
            say(f"note: {sentence}", err=True)
        todo = self.todo
        say(f"study {self.study}: {len(todo.done)} runs done, {len(todo.failed)} failed earlier")
        say(
            f"to train: {len(todo.train)}; to score with further metrics: {len(todo.score)}; device: {self.device}"
        )
        for reason in todo.unreadable.values():
            say(reason)
        say_unreadable(self.study, todo.unreadable)
        seconds, stacks = self._timed()
        for table in self._tables(seconds):
            console().print(table)
        if todo.train:
            self._say_time(seconds, stacks)
            say("`bench show GRID` lists the runs, and `bench show STUDY` those of a study that is begun.")
        if todo.unreadable:
            sys.exit(1)

    def _timed(self) -> tuple[dict[Kind, float], Sequence[int]]:
        """Seconds a run, timed here, of the kinds that no finished run is of; and the stacks that they make here."""
        from disentangle_bench.records.costs import kind_of
        from disentangle_bench.train.estimate import whole

        unknown = [spec for spec in self.todo.train if self.todo.costs.mean_of(kind_of(spec)) is None]
        if not unknown:
            return {}, ()
        try:
            found = self._estimate(unknown)
        except (
            Exception,
            SystemExit,
        ) as error:  # anyone's models at any size; the plan is still worth showing
            reason = (str(error) or type(error).__name__).splitlines()[0]
            say(f"a few steps could not be timed, so that training would fail here too: {reason}")
            return {}, ()
        kinds = {kind_of(spec): (whole(spec.dataset).label, spec.model) for spec in unknown}
        return {kind: found.seconds.get(timed, 0.0) for kind, timed in kinds.items()}, found.stacks

    def _estimate(self, unknown: Sequence[RunSpec]) -> Estimate:
        from disentangle_bench.data.load import find_source
        from disentangle_bench.train.estimate import estimate, whole
        from disentangle_bench.train.objective import make_objective

        entries = {entry.label: entry for entry in (whole(spec.dataset) for spec in unknown)}
        shapes = {
            label: find_source(d.name, d.parameters).outline({}, d.size).image_shape
            for label, d in entries.items()
        }
        return estimate(unknown, shapes, self.device, make_objective)

    def _tables(self, seconds: dict[Kind, float]) -> Iterator[Table]:
        """A table for each data set, a line for each model."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        from disentangle_bench.grid import expand
        from disentangle_bench.records.costs import kind_of

        todo = self.todo
        finished = {spec.id for spec in (*todo.done, *todo.score)}
        failed, train = ({spec.id for spec in specs} for specs in (todo.failed, todo.train))
        kinds: dict[Kind, list[RunSpec]] = {}
        for spec in expand(self.grid):
            kinds.setdefault(kind_of(spec), []).append(spec)
        steps = self.grid.training.steps
        for dataset in dict.fromkeys(label for label, _ in kinds):
            title = Text(printable(f"{dataset}, {steps:,} steps a run"))
            table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
            table.add_column("model", overflow="fold")
            for name in ("settings", "seeds", "finished", "to train", "a run", "in all"):
                table.add_column(name, justify="right")
            for kind, specs in kinds.items():
                if kind[0] != dataset:
                    continue
                done, lost, count = (sum(s.id in ids for s in specs) for ids in (finished, failed, train))
                seeds = len({spec.seed for spec in specs})
                before = f"{done} ({lost} failed)" if lost else str(done)
                cells = (str(len(specs) // seeds), str(seeds), before, str(count))
                table.add_row(Text(printable(kind[1])), *cells, *self._times(kind, count, seconds))
            yield table

    def _times(self, kind: Kind, count: int, seconds: dict[Kind, float]) -> tuple[str, str]:
        """What a run takes and what all of the line do, in one process."""
        known = self.todo.costs.mean_of(kind)
        each = seconds.get(kind) if known is None else known
        if not count or each is None:
            return "", ""
        if not each:
            return "at once", ""
        sign = "~" if known is None else ""
        return f"{sign}{duration(each)}", f"{sign}{duration(each * count)}"

    def _say_time(self, seconds: dict[Kind, float], stacks: Sequence[int]) -> None:
        """How long all of it takes, where the numbers are from, and what a GPU would do."""
        from disentangle_bench.records.costs import kind_of

        todo = self.todo
        each = [todo.costs.mean_of(kind_of(spec)) or seconds.get(kind_of(spec)) for spec in todo.train]
        if all(cost is not None for cost in each):
            total = max(sum(filter(None, each)) / self.processes, max(filter(None, each), default=0.0))
            where = f"in {self.processes} processes" if self.processes > 1 else "in one process"
            timed = " (~: of training, from a few steps timed here; scoring comes on top)" if seconds else ""
            finished = ", by what finished runs took" if todo.costs.runs else ""
            say(f"about {duration(total)} {where}{finished}{timed}")
        if self.device == "cpu":
            if sentence := gpu_stacks(todo.train):
                say(sentence)
        elif stacks:
            say(f"{sum(stacks)} runs train together in {len(stacks)} stacks of at most {max(stacks)} runs.")


def gpu_stacks(specs: Sequence[RunSpec]) -> str:
    """What a GPU of enough memory would make of these runs; nothing for models that are fitted at once."""
    from disentangle_bench import registry
    from disentangle_bench.models.objective import is_fitted
    from disentangle_bench.train.plan import LARGEST_UNTIMED, stacks

    fitted = {name for name in {spec.model for spec in specs} if is_fitted(registry.resolve("model", name))}
    trained = [spec for spec in specs if spec.model not in fitted]
    sizes = [len(stack) for stack in stacks(trained, lambda group: LARGEST_UNTIMED)]
    if not sizes:
        return ""
    what = "1 stack" if len(sizes) == 1 else f"{len(sizes)} stacks"
    return (
        f"On a GPU {len(trained)} runs would train together in {what} of at most {max(sizes)} runs, as far as its"
        " memory holds them."
    )
