"""How much the codes of a fitted estimator say about the rows of a table.

All functions take a fitted `ILVAETransformer` or `ILVAEOutlierDetector`, or a pipeline
that ends in one, and a table in its own units, compute in float64 and return NumPy
arrays or Python floats. Divergences and information are in nats. Where they average
over random draws, these are a fixed function of `random_state` where that is an
integer, as it is by default: two calls agree.
"""

from copy import deepcopy
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_scalar
from torch import Tensor

from .._checks import check_number
from .._device import torch_defaults
from .._pipelines import autoencoder
from .._random import draw_seed
from ..vae import VariationalAutoencoder, diagnostics, shared_noise

WITH_GRADIENTS = torch.inference_mode(False)
"""Of the decoder, which a measure needs also where the user's code does without."""


@torch_defaults()
def kl_per_unit(estimator: Any, X: Any) -> np.ndarray:
    """Kullback–Leibler divergence of the posterior from the prior, a unit each.

    The mean over rows of ``KL(q(z_k|x) ‖ p(z_k))``, with q the encoder's Gaussian and
    p(z_k) the prior's marginal of the unit; in closed form for the standard normal
    prior, by Gauss–Hermite quadrature for the mixture. A unit whose divergence is 0
    has collapsed.

    Parameters
    ----------
    estimator : ILVAETransformer, ILVAEOutlierDetector or Pipeline
        A fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    ndarray of shape (n_components_,)
        In nats.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.metrics import kl_per_unit
    >>> X = load_wine().data
    >>> model = ILVAETransformer(n_components=3, max_iter=5, random_state=0).fit(X)
    >>> kl_per_unit(model, X).min() > 0.1
    np.True_
    """
    module, rows = _prepared(estimator, X, "kl_per_unit")
    mean, log_variance = diagnostics.posterior(module, rows)
    divergences = diagnostics.kl_per_unit(mean, log_variance, module.prior)
    return divergences.mean(0).numpy()


@torch_defaults()
def active_units(estimator: Any, X: Any, threshold: float = 0.01) -> np.ndarray:
    """Which latent units have posterior means that vary over the rows.

    The criterion of [1]_. It takes a unit for dead whose means all lie close together,
    even when its posterior is much narrower than the prior, as a large L makes it;
    `kl_per_unit` does not.

    Parameters
    ----------
    estimator : ILVAETransformer, ILVAEOutlierDetector or Pipeline
        A fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    threshold : float, default=0.01
        Least variance of an active unit; the prior's variance is 1.

    Returns
    -------
    ndarray of shape (n_components_,), bool
        Its sum is the number of active units.

    Raises
    ------
    TypeError, ValueError
        For a threshold that is no number from 0 on.

    References
    ----------
    .. [1] Burda, Grosse & Salakhutdinov (2016). "Importance weighted autoencoders."
       ICLR. Section 5.2.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.metrics import active_units
    >>> X = load_wine().data
    >>> model = ILVAETransformer(n_components=3, max_iter=5, random_state=0).fit(X)
    >>> active_units(model, X)
    array([ True,  True,  True])
    """
    module, rows = _prepared(estimator, X, "active_units")
    threshold = check_number(threshold, "threshold", min_val=0)
    mean, _ = diagnostics.posterior(module, rows)
    return diagnostics.active_units(mean, threshold).numpy()


@torch_defaults()
def mutual_information(
    estimator: Any,
    X: Any,
    n_draws: int = 10,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """Mutual information of row and code under the encoder.

    ``E_x KL(q(z|x) ‖ q(z))`` with the aggregated posterior q(z) over the rows given
    [1]_. It cannot exceed ``log n_samples``: a value close to that says only that the
    codes tell the rows apart. It takes of the order of ``n_draws · n_samples²``
    operations.

    Parameters
    ----------
    estimator : ILVAETransformer, ILVAEOutlierDetector or Pipeline
        A fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    n_draws : int, default=10
        Draws from the posterior of each row.
    random_state : int, RandomState instance or None, default=0
        Source of the draws.

    Returns
    -------
    float
        In nats.

    References
    ----------
    .. [1] Hoffman & Johnson (2016). "ELBO surgery: yet another way to carve up the
       variational evidence lower bound." NIPS workshop on advances in approximate
       Bayesian inference.

    Examples
    --------
    >>> from math import log
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.metrics import mutual_information
    >>> X = load_wine().data
    >>> model = ILVAETransformer(n_components=3, max_iter=5, random_state=0).fit(X)
    >>> 1 < mutual_information(model, X) < log(len(X))
    True
    """
    module, rows = _prepared(estimator, X, "mutual_information")
    mean, log_variance = diagnostics.posterior(module, rows)
    seed = draw_seed(random_state)
    noise = _noise(n_draws, module, seed, len(rows))
    # Successive points a row: those further apart may be much alike. That is also why
    # rows get theirs in random order: every fourth row may be of another kind.
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    noise = noise.view(len(rows), n_draws, -1)[order].transpose(0, 1)
    return float(diagnostics.mutual_information(mean, log_variance, noise))


@torch_defaults()
@WITH_GRADIENTS
def relative_fisher_divergence(
    estimator: Any,
    X: Any,
    n_draws: int = 100,
    random_state: int | np.random.RandomState | None = 0,
) -> np.ndarray:
    """Relative Fisher information divergence of the posterior from the prior.

    ``F(x) = E_{p(z|x)} ‖∇ log p(z|x) − ∇ log p(z)‖²`` [1]_, of the posterior of the
    model itself rather than of the encoder, by importance sampling from a Gaussian
    fitted to it. It is 0 where a row says nothing about its code.

    Parameters
    ----------
    estimator : ILVAETransformer, ILVAEOutlierDetector or Pipeline
        A fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    n_draws : int, default=100
        Draws of the code of each row.
    random_state : int, RandomState instance or None, default=0
        Source of the draws.

    Returns
    -------
    ndarray of shape (n_samples,)
        For squared units of the codes, whose prior has unit variance. The units of
        the table do not matter.

    Raises
    ------
    TypeError, ValueError
        As `ILVAETransformer.score_samples`.

    See Also
    --------
    fisher_divergence_lower_bound : What the constant L guarantees of it.

    References
    ----------
    .. [1] Kinoshita, Oono, Fukumizu, Yoshida & Maeda (2023). "Controlling posterior
       collapse by an inverse Lipschitz constraint on the decoder network." ICML.
       arXiv:2304.12770.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.metrics import relative_fisher_divergence
    >>> X = load_wine().data
    >>> model = ILVAETransformer(n_components=3, max_iter=5, random_state=0).fit(X)
    >>> relative_fisher_divergence(model, X).shape
    (178,)
    """
    module, rows = _prepared(estimator, X, "relative_fisher_divergence", exact=True)
    noise = _noise(n_draws, module, random_state)
    return diagnostics.relative_fisher_divergence(module, rows, noise).numpy()


@torch_defaults()
@WITH_GRADIENTS
def fisher_divergence_per_unit(
    estimator: Any,
    X: Any,
    n_draws: int = 100,
    random_state: int | np.random.RandomState | None = 0,
) -> np.ndarray:
    """Share of every latent unit in the relative Fisher divergence.

    The mean over rows of ``E_{p(z|x)} (∂_k log p(z|x) − ∂_k log p(z))²``. The sum over
    units is the mean of `relative_fisher_divergence`. A unit of which the rows say
    nothing has 0.

    Parameters
    ----------
    estimator : ILVAETransformer, ILVAEOutlierDetector or Pipeline
        A fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    n_draws : int, default=100
        Draws of the code of each row.
    random_state : int, RandomState instance or None, default=0
        Source of the draws.

    Returns
    -------
    ndarray of shape (n_components_,)
        For squared units of the codes, whose prior has unit variance.

    Raises
    ------
    TypeError, ValueError
        As `ILVAETransformer.score_samples`.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.metrics import fisher_divergence_per_unit
    >>> X = load_wine().data
    >>> model = ILVAETransformer(n_components=3, max_iter=5, random_state=0).fit(X)
    >>> fisher_divergence_per_unit(model, X).shape
    (3,)
    """
    module, rows = _prepared(estimator, X, "fisher_divergence_per_unit", exact=True)
    noise = _noise(n_draws, module, random_state)
    shares = diagnostics.fisher_divergence_per_unit(module, rows, noise)
    return shares.mean(0).numpy()


@torch_defaults()
@WITH_GRADIENTS
def fisher_divergence_lower_bound(
    estimator: Any,
    X: Any,
    n_draws: int = 100,
    random_state: int | np.random.RandomState | None = 0,
) -> np.ndarray:
    """Lower bound on the relative Fisher divergence that the constant L guarantees.

    ``F(x) ≥ L² E_{p(z|x)} ‖Π r‖²``, with r the derivative of the log-likelihood by the
    decoder's output and Π the projector on the range of the decoder's Jacobian J. It
    follows from ``F(x) = E‖Jᵀr‖²`` and from the singular values of J, none of which is
    less than L. The bound of [1]_ without Π does not hold when there are fewer units
    than columns.

    Parameters
    ----------
    estimator : ILVAETransformer, ILVAEOutlierDetector or Pipeline
        A fitted estimator. The constant is its ``inverse_lipschitz_``.
    X : array-like of shape (n_samples, n_features)
        Rows.
    n_draws : int, default=100
        Draws of the code of each row.
    random_state : int, RandomState instance or None, default=0
        Source of the draws. With the integer of `relative_fisher_divergence` the bound
        holds exactly, not just up to Monte Carlo error.

    Returns
    -------
    ndarray of shape (n_samples,)
        In the unit of `relative_fisher_divergence`; 0 for ``decoder="mlp"``.

    Raises
    ------
    TypeError, ValueError
        As `ILVAETransformer.score_samples`.

    References
    ----------
    .. [1] Kinoshita, Oono, Fukumizu, Yoshida & Maeda (2023). "Controlling posterior
       collapse by an inverse Lipschitz constraint on the decoder network." ICML.
       arXiv:2304.12770.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer, metrics
    >>> X = load_wine().data
    >>> model = ILVAETransformer(n_components=3, max_iter=5, random_state=0).fit(X)
    >>> bound = metrics.fisher_divergence_lower_bound(model, X)
    >>> (metrics.relative_fisher_divergence(model, X) >= bound).all()
    np.True_
    """
    module, rows = _prepared(estimator, X, "fisher_divergence_lower_bound", exact=True)
    noise = _noise(n_draws, module, random_state)
    return diagnostics.fisher_divergence_lower_bound(module, rows, noise).numpy()


@torch_defaults()
def average_fisher_lower_bound(estimator: Any) -> float:
    """Lower bound on the mean relative Fisher divergence over rows of the model.

    ``E_{p(x)} F(x) ≥ n_components_ · L² · minⱼ Iⱼ``, with L the certified constant and
    Iⱼ the Fisher information of a standardised column about its location: 1/σ² of a
    Gaussian, (ν + 1)/((ν + 3)σ²) of a Student t. It holds for rows that the model
    draws; on a table it holds as far as the model fits.

    Parameters
    ----------
    estimator : ILVAETransformer, ILVAEOutlierDetector or Pipeline
        A fitted estimator whose columns are all Gaussian or Student t, or without any
        value.

    Returns
    -------
    float
        In the unit of `relative_fisher_divergence`.

    Raises
    ------
    ValueError
        When there are other columns, for which no such bound exists.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer, metrics
    >>> X = load_wine().data
    >>> model = ILVAETransformer(n_components=3, max_iter=5, random_state=0).fit(X)
    >>> bound = metrics.average_fisher_lower_bound(model)
    >>> drawn = model.sample(200, random_state=0)
    >>> 0 < bound < metrics.relative_fisher_divergence(model, drawn).mean()
    np.True_
    """
    estimator, _ = autoencoder(estimator)
    return diagnostics.average_fisher_lower_bound(estimator.module_)


def _prepared(
    estimator: Any, X: Any, method: str, *, exact: bool = False
) -> tuple[VariationalAutoencoder, Tensor]:
    """Return the network and the standardised rows, both in float64 on the CPU.

    A measure of the posterior itself, not of the encoder's, is `exact`.
    """
    estimator, X = autoencoder(estimator, X)
    checked = estimator._checked_exactly if exact else estimator._checked
    table = checked(X, method).cpu().double()
    return deepcopy(estimator.module_).double(), estimator._scaling().transform(table)


def _noise(
    n_draws: int,
    module: VariationalAutoencoder,
    random_state: int | np.random.RandomState | None,
    n_rows: int = 1,
) -> Tensor:
    """Return draws that all rows share, or as many for each of several rows."""
    if isinstance(n_draws, bool):
        raise TypeError("n_draws must be an instance of int, not bool.")
    check_scalar(n_draws, "n_draws", Integral, min_val=1)
    n_components = module.architecture.n_components
    return shared_noise(n_draws * n_rows, n_components, draw_seed(random_state))
