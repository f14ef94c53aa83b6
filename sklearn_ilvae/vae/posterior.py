"""A Gaussian close to the model's posterior of every row, to draw codes from.

The encoder serves all rows alike, and its Gaussian has no correlations. For one row the
posterior is known up to a constant: a few Newton steps from the encoder's Gaussian come
much closer to it, and fewer draws give a likelihood of the same accuracy.

With Student t columns the posterior may have several modes: a code explains a value far
out, or gives it up and explains the others. The encoder, which is smooth, points to the
former, though the latter may weigh more by tens of nats. Rows with values far out are
therefore fitted a second time, from the prior on.
"""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from .autoencoder import VariationalAutoencoder
from .likelihoods import COUNTS
from .priors import standard_normal_log_prob
from .symlog import LINEAR_RANGE

N_STEPS = 2
"""Newton steps. A third one gains nothing that matters."""

N_STEPS_FAR = 4
"""Newton steps from the prior on, which is farther away than the encoder's Gaussian.

As many follow where counts are far above their rates: large counts tell the code so
well that what two steps leave costs tens of nats and more.
"""

ALIKE = 0.1
"""Difference, in nats of the evidence, up to which two fits count as the same."""

STEP_LENGTHS = (0.0, 1.0, 0.5, 0.25, 0.1)
"""Parts of a Newton step to choose from; 0 stays, where a step would lead away."""

BREADTH = 1.1
"""By how much draws spread wider than the fit.

A posterior with heavier tails than a Gaussian would give a few draws in its tails
most of the weight.
"""


class GaussianPosterior(NamedTuple):
    """``N(m, FFᵀ)`` over the code of every row.

    Parameters
    ----------
    mean : Tensor of shape (n_rows, n_components)
        The means m.
    factor : Tensor of shape (n_rows, n_components, n_components)
        The matrices F.
    log_volume : Tensor of shape (n_rows,)
        ``log |det F|``.
    unsettled : Tensor of shape (n_rows,), bool
        Where two starts did not end alike: there may be more than one mode.
    """

    mean: Tensor
    factor: Tensor
    log_volume: Tensor
    unsettled: Tensor

    def broadened(self) -> "GaussianPosterior":
        """Return the Gaussian to draw from, `BREADTH` times as wide."""
        volume = self.log_volume + self.mean.shape[-1] * log(BREADTH)
        return self._replace(factor=BREADTH * self.factor, log_volume=volume)

    def at(self, rows: Tensor) -> "GaussianPosterior":
        """Return the Gaussians of some rows, by a mask or their positions."""
        return GaussianPosterior(*(each[rows] for each in self))

    def with_others(
        self, rows: Tensor, others: "GaussianPosterior"
    ) -> "GaussianPosterior":
        """Return the Gaussians with those of some rows, by position, replaced."""
        pairs = zip(self, others, strict=True)
        return GaussianPosterior(*(old.index_copy(0, rows, new) for old, new in pairs))

    def draw(self, noise: Tensor) -> Tensor:
        """Return ``m + F noise``: codes of shape (n_draws, n_rows, n_components).

        Parameters
        ----------
        noise : Tensor of shape (n_draws, n_components)
            Standard normal noise, shared by all rows.
        """
        return self.mean + (self.factor @ noise.T).permute(2, 0, 1)

    def noise_of(self, codes: Tensor) -> Tensor:
        """Return the noise that would draw codes (n_draws, n_rows or 1, n_components).

        For F of `fit_posterior`, which is upper triangular.
        """
        away = (codes - self.mean).permute(1, 2, 0)
        noise = torch.linalg.solve_triangular(self.factor, away, upper=True)
        return noise.permute(2, 0, 1)

    def log_prob(self, noise: Tensor) -> Tensor:
        """Return the log-density of codes, by their noise: (n_draws, n_rows)."""
        return standard_normal_log_prob(noise) - self.log_volume


def log_joint(
    model: VariationalAutoencoder,
    rows: Tensor,
    codes: Tensor,
    parameters: Tensor,
    gaps: bool,
) -> Tensor:
    """Return ``log p(x, z)`` of rows and codes, by what the codes are decoded to."""
    log_likelihood = model.likelihood.log_prob(rows, parameters, gaps)
    return log_likelihood + model.prior.log_prob(codes)


def codes_at_once(n_draws: int, n_components: int) -> int:
    """Return how many codes of a row the fit, or the draws from it, decode at once."""
    return max(n_draws, 2 * n_components + 1)


def are_far_out(model: VariationalAutoencoder, rows: Tensor) -> Tensor:
    """Tell which rows hold Student t values far out: `fit_posterior` looks twice."""
    columns = model.likelihood.columns("student_t").to(rows.device)
    return (rows[:, columns].abs() > LINEAR_RANGE).any(1)


@torch.no_grad()
def fit_posterior(
    model: VariationalAutoencoder, rows: Tensor, gaps: bool
) -> GaussianPosterior:
    """Fit a Gaussian to ``p(z|x)`` of every row, from the encoder's Gaussian on.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Standardised rows.
    gaps : bool
        Whether rows may hold NaN.

    Returns
    -------
    GaussianPosterior
        That of the model itself where the decoder is linear and columns and prior are
        Gaussian.
    """
    mean, log_variance = model.encoder(rows)
    encoded = (0.5 * log_variance).exp()
    settled = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    posterior = GaussianPosterior(
        mean, torch.diag_embed(encoded), 0.5 * log_variance.sum(-1), settled
    )
    posterior = _newton_steps(model, rows, gaps, posterior, N_STEPS)
    if not set(COUNTS).isdisjoint(model.likelihood.families):
        above = model.likelihood.have_counts_far_above(rows, model.decoder(mean))
        above = above.nonzero()[:, 0]
        if len(above):
            part = posterior.at(above)
            part = _newton_steps(model, rows[above], gaps, part, N_STEPS_FAR)
            posterior = posterior.with_others(above, part)
    far = are_far_out(model, rows).nonzero()[:, 0]
    if not len(far):
        return posterior
    others, found = _better_of_two(model, rows[far], gaps, posterior.at(far))
    far = far[others]
    if not len(far):
        return posterior
    found = _newton_steps(model, rows[far], gaps, found, N_STEPS)
    return posterior.with_others(far, found)


def _better_of_two(
    model: VariationalAutoencoder,
    rows: Tensor,
    gaps: bool,
    posterior: GaussianPosterior,
) -> tuple[Tensor, GaussianPosterior]:
    """Fit rows from the prior on, and compare with Gaussians found before.

    Returns the positions of rows where the two differ, and the better ones there.
    """
    first = posterior._replace(unsettled=torch.ones_like(posterior.unsettled))
    prior = first._replace(
        mean=torch.zeros_like(first.mean),
        factor=torch.eye(first.mean.shape[-1]).to(rows).expand_as(first.factor),
        log_volume=torch.zeros_like(first.log_volume),
    )
    second = _newton_steps(model, rows, gaps, prior, N_STEPS_FAR)
    before = _evidence(model, rows, gaps, first)
    gain = _evidence(model, rows, gaps, second) - before
    better = (gain > 0).nonzero()[:, 0]
    others = (gain.abs() > ALIKE).nonzero()[:, 0]
    return others, first.with_others(better, second.at(better)).at(others)


def _evidence(
    model: VariationalAutoencoder,
    rows: Tensor,
    gaps: bool,
    posterior: GaussianPosterior,
) -> Tensor:
    """Return Laplace's approximation of log p(x), but for a constant: (n_rows,)."""
    mean = posterior.mean
    heights = log_joint(model, rows, mean, model.decoder(mean), gaps)
    return (heights + posterior.log_volume).nan_to_num(nan=-torch.inf)


def _newton_steps(
    model: VariationalAutoencoder,
    rows: Tensor,
    gaps: bool,
    posterior: GaussianPosterior,
    n_steps: int,
) -> GaussianPosterior:
    for _ in range(n_steps):
        posterior = _newton_step(model, rows, gaps, posterior)
    return posterior


def _newton_step(
    model: VariationalAutoencoder,
    rows: Tensor,
    gaps: bool,
    posterior: GaussianPosterior,
) -> GaussianPosterior:
    """Take a Gauss-Newton step, in coordinates u with ``z = m + Fu``.

    Slopes are differences of what is two standard deviations apart: of the density as
    wide as it is, not in a point (García-Fernández, Svensson, Morelande & Särkkä, IEEE
    Transactions on Signal Processing, 2015, for filters). They need no gradients.
    """
    mean, factor = posterior.mean, posterior.factor
    axes = factor.permute(2, 0, 1)
    codes = torch.cat([mean + axes, mean - axes, mean[None]])
    decoded = model.decoder(codes)
    ahead, behind, parameters = decoded.split([len(axes), len(axes), 1])
    slopes = 0.5 * (ahead - behind)
    information = model.likelihood.information(rows, parameters[0], slopes, gaps)
    heights = log_joint(model, rows, codes, decoded, gaps)
    gradient = 0.5 * (heights[: len(axes)] - heights[len(axes) : -1])
    prior_precision = model.prior.precision(mean)[..., None] * factor
    root, failed = torch.linalg.cholesky_ex(information + factor.mT @ prior_precision)
    usable = (failed == 0) & root.isfinite().all((-2, -1)) & gradient.isfinite().all(0)
    # Rows far outside may overflow: they keep what they have.
    root = torch.where(usable[:, None, None], root, torch.eye(root.shape[-1]).to(root))
    gradient = torch.where(usable, gradient, 0).T[..., None]

    step = (factor @ torch.cholesky_solve(gradient, root))[..., 0]
    lengths = step.new_tensor(STEP_LENGTHS)[:, None, None]
    candidates = mean + lengths * step
    heights = log_joint(model, rows, candidates, model.decoder(candidates), gaps)
    highest = heights.nan_to_num(nan=-torch.inf).argmax(0)
    narrower = torch.linalg.solve_triangular(root, factor.mT, upper=False).mT
    narrowing = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return posterior._replace(
        mean=candidates[highest, torch.arange(len(rows), device=rows.device)],
        factor=narrower,
        log_volume=posterior.log_volume - narrowing,
    )
