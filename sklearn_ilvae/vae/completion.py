"""Missing coordinates filled in by a linear Gaussian model, and how uncertain they are.

An encoder that gets zeros in place of missing values would treat them as observed
values at the mean, and would be as certain of the code as for a complete row. In a
linear Gaussian model the posterior of the code given any part of a row is known in
closed form, and training starts at such a model.
"""

import torch
from torch import Tensor, nn

PRECISION_NUMBERS = 1 << 24
"""Numbers in precision matrices of codes, one for each row, to hold at once."""

EXPECTED_NUMBERS = 1 << 22
"""Numbers in loadings of what is missing, one matrix for each row, to hold at once."""


class LinearCompletion(nn.Module):
    """Fill in missing coordinates by the linear model that training starts at.

    For ``x = Wz + ε`` with a standard normal code z and independent noise of variances
    ψ, the code given the observed coordinates O has the precision
    ``I + Σ_{j∈O} wⱼwⱼᵀ/ψⱼ`` and a mean of the usual form; the missing coordinates are
    expected at W times it (Tipping & Bishop, 1999, Section 3.3). The full-row posterior
    mean of the completed row is that mean: expectations pass through linear maps.

    Parameters
    ----------
    n_parameters, n_components : int
        Numbers of coordinates and of units of a code.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae import LinearCompletion
    >>> completion = LinearCompletion(n_parameters=2, n_components=1)
    >>> completion.start_at(torch.tensor([[1.0], [1.0]]), torch.tensor([0.5, 0.5]))
    >>> filled, increase = completion(torch.tensor([[3.0, torch.nan]]))
    >>> [round(value, 3) for value in filled[0].tolist()]
    [3.0, 2.0]
    >>> bool(increase > 0)
    True
    """

    loadings: Tensor
    scaled: Tensor

    def __init__(self, n_parameters: int, n_components: int) -> None:
        super().__init__()
        nothing = torch.zeros(n_parameters, n_components)
        self.register_buffer("loadings", nothing)
        self.register_buffer("scaled", nothing.clone())

    def forward(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Return completed coordinates and by how much log-variances grow.

        Parameters
        ----------
        coordinates : Tensor of shape (…, n_parameters)
            NaN where missing.

        Returns
        -------
        completed : Tensor of shape (…, n_parameters)
        increase : Tensor of shape (…, n_components)
            How much larger the logarithm of the variance of each unit is than for a
            row without gaps, the other units given: at least 0.
        """
        flat = coordinates.reshape(-1, coordinates.shape[-1])
        increase = flat.new_zeros(len(flat), self.loadings.shape[1])
        rows = flat.isnan().any(1).nonzero()[:, 0]
        full = 1 + (self.scaled * self.loadings).sum(0)
        completed = flat.clone()
        for part in self._parts(rows):
            codes, precision, _ = self._posterior(flat[part])
            completed[part] = _filled(flat[part], codes @ self.loadings.T)
            observed = precision.diagonal(dim1=1, dim2=2)
            increase[part] = (full.log() - observed.log()).clamp(min=0)
        shape = coordinates.shape[:-1]
        return completed.view(*shape, -1), increase.view(*shape, -1)

    def draw(
        self, coordinates: Tensor, noise: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return coordinates in which missing ones are drawn from the linear model.

        Drawn values vary as observed ones do; expected values would vary less.

        Parameters
        ----------
        coordinates : Tensor of shape (n_rows, n_parameters)
            NaN where missing.
        noise : Tensor of shape (n_parameters,)
            Variances of the noise.
        generator : torch.Generator
            Source of the draws.

        Returns
        -------
        Tensor of shape (n_rows, n_parameters)
        """
        drawn = []
        for part in self._parts(coordinates):
            codes, _, factor = self._posterior(part)
            away = torch.linalg.solve_triangular(
                factor.mT, _normal(codes, generator)[..., None], upper=True
            )
            values = (codes + away[..., 0]) @ self.loadings.T
            values = values + noise.sqrt() * _normal(values, generator)
            drawn.append(_filled(part, values))
        return torch.cat(drawn)

    def draw_each(
        self, coordinates: Tensor, noise: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return a draw of every coordinate given all others of its row.

        With K the inverse of the covariance ``WWᵀ + Ψ``, it has the variance
        ``1 / K_jj`` and the mean ``x_j - (Kx)_j / K_jj``.

        Parameters
        ----------
        coordinates : Tensor of shape (n_rows, n_parameters)
            Complete rows.
        noise : Tensor of shape (n_parameters,)
            Variances of the noise.
        generator : torch.Generator
            Source of the draws.

        Returns
        -------
        Tensor of shape (n_rows, n_parameters)
        """
        identity = torch.eye(self.loadings.shape[1]).to(self.loadings)
        factor = torch.linalg.cholesky(identity + self.loadings.T @ self.scaled)
        # By Woodbury's identity K is the inverse of Ψ less the square of these.
        root = torch.linalg.solve_triangular(factor, self.scaled.T, upper=False)
        diagonal = 1 / noise - root.square().sum(0)
        products = coordinates / noise - coordinates @ root.T @ root
        away = _normal(coordinates, generator) / diagonal.sqrt()
        return coordinates - products / diagonal + away

    def expect(
        self, coordinates: Tensor, noise: Tensor, shares: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return completed coordinates, and the covariance of what was missing.

        Parameters
        ----------
        coordinates : Tensor of shape (n_rows, n_parameters)
            NaN where missing.
        noise : Tensor of shape (n_parameters,)
            Variances of the noise.
        shares : Tensor of shape (n_rows,)
            Weights.

        Returns
        -------
        completed : Tensor of shape (n_rows, n_parameters)
            Each missing value as its expectation, given the others of its row.
        covariance : Tensor of shape (n_parameters, n_parameters)
            Weighted sum of the covariances of missing values given the others.
        """
        completed, size = [], max(1, EXPECTED_NUMBERS // self.loadings.numel())
        missing = coordinates.isnan().to(coordinates)
        covariance = (noise * (shares @ missing)).diag()
        parts = (each.split(size) for each in (coordinates, missing, shares))
        for rows, absent, weights in zip(*parts, strict=True):
            codes, _, factor = self._posterior(rows)
            completed.append(_filled(rows, codes @ self.loadings.T))
            deviations = torch.linalg.solve_triangular(
                factor, self.loadings.T.expand(len(rows), -1, -1), upper=False
            )
            deviations = deviations * absent[:, None] * weights.sqrt()[:, None, None]
            covariance += deviations.flatten(0, 1).T @ deviations.flatten(0, 1)
        return torch.cat(completed), covariance

    def _parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        return rows.split(max(1, PRECISION_NUMBERS // self.loadings.shape[1] ** 2))

    def _posterior(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and precision of codes, and the Cholesky factor of the latter."""
        missing = rows.isnan()
        n_components = self.loadings.shape[1]
        products = (self.scaled[:, :, None] * self.loadings[:, None, :]).flatten(1)
        square = (n_components, n_components)
        prior = torch.eye(n_components, dtype=rows.dtype, device=rows.device)
        precision = prior + ((~missing).to(rows) @ products).unflatten(1, square)
        known = rows.masked_fill(missing, 0) @ self.scaled
        factor, failed = torch.linalg.cholesky_ex(precision)
        if failed.any():
            raise ValueError(
                "The decoder is so steep beside the noise that rounding in "
                f"{rows.dtype} leaves nothing of the prior, which fills gaps. Choose a "
                "smaller inverse_lipschitz."
            )
        return torch.cholesky_solve(known[..., None], factor)[..., 0], precision, factor

    @torch.no_grad()
    def start_at(self, loadings: Tensor, noise: Tensor) -> None:
        """Take the loadings (n_parameters, n_components) and noise variances."""
        self.loadings.copy_(loadings)
        self.scaled.copy_(loadings / noise[:, None])


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, dtype=like.dtype, generator=generator)


def _filled(rows: Tensor, values: Tensor) -> Tensor:
    return torch.where(rows.isnan(), values, rows)
