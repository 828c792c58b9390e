"""Models whose networks start as torch starts them, where this package draws from Glorot's uniform distribution.

In a grid, with `bench` started above this folder: { name = "grids.torch_initialisation:TorchVAE" }.
"""

from dataclasses import dataclass

from disentangle_bench.models.beta_tcvae import BetaTCVAE
from disentangle_bench.models.vae import VAE


def started_by_torch(networks):
    """The networks with every layer's weights drawn again as torch does: uniform up to 1 / sqrt(inputs), biases too."""
    for network in networks.values():
        for layer in network.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    return networks


@dataclass(frozen=True)
class TorchVAE(VAE):
    """VAE, started by torch."""

    def build(self, image_shape, size):
        """The model's networks, started by torch."""
        return started_by_torch(super().build(image_shape, size))


@dataclass(frozen=True)
class TorchBetaTCVAE(BetaTCVAE):
    """beta-TCVAE, started by torch."""

    def build(self, image_shape, size):
        """The model's networks, started by torch."""
        return started_by_torch(super().build(image_shape, size))
