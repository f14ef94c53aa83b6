"""Priors over codes: mean zero and unit variance in every unit."""

from math import log, pi

import torch
from torch import Tensor, nn


def standard_normal_log_prob(codes: Tensor) -> Tensor:
    """Return log N(z; 0, I) in nats: shape (…,)."""
    return -0.5 * (codes.square().sum(-1) + codes.shape[-1] * log(2 * pi))


def log_of_sum(exponents: Tensor, dim: int) -> Tensor:
    """Return ``log Σ exp(x)`` along an axis, of finite values.

    Terms below exp(−80) of the largest count as that, far below rounding: as subnormal
    numbers of float32 they would cost a processor many times as much.
    """
    largest = exponents.detach().amax(dim, keepdim=True)
    terms = (exponents - largest).clamp(min=-80).exp()
    return terms.sum(dim).log() + largest.squeeze(dim)


class StandardNormalPrior(nn.Module):
    """``p(z) = N(0, I)``.

    Parameters
    ----------
    n_components : int
        Dimension of the codes.
    """

    mean: Tensor

    def __init__(self, n_components: int) -> None:
        super().__init__()
        self.n_components = n_components
        # Without it nothing would tell the dtype and device of the module.
        self.register_buffer("mean", torch.zeros(n_components), persistent=False)

    def log_prob(self, codes: Tensor) -> Tensor:
        """Return log p(z) in nats: shape (…,)."""
        return standard_normal_log_prob(codes)

    def precision(self, codes: Tensor) -> Tensor:
        """Return ``−∂² log p(z_k) / ∂z_k²`` of every unit: shape of codes."""
        return torch.ones_like(codes)

    def kl_divergence(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Return KL(N(mean, exp(log_variance)) ‖ p) in closed form, a unit each."""
        return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)

    def marginal_log_prob(self, codes: Tensor) -> Tensor:
        """Return the log-density of every unit by itself: shape of codes."""
        return -0.5 * (codes.square() + log(2 * pi))

    def draw(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """Return the noise, which codes are distributed as."""
        return noise

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw codes of shape (n_samples, n_components)."""
        noise = self.mean.new_empty(n_samples, self.n_components)
        return self.mean + noise.normal_(generator=generator)


class MixturePrior(nn.Module):
    """Learned mixture of diagonal Gaussians, standardised in every unit.

    Mean zero and unit variance in every unit are kept by construction: a prior that
    could shrink would shrink the codes with it, and the inverse-Lipschitz constant
    of the decoder would guarantee nothing.

    Parameters
    ----------
    n_components : int
        Dimension of the codes.
    n_mixture_components : int
        Number of Gaussians.
    """

    def __init__(self, n_components: int, n_mixture_components: int) -> None:
        super().__init__()
        self.n_components = n_components
        self.logits = nn.Parameter(torch.zeros(n_mixture_components))
        self.raw_means = nn.Parameter(
            torch.randn(n_mixture_components, n_components) / 2
        )
        self.raw_log_variances = nn.Parameter(
            torch.zeros(n_mixture_components, n_components)
        )

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights (K,), means and variances (K, n_components)."""
        log_weights = self.logits.log_softmax(0)
        weights = log_weights.exp()[:, None]
        variances = self.raw_log_variances.exp()
        centre = (weights * self.raw_means).sum(0)
        means = self.raw_means - centre
        spread = (weights * (variances + means.square())).sum(0)
        return log_weights, means / spread.sqrt(), variances / spread

    def log_prob(self, codes: Tensor) -> Tensor:
        """Return log p(z) in nats: shape (…,).

        The squares are expanded, which turns the sums over units into products of
        matrices: several times faster than broadcasting codes against Gaussians.
        """
        return log_of_sum(self._joint_log_prob(codes, self.components()), -1)

    def precision(self, codes: Tensor) -> Tensor:
        """Return the mean precision of the Gaussians that codes may come from.

        At least ``−∂² log p(z) / ∂z²``, and always positive: shape of codes.
        """
        components = self.components()
        shares = self._joint_log_prob(codes, components).softmax(-1)
        return shares @ components[2].reciprocal()

    def _joint_log_prob(
        self, codes: Tensor, components: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Return the log-density of codes and each Gaussian: shape (…, K)."""
        log_weights, means, variances = components
        precisions = variances.reciprocal()
        scaled = means * precisions
        constant = log_weights - 0.5 * (
            (means * scaled + variances.log()).sum(1) + self.n_components * log(2 * pi)
        )
        exponents = codes @ scaled.T - 0.5 * codes.square() @ precisions.T
        return exponents + constant

    def marginal_log_prob(self, codes: Tensor) -> Tensor:
        """Return the log-density of every unit by itself: shape of codes."""
        log_weights, means, variances = self.components()
        squares = (codes[..., None, :] - means).square() / variances
        log_probs = -0.5 * (squares + variances.log() + log(2 * pi))
        return log_of_sum(log_weights[:, None] + log_probs, -2)

    def draw(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """Return codes of shape (n_draws, n_components).

        Parameters
        ----------
        noise : Tensor of shape (n_draws, n_components)
            Standard normal noise.
        uniform : Tensor of shape (n_draws,)
            Numbers from 0 to 1, which choose the Gaussians.
        """
        log_weights, means, variances = self.components()
        # The last one takes the rest, whatever the weights sum to.
        chosen = torch.searchsorted(log_weights.exp().cumsum(0)[:-1], uniform)
        return means[chosen] + variances[chosen].sqrt() * noise

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw codes of shape (n_samples, n_components)."""
        log_weights, means, variances = self.components()
        chosen = torch.multinomial(
            log_weights.exp(), n_samples, replacement=True, generator=generator
        )
        noise = torch.empty_like(means[chosen]).normal_(generator=generator)
        return means[chosen] + variances[chosen].sqrt() * noise
