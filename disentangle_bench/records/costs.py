"""What finished runs have cost, and what those that are left will cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.specs import RunSpec

Kind = tuple[str, str]  # data set and model


def kind_of(spec: RunSpec) -> Kind:
    """What decides most of the time that a run takes."""
    return spec.dataset.label, spec.model


@dataclass
class Costs:
    """The seconds that finished runs were charged, by data set and model. A run of a stack has its share."""

    seconds: dict[Kind, float] = field(default_factory=dict)
    runs: dict[Kind, int] = field(default_factory=dict)

    def add(self, record: RunRecord) -> None:
        """Count this run, unless it failed or nothing is known of its time."""
        charged = record.provenance.get("seconds")
        if charged and record.failure is None:
            kind = kind_of(record.spec)
            self.seconds[kind] = self.seconds.get(kind, 0.0) + sum(charged.values())
            self.runs[kind] = self.runs.get(kind, 0) + 1

    @property
    def mean(self) -> float | None:
        """Of all runs; None where there is none."""
        return sum(self.seconds.values()) / sum(self.runs.values()) if self.runs else None

    def mean_of(self, kind: Kind) -> float | None:
        """Of the runs of this data set and model; None where there is none."""
        return self.seconds[kind] / self.runs[kind] if kind in self.runs else None

    def left(self, specs: Iterable[RunSpec], trained: Mapping[str, float], jobs: int) -> float | None:
        """Seconds until these runs are finished, or None where no run is known.

        A run costs what those of its data set and model did, or else the mean of all. `trained` are the shares that
        runs at work, by id, have trained already. `jobs` work at the same time and share the rest evenly; no run is
        shared.
        """
        mean = self.mean
        if mean is None:
            return None
        each = []
        for spec in specs:
            known = self.mean_of(kind_of(spec))
            each.append((mean if known is None else known) * (1 - min(trained.get(spec.id, 0.0), 1.0)))
        return max(sum(each) / max(jobs, 1), max(each, default=0.0))
