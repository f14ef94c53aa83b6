"""`SteinScoreEstimator`: the score of a distribution from its samples alone."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._columns import (
    checked_weights,
    explain_other_order,
    float_dtypes,
    from_tensor,
    names_in,
    rows_of_weight,
    to_tensor,
    validated_table,
)
from ._device import inference_device, torch_defaults, training_device
from ._html import DiagramMixin, summary_of_score
from ._random import draw_seed
from ._sklearn import Interval, StrOptions, check_same_namespace, fit_context
from ._state import unchanged_on_error
from .stein import Settings, fit_score
from .stein.model import Score
from .stein.settings import CHOICES
from .stein.state import model_from_arrays, model_to, model_to_arrays


class SteinScoreEstimator(DiagramMixin, BaseEstimator):
    """The score ``∇ₓ log q(x)`` of a distribution from its samples alone.

    The estimate is ``s₀ + f``: the score of a parametric family, and a kernel part that
    learns what the family leaves. It minimises the Hyvärinen loss
    ``E[½‖ŝ‖² + tr ∇ŝ]`` [1]_, which needs no density, plus a penalty of ``f`` in the
    Hilbert space of the kernel. This regression contains the Stein estimators, SSGE,
    kernel exponential families and the iterative methods as special cases [2]_. With
    the defaults base, kernel, bandwidth and regularisation are chosen by the
    cross-validated loss. A family takes the place of a simpler one where it is better
    by one standard error, and the kernel part is kept where it improves on the best
    family alone by ``√log n`` of them, on a mixture by two.

    Past the last rows a kernel part is a guess. It is shortened, its direction kept,
    where it is longer than at any row of the sample (at any of 20,000 of them, drawn at
    random): from there on the estimate differs from the base by no more than it ever
    had to. Beyond the farthest row that bound falls off as the square of the distance
    from the centre, so that far away the estimate is its base.

    Columns are scaled inside: raw tables need no pipeline. Constant columns have a
    score of 0. Columns that are linear combinations of others span no density; the
    score is then the one along the plane that holds the rows, in the units of X, and
    does not change across that plane. With fewer rows than columns all rows lie in a
    plane; only one of less than ``n − 1`` dimensions, for n distinct rows, counts.

    A column in which more than a tenth of the distinct rows share a value has no
    density, and no score along it means anything. The loss on which everything is
    chosen, which such a value could lower without bound, is that of the other columns,
    where there are any.

    Parameters
    ----------
    kernel : {"auto", "rbf", "inverse_multiquadric"}, default="auto"
        Kernel: ``exp(−r²/(2h²))`` or ``(1 + r²/h²)^(−1/2)``, with h the bandwidth.
        ``"auto"`` compares both.
    form : {"auto", "diagonal", "curl_free"}, default="auto"
        ``"diagonal"`` gives every component its own weights; ``"curl_free"`` makes the
        score a gradient, so that it has a log-density. ``"auto"`` compares both.
    bandwidth : {"auto", "median"}, float or array-like of shape (n_features,), \
default="auto"
        Length scale of the kernel in the units of X, one for all or one per feature.
        ``"median"`` is the median distance between rows. ``"auto"`` compares
        multiples of the median distance, with every feature in units of its standard
        deviation (that of most rows, where a few wild values make it 100 times larger)
        and, where these differ less than 100-fold, with one scale for all.
    regularization : "auto" or float, default="auto"
        Strength λ of the regularisation; the iterative methods run as many steps as
        match it. For ``method="stein"`` the ridge η of [3]_.
    base : {"auto", "gaussian", "student_t", "mixture"} or None, default="auto"
        The score s₀: of a Gaussian, of a Student t with estimated degrees of freedom
        for heavy tails, or of a mixture of Gaussians for clusters, its size by the
        Bayesian information criterion. ``"auto"`` compares the three, and is the
        Gaussian where kernel, form, bandwidth and regularization are all given.
        ``method="stein"`` has none.
    method : {"auto", "tikhonov", "stein", "spectral_cutoff", "nu", "landweber"}, \
default="auto"
        ``"tikhonov"`` is ridge regression; ``"spectral_cutoff"`` drops small
        eigenvalues as SSGE [4]_ does; ``"auto"`` compares these two, and is ridge
        regression from 10,000 rows on and where the regularisation is given.
        ``"stein"`` is the V-statistic estimator of [3]_ exactly as published (equations
        9 and 18), on all rows; ``"nu"`` and ``"landweber"`` are iterations that stop
        early.
    n_averaged : int, default=3
        Where the bandwidth and the strength are searched, on less than 10,000 rows and
        with no fewer landmarks than the search has, 200 or, for narrow kernels, 500:
        most estimates to average, the best and those of the same form whose held-out
        loss is within two standard errors. 1 takes the best alone.
    n_landmarks : {"auto", "all"} or int, default="auto"
        Rows at which kernels are centred. ``"auto"`` is ``5 √n``, at least 500 and at
        most 1000. Time grows with the rows times the square of the landmarks.
    random_state : int, RandomState instance or None, default=None
        Draws folds, subsets and landmarks.
    device : str, default="auto"
        Where to compute, in double precision: ``"cpu"``, ``"cuda"``, ``"cuda:1"``…
        ``"auto"`` is CUDA where there is one. A fitted estimator uses the CPU on a
        machine that lacks the device.

    Attributes
    ----------
    model_ : ScoreModel or AveragedScore
        The fitted score in plain torch, on the CPU.
    kernel_ : str or None
        The chosen kernel; None when the base score stands alone.
    form_ : str or None
        The chosen form; None when the base score stands alone.
    base_ : str or None
        The family of the base score; ``"gaussian"`` where another was asked for that
        turned out to be it, without heavy tails or with one component.
    method_ : str or None
        The chosen method; None when the base score stands alone.
    n_averaged_ : int
        How many estimates are averaged. What is chosen here is chosen for the best.
    bandwidth_ : ndarray of shape (n_features,) or None
        The chosen length scales in the units of X. Given back as parameters together
        with kernel, form, regularisation, method and base they give the same estimate,
        where it is one, up to rounding, which the fit of a mixture enlarges, and but
        for columns of unequal spread that span a plane. Without the base it is the
        Gaussian that they correct.
    regularization_ : float or None
        The chosen strength. It and `bandwidth_` are None when the base score stands
        alone.
    n_landmarks_ : int
        Number of kernel centres; 0 when the base score stands alone.
    shrinkage_ : float or None
        Shrinkage of the covariance of the base score, None without one.
    degrees_of_freedom_ : float or None
        Effective number of parameters of the kernel part, None without one, where the
        regularisation was given and for ``method="stein"``.
    loss_, base_loss_ : float or None
        Mean cross-validated Hyvärinen loss of the estimate and of the best family
        alone, in the scaled units and along the columns that have a density; None
        where the regularisation was given and for ``method="stein"``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, when they are all strings.

    References
    ----------
    .. [1] A. Hyvärinen, "Estimation of non-normalized statistical models by score
       matching", JMLR 6, 2005.
    .. [2] Y. Zhou, J. Shi and J. Zhu, "Nonparametric score estimators", ICML 2020.
    .. [3] Y. Li and R. E. Turner, "Gradient estimators for implicit models",
       ICLR 2018, arXiv:1705.07107.
    .. [4] J. Shi, S. Sun and J. Zhu, "A spectral approach to gradient estimation for
       implicit distributions", ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ilvae import SteinScoreEstimator
    >>> X = np.random.default_rng(0).normal(loc=3.0, size=(1000, 2))
    >>> estimator = SteinScoreEstimator(random_state=0).fit(X)
    >>> score = estimator.score_gradient([[3.0, 5.0]])
    >>> bool(np.abs(score - [[0.0, -2.0]]).max() < 0.3)
    True
    """

    _names: list[Any]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "kernel": [StrOptions(set(CHOICES["kernel"]))],
        "form": [StrOptions(set(CHOICES["form"]))],
        "bandwidth": [
            StrOptions({"auto", "median"}),
            Interval(Real, 0, None, closed="neither"),
            "array-like",
        ],
        "regularization": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "base": [StrOptions(set(CHOICES["base"]) - {None}), None],
        "method": [StrOptions(set(CHOICES["method"]))],
        "n_averaged": [Interval(Integral, 1, None, closed="left")],
        "n_landmarks": [
            StrOptions({"auto", "all"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "random_state": ["random_state"],
        "device": [str],
    }

    def __init__(
        self,
        kernel: str = "auto",
        *,
        form: str = "auto",
        bandwidth: Any = "auto",
        regularization: str | float = "auto",
        base: str | None = "auto",
        method: str = "auto",
        n_averaged: int = 3,
        n_landmarks: str | int = "auto",
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
    ) -> None:
        self.kernel = kernel
        self.form = form
        self.bandwidth = bandwidth
        self.regularization = regularization
        self.base = base
        self.method = method
        self.n_averaged = n_averaged
        self.n_landmarks = n_landmarks
        self.random_state = random_state
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the score from a sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The sample. It is read in chunks and never copied whole, so it may be a
            memory-mapped file of floats in single or double precision.
        y : ignored
            Present for compatibility.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts: a weight of 2 is that of a row that occurs twice,
            and rows of weight 0 take no part. Only the ratios of weights matter, but
            for ``method="stein"``, whose ridge is for a number of rows.

        Returns
        -------
        self : SteinScoreEstimator
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            For input or parameters that cannot be fitted. The estimator is left as it
            was.
        """
        # Torch could never differentiate a model that is made in inference mode.
        with unchanged_on_error(self), torch.inference_mode(False), torch_defaults():
            table = validated_table(self, X, reset=True, min_samples=2)
            self._names = names_in(X)
            weights = sample_weight
            if weights is not None:
                weights = checked_weights(weights, X, min_samples=2)
            model, report = fit_score(
                table,
                self._settings(table.shape[1]),
                weights=weights,
                seed=draw_seed(self.random_state),
                device=training_device(self.device, torch.float64),
            )
            self.model_ = model_to(model, torch.device("cpu"))
            self.kernel_ = report.kernel
            self.form_ = report.form
            self.base_ = report.base
            self.method_ = report.method
            self.n_averaged_ = report.n_averaged
            lengths = report.bandwidth
            self.bandwidth_ = None if lengths is None else from_tensor(lengths, X)
            self.regularization_ = report.regularization
            self.n_landmarks_ = model.n_landmarks
            self.shrinkage_ = report.shrinkage
            self.degrees_of_freedom_ = report.degrees_of_freedom
            self.loss_ = report.loss
            self.base_loss_ = report.base_loss
        return self

    def score_gradient(self, X: Any) -> Any:
        """Return the estimated gradient of the log-density.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points.

        Returns
        -------
        gradient : ndarray of shape (n_samples, n_features)
            ``∇ₓ log q(x)``, in the reciprocal units of X.
        """
        rows = self._checked(X, "score_gradient")
        gradient = self._model_here().score(rows)
        return from_tensor(gradient.to(rows.dtype), X)

    def divergence(self, X: Any) -> Any:
        """Return the divergence of the estimated score, in closed form.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points.

        Returns
        -------
        divergence : ndarray of shape (n_samples,)
            ``tr ∇ŝ(x)``.
        """
        rows = self._checked(X, "divergence")
        divergence = self._model_here().divergence(rows)
        return from_tensor(divergence.to(rows.dtype), X)

    def score_samples(self, X: Any) -> Any:
        """Return minus the Hyvärinen loss of each row; larger is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, best held out from `fit`.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            ``−½‖ŝ(x)‖² − tr ∇ŝ(x)``, equation 4 of Hyvärinen (2005), in the units of X.
        """
        rows = self._checked(X, "score_samples")
        return from_tensor(self._minus_losses(rows).to(rows.dtype), X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean of `score_samples`, so that searches compare estimators.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, best held out from `fit`.
        y : ignored
            Present for compatibility.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts.

        Returns
        -------
        score : float
            Minus the mean Hyvärinen loss.
        """
        table = self._checked(X, "score")
        rows, weights = rows_of_weight(table, X, sample_weight, min_samples=1)
        scores = self._minus_losses(rows)
        weights = weights.to(scores)
        return float(weights @ scores / weights.sum())

    def log_density(self, X: Any) -> Any:
        """Return the logarithm of the density up to a constant.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            The function whose gradient is the score. It exists for a curl-free form,
            or when the base score stands alone. Past the rows of the sample, where the
            kernel part of the score is shortened, it is that of the full length.

        Raises
        ------
        ValueError
            For a diagonal form and for ``method="stein"``, which are no gradients.
        """
        rows = self._checked(X, "log_density")
        log_density = self._model_here().log_density(rows)
        return from_tensor(log_density.to(rows.dtype), X)

    def _settings(self, n_features: int) -> Settings:
        """Return what to fit, after checking what parameters mean together."""
        base, bandwidth = self.base, self.bandwidth
        if self.method == "stein":
            for name, allowed in (
                ("base", ("auto", None)),
                ("form", ("auto", "diagonal")),
                ("n_landmarks", ("auto", "all")),
            ):
                if getattr(self, name) not in allowed:
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} is not allowed with "
                        "method='stein', which is the estimator as published, on all "
                        f"rows; choose one of {allowed}, or method='tikhonov'"
                    )
            base = None
        if not isinstance(bandwidth, str | Real):
            refused = ValueError(
                f"bandwidth={bandwidth!r} is not allowed; pass as many positive "
                f"numbers as X has features, {n_features}, one for all, 'median' or "
                "'auto'"
            )
            try:
                lengths = to_tensor(
                    check_array(
                        bandwidth, ensure_2d=False, dtype=float_dtypes(bandwidth)
                    )
                )
            except (TypeError, ValueError) as error:
                raise refused from error
            if lengths.shape != (n_features,) or not (lengths > 0).all():
                raise refused
            bandwidth = lengths.to("cpu", torch.float64, copy=True)
        return Settings(
            kernel=self.kernel,
            form=self.form,
            bandwidth=bandwidth,
            regularization=self.regularization,
            base=base,
            method=self.method,
            n_averaged=self.n_averaged,
            n_landmarks=self.n_landmarks,
        )

    def _checked(self, X: Any, method: str) -> Tensor:
        check_is_fitted(self)
        if self.bandwidth_ is not None:
            check_same_namespace(X, self, attribute="bandwidth_", method=method)
        rows = validated_table(self, X, reset=False)
        difference = explain_other_order(self._names, names_in(X))
        if difference is not None:
            raise ValueError(difference)
        return rows

    def _model_here(self) -> Score:
        return model_to(self.model_, inference_device(self.device, torch.float64))

    def _minus_losses(self, rows: Tensor) -> Tensor:
        gradient, divergence = self._model_here().evaluate(rows)
        return -0.5 * gradient.square().sum(1) - divergence

    def _fit_summary(self) -> str:
        return summary_of_score(self)

    def __sklearn_tags__(self) -> Any:
        """Declare that array-API input is welcome."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return parameters and fitted values, the model as arrays by name."""
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = model_to_arrays(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the model from its arrays."""
        if "model_" in state:
            state = {**state, "model_": model_from_arrays(state["model_"])}
        super().__setstate__(state)
