"""What trainers are measured against: a loop as a user writes it, and naive `vmap`; and how a rate is taken.

Every trainer gets the standard study's networks and batches of 64 images that lie on the device, of dSprites where no
other data set is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.forms import Formed
from disentangle_bench.models.networks import Decoder, Discriminator, Encoder
from disentangle_bench.models.objective import NetworkSize
from disentangle_bench.specs import RunSpec

BATCH, LATENTS = 64, 10
HYPERS = {"beta_vae": ("beta",), "factor_vae": ("gamma",)}
STUDY_STEPS = 300_000


def rate_of(step: Callable[[], None], seconds: float) -> float:
    """Calls per second, after a few to warm up."""
    for _ in range(6):
        step()
    wait()
    together = 16 if torch.cuda.is_available() else 4  # between two waits, in which a GPU's queue runs empty
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(together):
            step()
        count += together
        wait()
    return count / (time.perf_counter() - started)


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def sampled_pixels(dataset: FactorDataset, images: int) -> Tensor:
    """Evenly spaced images, for trainers that know no data sets."""
    return dataset.images(torch.arange(0, len(dataset), len(dataset) // images, device=dataset.device))


def batch_of(pixels: Tensor) -> Tensor:
    return pixels[torch.randint(len(pixels), (BATCH,), device=pixels.device)].float() / 255


def specs_of(
    model: str, precision: str, runs: int, dataset: str = "dsprites_rendered", side: int | None = None
) -> list[RunSpec]:
    """So many seeds of a model with the standard networks, on images of so many pixels a side."""
    return [
        RunSpec.model_validate(
            {
                "dataset": {"name": dataset, "size": side},
                "model": model,
                "hypers": {name: 1.0 + seed for name in HYPERS.get(model, ())},
                "options": {},
                "seed": seed,
                "network": {},
                "training": {"precision": precision},
            }
        )
        for seed in range(runs)
    ]


class PlainTransposed(Formed, nn.ConvTranspose2d):
    """torch's own transposed convolution where the decoder expects a layer with a form."""


# The standard networks, and those of the small track, by the side of the images.
SIZES = {64: NetworkSize(), 32: NetworkSize(channels=(32, 32, 64), kernels=(4, 4, 4), hidden=128)}


def networks_of(model: str, shape: torch.Size, device: torch.device) -> nn.ModuleDict:
    """The networks for images of that shape, with torch's own convolutions."""
    size = SIZES[shape[-1]]
    found = {"encoder": Encoder(shape, size, 2 * LATENTS), "decoder": Decoder(shape, size)}
    if model == "factor_vae":
        found["discriminator"] = Discriminator(LATENTS, 1000, 6)
    found["decoder"].convolutions = nn.ModuleList(
        PlainTransposed(own.in_channels, own.out_channels, own.kernel_size, 2, own.padding)
        for own in found["decoder"].convolutions
    )
    return nn.ModuleDict(found).to(device)


def vae_loss(networks, images: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = networks("encoder", images).chunk(2, dim=1)
    latents = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
    logits = networks("decoder", latents)
    reconstruction = functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum()
    return (reconstruction + kl) / len(images), latents


def factor_vae_loss(networks, images: Tensor) -> tuple[Tensor, Tensor]:
    loss, latents = vae_loss(networks, images)
    joint = networks("discriminator", latents)
    return loss + 10.0 * (joint[:, 0] - joint[:, 1]).mean(), latents


def discriminator_loss(networks, latents: Tensor, images: Tensor) -> Tensor:
    """Latents of one batch against permuted latents of other images."""
    with torch.no_grad():
        mean, log_variance = networks("encoder", images).chunk(2, dim=1)
        other = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        permuted = torch.gather(other, 0, torch.rand_like(other).argsort(0))
    judged = networks("discriminator", latents.detach())
    against = networks("discriminator", permuted)
    zeros = torch.zeros(len(latents), dtype=torch.int64, device=images.device)
    return 0.5 * (functional.cross_entropy(judged, zeros) + functional.cross_entropy(against, zeros + 1))


def plain_loop(model: str, pixels: Tensor, compiled: bool = False) -> Callable[[], None]:
    """A loop as a user writes it: modules, torch's generator, torch's Adam, one model.

    `compiled` has torch compile each loss with its gradients, and replay them as CUDA graphs on a GPU.
    """
    networks = networks_of(model, pixels.shape[1:], pixels.device)
    adversarial = model == "factor_vae"
    cuda = pixels.device.type == "cuda"
    vae = [*networks["encoder"].parameters(), *networks["decoder"].parameters()]
    optimiser = torch.optim.Adam(vae, lr=1e-4, fused=cuda, capturable=cuda)
    if adversarial:
        of_discriminator = list(networks["discriminator"].parameters())
        second = torch.optim.Adam(of_discriminator, lr=1e-4, betas=(0.5, 0.9), fused=cuda, capturable=cuda)

    def call(name: str, inputs: Tensor) -> Tensor:
        return networks[name](inputs)

    def of_vae(images: Tensor) -> tuple[Tensor, Tensor]:
        return factor_vae_loss(call, images) if adversarial else vae_loss(call, images)

    def against(latents: Tensor, images: Tensor) -> Tensor:
        return discriminator_loss(call, latents, images)

    if compiled:
        of_vae, against = (torch.compile(loss, mode="reduce-overhead") for loss in (of_vae, against))

    def step() -> None:
        loss, latents = of_vae(batch_of(pixels))
        latents = latents.detach().clone()
        loss.backward()
        # Before the next compiled call, which may write over what the last one returned, gradients too.
        optimiser.step()
        optimiser.zero_grad()
        if adversarial:
            second.zero_grad()  # what the first loss left in the discriminator
            against(latents, batch_of(pixels)).backward()
            second.step()
            second.zero_grad()  # or the next first loss would add to gradients that it has written over

    return step


def naive_vmap(model: str, pixels: Tensor, runs: int) -> Callable[[], None]:
    """`stack_module_state` and `vmap` over the plain modules, eager: convolutions become grouped convolutions."""
    stacks = [networks_of(model, pixels.shape[1:], pixels.device) for _ in range(runs)]
    weights, _ = stack_module_state(stacks)
    template = stacks[0]
    mine = [value for key, value in weights.items() if not key.startswith("discriminator")]
    others = [value for key, value in weights.items() if key.startswith("discriminator")]
    optimisers = [torch.optim.Adam(mine, lr=1e-4, fused=True)]
    if others:
        optimisers.append(torch.optim.Adam(others, lr=1e-4, betas=(0.5, 0.9), fused=True))
    count = BATCH * (2 if others else 1)

    def one_run(own: dict[str, Tensor], images: Tensor):
        def call(name: str, inputs: Tensor) -> Tensor:
            start = f"{name}."
            part = {k.removeprefix(start): v for k, v in own.items() if k.startswith(start)}
            return functional_call(template[name], part, (inputs,))

        if not others:
            return vae_loss(call, images)[:1]
        first, second = images.chunk(2)
        loss, latents = factor_vae_loss(call, first)
        return loss, discriminator_loss(call, latents, second)

    def step() -> None:
        index = torch.randint(len(pixels), (runs * count,), device=pixels.device)
        images = (pixels[index].float() / 255).unflatten(0, (runs, count))
        losses = vmap(one_run, randomness="different")(weights, images)
        for optimiser in optimisers:
            optimiser.zero_grad()
        torch.autograd.backward(losses[0].sum(), inputs=mine, retain_graph=bool(others))
        if others:
            torch.autograd.backward(losses[1].sum(), inputs=others)
        for optimiser in optimisers:
            optimiser.step()

    return step
