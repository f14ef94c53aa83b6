"""A fitted score: its values, its divergence and its log-density."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .bases.fitted import BaseScore
from .kernels.curl_free import CurlFreeForm
from .kernels.forms import Form
from .kernels.published import NUMBERS_AT_ONCE, PublishedStein


@dataclass(frozen=True)
class ScoreModel:
    """A fitted score ``ŝ(x) = D (s₀(u) + f(u))`` with ``u = D (x − c)``.

    Where the sample lies in a plane ``u = Wᵀ D (x − c)`` and ``ŝ(x) = D W (s₀ + f)``:
    the columns of ``D W`` are orthogonal and span the plane, so that this is the
    gradient along the plane, constant across it.

    A kernel part that follows a curved sample is weakly regularised, and past the last
    rows it can grow to many times what the sample asked of it. So ``f`` is shortened,
    its direction kept, wherever it is longer than at any row of the sample. Beyond the
    farthest row that bound falls off as ``1/‖u‖²``, faster than any base: far away an
    inverse multiquadric would not vanish beside the score of a Student t.

    Attributes
    ----------
    center, inverse_scale : Tensor of shape (d,)
        The ``c`` and the diagonal of ``D``; 0 for constant columns.
    base : BaseScore
        The base score ``s₀``.
    axes : Tensor of shape (d, r) or None
        The ``W``, see `Rows`; None for the identity.
    form : Form or None
        The space of the kernel part ``f``; None when the base stands alone.
    coefficients : Tensor of shape (m, q) or None
    longest : float
        Greatest length of ``f``, in the coordinates ``u``.
    reach : float
        Length of ``u`` at the farthest row of the sample.
    published : PublishedStein or None
        Takes the place of base and kernel part in the estimator of Li & Turner.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.stein import fit_score
    >>> X = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    >>> model, _ = fit_score(X)
    >>> score, divergence = model.evaluate(X)
    >>> score.shape, divergence.shape
    (torch.Size([100, 2]), torch.Size([100]))
    """

    center: Tensor
    inverse_scale: Tensor
    base: BaseScore
    axes: Tensor | None = None
    form: Form | None = None
    coefficients: Tensor | None = None
    longest: float = math.inf
    reach: float = math.inf
    published: PublishedStein | None = None

    @property
    def n_landmarks(self) -> int:
        """Number of kernel centres."""
        if self.published is not None:
            return len(self.published.sample)
        return 0 if self.form is None else len(self.form.landmarks)

    def score(self, X: Tensor) -> Tensor:
        """Return the score of each row, of shape (n, d), in float64."""
        score = self.center.new_empty(X.shape)
        for place, U in self._chunks(X):
            score[place] = self._score(U)
        return score

    def divergence(self, X: Tensor) -> Tensor:
        """Return ``tr ∇ŝ`` at each row, of shape (n,), in float64."""
        return self.evaluate(X)[1]

    def evaluate(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score and its divergence at each row.

        Parameters
        ----------
        X : Tensor of shape (n, d)

        Returns
        -------
        score : Tensor of shape (n, d)
        divergence : Tensor of shape (n,)
        """
        score = self.center.new_empty(X.shape)
        divergence = self.center.new_empty(len(X))
        for place, U in self._chunks(X):
            score[place], divergence[place] = self._evaluate(U)
        return score, divergence

    def log_density(self, X: Tensor) -> Tensor:
        """Return the logarithm of the density up to a constant, of shape (n,).

        Only a curl-free score, or the base alone, is the gradient of a function. It is
        the function of the kernel part at its full length: its gradient is the score
        wherever that is not shortened, the rows of the sample among them.

        Parameters
        ----------
        X : Tensor of shape (n, d)

        Returns
        -------
        log_density : Tensor of shape (n,)

        Raises
        ------
        ValueError
            For a score that is the gradient of no function.
        """
        published = self.published is not None
        if published or not isinstance(self.form, CurlFreeForm | None):
            # The published estimator has the diagonal form alone.
            step = "method='tikhonov' and form" if published else "form"
            raise ValueError(
                "the score is not the gradient of a function, so it has no "
                f"log-density; fit with {step}='curl_free'"
            )
        log_density = self.center.new_empty(len(X))
        for place, U in self._chunks(X):
            value = self.base.log_density(U)
            if self.form is not None and self.coefficients is not None:
                value = value + self.form.potential(U, self.coefficients)
            log_density[place] = value
        return log_density

    def _chunks(self, X: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield ``(place, rows)``, the rows in the coordinates of the sample.

        Values go to their place at once: kept until the last are computed, they lie
        between the arrays of later chunks, in memory many times as large.
        """
        if X.ndim != 2 or X.shape[1] != len(self.center):
            raise ValueError(
                f"X has shape {tuple(X.shape)}; pass points of shape "
                f"(n, {len(self.center)}), with the columns of the sample"
            )
        step = max(1, NUMBERS_AT_ONCE // max(self.n_landmarks, X.shape[1]))
        for start in range(0, len(X), step):
            place = slice(start, start + step)
            U = (X[place].to(self.center) - self.center) * self.inverse_scale
            yield place, U if self.axes is None else U @ self.axes

    def _score(self, U: Tensor) -> Tensor:
        if self.published is not None:
            return self._in_units(self.published.score(U))
        score = self.base.score(U)
        if self.form is not None and self.coefficients is not None:
            field = self.form.field(U, self.coefficients[None])[0]
            score = score + _scaled(field, *self._excess(field, U))
        return self._in_units(score)

    def _in_units(self, score: Tensor) -> Tensor:
        """Return a score in the units of X."""
        if self.axes is not None:
            score = score @ self.axes.T
        return score * self.inverse_scale

    @property
    def _metric(self) -> Tensor:
        """Return the weights of squares of ``u`` that give those of lengths in X."""
        if self.axes is None:
            return self.inverse_scale.square()
        return (self.inverse_scale[:, None] * self.axes).square().sum(0)

    def _excess(self, field: Tensor, U: Tensor) -> tuple[Tensor, Tensor]:
        """Return where ``f`` is longer than it may be, and which share is kept."""
        length = torch.linalg.vector_norm(field, dim=1)
        distance = torch.linalg.vector_norm(U, dim=1)
        bound = self.longest / (distance / self.reach).clamp(min=1.0).square()
        beyond = length > bound
        return beyond, bound[beyond] / length[beyond]

    def _evaluate(self, U: Tensor) -> tuple[Tensor, Tensor]:
        metric = self._metric
        if self.published is not None:
            score, divergence = self.published.evaluate(U, metric)
        else:
            score = self.base.score(U)
            divergence = self.base.divergence(U, metric)
            if self.form is not None and self.coefficients is not None:
                field, part = self._kernel_part(U, self.form, self.coefficients, metric)
                score, divergence = score + field, divergence + part
        return self._in_units(score), divergence

    def _kernel_part(
        self, U: Tensor, form: Form, coefficients: Tensor, metric: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the shortened ``f`` and its divergence."""
        fields, divergences = form.evaluate(U, coefficients[None], metric)
        field, divergence = fields[0], divergences[0]
        beyond, share = self._excess(field, U)
        if not beyond.any():
            return field, divergence
        outer, place = field[beyond], U[beyond]
        length = torch.linalg.vector_norm(outer, dim=1)
        distance = torch.linalg.vector_norm(place, dim=1)
        # The gradients of the logarithms of the length and of its bound.
        slope = form.pull_back(place, coefficients, outer) / length.square()[:, None]
        steep = -2.0 * (distance > self.reach) / distance.clamp(min=self.reach).square()
        fall = steep[:, None] * place
        along = (outer * (fall - slope)) @ metric
        shortened = share * (divergence[beyond] + along)
        divergence = divergence.index_put((beyond,), shortened)
        return _scaled(field, beyond, share), divergence


def _scaled(field: Tensor, rows: Tensor, share: Tensor) -> Tensor:
    """Return a field with some of its rows times a share."""
    return field.index_put((rows,), share[:, None] * field[rows])


@dataclass(frozen=True)
class AveragedScore:
    """The mean of several scores of one sample.

    Held-out losses of a few hundred rows do not tell the best settings apart. The mean
    of their scores is never worse than the members are on average, because the squared
    error is convex.

    Attributes
    ----------
    members : tuple of ScoreModel

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.stein import AveragedScore, Settings, fit_score
    >>> X = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    >>> settings = [
    ...     Settings("rbf", "curl_free", bandwidth=h, regularization=0.01)
    ...     for h in (1.0, 2.0)
    ... ]
    >>> mean = AveragedScore(tuple(fit_score(X, each)[0] for each in settings))
    >>> mean.score(X).shape
    torch.Size([100, 2])
    """

    members: tuple[ScoreModel, ...]

    @property
    def n_landmarks(self) -> int:
        """Number of kernel centres of the member that has most."""
        return max(member.n_landmarks for member in self.members)

    def score(self, X: Tensor) -> Tensor:
        """Return the score of each row, of shape (n, d), in float64."""
        return torch.stack([member.score(X) for member in self.members]).mean(0)

    def divergence(self, X: Tensor) -> Tensor:
        """Return ``tr ∇ŝ`` at each row, of shape (n,), in float64."""
        return self.evaluate(X)[1]

    def evaluate(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score (n, d) and its divergence (n,) at each row."""
        scores, divergences = zip(*(m.evaluate(X) for m in self.members), strict=True)
        return torch.stack(scores).mean(0), torch.stack(divergences).mean(0)

    def log_density(self, X: Tensor) -> Tensor:
        """Return the mean of the log-densities, up to a constant, of shape (n,)."""
        return torch.stack([member.log_density(X) for member in self.members]).mean(0)


Score = ScoreModel | AveragedScore
