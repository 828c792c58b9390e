"""A step runs on a device that holds no values, so that a CUDA graph can hold it; encoding needs the host at its ends.

Tensors on torch's `meta` device have a shape and no values: whatever asks for a value, or for as many results as it
finds, raises there. The mode below refuses the rest that a captured step must not do, and what gives other bits on each
call on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch
from stack_cases import OTHER_NETWORKS, TRAINED
from torch import Tensor
from torch.utils._pytree import tree_leaves

from disentangle_bench import registry
from disentangle_bench.data import dsprites, shapes3d
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.registered import DSpritesRendered, Shapes3DRendered
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.data.variants import COLOR, NOISY, vary
from disentangle_bench.evaluation.encode import encode_dataset, encode_stack
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.models.objective import Likelihood, NetworkSize
from disentangle_bench.specs import RunSpec
from disentangle_bench.train import stacked
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.capture import DeviceOnly, operation_name
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.stacked import Stacked

META = torch.device("meta")
# Sums whose order a GPU leaves to chance.
UNORDERED = {
    "scatter_add", "scatter_reduce", "index_add", "index_reduce", "put", "embedding_dense_backward",
    "histc", "bincount", "max_unpool2d", "upsample_bilinear2d_backward", "reflection_pad2d_backward",
}  # fmt: skip


class OnTheDevice(DeviceOnly):
    """Refuses what a captured step cannot hold. With `ends`, whole tensors may come from the host and go there."""

    def __init__(self, ends: bool = False) -> None:
        super().__init__(META)
        self.ends = ends
        self.fetched = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = operation_name(func)
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        accumulates = name in ("index_put", "_index_put_impl") and args[3:4] == (True,)
        unordered = accumulates or name in UNORDERED
        assert not unordered, f"{func} adds up in an order left to chance"
        if self.ends and not any(t.device == META for t in given):
            return func(*args, **kwargs)  # work of the host before and after
        if self.ends and kwargs.get("device") == torch.device("cpu"):
            self.fetched += 1
            return torch.zeros(given[0].shape, dtype=kwargs.get("dtype") or given[0].dtype)
        out = super().__torch_dispatch__(func, types, args, kwargs)
        assert not self.faults, self.faults
        return out


def data_sets() -> dict[str, FactorDataset]:
    """The rendered sets, pixels unwritten, on the CPU: what is prepared once may look at factors there."""
    bits = torch.empty(737_280, 512, dtype=torch.uint8)
    maps = torch.empty(480 * 21, 4096, dtype=torch.int16)
    squares = DSpritesRendered().dataset(dsprites.BitStore(bits), "")
    shapes = Shapes3DRendered().dataset(shapes3d.PartStore(maps), "")
    return {
        "dsprites": squares,
        "shapes3d": shapes,
        "color": vary(squares, COLOR),
        "noisy": vary(squares, NOISY),
        "subgrid": subgrid(squares, {"orientation": 5, "posX": 4}),
    }


SETS = data_sets()


def spec_of(
    model: str,
    seed: int = 0,
    *,
    precision: str = "bfloat16",
    network: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    **entry: Any,
) -> RunSpec:
    """A run with the standard study's sizes where nothing else is said."""
    return RunSpec.model_validate(
        {
            "dataset": {"name": "dsprites_rendered"} | entry,
            "model": model,
            "hypers": dict(registry.resolve("model", model).hypers),
            "options": options or {},
            "seed": seed,
            "network": network or {},
            "training": {"precision": precision, "batch_size": 8},
        }
    )


def on_meta(value: Any) -> Any:
    """The same with every tensor in it on the meta device."""
    if isinstance(value, Tensor):
        return value.to(META)
    if isinstance(value, FactorDataset):
        return value.to(META)
    if isinstance(value, tuple):
        return tuple(on_meta(entry) for entry in value)
    if type(value).__module__.startswith("disentangle_bench.data"):
        value.__dict__.update({key: on_meta(entry) for key, entry in value.__dict__.items()})
    return value


def stack_of(specs: list[RunSpec], dataset: FactorDataset, monkeypatch: pytest.MonkeyPatch) -> Stacked:
    """The stack on the meta device; its batches are prepared on the CPU and moved."""
    batches = Batches(specs[0].dataset, dataset)
    batches.dataset, batches.ties = on_meta(batches.dataset), on_meta(batches.ties)
    monkeypatch.setattr(stacked, "Batches", lambda spec, data: batches)
    objective = make_objective(specs[0], dataset)
    return Stacked(objective, specs, dataset.to(META), compiled=False, captured=False)


def cases() -> Iterator[Any]:
    """(keyword arguments of `spec_of`, data set) of everything that changes what a step does."""
    for model in TRAINED:
        for data in ("dsprites", "shapes3d"):
            yield pytest.param({"model": model}, data, id=f"{model}-{data}")
    for precision in ("float32", "float64"):
        yield pytest.param({"model": "factor_vae", "precision": precision}, "dsprites", id=precision)
    for data in ("color", "noisy", "subgrid"):
        yield pytest.param({"model": "vae"}, data, id=data)
    yield pytest.param({"model": "ada_gvae"}, "subgrid", id="pairs-of-a-subgrid")
    entries = [
        {"hold_out": {"shape": [2], "posX": [16, 17]}},
        {"correlated": {"first": "shape", "second": "scale", "sigma": 0.2}},
    ]
    for entry in entries:
        yield pytest.param({"model": "vae"} | entry, "dsprites", id=next(iter(entry)))
    ties = [{"first": "shape", "second": "*", "sigma": 0.2, "inverse": True}]
    yield pytest.param({"model": "vae", "correlated": ties}, "dsprites", id="confounder")
    for network in OTHER_NETWORKS:
        for model in ("vae", "qlae"):
            name = f"{model}-{network['architecture']}"
            yield pytest.param({"model": model, "network": network}, "dsprites", id=name)
    options = [
        ("factor_vae", {"discriminator_batch": "same"}),
        ("beta_vae", {"warmup_steps": 100}),
        ("beta_tcvae", {"estimator": "stratified"}),
        ("sparse_autoencoder", {"penalty": "kl"}),
        ("denoising_autoencoder", {"noise": "gaussian"}),
        ("vae", {"likelihood": "gaussian_learned"}),
    ]
    for model, chosen in options:
        name = f"{model}-{next(iter(chosen.values()))}"
        yield pytest.param({"model": model, "options": chosen}, "dsprites", id=name)


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize(("asked", "data"), list(cases()))
def test_a_step_needs_no_host(
    asked: dict[str, Any], data: str, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = stack_of([spec_of(seed=seed, **asked) for seed in range(runs)], SETS[data], monkeypatch)
    with OnTheDevice():
        stack.advance()
        stack.advance()


def models_of(model: str, runs: int) -> list[TrainedModel]:
    """Trained models whose weights have no values."""
    specs = [spec_of(model, seed) for seed in range(runs)]
    objective = make_objective(specs[0], SETS["dsprites"])
    size = NetworkSize(**specs[0].network.model_dump(exclude_none=True))
    found = []
    for spec in specs:
        with META:
            networks = objective.build(SETS["dsprites"].image_shape, size)
        found.append(TrainedModel(spec, objective, networks, META, SETS["dsprites"].image_shape))
    return found


@pytest.mark.parametrize("model", TRAINED)
def test_encoding_for_the_scores_needs_the_host_at_its_ends_only(model: str) -> None:
    models = models_of(model, 3)
    there = SETS["subgrid"].to(META)
    there = replace(there, name="few", factor_sizes=(1, 1, 8, 8, 32))
    with OnTheDevice(ends=True) as mode:
        codes, factors = encode_stack(models, there)
        assert codes.shape == (3, 2048, 10)
        assert factors.shape == (2048, 5)
        assert mode.fetched == 2  # the codes of one part, and the factors
    with OnTheDevice(ends=True) as mode:
        encode_dataset(models[0].encode, there, "all", 0)
        assert mode.fetched == 2


@pytest.mark.parametrize("model", TRAINED)
def test_a_trained_model_answers_without_the_host(model: str) -> None:
    (trained,) = models_of(model, 1)
    images = torch.empty(4, *SETS["dsprites"].image_shape, dtype=torch.uint8, device=META)
    noise = torch.empty(4, 10, device=META)
    with OnTheDevice():
        assert trained.encode(images).shape == (4, 10)
        assert trained.decode(noise).shape == images.shape
        assert trained.reconstruct(images).shape == images.shape
        assert {len(values) for values in trained.evaluate(images, noise).values()} == {4}
        if isinstance(trained.objective, Likelihood):
            assert trained.log_weights(images, torch.empty(4, 3, 10, device=META)).shape == (4, 3)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda t: t + torch.ones(3), "tensor of another device"),
        (lambda t: torch.tensor([1.0, 2.0]).to(META), "copies between devices"),
        (lambda t: t.copy_(torch.tensor(1.0)), "copies between devices"),
        (lambda t: t.to("cpu"), "copies between devices"),
        (lambda t: t.sum().item(), "reads a value"),
        (lambda t: t.nonzero(), "depends on values"),
        (lambda t: t[t > 0], "depends on values"),
        (lambda t: torch.randn(3, device=META), "generator"),
    ],
)
def test_what_a_graph_cannot_hold_is_named(fault: Any, message: str) -> None:
    # The device without values refuses some of it too, after the look.
    with DeviceOnly(META) as look, suppress(RuntimeError, NotImplementedError):
        fault(torch.zeros(3, device=META))
    assert message in look.faults[0]


@pytest.mark.parametrize(
    "harmless",
    [lambda t: t + torch.tensor(2.0), lambda t: t[torch.tensor([0], device=META)], lambda t: t * 3 + t.sum()],
)
def test_what_a_graph_can_hold_is_no_fault(harmless: Any) -> None:
    with DeviceOnly(META) as look:
        harmless(torch.zeros(3, device=META))
    assert look.faults == []


@pytest.mark.parametrize(
    "unordered",
    [
        lambda t, i: t.scatter_add(0, i, t),
        lambda t, i: t.index_put([i], t, accumulate=True),
        lambda t, i: torch.autograd.grad(t.requires_grad_().gather(0, i).sum(), t),
    ],
)
def test_the_mode_refuses_sums_in_any_order(unordered: Any) -> None:
    zeros = torch.zeros(3, device=META)
    with pytest.raises(AssertionError, match="left to chance"), OnTheDevice():
        unordered(zeros, zeros.long())
