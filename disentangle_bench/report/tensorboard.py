"""Curves of finished runs as TensorBoard event files, for those who look at training there."""

from __future__ import annotations

from pathlib import Path

from disentangle_bench.errors import BenchError
from disentangle_bench.records.study_dir import StudyDir


def write_events(study: StudyDir, folder: Path) -> int:
    """Write an event file for each finished run into `folder`/<run>, and return how many were written.

    A run whose folder is there already is left alone. Raises BenchError where TensorBoard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise BenchError("TensorBoard is missing: pip install 'disentangle_bench[tensorboard]'") from error
    written = 0
    for record in study.records():
        if record.failure is not None or (folder / record.spec.id).exists():
            continue
        writer = EventFileWriter(str(folder / record.spec.id))
        for row in record.curves:
            values = [Summary.Value(tag=tag, simple_value=v) for tag, v in row.items() if tag != "step"]
            writer.add_event(Event(step=int(row["step"]), summary=Summary(value=values)))
        writer.close()
        written += 1
    return written
