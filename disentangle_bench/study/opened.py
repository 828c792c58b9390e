"""A study that is being worked on: what all parts of the work share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.evaluation.models import Scoring
from disentangle_bench.grid import Grid
from disentangle_bench.progress import Progress
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.specs import DatasetSpec, RunSpec
from disentangle_bench.study.calls import Calls
from disentangle_bench.study.claims import Claims
from disentangle_bench.study.options import Options
from disentangle_bench.study.tasks import Data


@dataclass
class OpenStudy:
    """The grid, the directory with this process's claims in it, the data sets by label, and who hears of progress.

    `unreadable` says of each run that cannot be read, by its id, why.
    """

    grid: Grid
    directory: StudyDir
    options: Options
    progress: Progress
    claims: Claims
    datasets: Mapping[str, FactorDataset] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    calls: Calls = field(default_factory=Calls)

    def scoring(self) -> Scoring:
        """What is asked of codes of a data set: the grid's metrics."""
        return Scoring(self.grid.metrics, self.grid.scoring, self.options.metric_seconds)

    def scoring_of(self, run: RunSpec, metrics: Sequence[str]) -> Scoring:
        """What is asked of a run: these metrics, some of which may be on further data sets."""
        others = {other.label: self.data(other).beside for other in self.grid.scored_on(run.dataset)}
        return replace(self.scoring(), metrics=tuple(metrics), others=others)

    def data(self, spec: DatasetSpec) -> Data:
        """The data set as processes of this machine find it, at hand for those that are forked."""
        dataset = self.datasets[spec.label]
        data = Data(spec, self.options.data_folder.absolute(), dataset.fingerprint)
        data.hold(dataset)
        return data

    def leave_out(self, run_id: str, reason: str) -> None:
        """Note that a run cannot be read."""
        self.unreadable[run_id] = reason
        self.progress.note(reason)
