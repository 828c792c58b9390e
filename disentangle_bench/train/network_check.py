"""What a model's networks may not do, found before a run: keep state besides their weights, or draw random numbers.

A run's course is its weights, Adam's moments and counters alone: that is what a stack gives each of its runs, what a
checkpoint keeps and what a seed decides. A layer that changes something else, or draws for itself, would train
otherwise in a stack than alone and otherwise after a stop, without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from disentangle_bench import randomness
from disentangle_bench.errors import BenchError
from disentangle_bench.models.objective import Fitted, NetworkSize, Objective, Step, is_fitted, with_hypers
from disentangle_bench.train.alone import Networks

BATCH = 2
# Larger networks are not tried out: that would take memory and time before the run.
MOST_WEIGHTS = 1 << 26
INSTEAD = "use a normalisation without running statistics (nn.GroupNorm, nn.LayerNorm)"


def check_layers(model: str, networks: Mapping[str, nn.Module]) -> None:
    """Raise BenchError for layers that keep or draw something, and for a weight that two networks share."""
    owners: dict[int, str] = {}
    for name, network in networks.items():
        for key, weight in network.named_parameters():
            owner = owners.setdefault(id(weight), name)
            if owner != name:
                raise BenchError(
                    f"model {model!r}: its networks {owner!r} and {name!r} share the weight {key!r}, which would be"
                    " moved twice alone and be two weights in a stack; put both parts into one network"
                )
        for place, layer in network.named_modules():
            where = f"model {model!r}: its network {name!r} holds {type(layer).__name__}" + (
                f" ({place})" if place else ""
            )
            if isinstance(layer, _BatchNorm):
                raise BenchError(
                    f"{where}, which mixes the images of a batch and keeps running statistics besides the weights: runs"
                    f" would train otherwise in a stack and after a stop; {INSTEAD}"
                )
            if isinstance(layer, (_DropoutNd, nn.RReLU)):
                raise BenchError(
                    f"{where}, which draws random numbers that no seed of the run decides; ask for noise in the"
                    " objective's `draws` and multiply by it"
                )


def check_one_step(
    model: str,
    objective: Objective | Fitted,
    image_shape: tuple[int, int, int],
    size: NetworkSize,
    hypers: Mapping[str, float],
) -> None:
    """Raise BenchError where a step or an encoding, tried out on two images, moves a buffer or draws a number.

    What else fails there is the run's to say, and networks too large to try out pass.
    """
    with torch.random.fork_rng(devices=[]):
        networks = _built(objective, image_shape, size, seed=0)
        before = _buffers(networks)
        if before:
            _check_same_buffers(model, before, _buffers(_built(objective, image_shape, size, seed=1)))
        for what, use in _uses(objective, networks, image_shape, size, hypers):
            drawn = torch.random.get_rng_state()
            try:
                use()
            except BenchError:
                raise
            except (Exception, SystemExit):  # the run itself meets it, and keeps the reason
                continue
            if not torch.equal(torch.random.get_rng_state(), drawn):
                raise BenchError(
                    f"model {model!r} draws random numbers of its own in {what} (dropout, torch.randn_like and the"
                    " like), which no seed of the run decides; ask for them in `draws`"
                )
            _check_unmoved(model, what, before, _buffers(networks))


def _built(
    objective: Objective | Fitted, image_shape: tuple[int, int, int], size: NetworkSize, seed: int
) -> Networks:
    torch.manual_seed(seed)
    return objective.build(image_shape, size)


def _uses(
    objective: Objective | Fitted,
    networks: Networks,
    image_shape: tuple[int, int, int],
    size: NetworkSize,
    hypers: Mapping[str, float],
) -> list[tuple[str, Callable[[], object]]]:
    """What a run does with its networks, by the method's name, on grey images."""
    seed, number = torch.tensor(0), torch.tensor(1)

    def call(name: str, inputs: Tensor) -> Tensor:
        return networks[name](inputs)

    def losses() -> None:
        assert not is_fitted(objective)
        images = torch.full((BATCH * objective.batches, *image_shape), 0.5)
        noise = randomness.draw(objective.draws(BATCH, size.latents), seed, number)
        running = with_hypers(objective, {key: torch.tensor(value) for key, value in hypers.items()})
        running.losses(call, Step(images, noise, number))

    def encode() -> None:
        for network in networks.values():
            network.eval()
        with torch.no_grad():
            objective.encode(call, torch.full((BATCH, *image_shape), 0.5))

    trained: list[tuple[str, Callable[[], object]]] = [] if is_fitted(objective) else [("`losses`", losses)]
    return [*trained, ("`encode`", encode)]


def _buffers(networks: Networks) -> dict[str, Tensor]:
    """A copy of every buffer by network and name."""
    return {
        f"{name}.{key}": buffer.detach().clone()
        for name, network in networks.items()
        for key, buffer in network.named_buffers()
    }


def _check_same_buffers(model: str, first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    for name, value in first.items():
        if name not in second or not _same(value, second[name]):
            raise BenchError(
                f"model {model!r}: its buffer {name!r} differs from seed to seed, so that runs of one stack could not"
                " share it; make it a parameter, or the same for all seeds"
            )


def _check_unmoved(model: str, what: str, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    for name, value in after.items():
        if name not in before or not _same(value, before[name]):
            raise BenchError(
                f"model {model!r}: {what} moves its buffer {name!r}, which is kept neither for each run of a stack nor"
                f" in a checkpoint; keep trainable state in parameters; for normalisation {INSTEAD}"
            )


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)
