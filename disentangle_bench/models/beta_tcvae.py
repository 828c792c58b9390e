"""beta-TCVAE (Chen et al. 2018): beta weights the latents' total correlation, estimated from the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from disentangle_bench.models.objective import Call, Hyper, Log, Losses, Step
from disentangle_bench.models.vae import VAE

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BetaTCVAE(VAE):
    """VAE loss + (beta - 1) * TC(z) (Chen et al. 2018, section 3, with alpha = gamma = 1).

    The KL term is exact, as in the 2019 study. Only TC is estimated, so beta = 1 is the VAE. With
    `estimator` "weighted" it is the paper's minibatch-weighted sampling, with "stratified" its
    minibatch-stratified sampling (appendix C.2), whose estimate of q(z) is unbiased.

    The log's `tc` is the estimate minus its value for codes without information (see `level`). The loss has
    the whole estimate.
    """

    paper = "Chen et al. 2018, arXiv:1802.04942"
    beta = Hyper(6.0)
    estimator: Literal["weighted", "stratified"] = "weighted"

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        bound = self.negative_elbo(call, step)
        total_correlation = self.total_correlation(bound.mean, bound.log_variance, bound.latents)
        loss = bound.loss + (self.beta - 1) * total_correlation
        shown = total_correlation - self.level(*bound.latents.shape)
        return self.shared(loss), bound.log | {"loss": loss, "tc": shown}

    def total_correlation(self, mean: Tensor, log_variance: Tensor, latents: Tensor) -> Tensor:
        """Mean over the batch of log q(z) - sum_j log q(z_j), in nats; each argument [n, latents]."""
        log_densities = log_normal(latents[:, None], mean[None], log_variance[None])  # sample, image, latent
        joint, marginals = log_densities.sum(2), log_densities
        if self.estimator == "weighted":
            shift = math.log(len(latents) * self.size(len(latents)))
            log_joint = joint.logsumexp(1) - shift
            log_marginals = (marginals.logsumexp(1) - shift).sum(1)
        else:
            weights = stratified_log_weights(len(latents), self.size(len(latents)), latents)
            log_joint = (joint + weights).logsumexp(1)
            log_marginals = (marginals + weights[:, :, None]).logsumexp(1).sum(1)
        return (log_joint - log_marginals).mean()

    def level(self, batch: int, latents: int) -> float:
        """The estimate, in nats, where all posteriors are one and the total correlation is 0; a constant of the loss.

        Weighted: each of the sums over a batch of M stands for one over N images and is too low by ln N, the joint's
        once and the marginals' once for each latent.
        """
        return (latents - 1) * math.log(self.size(batch)) if self.estimator == "weighted" else 0.0

    def size(self, batch: int) -> int:
        """How many images the aggregate posterior is over."""
        return max(self.data.image_count, batch)


def log_normal(values: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """The log-density of N(mean, exp(log_variance)), element by element."""
    return -0.5 * (math.log(2 * math.pi) + log_variance + (values - mean).square() * (-log_variance).exp())


def stratified_log_weights(batch: int, size: int, like: Tensor) -> Tensor:
    """[batch, batch]: the log-weight of image j's posterior in the estimate of q(z) at a sample of image i.

    The sample's own image counts 1/N, of the M others one counts (N - M) / (N M) and each of the rest 1 / M: over
    random batches the expected sum is q(z) itself. The one is the image that follows in the batch. Raises ValueError
    for a batch of one image.
    """
    others = batch - 1
    if not others:
        raise ValueError("stratified sampling needs at least two images in a batch")
    import torch

    own = torch.eye(batch, dtype=like.dtype, device=like.device)
    following = own.roll(1, dims=1)
    return (
        own * -math.log(size)
        + following * math.log((size - others) / (size * others))
        + (1 - own - following) * -math.log(others)
    )
