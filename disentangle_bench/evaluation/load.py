"""A trained model from its run directory."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from torch import nn

from disentangle_bench import registry
from disentangle_bench.build import build_networks, build_nothing, new_objective
from disentangle_bench.device import pick_device
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.models.objective import with_data_facts
from disentangle_bench.records.run_record import RunRecord, load_record


def load_run(path: str | Path, device: str = "cpu", allow: Collection[str] = ()) -> TrainedModel:
    """Load a trained model, ready to encode, decode, reconstruct and sample. Reads safetensors and JSON only.

    Parameters
    ----------
    path
        The directory of a finished run, `<study>/runs/<id>`.
    device
        The device on which the model computes.
    allow
        The "module:name" of models that may be imported, in addition to this package's and installed ones.

    Returns
    -------
    TrainedModel
        Its methods: `encode(images)`, `decode(latents)`, `reconstruct(images)`, `sample(n, seed)`.

    Raises
    ------
    BenchError
        If `path` is not a finished run, its weights do not fit, or its model is not allowed.

    Examples
    --------
    >>> import disentangle_bench
    >>> grid = {
    ...     "name": "example",
    ...     "metrics": ["mig"],
    ...     "datasets": [{"name": "tiny_data:SQUARES"}],
    ...     "models": [{"name": "pca"}],
    ...     "network": {"latents": 3},
    ... }
    >>> study = disentangle_bench.run(grid, device="cpu", jobs=1).path
    >>> model = disentangle_bench.load_run(next((study / "runs").iterdir()))
    >>> model.encode(disentangle_bench.load_dataset("tiny_data:SQUARES").images([0, 1])).shape
    torch.Size([2, 3])
    """
    record = load_record(Path(path), weights=True)
    registry.check_allowed("model", record.spec.model, allow)
    if record.failure is not None:
        raise BenchError(f"{path} has no weights; the run failed: {record.failure.splitlines()[0]}")
    spec = record.spec
    data = record.provenance["data"]
    if data.get("images") is None or data.get("image_shape") is None:
        raise BenchError(
            f"{path}: provenance.json does not say of which images the networks are (data.images, image_shape)"
        )
    shape = tuple(data["image_shape"])
    objective = with_data_facts(new_objective(spec), data["images"], shape)
    place = pick_device(device)
    refuse_misfits(Path(path), record, build_nothing(spec, objective, shape))
    networks = build_networks(objective, shape, spec.network, spec.seed, place)
    model = TrainedModel(spec, objective, networks, place, shape)
    try:
        model.load_weights(dict(record.weights))
    except ValueError as error:
        raise BenchError(f"{path}: {error}") from error
    return model


def refuse_misfits(path: Path, record: RunRecord, networks: dict[str, nn.Module]) -> None:
    """Raise BenchError where the record's weights are not those of the networks, before these take any memory."""
    asked = {
        f"{name}.{key}": tuple(value.shape)
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    kept = {name: tuple(value.shape) for name, value in record.weights.items()}
    odd = next((name for name in sorted(asked | kept) if asked.get(name) != kept.get(name)), None)
    if odd is not None:
        asks, has = (
            "none" if it is None else f"the shape {list(it)}" for it in (asked.get(odd), kept.get(odd))
        )
        raise BenchError(
            f"{path}: the weights do not fit the spec: it asks for {asks} for {odd!r}, there is {has}"
        )
