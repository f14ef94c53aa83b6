"""`ILVAEOutlierDetector`: rows that a table does not explain, and the reasons."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._checks import check_parameters
from ._columns import (
    BY_TAILS,
    check_counts,
    checked_weights,
    from_tensor,
    read_known_table,
    to_tensor,
)
from ._columns.summary import ColumnSummary
from ._detection import (
    ConformalMixin,
    GapTerms,
    ReasonsMixin,
    Reservoir,
    RowScorer,
    ThresholdMixin,
    column_floors,
    comparable_numbers,
    measure_gaps,
    points_and_terms,
    trusted_weights,
)
from ._device import torch_defaults
from ._html import DiagramMixin, summary_of_detector
from ._random import draw_held_out, draw_seed
from ._sklearn import Interval, StrOptions, check_same_namespace, fit_context
from ._state import unchanged_on_error
from ._tables import TrainingTable, read_training_table
from ._transformer import ILVAETransformer
from .vae.likelihoods import EMPTY
from .vae.observed import any_missing

SAMPLE_ROWS = 500
"""Most training rows to look for neighbours among: scoring takes time in proportion."""


class ILVAEOutlierDetector(
    DiagramMixin,
    ReasonsMixin,
    ConformalMixin,
    ThresholdMixin,
    OutlierMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Outliers of a table by a variational autoencoder, with a reason for each.

    The score of a row pools three opinions [5]_: how likely its values are given its
    code, and how likely the code is, under an `ILVAETransformer` [1]_; and how far its
    nearest training rows are [4]_. It is a sum of one term a column and one for the
    code, so every score comes with its reasons (`feature_contributions`, `explain`).

    Training rows may hold outliers: rows far from the half of the table that lies
    closest together count less in training (`support_fraction`).

    Columns are scaled inside: raw tables need no pipeline.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Number of latent units, see `ILVAETransformer`, as for all parameters that are
        not explained here.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training rows to call outliers. ``"auto"`` draws the line 1.5
        interquartile ranges below the lower quartile of the training scores, as a
        box plot does [3]_. `set_threshold` moves it without a new fit.
    support_fraction : "auto" or float in (0, 1], default="auto"
        Share of the training rows that are trusted: those closest to the half of the
        table that lies closest together, by concentration steps [2]_. A number drops
        all others from training. ``"auto"`` trusts three quarters, the usual
        compromise between robustness and efficiency, but at least five rows for each
        column of numbers that varies, and lets each of the others count a tenth:
        scattered outliers then cannot move the model, while a rare kind of normal row
        keeps its place in it.
    calibration_fraction : float in [0, 1), default=0.0
        Share of the rows kept out of training for `p_values`. 0 keeps none; then call
        `calibrate` with other rows.
    n_neighbors : int, default=2
        Number of nearest training rows in the score. They are found among 500 at
        random, of which the fitted detector keeps the values. 0 scores by the
        likelihood alone, as it is, and keeps none.
    inverse_lipschitz : float or "auto", default="auto"
        The constant L ≥ 0 of the decoder.
    decoder : str, default="anchored"
        Family of the decoder.
    hidden_layer_sizes : int or sequence of int, default=(64,)
        Widths of the hidden layers.
    activation : str, default="elu"
        Activation function.
    likelihood : str, dict or sequence of str, default="auto"
        Distribution of a column given the code. ``"auto"`` is Gaussian for numbers,
        dates and durations, or Student t where their kurtosis is above 9 (that of a
        Student t of five degrees of freedom, on the scale of the fit): values far out
        would bend a Gaussian towards themselves.
    categorical_features : "from_dtype", array-like of {bool, int, str} or None, \
default="from_dtype"
        Columns of numbers to take as categories.
    max_categories : int, default=50
        Levels of a category that the network tells apart.
    handle_unknown : {"error", "missing"}, default="error"
        What to do with a category that was not seen in `fit`. As a missing value it
        does not lower the score.
    power_transform : bool, default=False
        Whether to transform skewed columns of numbers. Values far out on their long
        side are then less far out.
    prior : {"mixture", "standard_normal"}, default="mixture"
        Distribution of the codes.
    n_mixture_components : int, default=4
        Number of Gaussians of the mixture prior: fewer than for a density alone, since
        neighbours tell more kinds of rows apart.
    kl_weight : float, default=1.0
        Weight of the divergence from the prior in the training objective.
    learning_rate_init : float, default=1e-2
        Learning rate of Adam.
    batch_size : int or "auto", default="auto"
        Most rows in a batch.
    max_iter : int, default=500
        Largest number of epochs: fewer than for a density, since the ranks of rows
        hardly change in late ones.
    early_stopping : bool, default=True
        Whether to stop when the bound on validation rows stalls.
    validation_fraction : float, default=0.1
        Share of the training rows held out for early stopping. `sample_weight` serves
        this better than copies of rows.
    n_iter_no_change : int or "auto", default="auto"
        Epochs without improvement after which training stops.
    tol : float, default=1e-3
        Least improvement that counts, in nats a row.
    device : str, default="auto"
        Where to compute.
    random_state : int, RandomState instance or None, default=None
        Source of all randomness: calibration rows, training and threshold.
    verbose : int, default=0
        1 prints one line an epoch.

    Attributes
    ----------
    transformer_ : ILVAETransformer
        The fitted autoencoder.
    offset_ : float
        Threshold: rows with a lower score are outliers.
    support_ : ndarray of shape (n_samples,), bool
        Rows trusted in the last fit.
    training_scores_ : ndarray of shape (n_training_rows,)
        Sorted scores of the rows of the last fit, calibration rows excepted.
    calibration_scores_ : ndarray of shape (n_calibration_rows,)
        Sorted scores of the calibration rows. Only after a calibration.
    typical_contributions_ : ndarray of shape (n_features + 1,)
        Mean contributions of the trusted rows; after `fit` a missing value contributes
        as much.
    column_summary_ : ColumnSummary
        A readable table: dtype, likelihood, values and gaps of every column. Rows count
        as in training, those that are not trusted little or not at all: shares of gaps
        are not those of the whole table.
    n_iter_ : int
        Epochs run.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Names of the columns, when all are strings.

    See Also
    --------
    sklearn.covariance.EllipticEnvelope : One Gaussian, fitted to the closest half.
    sklearn.ensemble.IsolationForest : Faster, without a density or a split by column.

    Notes
    -----
    The score of a row with gaps is the expected score of the complete row. A missing
    value contributes the mean term of its column, and the term of the code is corrected
    for the values that it did not have to fit. So rows with different gaps can be
    compared on average. But scores vary less the fewer values are observed, so fewer of
    the rows with many gaps are called outliers.

    By Laplace's approximation at the mean of its code, the log-likelihood of a row is a
    sum of one term a column and one for the code. With ``n_neighbors=0`` that is the
    score. Beside neighbours,

    - where the term of a column is more than c = log(n + 2) below the largest that it
      has in some training rows, n rows in all, the distance s below becomes
      ``c (1 + log(s / c))``. A value that none of n rows had has a probability of
      1 / (n + 2) (the rule of succession); how fast a tail falls beyond that, they do
      not tell, and one value far out would hide all other rows;
    - the term of the code is multiplied by 1 - k / (d + 1), for k latent units and d
      columns of numbers: neighbours in d directions are neighbours in the k of the
      code as well, and need not say so twice. A category of m levels counts as m - 1;
    - the mean squared distance to the neighbours is subtracted, column by column. That
      multiplies the density by a Gaussian kernel around the training rows, with a
      bandwidth of 0.7 standard deviations of each column, or 1.4 for levels, in
      chi-squared distance. The model describes the global structure of the table, the
      neighbours the local one. A row is not its own neighbour: rows equal to it are
      skipped.

    Scores are in nats of the standardised columns, including the Jacobian of the
    logarithmic scale of values beyond three standard deviations and of power
    transforms. So the terms of columns can be compared whatever the units of the
    columns. The scores of two fits can only be compared if their scalings agree.

    A column that held only zeros and ones in training may hold another value in a new
    row. Its probability is that of the rarer of the two values, but at most 1 / (n + 2)
    for n rows: the rule of succession for a value that was never seen. In a column of
    counts a negative number or a fraction is an error, and so is an unknown category
    unless `handle_unknown` says otherwise.

    References
    ----------
    .. [1] Tierney & Kadane (1986). "Accurate approximations for posterior moments and
       marginal densities." JASA 81.
    .. [2] Rousseeuw & Van Driessen (1999). "A fast algorithm for the minimum
       covariance determinant estimator." Technometrics 41.
    .. [3] Tukey (1977). "Exploratory Data Analysis." Addison-Wesley.
    .. [4] Angiulli & Pizzuti (2002). "Fast outlier detection in high dimensional
       spaces." PKDD.
    .. [5] Genest & Zidek (1986). "Combining probability distributions: a critique and
       an annotated bibliography." Statistical Science 1.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAEOutlierDetector
    >>> X = load_wine(as_frame=True).data
    >>> X.loc[7, "magnesium"] = 400
    >>> detector = ILVAEOutlierDetector(max_iter=50, random_state=0).fit(X)
    >>> int(detector.predict(X)[7])
    -1
    >>> contributions = detector.feature_contributions(X)
    >>> contributions.loc[7].drop("latent").idxmin()
    'magnesium'
    """

    transformer_: ILVAETransformer
    _sample: Reservoir
    _sample_points: Any
    _floors: Any
    _n_neighbors: int
    _gap_terms: list[Any]

    # A Student t expects values far out, which a detector is to find. But where there
    # are many, they would bend a Gaussian towards themselves.
    _family_of_numbers = BY_TAILS

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        name: constraint
        for name, constraint in ILVAETransformer._parameter_constraints.items()
        if name not in ("warm_start", "n_importance_samples")
    } | {
        "contamination": [
            StrOptions({"auto"}),
            Interval(Real, 0, 0.5, closed="right"),
        ],
        "support_fraction": [
            StrOptions({"auto"}),
            Interval(Real, 0, 1, closed="right"),
        ],
        "calibration_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_neighbors": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | str = "auto",
        *,
        contamination: float | str = "auto",
        support_fraction: float | str = "auto",
        calibration_fraction: float = 0.0,
        n_neighbors: int = 2,
        inverse_lipschitz: float | str = "auto",
        decoder: str = "anchored",
        hidden_layer_sizes: int | Sequence[int] = (64,),
        activation: str = "elu",
        likelihood: str | Sequence[str] | Mapping[Any, str] = "auto",
        categorical_features: Any = "from_dtype",
        max_categories: int = 50,
        handle_unknown: str = "error",
        power_transform: bool = False,
        prior: str = "mixture",
        n_mixture_components: int = 4,
        kl_weight: float = 1.0,
        learning_rate_init: float = 1e-2,
        batch_size: int | str = "auto",
        max_iter: int = 500,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | str = "auto",
        tol: float = 1e-3,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.contamination = contamination
        self.support_fraction = support_fraction
        self.calibration_fraction = calibration_fraction
        self.n_neighbors = n_neighbors
        self.inverse_lipschitz = inverse_lipschitz
        self.decoder = decoder
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.handle_unknown = handle_unknown
        self.power_transform = power_transform
        self.prior = prior
        self.n_mixture_components = n_mixture_components
        self.kl_weight = kl_weight
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the autoencoder to the trusted rows and set the threshold.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Numbers, text, categories or dates, with gaps or without.
        y : ignored
            Present for compatibility.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. A row of weight 0 has no effect.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            For input or parameters that cannot be fitted. The estimator is left as
            it was.
        """
        return self._fit(X, sample_weight, "fit")

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one pass over a batch of rows.

        The first call fixes the scaling, the size of the network and what
        `column_summary_` shows, so its rows, at least two, should represent the table.
        Later calls take one row or more. Trust, threshold and typical contributions are
        those of the last batch: after a small one, move the threshold with
        `set_threshold`. What a missing value contributes is the mean over the last 300
        trusted rows, or more in a larger batch. The calibration is dropped, since the
        scores change. Neighbours are found among a sample of the rows of all batches.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Numbers, text, categories or dates, with gaps or without.
        y : ignored
            Present for compatibility.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. Only their ratios within the batch matter.

        Returns
        -------
        self
            The updated estimator.

        Raises
        ------
        TypeError, ValueError
            As `fit`, and for rows with other columns than those of the first call.
        """
        check_parameters(self)
        return self._fit(X, sample_weight, "partial_fit")

    def score_samples(self, X: Any) -> Any:
        """Return the score of every row: larger is more normal.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            In nats. A row scores the same alone and in any batch.

        Raises
        ------
        TypeError, ValueError
            For rows with other columns than those of the fit, infinite numbers, counts
            that are negative or fractional, and a category that it never saw, unless
            `handle_unknown` says otherwise.
        """
        return from_tensor(self._scores(self._checked(X, "score_samples")), X)

    def decision_function(self, X: Any) -> Any:
        """Return by how much rows score above the threshold.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``: negative for outliers.

        Raises
        ------
        TypeError, ValueError
            As `score_samples`.
        """
        scores = self._scores(self._checked(X, "decision_function"))
        return from_tensor(scores - self.offset_, X)

    def predict(self, X: Any) -> Any:
        """Return −1 for outliers and 1 for others.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,), int64

        Raises
        ------
        TypeError, ValueError
            As `score_samples`.
        """
        scores = self._scores(self._checked(X, "predict"))
        return from_tensor(1 - 2 * (scores < self.offset_).long(), X)

    @property
    def column_summary_(self) -> ColumnSummary:
        """What became of every column: dtype, likelihood, levels or scale, gaps."""
        check_is_fitted(self)
        return self.transformer_.column_summary_

    @property
    def n_iter_(self) -> int:
        """Epochs run."""
        return self.transformer_.n_iter_

    def _fit(self, X: Any, sample_weight: Any, method: str) -> Self:
        resume = method == "partial_fit" and hasattr(self, "transformer_")
        known = self.transformer_ if resume else None
        context = self._init_callback_context(max_subtasks=1)
        with unchanged_on_error(self), torch_defaults():
            context.call_on_fit_task_begin(estimator=self)
            table = read_training_table(self, X, sample_weight, method, known)
            seed = draw_seed(self.random_state)
            fraction = 0.0 if method == "partial_fit" else self.calibration_fraction
            held_out = draw_held_out(len(table.rows), fraction, seed, least_kept=2)
            held_out = held_out.to(table.weights.device)
            # Of the rows of the calibration a fit knows their levels and no more.
            used = table.reweighted(table.weights * ~held_out, table.likelihood)
            scaling = (
                used.scaling(
                    self.max_categories, self._family_of_numbers, self.power_transform
                )
                if known is None
                else known._scaling()
            )
            numbers, discrete = comparable_numbers(
                used.rows, used.weights, scaling, seed
            )
            kept, trusted = trusted_weights(
                numbers, used.weights, self.support_fraction, discrete
            )
            self.transformer_ = self._transformer(known, seed)
            # The kind of a column is that in all of them: the trusted may hold fewer.
            training = used.reweighted(kept, scaling.likelihood)
            inner = context.subcontext(task_name="autoencoder")
            with inner.propagate_callback_context(self.transformer_):
                getattr(self.transformer_, method)(training)

            present = checked_weights(sample_weight, table.source).cpu() > 0
            support = torch.zeros(len(present), dtype=torch.bool)
            support[present.nonzero()[~held_out.cpu(), 0]] = trusted.cpu()
            self.support_ = from_tensor(support, X)
            # Rows that are dropped must not be neighbours either.
            counted = used.weights * (kept > 0)
            rows = self._without_ignored(used.rows)
            self._sample = self._next_sample(rows, counted, resume, seed)
            points, floors = self._points_and_floors(self._sample)
            self._sample_points = from_tensor(points, X)
            self._floors = from_tensor(floors, X)
            self._n_neighbors = self.n_neighbors
            self._describe(table, held_out, kept * trusted, seed, resume)
            self.set_threshold(contamination=self.contamination)
            context.call_on_fit_task_end(estimator=self)
        return self

    def _describe(
        self,
        table: TrainingTable,
        held_out: Tensor,
        trust: Tensor,
        seed: int,
        resume: bool,
    ) -> None:
        """Keep the scores of the rows, and what is typical of the trusted ones."""
        X, used = table.source, ~held_out
        rows = self._without_ignored(table.rows.double())
        trust = trust.to(rows)
        terms_of = partial(self._over_chunks, RowScorer.contributions)
        terms = terms_of(rows)
        gaps = measure_gaps(terms_of, rows[used], terms[used], trust, seed)
        if resume:
            gaps = gaps.after(self._known_gaps(terms))
        self._gap_terms = [from_tensor(each, X) for each in gaps]
        filled = self._filled(terms, rows.isnan())
        typical = trust @ filled[used] / trust.sum()
        self.typical_contributions_ = from_tensor(typical, X)
        all_scores = filled.sum(1)
        scores, order = all_scores[used].sort()
        self.training_scores_ = from_tensor(scores, X)
        self._training_weights = from_tensor(table.weights[used][order], X)
        if held_out.any():
            self.calibration_scores_ = from_tensor(all_scores[held_out].sort()[0], X)
        elif hasattr(self, "calibration_scores_"):
            del self.calibration_scores_

    def _next_sample(
        self, rows: Tensor, weights: Tensor, resume: bool, seed: int
    ) -> Reservoir:
        before = self._sample if resume else Reservoir.empty(rows.shape[1])
        size = SAMPLE_ROWS if self.n_neighbors else 0
        return before.joined(rows.cpu().numpy(), weights.cpu().numpy(), size, seed)

    def _points_and_floors(self, sample: Reservoir) -> tuple[Tensor, Tensor]:
        inner, rows = self.transformer_, torch.from_numpy(sample.rows)
        module = inner._inference_module(rows.dtype)
        function = partial(points_and_terms, module, inner._scaling())
        joined = inner._in_chunks(function, rows)
        points, terms = joined.tensor_split([joined.shape[1] - rows.shape[1]], dim=1)
        floors = column_floors(terms, rows.isnan(), sample.n_seen)
        return points.contiguous(), floors

    def _transformer(
        self, known: ILVAETransformer | None, seed: int | None = None
    ) -> ILVAETransformer:
        """Return an autoencoder with the parameters that the detector has now.

        It is new, or a copy of a known one. That stays as it was: for the case of an
        error, and for another detector that shares it.
        """
        transformer = ILVAETransformer()
        if known is not None:  # copy.copy would rebuild the network
            transformer.__dict__.update(vars(known))
        # Every score comes by here, and set_params takes twenty times as long.
        shared = ILVAETransformer._parameter_constraints.keys() & vars(self).keys()
        own = {name: getattr(self, name) for name in shared}
        transformer.__dict__.update(own, random_state=seed)
        return transformer

    def _checked(self, X: Any, method: str) -> Tensor:
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="support_", method=method)
        schema = self.transformer_._table_schema()
        table = read_known_table(self, X, schema, self.handle_unknown)
        return self._without_ignored(table.double())

    def _without_ignored(self, rows: Tensor) -> Tensor:
        """Return rows without values in columns that fit saw nothing of.

        Their gaps count, so the same row must have them whatever it holds there.
        """
        ignored = [kind == EMPTY for kind in self.transformer_.likelihood_]
        if not any(ignored):
            return rows
        return rows.masked_fill(torch.tensor(ignored, device=rows.device), torch.nan)

    def _scores(self, table: Tensor) -> Tensor:
        if not any_missing(table):
            return self._over_chunks(RowScorer.scores, table)
        contributions = self._over_chunks(RowScorer.contributions, table)
        return self._filled(contributions, table.isnan()).sum(1)

    def _split(self, table: Tensor) -> tuple[Tensor, Tensor]:
        joined = self._over_chunks(RowScorer.contributions_and_expected, table)
        n_terms = table.shape[1] + 1
        return self._filled(joined[:, :n_terms], table.isnan()), joined[:, n_terms:]

    def _filled(self, contributions: Tensor, missing: Tensor) -> Tensor:
        return self._known_gaps(contributions).filled(contributions, missing)

    def _known_gaps(self, like: Tensor) -> GapTerms:
        return GapTerms(*(to_tensor(each).to(like) for each in self._gap_terms))

    def _over_chunks(
        self, function: Callable[[RowScorer, Tensor], Tensor], table: Tensor
    ) -> Tensor:
        inner = self._autoencoder()
        check_counts(table, inner.likelihood_, self._column_names())
        module = inner._inference_module(table.dtype)
        sample = to_tensor(self._sample_points).to(module.encoder.linear)
        scorer = RowScorer(
            module,
            inner._scaling(),
            self._sample.n_seen,
            sample,
            to_tensor(self._floors).to(sample),
            self._n_neighbors if len(sample) else 0,
        )
        return inner._in_chunks(partial(function, scorer), table)

    def _autoencoder(self) -> ILVAETransformer:
        return self._transformer(self.transformer_)

    def _column_names(self) -> list[Any] | None:
        return self.transformer_._column_names()

    def _fit_summary(self) -> str:
        return summary_of_detector(self)

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a fitted autoencoder."""
        return hasattr(self, "transformer_")

    def __sklearn_tags__(self) -> Any:
        """Declare that array-API input is welcome."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags
