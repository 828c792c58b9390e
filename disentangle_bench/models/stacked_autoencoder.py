"""Stacked autoencoder: each layer first learns to reconstruct its own input, then all train together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import NonNegativeInt, PositiveInt

from disentangle_bench.models.autoencoder import Autoencoder
from disentangle_bench.models.objective import Call, Log, Losses, NetworkSize, Step

if TYPE_CHECKING:
    from torch import Tensor, nn

# At 0 a sigmoid is four times flatter than tanh, for which Glorot's distribution is made (Glorot & Bengio 2010).
SIGMOID_GAIN = 4.0


@dataclass(frozen=True)
class StackedAutoencoder(Autoencoder):
    """Greedy layer-wise pretraining, then fine-tuning of the whole (Bengio et al. 2007; Vincent et al. 2010).

    The networks are fully connected: `layers` - 1 layers of `network.hidden` sigmoid units, then a linear
    code. The decoder mirrors them. During the first `pretraining_steps` steps the first layer and its
    mirror learn to reconstruct the image. During as many more steps the second layer learns to reconstruct
    the activities of the first (cross-entropy, because they lie in 0..1), and so on. Afterwards all layers
    minimise the reconstruction of the image. A layer that learns does not change the layers below it.
    """

    paper = "Bengio et al. 2007, NIPS 19 (greedy layer-wise training)"
    layers: PositiveInt = 3
    pretraining_steps: NonNegativeInt = 10_000

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """A network for each layer and one for its mirror, from the image up."""
        from torch import nn

        from disentangle_bench.models.forms import Linear
        from disentangle_bench.models.networks import initialise

        widths = [math.prod(image_shape), *[size.hidden] * (self.layers - 1), size.latents]
        networks: dict[str, nn.Module] = {}
        for layer in range(1, self.layers + 1):
            below, above = widths[layer - 1], widths[layer]
            networks[f"encoder_{layer}"] = Linear(below, above)
            networks[f"decoder_{layer}"] = Linear(above, below)
        networks["decoder_1"] = nn.Sequential(networks["decoder_1"], nn.Unflatten(1, image_shape))
        for network in networks.values():
            initialise(network)
            for parameter in network.parameters():
                parameter.data *= SIGMOID_GAIN
        return networks | self.variance_network()

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for all layers: that of the layer whose turn it is, later that of the whole."""
        import torch
        from torch.nn import functional

        images, number, turns = step.images, step.number, self.pretraining_steps
        values = images.flatten(1)
        loss = torch.zeros_like(values[0, 0])
        log: Log = {}
        for layer in range(1, self.layers + 1):
            active = (number > (layer - 1) * turns) & (number <= layer * turns)
            given = values.detach()
            logits = call(f"decoder_{layer}", self.upwards(call, layer, given))
            own = (
                self.reconstruction(call, logits, images)
                if layer == 1
                else functional.binary_cross_entropy_with_logits(logits, given, reduction="none").sum(1)
            ).mean()
            loss = loss + torch.where(active, own, 0)
            log[f"layer_{layer}"] = own
            values = self.upwards(call, layer, values)
        reconstruction = self.reconstruction(call, self.logits(call, values), images).mean()
        loss = loss + torch.where(number > self.layers * turns, reconstruction, 0)
        names = [f"{side}_{layer}" for layer in range(1, self.layers + 1) for side in ("encoder", "decoder")]
        return dict.fromkeys([*names, *self.variance_network()], loss), {
            "loss": loss,
            "reconstruction": reconstruction,
        } | log

    def upwards(self, call: Call, layer: int, values: Tensor) -> Tensor:
        """One layer's activities: sigmoids, but for the code."""
        values = call(f"encoder_{layer}", values)
        return values if layer == self.layers else values.sigmoid()

    def logits(self, call: Call, latents: Tensor) -> Tensor:
        """What the mirrored layers make of codes: logits [n, channels, height, width]."""
        values = latents
        for layer in range(self.layers, 1, -1):
            values = call(f"decoder_{layer}", values).sigmoid()
        return call("decoder_1", values)

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """Codes [n, latents]."""
        values = images.flatten(1)
        for layer in range(1, self.layers + 1):
            values = self.upwards(call, layer, values)
        return values
