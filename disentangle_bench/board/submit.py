"""Finished runs of one setting, a seed each, as an entry of a board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disentangle_bench import registry
from disentangle_bench.board.definition import Board
from disentangle_bench.board.entries import write_entry
from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir


def choose(study: StudyDir, board: Board, select: str) -> list[RunRecord]:
    """The finished runs on the board's data set that are as `select` says (`model=beta_vae,beta=4`), by seed.

    Raises BenchError unless there are some and they differ in nothing but the seed.
    """
    every = {factor: k for factor, k in board.every.items() if k > 1}
    wanted = (board.dataset, every, board.size)
    runs = []
    for record in study.records(curves=False):
        data = record.spec.dataset
        asked = (data.name, {factor: k for factor, k in data.every.items() if k > 1}, data.size)
        if record.failure is None and asked == wanted and not data.parameters:
            runs.append(record)
    if not runs:
        raise BenchError(
            f"{study.path} has no finished run on {board.dataset}, the data set of the board {board.name}"
        )
    for part in filter(None, select.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not key or not equals or not value:
            raise BenchError(
                f"--select {select!r}: write it as key=value,key=value, for instance model=beta_vae,beta=4"
            )
        known = {name for record in runs for name in _setting(record)}
        if key not in known:
            raise unknown_name("setting to select by", key, known)
        values = {_setting(record).get(key, "") for record in runs}
        runs = [record for record in runs if _same(_setting(record).get(key, ""), value)]
        if not runs:
            raise unknown_name(f"{key} of these runs", value, values - {""})
    settings = {record.spec.model_copy(update={"seed": 0}).digest: record.spec for record in runs}
    if len(settings) > 1:
        some = ", ".join(spec.id.rpartition("-s")[0] for spec in list(settings.values())[:5])
        raise BenchError(
            f"these runs are of {len(settings)} settings ({some}): an entry is one setting with several seeds;"
            " choose it with --select, for instance --select model=beta_vae,beta=4"
        )
    return sorted(runs, key=lambda record: record.spec.seed)


def _setting(record: RunRecord) -> dict[str, str]:
    """What a run can be selected by."""
    spec = record.spec
    training = {"steps": spec.training.steps, "precision": spec.training.precision}
    settings = {
        "model": spec.model,
        **training,
        "latents": spec.network.latents,
        **spec.options,
        **spec.hypers,
    }
    return {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in settings.items()}


def _same(has: str, asked: str) -> bool:
    try:
        return has == asked or float(has) == float(asked)
    except ValueError:
        return False


def submit(
    study: Path, results: Path, board: Board, name: str, said: Mapping[str, Any], options: Mapping[str, Any]
) -> Path:
    """Encode the board's points with these runs of the study, and write the entry's folder, which is returned.

    `said` are keys of entry.toml; those that the runs tell of themselves need not be there. `options`: `select` (see
    `choose`), `device`, `data_dir` and `allow`. Raises BenchError where the runs are of several settings, lack
    weights, or saw other data.
    """
    from disentangle_bench.evaluation.encode import encode_dataset
    from disentangle_bench.evaluation.load import load_run

    folder = StudyDir(study)
    runs = choose(folder, board, options["select"])
    dataset = board.load(options["data_dir"]).to(options["device"])
    codes, weak = {}, False
    for record in runs:
        path = folder.run_path(record.spec.id)
        if record.provenance["data"]["fingerprint"] != board.fingerprint:
            raise BenchError(
                f"{path} saw other data than the board {board.name} is of: their fingerprints differ"
            )
        model = load_run(path, str(options["device"]), options["allow"])
        weak = bool(getattr(model.objective, "pairs", False))
        codes[record.spec.seed] = encode_dataset(model.encode, dataset, board.drawn.number, board.drawn.seed)[
            0
        ]
    about = _about(runs[0], weak) | {key: value for key, value in said.items() if value is not None}
    return write_entry(results, board, name, about, codes)


def _about(record: RunRecord, weak: bool) -> dict[str, Any]:
    """What a run tells of itself for entry.toml."""
    spec = record.spec
    hypers = ", ".join(f"{key} {value:g}" for key, value in spec.hypers.items())
    options = ", ".join(f"{key} {value}" for key, value in spec.options.items())
    settings = "; ".join(filter(None, [hypers, options]))
    training, network = spec.training, spec.network
    part = spec.dataset.holds_out or spec.dataset.correlated
    return {
        "name": f"{spec.model} ({hypers})" if hypers else spec.model,
        "method": f"{spec.model}{f' ({settings})' if settings else ''}, {network.latents} latents"
        + (f", trained on {spec.dataset.label}" if part else ""),
        "paper": registry.resolve("model", spec.model).paper,
        "commit": record.provenance.get("git_commit"),
        "supervision": "weak" if weak else "none",
        "budget": f"{training.steps} steps of {training.batch_size} images, learning rate {training.learning_rate:g},"
        f" on {record.provenance['device']}",
    }
