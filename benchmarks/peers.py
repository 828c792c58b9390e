"""Steps of pythae's and disent's own VAE objects around the same networks, fed with the same batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from loops import LATENTS, batch_of, networks_of
from torch import Tensor


def pythae_step(pixels: Tensor) -> Callable[[], None]:
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    networks = networks_of("vae", pixels.shape[1:], pixels.device)

    class OurEncoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = networks["encoder"]

        def forward(self, images: Tensor) -> ModelOutput:
            mean, log_variance = self.network(images).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class OurDecoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = networks["decoder"]

        def forward(self, latents: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=torch.sigmoid(self.network(latents)))

    config = VAEConfig(input_dim=tuple(pixels.shape[1:]), latent_dim=LATENTS, reconstruction_loss="bce")
    model = VAE(config, encoder=OurEncoder(), decoder=OurDecoder())
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        loss = model({"data": batch_of(pixels)}).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def disent_step(pixels: Tensor) -> Callable[[], None]:
    from disent.frameworks.vae import Vae
    from disent.model import AutoEncoder, DisentDecoder, DisentEncoder

    networks = networks_of("vae", pixels.shape[1:], pixels.device)

    class OurEncoder(DisentEncoder):
        def __init__(self) -> None:
            super().__init__(x_shape=tuple(pixels.shape[1:]), z_size=LATENTS, z_multiplier=2)
            self.network = networks["encoder"]

        def encode(self, images: Tensor) -> Tensor:
            return self.network(images)

    class OurDecoder(DisentDecoder):
        def __init__(self) -> None:
            super().__init__(x_shape=tuple(pixels.shape[1:]), z_size=LATENTS, z_multiplier=1)
            self.network = networks["decoder"]

        def decode(self, latents: Tensor) -> Tensor:
            return self.network(latents)

    framework = Vae(
        model=AutoEncoder(encoder=OurEncoder(), decoder=OurDecoder()),
        cfg=Vae.cfg(recon_loss="bce", loss_reduction="mean_sum"),
    )
    framework.log_dict = lambda *args, **kwargs: None  # that is the work of a trainer which is not there
    optimiser = torch.optim.Adam(framework.parameters(), lr=1e-4)

    def step() -> None:
        images = batch_of(pixels)
        loss = framework.do_training_step({"x": (images,), "x_targ": (images,)}, 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


PEERS = {"pythae": pythae_step, "disent": disent_step}
