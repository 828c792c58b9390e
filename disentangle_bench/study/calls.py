"""The callbacks of a study as they are called. One that raises is switched off, and costs no run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from disentangle_bench.callbacks import Callback
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.specs import RunSpec

Losses = Mapping[str, Mapping[str, float]]  # a row of curves by run


class Calls:
    """Calls `callbacks` about the runs `specs`, and about no other; `note` hears of one that has raised."""

    def __init__(
        self,
        callbacks: Iterable[Callback] = (),
        specs: Iterable[RunSpec] = (),
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.callbacks = list(callbacks)
        self.specs = {spec.id: spec for spec in specs} if self.callbacks else {}
        self.note = note
        self.begun: set[str] = set()

    def started(self, ids: Iterable[str]) -> None:
        """These runs begin."""
        for run_id in ids:
            self._call("started", run_id)

    def losses(self, rows: Losses) -> None:
        """Each run's losses since the last time, with their step."""
        for run_id, row in rows.items():
            self._call("step", run_id, int(row["step"]), _losses(row))

    def ended(self, record: RunRecord) -> None:
        """The run is saved."""
        if record.failure is None:
            self._call("finished", record.spec.id, record.scores["scores"])
        else:
            self._call("failed", record.spec.id, record.failure.splitlines()[0])

    def _call(self, method: str, run_id: str, *about: Any) -> None:
        if run_id not in self.specs:
            return  # it is scored again, or no run
        if method != "started" and run_id not in self.begun:
            self._call("started", run_id)  # whose launcher does not say so
        self.begun.add(run_id)
        for callback in list(self.callbacks):
            try:
                getattr(callback, method)(self.specs[run_id], *about)
            except (Exception, SystemExit) as error:  # anyone's code, and a server that may be gone
                self.callbacks.remove(callback)
                reason = (str(error) or "no message").splitlines()[0]
                name = type(callback).__name__
                self.note(
                    f"the callback {name} is switched off, {method} raised {type(error).__name__}: {reason}"
                )


def replay(record: RunRecord, callback: Callback) -> None:
    """Call `callback` about a finished run as while it trained."""
    callback.started(record.spec)
    for row in record.curves:
        callback.step(record.spec, int(row["step"]), _losses(row))
    callback.finished(record.spec, record.scores["scores"])


def _losses(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "step"}
